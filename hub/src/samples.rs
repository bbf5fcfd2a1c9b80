//! The counts of one edge as far back as the balance needs them.

use std::collections::VecDeque;

use crate::post::{Direction, EdgeReport};

/// How many reports of an edge are remembered for the balance.
const SAMPLES_MAX: usize = 32;

/// The counts of one edge over time; those of the client's earlier lives are added.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples {
    /// What earlier lives of the client had counted when they were heard last.
    retired: (u64, u64),
    /// Which server the counts are of: at another one they begin anew.
    server: Option<String>,
    /// `(t1, sent, confirmed)`, or taken and finished, the oldest first.
    pub ring: VecDeque<(f64, u64, u64)>,
}

impl Samples {
    /// Takes what a report says of the edge.
    pub(crate) fn push(&mut self, at: f64, edge: &EdgeReport, has_restarted: bool) {
        let (sent, confirmed) = match edge.dir {
            Direction::Out => (edge.sent, edge.confirmed.unwrap_or(0)),
            Direction::In => (edge.taken, edge.finished.unwrap_or(0)),
        };
        if edge.node.is_some() && edge.node != self.server {
            *self = Self { server: edge.node.clone(), ..Self::default() };
        }
        if has_restarted && let Some((_, sent, confirmed)) = self.ring.back() {
            self.retired = (*sent, *confirmed);
        }
        if self.ring.back().is_some_and(|(last, ..)| *last >= at) {
            self.ring.clear();
        }
        if self.ring.len() == SAMPLES_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back((at, self.retired.0.saturating_add(sent), self.retired.1.saturating_add(confirmed)));
    }

    /// What was confirmed at a time: the last count that is not from later.
    pub(crate) fn confirmed_at(&self, at: f64) -> Option<u64> {
        self.ring.iter().rev().find(|(then, ..)| *then <= at).map(|(.., confirmed)| *confirmed)
    }

    /// The first count of what was sent that is not from earlier.
    pub(crate) fn sent_after(&self, at: f64) -> Option<u64> {
        self.ring.iter().find(|(then, ..)| *then >= at).map(|(_, sent, _)| *sent)
    }

    /// The first count of what was confirmed that is not from earlier.
    pub(crate) fn confirmed_after(&self, at: f64) -> Option<u64> {
        self.ring.iter().find(|(then, ..)| *then >= at).map(|(.., confirmed)| *confirmed)
    }

    /// What was sent at a time: the last count that is not from later.
    pub(crate) fn sent_at(&self, at: f64) -> Option<u64> {
        self.ring.iter().rev().find(|(then, ..)| *then <= at).map(|(_, sent, _)| *sent)
    }
}
