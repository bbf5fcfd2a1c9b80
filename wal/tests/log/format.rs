//! The format, written down a second time: what this builds by hand is what `docs/log.md` says, and the log must read it.

use proptest::prelude::*;
use simnet::FakeDisk;
use wal::{Commit, Entry, Log, verify};

use crate::model::{SMALL, open, options};

/// A block as the page describes it.
fn block(kind: u32, boot: u32, position: u64, fields: [u64; 4], before: u32, payload: &[u8]) -> Vec<u8> {
    let [synced, offset, at_us, extra] = fields;
    let mut rest = Vec::new();
    rest.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    rest.extend(boot.to_le_bytes());
    for field in [position, synced, offset, at_us, extra] {
        rest.extend(field.to_le_bytes());
    }
    rest.extend(kind.to_le_bytes());
    rest.extend(before.to_le_bytes());
    rest.extend(payload);
    let mut block = b"wLog".to_vec();
    block.extend(crc32c::crc32c(&rest).to_le_bytes());
    block.extend(rest);
    block.resize(block.len().next_multiple_of(64), 0);
    block
}

fn checksum(block: &[u8]) -> u32 {
    u32::from_le_bytes(block[4..8].try_into().unwrap())
}

/// A directory with a label and one segment.
fn directory(segment: &[u8]) -> FakeDisk {
    let disk = FakeDisk::new();
    let label = "weir queue log\nversion 1\nnode 0000000000000007\n";
    disk.put("weir-log", format!("{label}check {:08x}\n", crc32c::crc32c(label.as_bytes())).as_bytes());
    disk.put("00000000000000000000.log", segment);
    disk
}

/// The begin of a first segment: its head and an empty snapshot.
fn begin() -> Vec<u8> {
    let mut segment = block(1, 0, 0, [0, 0, 0, 7], 0, &SMALL.to_le_bytes());
    let before = checksum(&segment);
    segment.extend(block(2, 0, 128, [0; 4], before, &[]));
    segment
}

#[test]
fn what_is_built_by_hand_is_read() {
    let mut segment = begin();
    let mut records = Vec::new();
    for (messages, bytes) in [(2_u32, "two"), (0, ""), (1, "one")] {
        records.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        records.extend(messages.to_le_bytes());
        records.extend(bytes.as_bytes());
    }
    let before = checksum(&segment[128..]);
    segment.extend(block(3, 1, 192, [192, 0, 55, 0], before, &records));
    let before = checksum(&segment[192..]);
    segment.extend(block(4, 1, 320, [320, 3, 56, 0], before, &[]));
    segment.resize(SMALL as usize, 0);
    let disk = directory(&segment);
    let mut seen = Vec::new();
    let mut replay = |entry: Entry<'_>| {
        let Entry::Record { position, offset, messages, at_us, bytes } = entry else { panic!("{entry:?}") };
        seen.push((position, offset, messages, at_us, bytes.to_vec()));
        Ok(())
    };
    let (mut log, opened) = Log::open(Box::new(disk.clone()), options(), 0, &mut replay, &mut |_, _| {}).unwrap();
    assert_eq!((opened.boot, opened.next_offset, opened.end, opened.node), (2, 3, 384, 7));
    let two = (256, 0, 2, 55, b"two".to_vec());
    assert_eq!(seen, [two, (267, 2, 0, 55, vec![]), (275, 2, 1, 55, b"one".to_vec())]);
    // And what the log writes is what is built by hand.
    let mut framed = Vec::new();
    wal::frame(&mut framed, 1, b"three");
    log.commit(Commit { records: framed.clone(), at_us: 77, ..Commit::default() }).unwrap();
    let before = checksum(&segment[320..]);
    let expected = block(3, 2, 384, [384, 3, 77, 0], before, &framed);
    assert_eq!(disk.content("00000000000000000000.log").unwrap()[384..384 + 128], expected);
}

#[test]
fn a_new_log_is_what_is_built_by_hand() {
    let disk = FakeDisk::new();
    drop(open(&disk, options()).unwrap());
    let mut expected = begin();
    expected.resize(SMALL as usize, 0);
    assert_eq!(disk.content("00000000000000000000.log").unwrap(), expected);
}

#[test]
fn what_checks_but_does_not_follow_is_not_taken() {
    let mut framed = Vec::new();
    wal::frame(&mut framed, 1, b"here");
    let begin = begin();
    let second = block(3, 2, 192, [192, 0, 1, 0], checksum(&begin[128..]), &framed);
    let follows = checksum(&second);
    // The right one; one of an earlier start; one behind another block; one of another offset; one of another place.
    let third = [
        (block(3, 2, 320, [192, 1, 1, 0], follows, &framed), 2),
        (block(3, 1, 320, [192, 1, 1, 0], follows, &framed), 1),
        (block(3, 2, 320, [192, 1, 1, 0], follows ^ 1, &framed), 1),
        (block(3, 2, 320, [192, 2, 1, 0], follows, &framed), 1),
        (block(3, 2, 384, [192, 1, 1, 0], follows, &framed), 1),
    ];
    for (case, (third, records)) in third.into_iter().enumerate() {
        let mut segment = [begin.clone(), second.clone(), third].concat();
        segment.resize(SMALL as usize, 0);
        let verified = verify(&mut directory(&segment), &mut |_| Ok(())).unwrap();
        assert_eq!((verified.records, verified.damage.len()), (records, 0), "case {case}");
        assert!((verified.tail_bytes > 0) == (records == 1 && case != 4), "case {case}");
    }
}

/// Opens, salvages and verifies whatever is there: nothing may panic, and what a salvage has left must open.
fn try_all(disk: &FakeDisk) {
    let mut ignore = |_: Entry<'_>| Ok(());
    let verified = verify(&mut disk.clone(), &mut ignore);
    let opened = Log::open(Box::new(disk.kill()), options(), 0, &mut ignore, &mut |_, _| {});
    if let Ok(verified) = verified {
        assert_eq!(verified.damage.is_empty(), opened.is_ok());
    }
    let salvaged = disk.kill();
    let salvage = wal::Options { salvage: true, ..options() };
    if let Ok((mut log, _)) = Log::open(Box::new(salvaged.clone()), salvage, 0, &mut ignore, &mut |_, _| {}) {
        let mut records = Vec::new();
        wal::frame(&mut records, 1, b"more");
        let reads = [wal::From::Offset(0), wal::From::Position(0), wal::From::Time(1)];
        let reads = reads.into_iter().map(|from| wal::Read { id: 0, from, bytes_max: 1_000 }).collect();
        // It may be out of numbers: then it says so.
        let _ = log.commit(Commit { records, reads, ..Commit::default() });
        drop(log);
        drop(Log::open(Box::new(salvaged), options(), 0, &mut ignore, &mut |_, _| {}));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_bytes_are_a_segment_that_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2_000), whole in any::<bool>()) {
        let mut segment = if whole { begin() } else { Vec::new() };
        segment.extend(bytes);
        try_all(&directory(&segment));
    }

    #[test]
    fn any_blocks_are_a_segment_that_does_no_harm(
        blocks in prop::collection::vec(
            (0_u32..7, any::<u32>(), prop::array::uniform4(any::<u64>()), any::<bool>(), prop::collection::vec(any::<u8>(), 0..100)),
            0..10,
        )
    ) {
        let mut segment = begin();
        let mut before = checksum(&segment[128..]);
        let mut offset = 0_u64;
        for (kind, boot, [synced, any_offset, at_us, extra], is_sane, mut payload) in blocks {
            let position = segment.len() as u64;
            if kind == 3 {
                let mut framed = Vec::new();
                wal::frame(&mut framed, u32::from(is_sane), &payload);
                payload = framed;
            }
            let extra = if is_sane { position + 64 * (1 + extra % 8) } else { extra };
            let fields = if is_sane { [synced % (position + 1), offset, at_us, extra] } else { [synced, any_offset, at_us, extra] };
            let block = block(kind, boot % 3, position, fields, before, &payload);
            before = checksum(&block);
            offset = fields[1].wrapping_add(u64::from(kind == 3 && is_sane));
            segment.extend(block);
        }
        segment.resize(segment.len().max(SMALL as usize), 0);
        try_all(&directory(&segment));
    }

    #[test]
    fn any_names_are_a_log_that_does_no_harm(
        names in prop::collection::vec((prop_oneof![Just(u64::MAX / 64 * 64), Just(0), 0..1_000_u64, any::<u64>()], 0..300_usize), 1..4)
    ) {
        let disk = directory(&begin());
        for (base, length) in names {
            let mut segment = block(1, 0, base, [0, 0, 0, 7], 0, &u64::MAX.to_le_bytes());
            segment.truncate(length);
            disk.put(&format!("{base:020}.log"), &segment);
        }
        // Whether it can be salvaged or not: a hole as long as all positions does not fit on a disk in memory.
        drop(verify(&mut disk.clone(), &mut |_| Ok(())));
        drop(Log::open(Box::new(disk), options(), 0, &mut |_| Ok(()), &mut |_, _| {}));
    }
}
