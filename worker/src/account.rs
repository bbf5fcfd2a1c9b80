//! What went through a worker's edges, as its reports tell.

use std::{collections::BTreeMap, net::SocketAddr};

use link::{Batch, Consumer, Notice, Outcome, Producer};
use metrics::{Edge, EdgeFlow};

use crate::{Worker, waiting::Waiting};

/// What came from the queue that an input is now.
#[derive(Debug, Default)]
pub(crate) struct InputAccount {
    node: Option<u64>,
    taken: u64,
    finished: u64,
    /// How many messages each batch will have finished at its end.
    held: BTreeMap<u64, u64>,
}

impl InputAccount {
    /// A batch was taken. If it is another queue's than those before, counting begins anew.
    pub(crate) fn take(&mut self, batch: &Batch) {
        let node = batch.lease.map(|_| batch.node);
        if node != self.node {
            *self = Self { node, ..Self::default() };
        }
        self.taken += batch.count;
        if node.is_some() {
            self.held.insert(batch.id, batch.count);
        }
    }

    /// One message of a batch will not be finished: it goes back, or to the dead letters.
    pub(crate) fn give_back_one(&mut self, batch: u64) {
        if let Some(count) = self.held.get_mut(&batch) {
            *count = count.saturating_sub(1);
        }
    }

    /// The queue has said what became of a batch.
    pub(crate) fn handle_notice(&mut self, notice: Notice) {
        let Notice::Ended(batch, outcome) = notice else { return };
        let count = self.held.remove(&batch).unwrap_or(0);
        if matches!(outcome, Outcome::Finished | Outcome::FinishedLate) {
            self.finished += count;
        }
    }

    /// The edge as it is told of.
    pub(crate) fn edge(&self, index: u64, peer: SocketAddr, consumer: &Consumer) -> Edge {
        let node = consumer.peer_node();
        let (taken, finished) = if node == self.node { (self.taken, self.finished) } else { (0, 0) };
        Edge {
            flow: EdgeFlow::In { taken, finished: node.map(|_| finished) },
            index,
            peer,
            node: node.map(|node| format!("{node:x}")),
            guarantee: consumer.negotiated().map(|guarantee| guarantee.as_str().to_owned()),
        }
    }
}

impl Worker {
    /// The edges: the outputs in the order of the plan, each once, then the inputs.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::with_capacity(self.targets.len() + self.inputs.len());
        let mut seen = 0;
        for (index, &(place, peer)) in (0..).zip(&self.targets) {
            // Places are given in the order of their first target.
            if place < seen {
                continue;
            }
            seen = place + 1;
            edges.push(match self.outputs.get(place) {
                Some(output) => output_edge(index, peer, &output.producer, self.waits_for(place)),
                None => socket_edge(index, peer, self.sent_bare.get(place).copied().unwrap_or(0)),
            });
        }
        let inputs = (0..).zip(&self.inputs);
        edges.extend(inputs.map(|(index, input)| input.account.edge(index, input.peer, &input.consumer)));
        edges
    }

    /// Whether more is to go to this output than it takes now.
    fn waits_for(&self, place: usize) -> bool {
        let is_next = match self.waiting.front() {
            Some(Waiting::Message { output, .. }) => self.targets.get(output).is_some_and(|(next, _)| *next == place),
            _ => false,
        };
        is_next || self.outputs.get(place).is_some_and(|output| output.producer.is_waiting())
    }
}

/// An output to a queue as it is told of.
fn output_edge(index: u64, peer: SocketAddr, producer: &Producer, waits: bool) -> Edge {
    let counts = producer.peer_counts();
    Edge {
        flow: EdgeFlow::Out { sent: counts.sent, confirmed: Some(counts.confirmed), waits },
        index,
        peer,
        node: producer.peer_node().map(|node| format!("{node:x}")),
        guarantee: producer.negotiated().map(|guarantee| guarantee.as_str().to_owned()),
    }
}

/// A bare socket as it is told of.
fn socket_edge(index: u64, peer: SocketAddr, sent: u64) -> Edge {
    let flow = EdgeFlow::Out { sent, confirmed: None, waits: false };
    Edge { flow, index, peer, node: None, guarantee: None }
}

#[cfg(test)]
mod tests {
    use protocol::link::Lease;

    use super::*;

    fn batch(id: u64, node: u64, count: u64) -> Batch {
        Batch {
            id,
            lease: Some(Lease { boot: 1, first: 0, count, attempt: 1 }),
            frames: Vec::new(),
            first_offset: 0,
            count,
            attempt: 1,
            node,
            generation: 1,
            low_water: 0,
            origin_us: 0,
        }
    }

    #[test]
    fn only_what_the_queue_says_is_finished_and_another_queue_counts_anew() {
        let mut account = InputAccount::default();
        account.take(&batch(1, 7, 10));
        account.take(&batch(2, 7, 10));
        account.take(&batch(3, 7, 10));
        account.give_back_one(1);
        account.handle_notice(Notice::Lost(2));
        assert_eq!((account.taken, account.finished), (30, 0));
        account.handle_notice(Notice::Ended(1, Outcome::Finished));
        account.handle_notice(Notice::Ended(2, Outcome::FinishedLate));
        account.handle_notice(Notice::Ended(3, Outcome::FinishedByAnother));
        account.handle_notice(Notice::Ended(9, Outcome::Finished));
        assert_eq!((account.taken, account.finished, account.held.len()), (30, 19, 0));
        account.take(&batch(4, 7, 1));
        account.take(&batch(5, 8, 2));
        account.handle_notice(Notice::Ended(4, Outcome::Finished));
        assert_eq!((account.taken, account.finished), (2, 0));
    }
}
