//! Whole topologies of real machines in bad weather, on a simulated network with a virtual clock.
//!
//! Each seed is a run of its own: two seconds in which a fifth of all datagrams is lost, a tenth doubled and a tenth
//! garbled, the others overtake one another, and in most seeds nodes stop, are parted from one another or die and come
//! back. Then the weather clears.
//!
//! **Safety.** The verbs of 2016 may lose a message; a PUT that the network doubles is a second message; a garbled frame
//! that is still a frame is delivered as it came. Nothing else may happen: a witness at each node writes down what passes,
//! and a model of each kind of node must come to the same datagrams from the same datagrams ([`laws`]). Independently of
//! that, whatever comes out at the end must be explained by what was put in at the beginning, or by a garbled datagram.
//!
//! **Progress.** In calm weather no node stands still, and every message that is put then is processed and comes out once.
//!
//! **Ledgers** add up, those of the machines and those that they report.
//!
//! A failing test names its seed; `SEED=17 cargo test -p trials --test simulation tree -- --nocapture` plays that seed
//! alone and tells all that happens.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails where it cannot go on")]
#![expect(clippy::print_stdout, reason = "a test tells what it went through")]

mod audit;
mod findings;
mod flaw;
mod laws;
mod market;
mod pong;
mod stage;
mod storm;
mod stream;
mod witness;

use findings::{Check, Outcome, Tally};
use flaw::Defect;
use stage::Stage;
use stream::Shape;

/// Two of three in the worst of the weather.
const SEEDS: u64 = 300;

type Topology = fn(Stage) -> Outcome;

fn market_spread(stage: Stage) -> Outcome {
    stream::run(stage, Shape::Straight)
}

fn tree(stage: Stage) -> Outcome {
    stream::run(stage, Shape::Tree)
}

/// The seed that is asked for, or all.
fn seeds() -> std::ops::Range<u64> {
    #[expect(clippy::disallowed_methods, reason = "a test takes no flags")]
    let asked_for = std::env::var("SEED");
    asked_for.map_or(0..SEEDS, |seed| {
        let seed = seed.parse().unwrap();
        seed..seed + 1
    })
}

fn check(name: &str, topology: Topology) {
    let seeds = seeds();
    let mut tally = Tally::default();
    for seed in seeds.clone() {
        let mut stage = Stage::new(seed, None);
        if seeds.end - seeds.start == 1 {
            stage.net.trace_to(|line| println!("{line}"));
        }
        let outcome = topology(stage);
        tally += outcome.tally;
        let findings: Vec<String> = outcome.findings.iter().map(ToString::to_string).collect();
        assert!(
            findings.is_empty(),
            "seed {seed}:\n{}\nsee it again: SEED={seed} cargo test -p trials --test simulation {name} -- --nocapture",
            findings.join("\n")
        );
    }
    println!("{name}: {tally}");
    assert!(tally.seeds == 1 || tally.has_all_troubles(), "a trouble never came: {tally}");
}

#[test]
fn pong_lives_through_bad_weather() {
    check("pong", pong::run);
}

#[test]
fn market_spread_lives_through_bad_weather() {
    check("market_spread", market_spread);
}

#[test]
fn tree_lives_through_bad_weather() {
    check("tree", tree);
}

#[test]
fn a_seed_plays_the_same_run_again() {
    for topology in [pong::run, market_spread, tree] {
        let hashes = [7, 7, 8].map(|seed| topology(Stage::new(seed, None)).trace_hash);
        assert_eq!(hashes[0], hashes[1]);
        assert_ne!(hashes[0], hashes[2]);
    }
}

/// How many seeds are tried with each defect.
const BROKEN_SEEDS: u64 = 20;

/// Each of `checks` finds the defect, in most seeds.
fn check_caught(defect: Defect, topology: Topology, checks: &[Check]) {
    let caught_by = |seed| topology(Stage::new(seed, Some(defect))).findings;
    let findings: Vec<_> = (0..BROKEN_SEEDS).map(caught_by).collect();
    for check in checks {
        let seeds = findings.iter().filter(|found| found.iter().any(|finding| finding.check == *check)).count() as u64;
        println!("{defect:?}: found by {check:?} in {seeds} of {BROKEN_SEEDS} seeds");
        assert!(seeds > BROKEN_SEEDS / 2, "{defect:?}: found by {check:?} in {seeds} of {BROKEN_SEEDS} seeds only");
    }
}

#[test]
fn a_worker_that_never_asks_again_is_caught() {
    check_caught(Defect::WorkerNeverAsksAgain, pong::run, &[Check::Fresh]);
    check_caught(Defect::WorkerNeverAsksAgain, market_spread, &[Check::Stalled, Check::Fresh]);
    check_caught(Defect::WorkerNeverAsksAgain, tree, &[Check::Stalled, Check::Fresh]);
}

#[test]
fn what_is_forgotten_is_missed() {
    check_caught(Defect::WorkerForgets, pong::run, &[Check::Law, Check::Fresh]);
    check_caught(Defect::WorkerForgets, tree, &[Check::Law, Check::Fresh]);
    check_caught(Defect::SinkForgets, market_spread, &[Check::Law, Check::Fresh]);
}

#[test]
fn what_is_told_twice_is_caught() {
    check_caught(Defect::WorkerRepeats, market_spread, &[Check::Law, Check::Fresh]);
    check_caught(Defect::QueueRepeats, market_spread, &[Check::Law, Check::Fresh]);
    check_caught(Defect::QueueRepeats, tree, &[Check::Law, Check::Fresh]);
}

#[test]
fn what_nobody_put_is_caught() {
    check_caught(Defect::QueueInvents, market_spread, &[Check::Law, Check::Invented]);
    check_caught(Defect::QueueChanges, tree, &[Check::Law, Check::Invented, Check::Fresh]);
}

#[test]
fn books_that_are_wrong_are_caught() {
    check_caught(Defect::QueueMiscounts, market_spread, &[Check::Law]);
    check_caught(Defect::QueueMisreports, market_spread, &[Check::Ledger]);
}

#[test]
fn a_datagram_that_nobody_sent_is_caught() {
    let mut stage = Stage::new(0, None);
    let queue = stage.add_queue("queue");
    let (nobody, queue) = (std::net::SocketAddr::from(([10, 9, 9, 9], 9)), stage.address(queue));
    stage.net.send(nobody, queue, b"13GET");
    stage.net.run_until(std::time::Duration::from_millis(10));
    let checks: Vec<Check> = stage.close().findings.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, [Check::Post, Check::Post], "it was never sent, and the sums are wrong");
}
