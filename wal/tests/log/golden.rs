//! A log of each version of the format, as it was written then: every later program must read it, and this one write it.
//!
//! `WEIR_GOLDEN=make cargo test -p wal --test log golden` writes the directory of the version of now, if it is not there.

use std::{fs, path::PathBuf};

use simnet::FakeDisk;
use wal::{Commit, Disk as _, Entry, Log, Options, VERSION};

/// The directory of a version.
fn folder(version: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{version}"))
}

fn small() -> Options {
    Options { segment_bytes: 2_048, node_if_new: 0x00c0_ffee, ..Options::default() }
}

/// What the log of every version was told: two starts, a snapshot, a range set aside, a clean end.
fn script() -> FakeDisk {
    let disk = FakeDisk::new();
    let start = |options: Options| Log::open(Box::new(disk.clone()), options, 0, &mut |_| Ok(()), &mut |_, _| {});
    let commit = |log: &mut Log, texts: &[&str], at_us: u64, snapshot: Option<&str>| {
        let mut records = Vec::new();
        for text in texts {
            wal::frame(&mut records, 1, text.as_bytes());
        }
        let snapshot = snapshot.map(|text| text.as_bytes().to_vec());
        log.commit(Commit { records, at_us, snapshot, ..Commit::default() }).unwrap();
    };
    {
        let (mut log, _) = start(small()).unwrap();
        commit(&mut log, &["one", "two"], 1_000_000, None);
        commit(&mut log, &["three"], 2_000_000, None);
        commit(&mut log, &["four"], 3_000_000, Some("four there were"));
        log.commit(Commit { for_good: true, at_us: 3_000_001, ..Commit::default() }).unwrap();
    }
    disk.flip("00000000000000000000.log", 330, 0);
    {
        let (mut log, _) = start(Options { salvage: true, ..small() }).unwrap();
        commit(&mut log, &["five", ""], 4_000_000, None);
        log.commit(Commit { for_good: true, at_us: 5_000_000, ..Commit::default() }).unwrap();
    }
    disk
}

#[test]
fn the_golden_logs_of_all_versions_are_read() {
    for version in 1..=VERSION {
        let disk = FakeDisk::new();
        for entry in fs::read_dir(folder(version)).unwrap() {
            let path = entry.unwrap().path();
            disk.put(path.file_name().unwrap().to_str().unwrap(), &fs::read(&path).unwrap());
        }
        let mut seen = Vec::new();
        let mut replay = |entry: Entry<'_>| {
            seen.push(match entry {
                Entry::Snapshot(bytes) => format!("state: {}", String::from_utf8_lossy(bytes)),
                Entry::Record { offset, at_us, bytes, .. } => {
                    format!("{offset} at {at_us}: {}", String::from_utf8_lossy(bytes))
                }
                Entry::Lost { first, next } => format!("lost: {first} to {next}"),
            });
            Ok(())
        };
        let (_log, opened) = Log::open(Box::new(disk), small(), 0, &mut replay, &mut |_, _| {}).unwrap();
        assert_eq!(seen, ["state: four there were", "lost: 2 to 3", "4 at 4000000: five", "5 at 4000000: "]);
        assert_eq!((opened.node, opened.boot, opened.next_offset), (0x00c0_ffee, 3, 6));
    }
}

#[test]
fn the_golden_log_of_now_is_what_is_written_now() {
    let disk = script();
    #[expect(clippy::disallowed_methods, reason = "a test takes no flags")]
    if std::env::var("WEIR_GOLDEN").is_ok_and(|what| what == "make") {
        write(&disk);
    }
    for name in disk.names() {
        assert!(disk.content(&name) == fs::read(folder(VERSION).join(&name)).ok(), "{name} differs");
    }
}

fn write(disk: &FakeDisk) {
    let folder = folder(VERSION);
    assert!(!folder.exists(), "it is there: what has been released does not change");
    fs::create_dir_all(&folder).unwrap();
    for (name, _) in disk.clone().list().unwrap() {
        fs::write(folder.join(&name), disk.content(&name).unwrap()).unwrap();
    }
}
