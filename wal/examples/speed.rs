//! How fast the log is on a disk of yours.
//!
//! ```text
//! speed DIR write [COMMIT_BYTES [RECORD_BYTES [TOTAL_MIB [os|disk [fallocate|zeros]]]]]
//! speed DIR open
//! ```
//!
//! `write` makes a log in DIR, which must be empty or not there, and commits as fast as it goes; `open` opens it again and
//! says how long that took and how much memory.
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "it prints figures for people")]

use std::{
    error::Error,
    io::{self, IoSlice},
    path::Path,
    time::{Duration, Instant},
};

use wal::{Commit, Directory, Disk, Keep, Level, Log, Options};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |arg| arg.parse());
    let word = |at: usize| args.get(at).map(String::as_str);
    match (args.first(), word(1)) {
        (Some(directory), Some("write")) => {
            let level = if word(5) == Some("os") { Level::Os } else { Level::Disk };
            let disk = Chosen { disk: Directory::open(Path::new(directory))?, zeros: word(6) == Some("zeros") };
            write(disk, number(2, 1 << 20)?, number(3, 65_000)?, number(4, 1_024)? << 20, level)
        }
        (Some(directory), Some("open")) => open(Path::new(directory)),
        _ => Err(
            "speed DIR write [COMMIT_BYTES [RECORD_BYTES [TOTAL_MIB [os|disk [fallocate|zeros]]]]] | speed DIR open",
        )?,
    }
}

fn options(level: Level) -> Options {
    Options { level, keep: Keep { bytes: u64::MAX, age: None }, ..Options::default() }
}

fn write(disk: Chosen, commit: usize, record: usize, total: usize, level: Level) -> Result<(), Box<dyn Error>> {
    let (mut log, _) = Log::open(Box::new(disk), options(level), 0, &mut |_| Ok(()), &mut |_, _| {})?;
    let mut batch = Vec::new();
    while batch.len() < commit {
        wal::frame(&mut batch, 1, &vec![b'x'; record.min(commit)]);
    }
    let (begun, mut took) = (Instant::now(), Vec::new());
    let (mut records, mut wants_snapshot, mut written) = (Vec::new(), false, 0);
    while written < total {
        records.extend_from_slice(&batch);
        written += batch.len();
        let at_us = u64::try_from(begun.elapsed().as_micros())?;
        let snapshot = wants_snapshot.then(|| vec![b's'; 100_000]);
        let start = Instant::now();
        let committed = log.commit(Commit { records, at_us, snapshot, ..Commit::default() })?;
        took.push(start.elapsed());
        (records, wants_snapshot) = (committed.records, committed.wants_snapshot);
    }
    let seconds = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let percentile = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or(Duration::ZERO);
    println!(
        "{:.0} MB/s, {:.0} commits/s of {} bytes; p50 {:?}, p99 {:?}, longest {:?}",
        written as f64 / seconds / 1e6,
        took.len() as f64 / seconds,
        batch.len(),
        percentile(50),
        percentile(99),
        took.last().copied().unwrap_or_default(),
    );
    log.commit(Commit { for_good: true, ..Commit::default() })?;
    Ok(())
}

fn open(directory: &Path) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let disk = Box::new(Directory::open(directory)?);
    let mut replayed = 0_u64;
    let mut replay = |_: wal::Entry<'_>| {
        replayed += 1;
        Ok(())
    };
    let (_log, opened) = Log::open(disk, options(Level::Disk), 0, &mut replay, &mut |_, _| {})?;
    let took = begun.elapsed();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    println!("{} bytes opened in {took:?}, {replayed} entries replayed; {peak}", opened.end);
    Ok(())
}

/// The real disk, with room made by `fallocate` or by writing zeros.
#[derive(Debug)]
struct Chosen {
    disk: Directory,
    zeros: bool,
}

impl Disk for Chosen {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn read_at(&mut self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(name, at, into)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.disk.create(name)
    }

    fn write_at(&mut self, name: &str, at: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.disk.write_at(name, at, parts)
    }

    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.disk.allocate(name, len)?;
        if self.zeros {
            let zeros = vec![0; 1 << 20];
            let mut at = 0;
            while at < len {
                self.disk.write_at(name, at, &[IoSlice::new(&zeros)])?;
                at += zeros.len() as u64;
            }
            self.disk.sync(name)?;
        }
        Ok(())
    }

    fn set_len(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.disk.set_len(name, len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.disk.sync(name)
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
}
