//! A machine that keeps what it receives: the receiving half of a test's own client.

use std::{net::SocketAddr, time::Duration};

use machine::{Machine, Now, Port, Transmit};

/// Keeps every datagram; what goes out is sent with [`crate::Net::send`].
#[derive(Debug, Default)]
pub struct Mailbox {
    /// In the order of arrival.
    pub received: Vec<Received>,
}

/// A datagram that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// When, since the mailbox was added.
    pub at: Duration,
    /// Whence.
    pub from: SocketAddr,
    /// At which of the mailbox's ports.
    pub port: Port,
    /// What was in it.
    pub bytes: Vec<u8>,
}

impl Machine for Mailbox {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        self.received.push(Received { at: now.since_start, from, port, bytes: datagram.to_vec() });
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    fn poll_transmit(&mut self, _now: Now, _datagram: &mut Vec<u8>) -> Option<Transmit> {
        None
    }
}
