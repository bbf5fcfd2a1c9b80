//! A seeded network with a virtual clock, for trying machines in bad weather.
//!
//! A [`Net`] drives [`machine::Machine`]s as `runtime` does, but over a network that loses, doubles, garbles and delays
//! datagrams as its [`Weather`] says, and with a clock that jumps from one event to the next, so that an hour costs
//! nothing. All chance comes from one seed: the same seed and the same calls give the same run, byte for byte, which
//! [`Net::trace_hash`] shows and [`Net::trace_to`] lets one read. A net that is dropped in a panic says its seed.
//!
//! Virtual time moves between events only: a machine's turn takes none. Timers are punctual; [`Net::pause`] makes them
//! late.
//!
//! ```
//! use std::{net::SocketAddr, time::Duration};
//! use machine::Port;
//! use simnet::{Mailbox, Net, Weather};
//!
//! let (alice, bob) = (SocketAddr::from(([10, 0, 0, 1], 1)), SocketAddr::from(([10, 0, 0, 2], 2)));
//! let mut net = Net::new(7);
//! net.set_weather(Weather { doubled_permille: 1_000, ..Weather::calm() });
//! let mailbox = net.add(Mailbox::default(), &[(Port(0), bob)]);
//! net.send(alice, bob, b"hello");
//! assert!(net.run_until_idle(Duration::from_secs(1)));
//! assert_eq!(net.node::<Mailbox>(mailbox).received.len(), 2);
//! ```

mod clock;
mod counts;
mod disk;
mod faults;
mod mailbox;
mod net;
mod node;
mod trace;
mod traffic;
mod weather;

#[cfg(test)]
mod tests;

pub use counts::{Counts, Garbled};
pub use disk::{DiskCounts, FakeDisk, Lie};
pub use mailbox::{Mailbox, Received};
pub use net::Net;
pub use node::{NodeId, State};
pub use weather::Weather;

use std::time::Duration;

/// The largest payload of one UDP datagram over IPv4; a larger one is not sent, as a kernel would refuse it.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// `duration` in whole nanoseconds, the unit of virtual time inside; what exceeds 584 years is "never".
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

/// A time that does not come.
const NEVER: u64 = u64::MAX;
