//! What was synced and does not check any more is never taken, and never passed over in silence.

use simnet::FakeDisk;
use wal::{Commit, Damage, Flaw, Found, From, Log, OpenError, Options, Read, verify};

use crate::model::{Chance, Seen, commit, messages, open, options};

/// A closed log of several segments, and how many records it has.
fn closed() -> (FakeDisk, u64) {
    let disk = FakeDisk::new();
    let (mut log, _, _) = open(&disk, options()).unwrap();
    let (mut count, mut wants_snapshot) = (0, false);
    for _ in 0..30 {
        wants_snapshot = commit(&mut log, count, count + 15, wants_snapshot).unwrap().wants_snapshot;
        count += 15;
    }
    close(&mut log);
    (disk, count)
}

fn close(log: &mut Log) {
    log.commit(Commit { for_good: true, ..Commit::default() }).unwrap();
}

fn segments(disk: &FakeDisk) -> Vec<String> {
    let names = disk.names();
    let segments = names.into_iter().filter(|name| name.len() > 4 && name.strip_suffix(".log").is_some());
    segments.collect()
}

fn base(name: &str) -> u64 {
    name.trim_end_matches(".log").parse().unwrap()
}

/// Positions of the log up to its last record, and the file and place of each.
fn place_of(disk: &FakeDisk, position: u64) -> (String, u64) {
    let name = segments(disk).into_iter().rfind(|name| base(name) <= position).unwrap();
    let place = position - base(&name);
    (name, place)
}

fn refused(disk: &FakeDisk) -> Vec<Damage> {
    match open(disk, options()) {
        Err(OpenError::Damaged(damage)) => damage,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("damage was passed over"),
    }
}

fn salvaging() -> Options {
    Options { salvage: true, ..options() }
}

#[test]
fn a_flip_anywhere_is_refused_with_its_place() {
    let (disk, _) = closed();
    let end = verify(&mut disk.clone(), &mut |_| Ok(())).unwrap().end - 64;
    let mut chance = Chance(1);
    for _ in 0..10_000 {
        let (position, bit) = (chance.below(end), u8::try_from(chance.below(8)).unwrap());
        let (file, place) = place_of(&disk, position);
        let hurt = disk.kill();
        assert!(hurt.flip(&file, place, bit));
        let damage = refused(&hurt);
        let told = &damage[0];
        assert_eq!((damage.len(), &told.file), (1, &file), "position {position}");
        assert!((told.position..told.until).contains(&position), "position {position}: {told:?}");
        assert_eq!(told.position, base(&file) + told.place);
        assert!(OpenError::Damaged(damage.clone()).to_string().contains(&format!("{file} at byte {}", told.place)));
        assert_eq!(hurt.content(&file), hurt.kill().content(&file), "a start that refuses changes nothing");
    }
}

#[test]
fn what_is_set_aside_is_told_at_each_start_and_the_rest_is_there() {
    let (disk, count) = closed();
    let end = verify(&mut disk.clone(), &mut |_| Ok(())).unwrap().end - 64;
    let newest = base(segments(&disk).last().unwrap());
    let mut chance = Chance(2);
    for _ in 0..300 {
        let position = chance.below(end);
        let (file, place) = place_of(&disk, position);
        let hurt = disk.kill();
        hurt.flip(&file, place, 3);
        let bytes = hurt.content(&file).unwrap();
        let damage = refused(&hurt).remove(0);
        let (log, opened, seen) = open(&hurt, salvaging()).unwrap();
        assert_eq!(opened.set_aside, std::slice::from_ref(&damage));
        assert_eq!(opened.next_offset, messages(count));
        let copy = hurt.content(&format!("damaged-{:020}.bin", damage.position)).unwrap();
        let (from, to) = (damage.place as usize, (damage.until - base(&file)) as usize);
        assert_eq!(copy, bytes[from..to]);
        drop(log);
        let (mut log, again, seen_again) = open(&hurt, options()).unwrap();
        assert_eq!(seen_again, seen, "position {position}");
        assert_eq!(again.set_aside, []);
        assert!(seen.count == count || damage.next_offset == opened.next_offset, "position {position}: {seen:?}");
        assert!(seen.lost.contains(&(damage.first_offset, damage.next_offset)), "{seen:?} {damage:?}");
        if position < newest && damage.next_offset > damage.first_offset {
            let read = Read { id: 0, from: From::Offset(damage.first_offset), bytes_max: 0 };
            let chunk = log.commit(Commit { reads: vec![read], ..Commit::default() }).unwrap().reads.remove(0);
            let Found::Records { first_offset, lost, .. } = chunk.found else { panic!("{chunk:?}") };
            assert_eq!(lost, Some((damage.first_offset, damage.next_offset)));
            assert_eq!(first_offset, damage.next_offset);
        }
        // And the log goes on.
        commit(&mut log, count, count + 3, false).unwrap();
        drop(log);
        let (_log, _, seen) = open(&hurt, options()).unwrap();
        assert_eq!(seen.count, count + 3);
    }
}

#[test]
fn two_damaged_places_are_both_set_aside() {
    let (disk, count) = closed();
    let files = segments(&disk);
    disk.flip(&files[0], 700, 1);
    disk.flip(&files[2], 900, 1);
    assert_eq!(refused(&disk).len(), 2);
    let text = open(&disk, options()).unwrap_err().to_string();
    assert!(text.contains("and 1 more such places") && text.contains("--salvage"), "{text}");
    let (_log, opened, seen) = open(&disk, salvaging()).unwrap();
    assert_eq!((opened.set_aside.len(), seen.count), (2, count));
    assert_eq!(seen.lost.len(), 2);
}

#[test]
fn a_salvage_that_is_interrupted_is_done_again() {
    let (disk, count) = closed();
    let files = segments(&disk);
    disk.flip(&files[1], 700, 1);
    disk.flip(&files[2], 900, 1);
    let before = disk.kill();
    before.keep_history();
    drop(open(&before, salvaging()).unwrap());
    for operations in 0..=before.counts().operations {
        for seed in 0..20 {
            let image = before.crash_at(operations, seed);
            let (_log, _, seen) = open(&image, salvaging()).unwrap();
            assert_eq!((seen.count, seen.lost.len()), (count, 2), "operation {operations}, seed {seed}");
        }
    }
}

#[test]
fn a_snapshot_that_is_damaged_gives_way_to_the_one_before() {
    let (disk, count) = closed();
    let newest = segments(&disk).pop().unwrap();
    // In the head of the segment: all up to the next block that can be found is gone, and the snapshot may be found or not.
    for place in [5, 300, 1_000] {
        let hurt = disk.kill();
        hurt.flip(&newest, place, 1);
        let (_log, _, seen) = open(&hurt, salvaging()).unwrap();
        assert_eq!(seen.count, count);
        assert_eq!(seen.lost.len(), 1);
    }
}

#[test]
fn a_log_whose_only_snapshot_is_damaged_says_that_all_before_is_lost() {
    let (disk, _) = closed();
    let files = segments(&disk);
    for file in &files[..files.len() - 1] {
        wal::Disk::remove(&mut disk.clone(), file).unwrap();
    }
    let snapshot = disk.content(files.last().unwrap()).unwrap();
    let kinds = (0..snapshot.len()).step_by(64).filter(|place| snapshot[*place..].starts_with(b"wLog"));
    let place = kinds.filter(|place| snapshot[*place + 56] == 2).min().unwrap();
    disk.flip(files.last().unwrap(), place as u64 + 70, 1);
    let mut lost = Vec::new();
    let mut replay = |entry: wal::Entry<'_>| {
        if let wal::Entry::Lost { first, next } = entry {
            lost.push((first, next));
        }
        Ok(())
    };
    let (_log, opened) = Log::open(Box::new(disk.clone()), salvaging(), 0, &mut replay, &mut |_, _| {}).unwrap();
    assert_eq!(lost[0], (0, opened.kept_from));
    assert_eq!(lost.len(), 2);
}

#[test]
fn a_segment_that_is_missing_is_damage() {
    let (disk, count) = closed();
    let files = segments(&disk);
    for missing in &files[1..] {
        let hurt = disk.kill();
        wal::Disk::remove(&mut hurt.clone(), missing).unwrap();
        let damage = refused(&hurt).remove(0);
        assert_eq!(damage.flaw, Flaw::EndsEarly);
        assert_eq!(damage.position, base(missing));
        let is_newest = missing == files.last().unwrap();
        if !is_newest {
            assert!(damage.next_offset > damage.first_offset);
            let (_log, opened, seen) = open(&hurt, salvaging()).unwrap();
            assert_eq!((opened.next_offset, seen.count), (messages(count), count));
            assert_eq!(seen.lost, [(damage.first_offset, damage.next_offset)]);
        }
    }
}

#[test]
fn a_segment_that_was_cut_short_is_damage() {
    let (disk, _) = closed();
    for file in segments(&disk) {
        let length = disk.content(&file).unwrap().len() as u64;
        for cut in [0, 1, 63, 64, 200, length / 2, length - 64, length - 1] {
            let hurt = disk.kill();
            wal::Disk::set_len(&mut hurt.clone(), &file, cut).unwrap();
            let damage = refused(&hurt);
            assert_eq!(damage[0].file, file, "cut at {cut}");
            drop(open(&hurt, salvaging()).unwrap());
            drop(open(&hurt, options()).unwrap());
        }
    }
}

#[test]
fn what_lies_behind_the_end_is_nothing() {
    let (disk, count) = closed();
    let newest = segments(&disk).pop().unwrap();
    let end = verify(&mut disk.clone(), &mut |_| Ok(())).unwrap().end;
    let place = (end - base(&newest)) as usize;
    let whole = disk.content(&newest).unwrap();
    let mut chance = Chance(3);
    for fill in 0..50 {
        let mut tail: Vec<u8> = (place..whole.len()).map(|_| u8::try_from(chance.below(256)).unwrap()).collect();
        if fill % 2 == 0 {
            // As if an earlier life's blocks were still there.
            tail = whole[..tail.len()].to_vec();
        }
        let mut content = whole.clone();
        content[place..].copy_from_slice(&tail);
        let hurt = disk.kill();
        hurt.put(&newest, &content);
        let (mut log, opened, seen) = open(&hurt, options()).unwrap();
        assert_eq!((seen, opened.end), (Seen { count, lost: Vec::new() }, end));
        commit(&mut log, count, count + 2, false).unwrap();
        drop(log);
        assert_eq!(open(&hurt, options()).unwrap().2.count, count + 2);
    }
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let (disk, count) = closed();
    let (mut log, opened, _) = open(&disk, options()).unwrap();
    let end = commit(&mut log, count, count + 10, false).unwrap().end;
    let newest = segments(&disk).pop().unwrap();
    let hurt = disk.kill();
    hurt.flip(&newest, end - base(&newest) - 65, 1);
    let (_log, cut, seen) = open(&hurt, options()).unwrap();
    assert_eq!((seen.count, cut.end, cut.cut_bytes), (count, opened.end, end - opened.end));
    assert_eq!(cut.boot, opened.boot);
    let (_log, again, _) = open(&hurt, options()).unwrap();
    assert_eq!(again.cut_bytes, 0);
}

#[test]
fn a_segment_of_another_queue_is_damage() {
    let (disk, _) = closed();
    let other = FakeDisk::new();
    let (mut log, _, _) = open(&other, Options { node_if_new: 8, ..options() }).unwrap();
    commit(&mut log, 0, 5, false).unwrap();
    let first = segments(&disk).remove(0);
    disk.put(&first, &other.content(&first).unwrap());
    assert_eq!(refused(&disk)[0].flaw, Flaw::OtherNode);
}

#[test]
fn verify_tells_the_same_and_changes_nothing() {
    let (disk, count) = closed();
    let mut seen = 0;
    let verified = verify(&mut disk.clone(), &mut |entry| {
        seen += u64::from(matches!(entry, wal::Entry::Record { .. }));
        Ok(())
    });
    let verified = verified.unwrap();
    assert_eq!((verified.records, seen, verified.next_offset), (count, count, messages(count)));
    assert_eq!((verified.damage.len(), verified.tail_bytes, verified.node, verified.boots), (0, 0, 7, 1));
    let files = segments(&disk);
    assert_eq!(verified.segments, files.len() as u64);
    disk.flip(&files[1], 700, 1);
    let before = disk.counts();
    let verified = verify(&mut disk.clone(), &mut |_| Ok(())).unwrap();
    assert_eq!(verified.damage, refused(&disk));
    assert_eq!(disk.counts(), before);
}
