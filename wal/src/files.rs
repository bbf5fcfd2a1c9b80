//! The files of a log: their names, and the label that says what the directory is.

use std::io::{self, IoSlice};

use crate::{Disk, OpenError, block::UNIT};

/// The version of the format that this program writes and reads.
pub const VERSION: u32 = 1;

pub(crate) const LABEL: &str = "weir-log";
pub(crate) const LABEL_NEW: &str = "weir-log.new";
pub(crate) const LOCK: &str = "lock";
/// The room that is kept for the next segment.
pub(crate) const SPARE: &str = "spare.new";

const LABEL_BYTES_MAX: usize = 4096;
const DIGITS: usize = 20;

/// The file of the segment that begins at `base`.
pub(crate) fn segment(base: u64) -> String {
    format!("{base:020}.log")
}

/// Where the segment of this name begins.
pub(crate) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())?;
    digits.parse().ok().filter(|base: &u64| base.is_multiple_of(UNIT))
}

/// What is set aside of the range that begins at `position`.
pub(crate) fn set_aside(position: u64) -> String {
    format!("damaged-{position:020}.bin")
}

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Segments by their begin, oldest first, and the lengths of their files.
    pub(crate) segments: Vec<(u64, u64)>,
    pub(crate) has_label: bool,
    pub(crate) has_label_new: bool,
    pub(crate) has_spare: bool,
    /// A file that is none of the log's.
    pub(crate) foreign: Option<String>,
}

impl Files {
    pub(crate) fn list(disk: &mut dyn Disk) -> io::Result<Self> {
        let mut files = Self::default();
        for (name, length) in disk.list()? {
            match name.as_str() {
                LABEL => files.has_label = true,
                LABEL_NEW => files.has_label_new = true,
                SPARE => files.has_spare = true,
                LOCK => {}
                _ => match base_of(&name) {
                    Some(base) => files.segments.push((base, length)),
                    None => files.foreign = files.foreign.filter(|other| *other < name).or(Some(name)),
                },
            }
        }
        files.segments.sort_unstable();
        Ok(files)
    }
}

/// Writes the label under its first name; it gets its own when the first segment is there.
pub(crate) fn write_label(disk: &mut dyn Disk, node: u64) -> io::Result<()> {
    let lines = format!("weir queue log\nversion {VERSION}\nnode {node:016x}\n");
    let text = format!("{lines}check {:08x}\n", crc32c::crc32c(lines.as_bytes()));
    disk.create(LABEL_NEW)?;
    disk.write_at(LABEL_NEW, 0, &[IoSlice::new(text.as_bytes())])?;
    disk.sync(LABEL_NEW)?;
    disk.sync_dir()
}

/// Reads the label: the queue's node.
pub(crate) fn read_label(disk: &mut dyn Disk) -> Result<u64, OpenError> {
    let mut bytes = vec![0; LABEL_BYTES_MAX];
    let read = disk
        .read_at(LABEL, 0, &mut bytes)
        .map_err(|error| OpenError::Disk { what: format!("cannot read {LABEL}"), error })?;
    bytes.truncate(read);
    let text = std::str::from_utf8(&bytes).map_err(|_| OpenError::Label)?;
    parse_label(text)
}

fn parse_label(text: &str) -> Result<u64, OpenError> {
    let (lines, check) = text.split_once("check ").ok_or(OpenError::Label)?;
    let check = u32::from_str_radix(check.trim_end(), 16).map_err(|_| OpenError::Label)?;
    if check != crc32c::crc32c(lines.as_bytes()) {
        return Err(OpenError::Label);
    }
    let mut lines = lines.lines();
    if lines.next() != Some("weir queue log") {
        return Err(OpenError::Label);
    }
    let found = lines.next().and_then(|line| line.strip_prefix("version ")?.parse().ok()).ok_or(OpenError::Label)?;
    if found != u64::from(VERSION) {
        return Err(OpenError::Version { found });
    }
    let node = lines.next().and_then(|line| u64::from_str_radix(line.strip_prefix("node ")?, 16).ok());
    node.ok_or(OpenError::Label)
}
