//! What is under way: datagrams in reused buffers, and the order in which they arrive.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{Ipv4Addr, SocketAddr},
    ops::{Index, IndexMut},
};

use machine::Port;

use crate::{NEVER, node::NodeId};

/// A datagram on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) sent_at: u64,
    pub(crate) bytes: Vec<u8>,
    /// What was sent, if something else arrives.
    pub(crate) original: Option<Vec<u8>>,
}

/// Where a datagram's buffer is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(usize);

/// What comes over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arrival {
    Datagram(Slot),
    /// To this node's port: nobody listens where it has sent to.
    Refusal(NodeId, Port),
    /// To this node, in this life of it: its work is done.
    Result(NodeId, u64),
}

/// All that is under way.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    flights: Vec<Flight>,
    free: Vec<Slot>,
    /// By time, then in the order of scheduling.
    arrivals: BinaryHeap<Reverse<(u64, u64, Arrival)>>,
    scheduled: u64,
}

impl Traffic {
    /// An empty buffer for a datagram.
    pub(crate) fn take(&mut self) -> Slot {
        if let Some(slot) = self.free.pop() {
            self[slot].bytes.clear();
            return slot;
        }
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        self.flights.push(Flight { from: nobody, to: nobody, sent_at: 0, bytes: Vec::new(), original: None });
        Slot(self.flights.len() - 1)
    }

    /// A second datagram like the one in `slot`.
    pub(crate) fn copy(&mut self, slot: Slot) -> Slot {
        let copy = self.take();
        let mut bytes = std::mem::take(&mut self[copy].bytes);
        let Flight { from, to, sent_at, bytes: ref original, .. } = self[slot];
        bytes.extend_from_slice(original);
        self[copy] = Flight { from, to, sent_at, bytes, original: None };
        copy
    }

    pub(crate) fn give_back(&mut self, slot: Slot) {
        self[slot].original = None;
        self.free.push(slot);
    }

    /// How many datagrams have left and not ended.
    pub(crate) fn under_way(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    /// How many buffers there are in all.
    #[cfg(test)]
    pub(crate) fn buffers(&self) -> usize {
        self.flights.len()
    }

    pub(crate) fn schedule(&mut self, at: u64, arrival: Arrival) {
        self.scheduled += 1;
        self.arrivals.push(Reverse((at, self.scheduled, arrival)));
    }

    /// When the next arrival comes.
    pub(crate) fn next_at(&self) -> u64 {
        self.arrivals.peek().map_or(NEVER, |Reverse((at, ..))| *at)
    }

    pub(crate) fn next(&mut self) -> Option<Arrival> {
        self.arrivals.pop().map(|Reverse((.., arrival))| arrival)
    }
}

#[expect(clippy::indexing_slicing, reason = "a slot comes from `take`, and flights are never removed")]
impl Index<Slot> for Traffic {
    type Output = Flight;

    fn index(&self, slot: Slot) -> &Flight {
        &self.flights[slot.0]
    }
}

#[expect(clippy::indexing_slicing, reason = "a slot comes from `take`, and flights are never removed")]
impl IndexMut<Slot> for Traffic {
    fn index_mut(&mut self, slot: Slot) -> &mut Flight {
        &mut self.flights[slot.0]
    }
}
