//! The seam between a program's logic and the world.
//!
//! A [`Machine`] is a plain struct: datagrams, lines and time go in; datagrams, bytes for an outlet and a deadline come
//! out. It opens no socket, reads no clock, starts no thread. `runtime` drives a machine over real UDP, `simnet` drives
//! the same machine through a seeded network with a virtual clock, and neither can be told apart from inside.

mod limit;

use std::{any::Any, net::SocketAddr, time::Duration};

pub use limit::LogLimit;

/// What time it is, read once a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the node started, on a clock that never steps: for deadlines and latencies.
    pub since_start: Duration,
    /// Since the epoch, on the wall clock: for stamps that other machines read.
    pub since_epoch: Duration,
}

impl Now {
    /// Seconds since the epoch as the programs of 2016 wrote them.
    pub fn epoch_seconds(&self) -> f64 {
        self.since_epoch.as_secs_f64()
    }
}

/// A socket of a machine. Each machine names its own with constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port(pub u8);

/// Where a machine's bytes go that are not datagrams: stdout, or what its `main.rs` puts there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outlet(pub u8);

/// Standard output.
pub const STDOUT: Outlet = Outlet(0);

/// What may take long: it runs beside the sockets, on a thread of its own, and its result comes back to the machine.
pub type Work = Box<dyn FnOnce() -> WorkResult + Send>;

/// What [`Work`] gives; the machine knows its type.
pub type WorkResult = Box<dyn Any + Send>;

/// A datagram on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The socket to send from.
    pub port: Port,
    /// The address to send to.
    pub to: SocketAddr,
}

/// A program's logic. All methods return at once.
///
/// The driver's turn: hand in what came (`handle_*`), then take all that wants out (`poll_*` until nothing comes),
/// then wait for a datagram, a line that the machine wants, or the deadline.
pub trait Machine {
    /// Takes one datagram in. Peer bytes are counted when they are bad; they never panic and never end the machine.
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]);

    /// Time has passed; may come early or late.
    fn handle_timeout(&mut self, now: Now);

    /// When to call [`handle_timeout`](Self::handle_timeout) next, since start; `None` if only a datagram can wake it.
    fn poll_timeout(&self) -> Option<Duration>;

    /// The next datagram out, appended to `bytes`; what stands there already is not this machine's to touch.
    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit>;

    /// Bytes for an outlet, appended to `bytes`; what stands there already is not this machine's to touch.
    fn poll_output(&mut self, _bytes: &mut Vec<u8>) -> Option<Outlet> {
        None
    }

    /// Whether it would take a line of input now.
    fn wants_input(&self) -> bool {
        false
    }

    /// Takes one line of input in, without its end; `None` once there is no more.
    fn handle_input(&mut self, _now: Now, _line: Option<&[u8]>) {}

    /// Work for the thread beside the sockets. One at a time: no more is asked for until its result has been handed in.
    fn poll_work(&mut self) -> Option<Work> {
        None
    }

    /// The work is done.
    fn handle_result(&mut self, _now: Now, _result: WorkResult) {}

    /// An outlet has taken so many bytes in all since the start: they are written, as far as the node can tell.
    fn handle_written(&mut self, _now: Now, _outlet: Outlet, _bytes: u64) {}

    /// A peer's host says that nobody listens there. Anyone can forge that, so most machines take no notice.
    fn handle_refused(&mut self, _now: Now, _port: Port) {}

    /// A datagram came from an address that the operator does not allow; it is dropped unread.
    fn handle_outsider(&mut self, _now: Now, _port: Port, _from: SocketAddr) {}

    /// A datagram could not be sent (too long for the path, no route): it is lost, and the log says why.
    fn handle_unsent(&mut self, _port: Port, _to: SocketAddr) {}

    /// How many datagrams the kernel has dropped at this socket since it was opened, for want of room.
    fn handle_kernel_drops(&mut self, _port: Port, _total: u64) {}

    /// The operator wants it to end: nothing new is begun. What is under way still has a moment to come to its end, until
    /// the machine [is settled](Self::is_settled) or the driver's patience ends; then comes
    /// [`handle_stop`](Self::handle_stop).
    fn handle_stopping(&mut self, _now: Now) {}

    /// Whether nothing that it began is still under way. Asked once it is stopping.
    fn is_settled(&self) -> bool {
        true
    }

    /// The end: last words go out through the `poll_*` methods, once.
    fn handle_stop(&mut self, _now: Now) {}

    /// Whether its work is done, so that the driver may return.
    fn is_done(&self) -> bool {
        false
    }
}
