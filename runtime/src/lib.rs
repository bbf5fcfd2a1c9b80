//! The world: sockets, the clock, signals, the log and the flags that all programs share. It drives a
//! [`machine::Machine`] over real UDP; nothing else in the workspace opens a socket or reads a clock, except the programs
//! whose work is the outside world.
//!
//! A program's `main.rs` reads like a recipe:
//!
//! ```no_run
//! # use machine::Machine;
//! # async fn recipe(mut machine: impl Machine, address: runtime::Address) -> Result<(), runtime::Failure> {
//! let port = runtime::UdpPort::listen(&address, runtime::Runs::Joined, &runtime::Allow::default()).await?;
//! runtime::announce("listening on", port.address());
//! runtime::drive(&mut machine, runtime::World::new(vec![port])).await
//! # }
//! ```
#![expect(clippy::disallowed_methods, reason = "this crate is where the world is touched")]

mod address;
mod allow;
mod beside;
mod drive;
mod drops;
mod failure;
pub mod flags;
mod input;
mod logging;
mod outbox;
mod outlet;
mod port;
mod receive;
mod signals;

use std::{
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub use address::{Address, AddressError};
pub use allow::{Allow, Cidr, CidrError};
pub use drive::{World, drive};
pub use failure::Failure;
pub use input::{Closed, Input, LineSender};
pub use logging::LogGuard;
pub use outlet::Outlet;
pub use port::{Runs, UdpPort};
pub use signals::stopped;

use machine::Now;

/// Runs a program's recipe on this thread: flags in, exit code out (0 done, 1 failed, 2 bad command line).
pub fn run<Flags, Work>(program: impl FnOnce(Flags) -> Work) -> ExitCode
where
    Flags: clap::Parser,
    Work: Future<Output = Result<(), Failure>>,
{
    let flags = Flags::parse();
    block_on(program(flags))
}

/// Runs a recipe whose flags are read already, on this thread.
pub fn block_on(program: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let tokio = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => return Failure::new(format!("cannot start: {error}")).report(),
    };
    // Heard from the first moment on: a script may end a node as soon as it has announced itself.
    let outcome = tokio.block_on(async { signals::with(signals::Signals::hear(), program).await });
    // A thread that still waits for a line on stdin must not hold the process back.
    tokio.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Says on stderr where the node can be reached, so that scripts and tests can bind port 0 and read this line.
pub fn announce(what: &str, address: std::net::SocketAddr) {
    say(&format!("{what} {address}"));
}

/// Writes a line to stderr whatever the log flags say, in one call to the system: a script that follows the file sees all of
/// the line or none of it, and processes that share a terminal do not mix their words.
pub fn say(line: &str) {
    // There is nowhere left to say that stderr cannot be written.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// The two clocks of a node, read together.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What time it is.
    pub fn now(self) -> Now {
        Now {
            since_start: self.start.elapsed(),
            since_epoch: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO),
        }
    }

    /// What time it is a little later in the same turn, from one clock alone.
    pub(crate) fn later(self, now: Now) -> Now {
        let since_start = self.start.elapsed();
        Now { since_start, since_epoch: now.since_epoch + since_start.saturating_sub(now.since_start) }
    }

    fn instant(self, since_start: Duration) -> Instant {
        // Far enough in the future is never; the addition must not overflow.
        self.start + since_start.min(Duration::from_hours(24 * 365))
    }
}

/// A node's name when none was given: URL-safe base64 of a random number of six digits, as in 2016, always eight
/// characters.
pub fn random_vuid() -> String {
    use base64::Engine as _;
    let number: u32 = rand::random_range(100_000..1_000_000);
    base64::engine::general_purpose::URL_SAFE.encode(number.to_string())
}

/// A number that this start of the machine has and no other, so that it can be seen whether the machine has been started anew;
/// where the system does not tell, another one at each call.
pub fn machine_boot() -> u128 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    u128::from_str_radix(&digits, 16).unwrap_or_else(|_| rand::random())
}

/// A seed when none was given.
pub fn random_seed() -> u64 {
    rand::random()
}
