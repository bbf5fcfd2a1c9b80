//! Setting damage aside: a copy of the bad range, and a hole in its place.

use std::io::{self, IoSlice};

use crate::{
    Damage, Disk, Flaw,
    block::{Header, Kind},
    files,
    scan::Scanned,
};

const COPY_BYTES: usize = 256 << 10;

/// Copies each damaged range to a file of its own and marks it as a hole. Done again after a crash in the middle, it does the
/// same.
pub(crate) fn set_aside(disk: &mut dyn Disk, scanned: &Scanned) -> io::Result<()> {
    let there: Vec<String> = disk.list()?.into_iter().map(|(name, _)| name).collect();
    for damage in &scanned.damage {
        let copy = files::set_aside(damage.position);
        if there.contains(&copy) {
            disk.remove(&copy)?;
        }
        disk.create(&copy)?;
        copy_range(disk, damage, &copy)?;
        disk.sync(&copy)?;
    }
    disk.sync_dir()?;
    for damage in &scanned.damage {
        let base = damage.position - damage.place;
        let header = Header {
            kind: Kind::Hole,
            length: 0,
            boot: 0,
            position: damage.position,
            synced: 0,
            offset: damage.first_offset,
            at_us: 0,
            extra: damage.until,
            before: 0,
            checksum: 0,
        };
        let length = damage.until - base;
        match scanned.segments.last().filter(|newest| newest.base == base) {
            Some(newest) => disk.allocate(&damage.file, length.max(newest.allocated))?,
            None if damage.flaw == Flaw::EndsEarly => disk.set_len(&damage.file, length)?,
            None => {}
        }
        disk.write_at(&damage.file, damage.place, &[IoSlice::new(&header.encode(&[]).0)])?;
        disk.sync(&damage.file)?;
    }
    Ok(())
}

/// Copies what the file still has of the range.
fn copy_range(disk: &mut dyn Disk, damage: &Damage, copy: &str) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut done = 0;
    loop {
        let left = usize::try_from(damage.until - damage.position - done).unwrap_or(usize::MAX);
        let into = buffer.get_mut(..left.min(COPY_BYTES)).unwrap_or_default();
        let read = disk.read_at(&damage.file, damage.place + done, into)?;
        if read == 0 {
            return Ok(());
        }
        disk.write_at(copy, done, &[IoSlice::new(into.get(..read).unwrap_or_default())])?;
        done += read as u64;
    }
}
