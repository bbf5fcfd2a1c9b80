//! Whole link graphs of real machines, on a simulated network with a virtual clock.
//!
//! A seed draws a shape, weather, and at least ten troubles for at least 300 messages; see `options.rs`. First all that is
//! drawn befalls the graph, and the books must balance at each step. Then the weather clears, everybody is up, and all
//! must come to its end within a bound; then every message is looked for.
//!
//! `cargo test -p trials --test graphs` runs 200 seeds, `./soak.sh` 100,000. A failing run names its first seed;
//! `SEED=17 cargo test -p trials --test graphs promises -- --nocapture` plays that one alone and tells all that happens.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails where it cannot go on")]
#![expect(clippy::cast_possible_truncation, reason = "the numbers of a simulated graph are small")]

mod disks;
mod graph;
mod laws;
mod messages;
mod options;
mod plant;
mod storm;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use graph::Graph;
use options::{Options, Promise};
use plant::Plant;
use storm::Troubles;

/// How many seeds the test command runs.
const SEEDS: u64 = 200;

/// Within so many seeds each planted fault is found.
const PLANT_SEEDS: u64 = 1_000;

/// Plays one seed.
fn play(options: Options, plant: Option<Plant>, reader: Option<fn(&str)>) -> Result<Troubles, String> {
    let mut graph = Graph::new(options, plant, reader);
    let mut troubles = graph.storm()?;
    let longest_end = graph.end(&mut troubles)?;
    graph.check()?;
    Ok(Troubles { longest_end, ..troubles })
}

/// The same, where a panic is a failure like any other.
fn try_to_play(options: &Options, plant: Option<Plant>) -> Result<Troubles, String> {
    let played = catch_unwind(AssertUnwindSafe(|| play(options.clone(), plant, None)));
    played.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        Err(said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}

/// What many seeds went through.
#[derive(Debug, Default)]
struct Tally {
    seeds: u64,
    by_promise: BTreeMap<Promise, u64>,
    troubles: Troubles,
    /// The first seed that failed, its options, and why.
    failed: Option<(u64, String)>,
}

/// Runs `seeds` on all cores, in order, until one fails.
fn run_all(seeds: std::ops::Range<u64>, promise: Option<Promise>, plant: Option<Plant>) -> Tally {
    let next = AtomicU64::new(seeds.start);
    let tally = Mutex::new(Tally::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let options = Options::drawn(seed, promise);
            let played = try_to_play(&options, plant);
            let mut tally = tally.lock().unwrap();
            tally.seeds += 1;
            *tally.by_promise.entry(options.promise).or_default() += 1;
            match played {
                Ok(troubles) => tally.add(troubles),
                Err(why) => {
                    next.store(seeds.end, Ordering::Relaxed);
                    let is_first = tally.failed.as_ref().is_none_or(|(failed, _)| seed < *failed);
                    if is_first {
                        tally.failed = Some((seed, format!("{why}\n{options:#?}")));
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
    tally.into_inner().unwrap()
}

impl Tally {
    fn add(&mut self, troubles: Troubles) {
        let sum = &mut self.troubles;
        sum.faults += troubles.faults;
        sum.in_time += troubles.in_time;
        sum.kills += troubles.kills;
        sum.kills_of_disks += troubles.kills_of_disks;
        sum.images += troubles.images;
        sum.fenced += troubles.fenced;
        sum.longest_end = sum.longest_end.max(troubles.longest_end);
    }
}

fn asked_for(variable: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test takes no flags")]
    let value = std::env::var(variable);
    value.ok().map(|value| value.parse().unwrap())
}

#[test]
fn graphs_keep_their_promises() {
    if let Some(seed) = asked_for("SEED") {
        let options = Options::drawn(seed, None);
        println!("{options:#?}");
        play(options, None, Some(|line| println!("{line}"))).unwrap();
        return;
    }
    #[expect(clippy::disallowed_methods, reason = "how fast it is, is told and nothing else")]
    let begun = std::time::Instant::now();
    let from = asked_for("FROM").unwrap_or(0);
    let tally = run_all(from..from + asked_for("SEEDS").unwrap_or(SEEDS), None, None);
    let per_minute = u128::from(tally.seeds) * 60_000 / begun.elapsed().as_millis().max(1);
    println!("{tally:#?}\n{per_minute} seeds a minute");
    assert!(tally.failed.is_some() || tally.troubles.faults >= 10 * tally.seeds, "too little befell them");
    if let Some((seed, why)) = &tally.failed {
        panic!(
            "seed {seed}: {why}\nsee it again: SEED={seed} cargo test -p trials --test graphs promises -- --nocapture"
        );
    }
}

#[test]
fn a_seed_plays_the_same_run_again() {
    let hash = |seed| {
        let mut graph = Graph::new(Options::drawn(seed, None), None, None);
        graph.storm().unwrap();
        graph.end(&mut Troubles::default()).unwrap();
        graph.net.trace_hash()
    };
    assert_eq!(hash(7), hash(7));
    assert_ne!(hash(7), hash(8));
}

#[test]
fn every_planted_fault_is_found() {
    for plant in Plant::ALL {
        let tally = run_all(0..PLANT_SEEDS, Some(plant.promise()), Some(plant));
        let (seed, why) = tally.failed.unwrap_or_else(|| panic!("{plant:?} is not found in {PLANT_SEEDS} seeds"));
        let without = try_to_play(&Options::drawn(seed, Some(plant.promise())), None);
        assert!(without.is_ok(), "seed {seed} fails without {plant:?}, too: {without:?}");
        println!("{plant:?}: found by seed {seed}: {}", why.lines().next().unwrap_or_default());
    }
}
