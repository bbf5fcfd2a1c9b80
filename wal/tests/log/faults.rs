//! Disks that are full, that fail, and directories that hold something else.

use simnet::FakeDisk;
use wal::{Commit, CommitError, OpenError, Options};

use crate::model::{SMALL, commit, open, options, records, snapshot};

#[test]
fn a_full_disk_gives_the_commit_back_and_takes_it_later() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, options()).unwrap();
    disk.set_capacity(Some(3 * SMALL));
    let (mut count, mut end) = (0, 0);
    let commit_again = loop {
        match commit(&mut log, count, count + 10, false) {
            Ok(committed) => {
                count += 10;
                end = committed.end;
            }
            Err(CommitError::Full(commit)) => break commit,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(commit_again.records, records(count, count + 10));
    // Somebody was killed here: what was confirmed is there.
    let (_, opened, seen) = open(&disk.kill(), options()).unwrap();
    assert_eq!((opened.end, seen.count), (end, count));
    let Err(CommitError::Full(commit_again)) = log.commit(*commit_again) else { panic!("there is no room yet") };
    disk.set_capacity(None);
    let committed = log.commit(*commit_again).unwrap();
    assert!(committed.end > end);
    drop(log);
    assert_eq!(open(&disk, options()).unwrap().2.count, count + 10);
}

#[test]
fn what_was_given_up_for_a_full_disk_does_not_come_back() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, options()).unwrap();
    let end = commit(&mut log, 0, 5, false).unwrap().end;
    disk.set_capacity(Some(SMALL));
    let error = log.commit(Commit { records: records(5, 500), ..Commit::default() }).unwrap_err();
    assert!(matches!(error, CommitError::Full(_)));
    let committed = commit(&mut log, 5, 7, false).unwrap();
    assert!(committed.end > end);
    drop(log);
    assert_eq!(open(&disk, options()).unwrap().2.count, 7);
}

#[test]
fn the_room_that_was_told_is_there_when_the_disk_is_full() {
    let disk = FakeDisk::new();
    let (mut log, opened, _) = open(&disk, options()).unwrap();
    assert!(opened.room > SMALL * 3 / 2, "{opened:?}");
    disk.set_capacity(Some(0));
    let (mut count, mut wants_snapshot, mut room) = (0, false, opened.room);
    while room > 8_000 {
        let committed = match commit(&mut log, count, count + 2, wants_snapshot) {
            // The segment's rest was too short, before it was known: what is kept for the next takes it.
            Err(CommitError::Full(commit)) => {
                let snapshot = Some(snapshot(count + 2));
                log.commit(Commit { snapshot, ..*commit })
            }
            committed => committed,
        };
        let committed = committed.unwrap_or_else(|error| panic!("{error} with room for {room}"));
        (wants_snapshot, room) = (committed.wants_snapshot, committed.room);
        count += 2;
    }
    drop(log);
    assert_eq!(open(&disk, options()).unwrap().2.count, count);
}

#[test]
fn a_sync_that_fails_is_the_end() {
    for syncs in 0..8 {
        let disk = FakeDisk::new();
        let (mut log, _, _) = open(&disk, options()).unwrap();
        disk.fail_sync(syncs);
        let (mut count, mut wants_snapshot) = (0, false);
        let error = loop {
            match commit(&mut log, count, count + 25, wants_snapshot) {
                Ok(committed) => {
                    count += 25;
                    wants_snapshot = committed.wants_snapshot;
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CommitError::Disk { .. }), "{error}");
        assert!(error.to_string().starts_with("cannot sync "), "{error}");
        let again = commit(&mut log, count, count + 1, false).unwrap_err();
        assert!(again.to_string().contains("takes no further commit"), "{again}");
        for seed in 0..50 {
            let seen = open(&disk.crash(seed), options()).unwrap().2;
            assert!((count..=count + 25).contains(&seen.count), "{syncs} syncs, seed {seed}: {seen:?} of {count}");
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_said_with_its_file() {
    let disk = FakeDisk::new();
    drop(open(&disk, options()).unwrap());
    disk.set_unreadable(Some("00000000000000000000.log"));
    let error = open(&disk, options()).unwrap_err().to_string();
    assert!(error.contains("cannot read 00000000000000000000.log"), "{error}");
    disk.set_unreadable(None);
    drop(open(&disk, options()).unwrap());
}

#[test]
fn records_that_are_not_framed_are_not_taken() {
    let disk = FakeDisk::new();
    let (mut log, opened, _) = open(&disk, options()).unwrap();
    for records in [vec![1], vec![9, 0, 0, 0, 1, 0, 0, 0, 1], vec![0xff; 8]] {
        let error = log.commit(Commit { records, ..Commit::default() }).unwrap_err();
        assert!(matches!(error, CommitError::Frames));
    }
    assert_eq!(commit(&mut log, 0, 0, false).unwrap().end, opened.end);
}

#[test]
fn a_long_record_and_a_long_state_make_a_longer_segment() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, options()).unwrap();
    let mut long = Vec::new();
    wal::frame(&mut long, 1, &vec![7; 1 << 20]);
    log.commit(Commit { records: long.clone(), ..Commit::default() }).unwrap();
    let snapshot = Some(vec![8; 1 << 20]);
    let committed = log.commit(Commit { records: long, snapshot, ..Commit::default() }).unwrap();
    assert!(committed.snapshot_taken && !committed.wants_snapshot && committed.room > 500_000, "{committed:?}");
    drop(log);
    let mut lengths = Vec::new();
    let mut replay = |entry: wal::Entry<'_>| {
        lengths.push(match entry {
            wal::Entry::Snapshot(bytes) | wal::Entry::Record { bytes, .. } => bytes.len(),
            wal::Entry::Lost { .. } => 0,
        });
        Ok(())
    };
    drop(wal::Log::open(Box::new(disk), options(), 0, &mut replay, &mut |_, _| {}).unwrap());
    assert_eq!(lengths, [1 << 20]);
}

#[test]
fn a_directory_with_something_else_is_refused() {
    let disk = FakeDisk::new();
    disk.put("letter.txt", b"dear aunt");
    let error = open(&disk, options()).unwrap_err();
    assert!(matches!(&error, OpenError::Foreign { file } if file == "letter.txt"), "{error}");
    assert_eq!(disk.names(), ["letter.txt"]);
}

#[test]
fn a_lock_alone_is_an_empty_directory_and_a_note_in_a_log_is_left_alone() {
    let disk = FakeDisk::new();
    disk.put("lock", b"");
    let (mut log, opened, _) = open(&disk, options()).unwrap();
    assert!(opened.is_new && opened.boot == 1 && opened.next_offset == 0);
    commit(&mut log, 0, 3, false).unwrap();
    drop(log);
    disk.put("notes.txt", b"mine");
    let (_, opened, seen) = open(&disk, options()).unwrap();
    assert!(!opened.is_new && opened.boot == 2 && seen.count == 3);
    assert_eq!(disk.content("notes.txt").unwrap(), b"mine");
}

#[test]
fn a_label_that_is_not_understood_is_refused() {
    let disk = FakeDisk::new();
    drop(open(&disk, options()).unwrap());
    let label = String::from_utf8(disk.content("weir-log").unwrap()).unwrap();
    assert!(label.starts_with("weir queue log\nversion 1\nnode 0000000000000007\ncheck "), "{label}");
    disk.put("weir-log", label.replace("node 0", "node 1").as_bytes());
    assert!(matches!(open(&disk, options()).unwrap_err(), OpenError::Label));
    let newer = "weir queue log\nversion 2\nwhatever\n";
    disk.put("weir-log", format!("{newer}check {:08x}\n", crc32c::crc32c(newer.as_bytes())).as_bytes());
    let error = open(&disk, options()).unwrap_err();
    assert!(matches!(error, OpenError::Version { found: 2 }), "{error}");
    for bad in ["", "check ", "weir queue log\nversion 1\nnode 7\n", "\u{0}\u{1}"] {
        disk.put("weir-log", bad.as_bytes());
        assert!(matches!(open(&disk, options()).unwrap_err(), OpenError::Label), "{bad:?}");
    }
}

#[test]
fn a_log_without_its_label_or_without_its_segments_is_no_new_log() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, options()).unwrap();
    commit(&mut log, 0, 3, false).unwrap();
    let unlabelled = disk.kill();
    wal::Disk::remove(&mut unlabelled.clone(), "weir-log").unwrap();
    assert!(matches!(open(&unlabelled, options()).unwrap_err(), OpenError::NoLabel));
    let empty = disk.kill();
    wal::Disk::remove(&mut empty.clone(), "00000000000000000000.log").unwrap();
    assert!(matches!(open(&empty, options()).unwrap_err(), OpenError::Empty));
}

#[test]
fn a_log_that_was_never_finished_is_made_again() {
    let disk = FakeDisk::new();
    disk.keep_history();
    drop(open(&disk, options()).unwrap());
    for operations in 0..=disk.counts().operations {
        for seed in 0..50 {
            let image = disk.crash_at(operations, seed);
            let (mut log, opened, _) = open(&image, Options { node_if_new: 9, ..options() }).unwrap();
            assert!(opened.node == if opened.is_new { 9 } else { 7 }, "operation {operations}, seed {seed}");
            commit(&mut log, 0, 3, false).unwrap();
            drop(log);
            assert_eq!(open(&image, options()).unwrap().2.count, 3);
        }
    }
}
