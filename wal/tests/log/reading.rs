//! Reading the past: by offset, by position, by time.

use simnet::FakeDisk;
use wal::{Chunk, Commit, Found, Frames, From, Keep, Log, Options, Read};

use crate::model::{Chance, SMALL, commit, messages, open, options, record};

fn read(log: &mut Log, from: From, bytes_max: usize) -> Found {
    let reads = vec![Read { id: 5, from, bytes_max }];
    let Chunk { id, found } = log.commit(Commit { reads, ..Commit::default() }).unwrap().reads.remove(0);
    assert_eq!(id, 5);
    found
}

/// The numbers of the records in a chunk, its first offset, its position and where to go on.
fn numbers(found: Found) -> (Vec<u64>, u64, u64, u64) {
    let Found::Records { records, first_offset, position, next, lost, .. } = found else { panic!("{found:?}") };
    assert_eq!(lost, None);
    let mut frames = Frames::new(&records);
    let numbers = frames.by_ref().map(|frame| {
        let number = u64::from_le_bytes(frame.bytes[..8].try_into().unwrap());
        assert_eq!((frame.messages, frame.bytes.to_vec()), record(number));
        number
    });
    let numbers = numbers.collect();
    assert!(frames.rest().is_empty());
    (numbers, first_offset, position, next)
}

/// A log of 600 records in several segments, 7 a second.
fn filled(options: Options) -> (FakeDisk, Log) {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, options).unwrap();
    let (mut count, mut wants_snapshot) = (0, false);
    while count < 600 {
        wants_snapshot = commit(&mut log, count, count + 6, wants_snapshot).unwrap().wants_snapshot;
        count += 6;
    }
    (disk, log)
}

#[test]
fn any_offset_is_found() {
    let (disk, log) = filled(options());
    drop(log);
    let (mut log, opened, _) = open(&disk, options()).unwrap();
    let mut chance = Chance(4);
    for _ in 0..500 {
        let offset = chance.below(messages(600));
        let bytes_max = usize::try_from(chance.below(3_000)).unwrap();
        let (found, first_offset, position, next) = numbers(read(&mut log, From::Offset(offset), bytes_max));
        assert_eq!(first_offset, messages(found[0]));
        assert!(first_offset <= offset && offset < messages(found[0] + 1), "{offset}: {found:?}");
        assert!(found.windows(2).all(|pair| pair[0] + 1 == pair[1]));
        assert!(position < next && next <= opened.end);
        let (again, ..) = numbers(read(&mut log, From::Position(position), bytes_max));
        assert_eq!(again, found);
    }
}

#[test]
fn everything_is_read_in_order_chunk_by_chunk() {
    let (_disk, mut log) = filled(options());
    for bytes_max in [0, 100, 5_000, 1 << 20] {
        let (mut seen, mut next) = (Vec::new(), 0);
        loop {
            let (found, _, _, behind) = numbers(read(&mut log, From::Position(next), bytes_max));
            if found.is_empty() {
                break;
            }
            seen.extend(found);
            next = behind;
        }
        assert_eq!(seen, (0..600).collect::<Vec<_>>());
    }
}

#[test]
fn the_end_is_empty_until_something_comes() {
    let (_disk, mut log) = filled(options());
    let (found, first_offset, position, next) = numbers(read(&mut log, From::Offset(u64::MAX), 100));
    assert_eq!((found.len(), first_offset, position), (0, messages(600), next));
    assert_eq!(numbers(read(&mut log, From::Time(u64::MAX), 100)).0, []);
    assert_eq!(numbers(read(&mut log, From::Position(next), 100)).0, []);
    commit(&mut log, 600, 602, false).unwrap();
    assert_eq!(numbers(read(&mut log, From::Position(next), 1 << 20)).0, [600, 601]);
    assert_eq!(numbers(read(&mut log, From::Offset(messages(600)), 1 << 20)).0.last(), Some(&601));
}

#[test]
fn a_read_in_the_same_commit_sees_its_records() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, options()).unwrap();
    let reads = vec![Read { id: 1, from: From::Offset(0), bytes_max: 1 << 20 }];
    let records = crate::model::records(0, 4);
    let committed = log.commit(Commit { records, reads, ..Commit::default() }).unwrap();
    assert_eq!(numbers(committed.reads[0].found.clone()).0.last(), Some(&3));
}

#[test]
fn a_time_is_found() {
    let (disk, log) = filled(options());
    drop(log);
    let (mut log, _, _) = open(&disk, options()).unwrap();
    // Commits came every 600,000 us, with six records each.
    for (time, number) in [(0, 0), (1, 6), (600_000, 6), (600_001, 12), (30_000_000, 300), (59_400_000, 594)] {
        let (found, ..) = numbers(read(&mut log, From::Time(time), 0));
        assert_eq!(found, [number], "{time}");
    }
}

#[test]
fn a_clock_that_went_back_hides_nothing() {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, options()).unwrap();
    for (number, at_us) in [(0, 5_000_000), (1, 1_000_000), (2, 9_000_000), (3, 2_000_000)] {
        let records = crate::model::records(number, number + 1);
        log.commit(Commit { records, at_us, ..Commit::default() }).unwrap();
    }
    assert_eq!(numbers(read(&mut log, From::Time(6_000_000), 1 << 20)).0, [2, 3]);
    assert_eq!(numbers(read(&mut log, From::Time(1_500_000), 1 << 20)).0, [0, 1, 2, 3]);
}

#[test]
fn what_is_gone_is_said_to_be() {
    let (_disk, mut log) = filled(Options { keep: Keep { bytes: 2 * SMALL, age: None }, ..options() });
    let Found::Gone { oldest } = read(&mut log, From::Offset(0), 100) else { panic!("it is kept") };
    assert!(oldest > 0);
    assert_eq!(read(&mut log, From::Position(0), 100), Found::Gone { oldest });
    assert_eq!(numbers(read(&mut log, From::Offset(oldest), 100)).1, oldest);
    let (found, first_offset, ..) = numbers(read(&mut log, From::Time(0), 100));
    assert!(first_offset == oldest && !found.is_empty());
}

#[test]
fn what_went_bad_while_the_log_was_open_is_said() {
    let (disk, mut log) = filled(options());
    disk.flip("00000000000000000000.log", 5_000, 1);
    let mut next = From::Offset(0);
    let what = loop {
        match read(&mut log, next, 100) {
            Found::Records { next: behind, .. } => next = From::Position(behind),
            Found::Damaged { what } => break what,
            Found::Gone { .. } => panic!("it is kept"),
        }
    };
    assert!(
        what.contains("00000000000000000000.log at byte ") && what.contains("the checksum does not match"),
        "{what}"
    );
    // What is behind it can be read.
    let (found, ..) = numbers(read(&mut log, From::Offset(messages(500)), 100));
    assert!(found[0] >= 500);
}
