//! A log's user: records that say which they are, and a state that counts them.

use simnet::FakeDisk;
use wal::{Commit, CommitError, Committed, Entry, Level, Log, OpenError, Opened, Options};

pub(crate) const SMALL: u64 = 16 << 10;

/// What is tried with a small segment, so that several follow one another.
pub(crate) fn options() -> Options {
    Options { segment_bytes: SMALL, node_if_new: 7, ..Options::default() }
}

/// A generator of our own, so that a case is the same everywhere.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// Record `number`, and how many messages it brings. Now and then one is long.
pub(crate) fn record(number: u64) -> (u32, Vec<u8>) {
    let mut chance = Chance(number);
    let length = if chance.below(20) == 0 { chance.below(2_000) } else { chance.below(200) };
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(bytes.len() + usize::try_from(length).unwrap(), number.to_le_bytes()[0] ^ 0x5a);
    (u32::try_from(brought(number)).unwrap(), bytes)
}

fn brought(number: u64) -> u64 {
    Chance(!number).below(4)
}

/// How many messages the first `count` records bring.
pub(crate) fn messages(count: u64) -> u64 {
    (0..count).map(brought).sum()
}

/// Framed records from `from` up to `to`.
pub(crate) fn records(from: u64, to: u64) -> Vec<u8> {
    let mut framed = Vec::new();
    for number in from..to {
        let (messages, bytes) = record(number);
        wal::frame(&mut framed, messages, &bytes);
    }
    framed
}

/// The state: how many records there have been. It has some length, so that it can be torn.
pub(crate) fn snapshot(count: u64) -> Vec<u8> {
    count.to_le_bytes().repeat(1 + usize::try_from(count % 200).unwrap())
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The records that are known of, from the first ever to the last.
    pub(crate) count: u64,
    pub(crate) lost: Vec<(u64, u64)>,
}

impl Seen {
    /// Takes what a log hands out, and panics at anything that was never written, or is out of order.
    pub(crate) fn take(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Snapshot(bytes) => {
                self.count = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                assert_eq!(bytes, snapshot(self.count));
            }
            Entry::Record { offset, messages: brought, bytes, .. } => {
                let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                if self.lost.is_empty() {
                    assert_eq!(number, self.count, "out of order");
                    assert_eq!(offset, messages(number));
                }
                assert_eq!((brought, bytes.to_vec()), record(number));
                self.count = number + 1;
            }
            Entry::Lost { first, next } => self.lost.push((first, next)),
        }
    }
}

/// Opens the log.
pub(crate) fn open(disk: &FakeDisk, options: Options) -> Result<(Log, Opened, Seen), OpenError> {
    let mut seen = Seen::default();
    let mut replay = |entry: Entry<'_>| {
        seen.take(entry);
        Ok(())
    };
    let (log, opened) = Log::open(Box::new(disk.clone()), options, 0, &mut replay, &mut |_, _| {})?;
    Ok((log, opened, seen))
}

/// Writes records `from` up to `to`, with a snapshot behind them if asked.
pub(crate) fn commit(log: &mut Log, from: u64, to: u64, with_snapshot: bool) -> Result<Committed, CommitError> {
    let snapshot = with_snapshot.then(|| snapshot(to));
    log.commit(Commit {
        records: records(from, to),
        at_us: from * 100_000,
        snapshot,
        low_water: messages(from),
        ..Commit::default()
    })
}

/// What a life of the log promised when: after so many operations of the disk, that so many records are safe, and how many
/// had been written and asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) operations: u64,
    pub(crate) safe: u64,
    pub(crate) written: u64,
    pub(crate) asked: u64,
}

/// A life: the log is opened, and some commits are made. Returns what was promised, in order.
pub(crate) fn live(disk: &FakeDisk, seed: u64, options: Options) -> Vec<Promise> {
    let mut chance = Chance(seed);
    let operations = disk.counts().operations;
    let (mut log, _, seen) = open(disk, options).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut count = seen.count;
    // What was handed out was made safe; and the disk has been looked at before.
    let mut safe = count;
    let mut promises = vec![Promise { operations, safe, written: count, asked: count }];
    let mut wants_snapshot = false;
    for _ in 0..4 + chance.below(8) {
        let to = count + chance.below(12);
        // Asked for from here on: a part of it may be there.
        promises.push(Promise { operations: disk.counts().operations, safe, written: count, asked: to });
        let committed = commit(&mut log, count, to, wants_snapshot || chance.below(12) == 0).unwrap();
        wants_snapshot = committed.wants_snapshot;
        count = to;
        if options.level == Level::Disk || committed.snapshot_taken {
            safe = count;
        }
        promises.push(Promise { operations: disk.counts().operations, safe, written: count, asked: count });
    }
    promises
}
