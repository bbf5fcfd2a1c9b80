use std::io::{ErrorKind, IoSlice};

use wal::Disk as _;

use super::FakeDisk;

fn write(disk: &FakeDisk, name: &str, at: u64, bytes: &[u8]) {
    disk.clone().write_at(name, at, &[IoSlice::new(bytes)]).unwrap();
}

/// A file `a` of 2,000 ones, safe.
fn safe() -> FakeDisk {
    let disk = FakeDisk::new();
    let mut handle = disk.clone();
    handle.create("a").unwrap();
    write(&disk, "a", 0, &[1; 2_000]);
    handle.sync("a").unwrap();
    handle.sync_dir().unwrap();
    disk
}

#[test]
fn what_was_synced_survives_and_what_was_not_survives_in_part() {
    let disk = safe();
    write(&disk, "a", 1_000, &[2; 2_000]);
    let (mut whole, mut none, mut torn) = (0, 0, 0);
    for seed in 0..500 {
        let image = disk.crash(seed);
        let content = image.content("a").unwrap();
        assert_eq!(content[..1_000], [1; 1_000], "seed {seed}");
        assert_eq!(content, disk.crash(seed).content("a").unwrap(), "the same seed gives the same disk");
        let kept: usize = content.iter().map(|byte| usize::from(*byte == 2)).sum();
        match kept {
            0 => none += 1,
            2_000 => whole += 1,
            // Not a number of whole sectors: 24, 512, 512, 512, 440.
            kept if (kept % 512) % 24 != 0 && (kept % 512) % 440 != 0 => torn += 1,
            _ => {}
        }
    }
    assert!(whole > 20 && none > 20 && torn > 20, "{whole} whole, {none} not at all, {torn} torn");
    assert_eq!(disk.kill().content("a").unwrap().len(), 3_000);
}

#[test]
fn bits_flip_only_where_it_was_not_safe() {
    let disk = safe();
    write(&disk, "a", 1_000, &[2; 2_000]);
    let flipped = (0..500).filter(|seed| {
        let content = disk.crash(*seed).content("a").unwrap();
        assert_eq!(content[..1_000], [1; 1_000], "seed {seed}");
        content.iter().any(|byte| ![0, 1, 2].contains(byte))
    });
    assert!((20..300).contains(&flipped.count()));
}

#[test]
fn a_name_survives_when_the_directory_was_synced() {
    let disk = safe();
    let mut handle = disk.clone();
    handle.rename("a", "b").unwrap();
    handle.create("c").unwrap();
    let seen: std::collections::BTreeSet<_> = (0..200).map(|seed| disk.crash(seed).names()).collect();
    for names in &seen {
        assert!(names.contains(&"a".to_owned()) != names.contains(&"b".to_owned()), "{names:?}");
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    handle.sync_dir().unwrap();
    assert!((0..200).all(|seed| disk.crash(seed).names() == ["b", "c"]));
}

#[test]
fn the_power_goes_when_it_was_told_to() {
    let disk = safe();
    disk.keep_history();
    let before = disk.counts().operations;
    write(&disk, "a", 0, &[3; 10]);
    disk.crash_after(1);
    disk.clone().sync("a").unwrap();
    assert!(disk.is_dead());
    let error = disk.clone().write_at("a", 0, &[IoSlice::new(&[4])]).unwrap_err();
    assert_eq!(error.to_string(), "the power is gone");
    assert!(disk.clone().list().is_err());
    assert_eq!(disk.crash(1).content("a").unwrap()[..11], [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1]);
    assert_eq!(disk.kill_at(before).content("a").unwrap()[0], 1);
    assert_eq!(disk.kill_at(before + 1).content("a").unwrap()[0], 3);
    assert!((0..100).any(|seed| disk.crash_at(before + 1, seed).content("a").unwrap()[0] == 1));
    assert!((0..100).all(|seed| disk.crash_at(before + 2, seed).content("a").unwrap()[0] == 3));
}

#[test]
fn it_is_full_when_it_was_told_to() {
    let disk = safe();
    disk.set_capacity(Some(3_000));
    write(&disk, "a", 0, &[1; 3_000]);
    let mut handle = disk.clone();
    assert_eq!(handle.write_at("a", 2_999, &[IoSlice::new(&[1; 2])]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(handle.allocate("a", 4_000).unwrap_err().kind(), ErrorKind::StorageFull);
    handle.set_len("a", 100).unwrap();
    handle.allocate("a", 3_000).unwrap();
    assert_eq!(disk.content("a").unwrap()[100..], [0; 2_900]);
}

#[test]
fn a_sync_fails_when_it_was_told_to() {
    let disk = safe();
    disk.fail_sync(1);
    let mut handle = disk.clone();
    write(&disk, "a", 0, &[9; 10]);
    handle.sync_dir().unwrap();
    assert!(handle.sync("a").is_err());
    assert!((0..100).any(|seed| disk.crash(seed).content("a").unwrap()[0] == 1));
    handle.sync("a").unwrap();
    assert!((0..100).all(|seed| disk.crash(seed).content("a").unwrap()[0] == 9));
}
