//! A queue on a disk that loses power.
//!
//! A seed draws a queue with a log, producers, consumers and senders of the verbs of 2016, and lets processes end and the power
//! go at any operation of the disk. Of each loss of power several images of the disk are drawn (any part of what was not
//! synced: `simnet::FakeDisk`); on each a queue is started, twice, and all that it has is compared with all that was
//! answered: `oracle.rs` has the laws. Then one of them goes on.
//!
//! `cargo test -p trials --test power` looks at some thousand images, `./soak.sh` at 200,000. A failing run names its first seed;
//! `SEED=17 cargo test -p trials --test power promises -- --nocapture` plays that one alone and
//! tells all that happens.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails where it cannot go on")]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a simulated queue are small")]

mod oracle;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use link::Fault;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use simnet::Lie;
use wal::Level;
use world::{Plan, Plant, World};

/// How many images the test command looks at, at least.
const IMAGES: u64 = 3_000;

/// Within so many seeds each planted fault is found.
const PLANT_SEEDS: u64 = 1_000;

fn plan(seed: u64) -> Plan {
    let mut chance = SmallRng::seed_from_u64(seed ^ 0x706f_7765_7221);
    let (level, power) = match chance.random_range(0..8) {
        0 => (Level::Os, false),
        1 => (Level::Os, true),
        2 => (Level::Disk, false),
        _ => (Level::Disk, true),
    };
    Plan {
        seed,
        level,
        power,
        segment_bytes: 4096 << chance.random_range(0..=4),
        keep_bytes: 2048 << chance.random_range(0..=6),
        seeks: chance.random_bool(0.5),
        requeues: chance.random_bool(0.25),
        steps: 400,
    }
}

/// Plays one seed: how many images were looked at.
fn play(seed: u64, plant: Option<Plant>, reader: Option<fn(&str)>) -> Result<u64, String> {
    let mut world = World::new(plan(seed), plant, reader);
    world.play().map(|()| world.images)
}

fn try_to_play(seed: u64, plant: Option<Plant>) -> Result<u64, String> {
    let played = catch_unwind(AssertUnwindSafe(|| play(seed, plant, None)));
    played.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        Err(said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}

/// Plays seeds on all cores until one fails, or enough images have been looked at: seeds begun, images, and the first that
/// failed.
fn play_many(seeds_max: u64, images_min: u64, plant: Option<Plant>) -> (u64, u64, Option<(u64, String)>) {
    let (next, images, failed) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(None));
    let work = || {
        while images.load(Ordering::Relaxed) < images_min {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds_max {
                return;
            }
            match try_to_play(seed, plant) {
                Ok(looked_at) => _ = images.fetch_add(looked_at, Ordering::Relaxed),
                Err(why) => {
                    next.store(seeds_max, Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap();
                    let is_first = failed.as_ref().is_none_or(|(first, _)| seed < *first);
                    if is_first {
                        *failed = Some((seed, why));
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    (next.into_inner().min(seeds_max), images.into_inner(), failed.into_inner().unwrap())
}

fn asked_for(variable: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test takes no flags")]
    let value = std::env::var(variable);
    value.ok().map(|value| value.parse().unwrap())
}

#[test]
fn queues_keep_their_promises() {
    if let Some(seed) = asked_for("SEED") {
        println!("{:#?}", plan(seed));
        play(seed, None, Some(|line| println!("{line}"))).unwrap();
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "how fast it is, is told and nothing else")]
    let begun = std::time::Instant::now();
    let (seeds, images, failed) = play_many(1 << 40, asked_for("IMAGES").unwrap_or(IMAGES), None);
    let per_minute = u128::from(images) * 60_000 / begun.elapsed().as_millis().max(1);
    println!("{seeds} seeds, {images} images, {per_minute} images a minute");
    if let Some((seed, why)) = failed {
        let again = format!("SEED={seed} cargo test -p trials --test power promises");
        panic!("seed {seed}: {why}\n{:#?}\nsee it again: {again}", plan(seed));
    }
}

#[test]
fn every_planted_fault_is_found() {
    let plants = [
        Plant::Server(Fault::DeliversEarly),
        Plant::Server(Fault::AnswersEarly),
        Plant::Server(Fault::ConfirmsDuplicatesEarly),
        Plant::Server(Fault::ForgetsProducers),
        Plant::Server(Fault::SameBoot),
        Plant::Server(Fault::SameGeneration),
        Plant::Disk(Lie::Syncs),
        Plant::Disk(Lie::Names),
        Plant::Disk(Lie::SyncsOf(".new")),
    ];
    for plant in plants {
        let (.., failed) = play_many(PLANT_SEEDS, u64::MAX, Some(plant));
        let (seed, why) = failed.unwrap_or_else(|| panic!("{plant:?} is not found in {PLANT_SEEDS} seeds"));
        let without = try_to_play(seed, None);
        assert!(without.is_ok(), "seed {seed} fails without {plant:?}, too: {without:?}");
        println!("{plant:?}: found by seed {seed}: {}", why.lines().next().unwrap_or_default());
    }
}
