//! Trials of the programs as they are used: real processes on the loopback of this machine, started, asked, interrupted
//! and read as an operator would.
//!
//! `cargo build --workspace` comes first: a trial runs the programs that lie beside its own executable. Everything
//! listens on port 0 and is found by its `listening on` line. Nothing sleeps for a fixed time; a trial waits until
//! something is the case, and fails when that takes longer than [`PATIENCE`].
//!
//! Beside the programs, the trials need `bash` and `env` of the GNU coreutils for the demos' scripts, `python3` for the
//! old peers, and `strace`, which must be allowed to trace, for queues that are killed or whose disks fail. Environment
//! variables make them larger: `WEIR_MARKET_DATA` names a folder with the market data of 2016 (without it, the demo's data is
//! used), `WEIR_FLOOD` says how many random datagrams each node is to survive, `WEIR_KILLS` how many processes of the tree
//! are to be killed, `WEIR_QUEUE_KILLS` how many times queues with a log are; `WEIR_KILL_POINTS=all` has one killed at every
//! call to the system (`./kill-everywhere.sh` sets both).
#![expect(
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the harness is the world around the programs, and fails a trial by panicking"
)]

mod client;
mod folder;
pub mod http;
mod hub;
mod node;
mod process;
mod reports;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use client::{Client, free_port};
pub use folder::{TempFolder, demo_folder};
pub use hub::Hub;
pub use node::{Ended, Lines, Node, program, programs_folder, run};
pub use process::{UdpSocketRow, group_members, memory_peak_bytes, udp_sockets};
pub use reports::{Ledger, ReportSocket};

/// How long anything may take that is to happen at all. Generous, because a trial that passes never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long to rest between two looks at a condition.
const REST: Duration = Duration::from_millis(2);

/// Looks again and again until there is what is waited for.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        thread::sleep(REST);
    }
}

/// What `work` gives, and how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}

/// Looks again and again until it is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}
