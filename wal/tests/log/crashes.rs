//! The power goes at any moment, again and again.

use simnet::FakeDisk;
use wal::{Keep, Level, Options};

use crate::model::{Chance, Promise, live, open, options};

/// What was promised when the power went.
fn promised(promises: &[Promise], operations: u64) -> (u64, u64) {
    let before: Vec<_> = promises.iter().filter(|promise| promise.operations <= operations).collect();
    let safe = before.last().map_or(0, |promise| promise.safe);
    let asked = before.last().map_or(0, |promise| promise.asked);
    (safe, asked)
}

/// Lives one after another, each on what a crash left of the one before; returns how many images were looked at.
fn lives(seed: u64, options: Options, images: u64) -> u64 {
    let mut chance = Chance(seed);
    let mut disk = FakeDisk::new();
    let mut looked = 0;
    for life in 0..3 {
        disk.keep_history();
        let before = disk.counts().operations;
        let promises = live(&disk, seed * 10 + life, options);
        let after = disk.counts().operations;
        let mut next = None;
        for _ in 0..images {
            let operations = before + chance.below(after - before + 1);
            let (image_seed, (safe, asked)) = (chance.below(u64::MAX), promised(&promises, operations));
            let image = disk.crash_at(operations, image_seed);
            let case = format!("seed {seed}, life {life}, operation {operations}, image {image_seed}");
            let (log, opened, seen) = open(&image, options).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert!((safe..=asked).contains(&seen.count), "{case}: {seen:?}, promised {safe}, asked {asked}");
            assert_eq!(seen.lost, [], "{case}");
            drop(log);
            let (_log, again, seen_again) = open(&image, options).unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!(seen_again, seen, "{case}: the second start");
            assert_eq!(
                (again.boot, again.end, again.cut_bytes),
                (opened.boot, opened.end, 0),
                "{case}: the second start"
            );
            next = Some(image);
            looked += 1;
        }
        disk = next.unwrap();
    }
    looked
}

#[test]
fn what_was_committed_survives_a_loss_of_power() {
    let looked: u64 = (0..100).map(|seed| lives(seed, options(), 34)).sum();
    assert!(looked >= 10_000);
}

#[test]
fn what_was_written_survives_as_far_as_it_was_synced() {
    let options = Options { level: Level::Os, ..options() };
    let looked: u64 = (0..100).map(|seed| lives(seed, options, 34)).sum();
    assert!(looked >= 10_000);
}

#[test]
fn what_is_kept_survives_while_old_segments_go() {
    let options = Options { keep: Keep { bytes: 0, age: None }, ..options() };
    let looked: u64 = (0..40).map(|seed| lives(seed, options, 34)).sum();
    assert!(looked >= 4_000);
}

#[test]
fn what_a_start_after_a_kill_has_handed_out_is_safe() {
    let options = Options { level: Level::Os, ..options() };
    for seed in 0..100 {
        let disk = FakeDisk::new();
        live(&disk, seed, options);
        let killed = disk.kill();
        let (_log, _, seen) = open(&killed, options).unwrap();
        for image_seed in 0..20 {
            let (_log, _, again) = open(&killed.crash(image_seed), options).unwrap();
            assert_eq!(again, seen, "seed {seed}, image {image_seed}");
        }
    }
}

#[test]
fn what_was_written_survives_a_kill() {
    for seed in 0..100 {
        let options = Options { level: Level::Os, ..options() };
        let disk = FakeDisk::new();
        disk.keep_history();
        let promises = live(&disk, seed, options);
        let end = disk.counts().operations;
        for operations in 0..=end {
            let Some(promise) = promises.iter().rfind(|promise| promise.operations <= operations) else { continue };
            let image = disk.kill_at(operations);
            let (_log, _, seen) = open(&image, options).unwrap();
            assert!((promise.written..=promise.asked).contains(&seen.count), "seed {seed}: {seen:?}, {promise:?}");
        }
    }
}

/// `WEIR_LOG_LIVES=260` looks at more than 100,000 images, in a minute.
#[test]
fn losses_of_power_at_every_level_with_and_without_old_segments() {
    #[expect(clippy::disallowed_methods, reason = "a test takes no flags")]
    let seeds: u64 = std::env::var("WEIR_LOG_LIVES").map_or(5, |seeds| seeds.parse().unwrap());
    let forgetful = Options { keep: Keep { bytes: 0, age: None }, ..options() };
    let all =
        [options(), forgetful, Options { level: Level::Os, ..options() }, Options { level: Level::Os, ..forgetful }];
    let looked: u64 = (1_000..1_000 + seeds).flat_map(|seed| all.map(|options| lives(seed, options, 34))).sum();
    println!("{looked} images");
    assert!(looked >= 385 * seeds, "{looked}");
}
