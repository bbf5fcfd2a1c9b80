//! What is finished and old goes, and nothing else.

use std::time::Duration;

use simnet::FakeDisk;
use wal::{Commit, Committed, Keep, Log, Options};

use crate::model::{SMALL, messages, open, options, records, snapshot};

fn keeping(bytes: u64, age: Option<Duration>) -> Options {
    Options { keep: Keep { bytes, age }, ..options() }
}

/// Commits 1,000 records at ten a second, with everything below `low_water` finished.
fn fill(log: &mut Log, low_water: u64) -> Committed {
    let mut last = None;
    let mut wants_snapshot = false;
    for number in 0..100 {
        let (from, to) = (number * 10, number * 10 + 10);
        let committed = log.commit(Commit {
            records: records(from, to),
            at_us: number * 1_000_000,
            snapshot: wants_snapshot.then(|| snapshot(to)),
            low_water: low_water.min(messages(from)),
            ..Commit::default()
        });
        let committed = committed.unwrap();
        wants_snapshot = committed.wants_snapshot;
        last = Some(committed);
    }
    last.unwrap()
}

#[test]
fn the_log_keeps_so_many_bytes() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, keeping(4 * SMALL, None)).unwrap();
    let committed = fill(&mut log, u64::MAX);
    assert!((3 * SMALL..=5 * SMALL).contains(&committed.kept_bytes), "{committed:?}");
    assert!(committed.kept_from > 0);
    drop(log);
    let (_log, opened, seen) = open(&disk, options()).unwrap();
    assert_eq!((opened.kept_from, seen.count), (committed.kept_from, 1_000));
}

#[test]
fn what_is_unfinished_stays() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, keeping(0, None)).unwrap();
    let committed = fill(&mut log, 200);
    assert!((1..=200).contains(&committed.kept_from), "{committed:?}");
    assert!(committed.kept_bytes > 6 * SMALL);
}

#[test]
fn nothing_goes_before_its_time() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, keeping(1 << 30, None)).unwrap();
    assert_eq!(fill(&mut log, u64::MAX).kept_from, 0);
}

#[test]
fn what_is_older_goes_when_a_minute_has_passed() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, keeping(1 << 30, Some(Duration::from_secs(30)))).unwrap();
    let filled = fill(&mut log, u64::MAX);
    assert!(filled.kept_from > 0 && filled.kept_bytes > SMALL, "{filled:?}");
    let later = |seconds: u64| Commit { at_us: seconds * 1_000_000, low_water: u64::MAX, ..Commit::default() };
    assert_eq!(log.commit(later(101)).unwrap().kept_from, filled.kept_from);
    let committed = log.commit(later(300)).unwrap();
    assert!(
        committed.kept_bytes <= 2 * SMALL && committed.kept_from > filled.kept_from,
        "the newest stays: {committed:?}"
    );
}

#[test]
fn the_files_of_old_segments_are_used_again() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, keeping(SMALL, None)).unwrap();
    fill(&mut log, u64::MAX);
    let names = disk.names();
    assert!(names.len() <= 5, "{names:?}");
    assert!(names.contains(&"spare.new".to_owned()));
}
