//! What an oracle may know: how many datagrams met which end, and which were changed on their way.

use std::net::SocketAddr;

/// Datagrams, by what became of them. At every moment `sent + doubled` equals [`Counts::ended`] plus
/// [`crate::Net::under_way`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to the network, by machines and by the test.
    pub sent: u64,
    /// Of these, given twice by the network.
    pub doubled: u64,
    /// Garbled on the way, whether they arrived or not.
    pub garbled: u64,
    /// Taken by a machine.
    pub delivered: u64,
    /// Lost to the weather.
    pub lost: u64,
    /// Lost because the path was cut.
    pub cut: u64,
    /// Not sent, because longer than [`crate::DATAGRAM_BYTES_MAX`].
    pub too_long: u64,
    /// Arrived where nobody listens.
    pub to_nobody: u64,
    /// Dropped at the socket of a paused node: for want of room, or because the node was killed.
    pub dropped: u64,
    /// Refusals told to machines; no datagrams.
    pub refused: u64,
    /// Turns of machines.
    pub turns: u64,
}

impl Counts {
    /// How many datagrams have met their end, one way or another.
    pub fn ended(&self) -> u64 {
        self.delivered + self.lost + self.cut + self.too_long + self.to_nobody + self.dropped
    }
}

/// A datagram that a machine took other than it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbled {
    /// Who sent it.
    pub from: SocketAddr,
    /// Who took it.
    pub to: SocketAddr,
    /// As it was sent.
    pub sent: Vec<u8>,
    /// As it arrived.
    pub arrived: Vec<u8>,
}
