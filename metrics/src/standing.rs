//! What a node says of itself beside its counts: its edges, and what it spent its time on.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::members;

/// How many edges a report names; how many more there are is in its `edges_left_out`.
pub const EDGES_MAX: usize = 64;

/// One edge of a client, as the client sees it. Counts are in messages, since the node started; they begin anew when the
/// peer is another node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// What went through it, and which way.
    #[serde(flatten)]
    pub flow: EdgeFlow,
    /// Which of the node's outputs, or of its inputs: 0 is the first.
    #[serde(deserialize_with = "members::count")]
    pub index: u64,
    /// The other end.
    pub peer: SocketAddr,
    /// The other end's node, if it has said who it is: what it gives as [`node`](crate::Weir::node).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "members::some_name")]
    pub node: Option<String>,
    /// What the two ends have agreed on; absent while they have not, and on bare sockets.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "members::some_name")]
    pub guarantee: Option<String>,
}

/// What went through an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "dir", rename_all = "lowercase")]
pub enum EdgeFlow {
    /// Messages go to the peer.
    Out {
        /// Sent, each once however often it was sent again. Never below `confirmed`.
        #[serde(deserialize_with = "members::count")]
        sent: u64,
        /// The peer has said that it has them; absent where it never does.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "members::some_count")]
        confirmed: Option<u64>,
        /// Whether more waits than the peer takes now.
        #[serde(default)]
        waits: bool,
    },
    /// Messages come from the peer.
    In {
        /// Taken, each time that it was given again as well.
        #[serde(deserialize_with = "members::count")]
        taken: u64,
        /// Finished, and the peer knows; absent where it never does.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "members::some_count")]
        finished: Option<u64>,
    },
}

/// What a node spent its period on: parts that add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// At work.
    pub busy: f64,
    /// Held back by another node, or full.
    pub blocked: f64,
    /// The rest.
    pub idle: f64,
}

/// What a node does at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It works.
    Busy,
    /// It could go on, and another node holds it back; or it is full.
    Blocked,
    /// Nothing of these.
    Idle,
}

/// Adds up what a node spends its period on.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// What it does, and since when; `None` if it never says.
    doing: Option<(Doing, Duration)>,
    busy: Duration,
    blocked: Duration,
}

impl Spent {
    /// From `now` on it does this.
    pub(crate) fn go_on(&mut self, now: Duration, doing: Doing) {
        if self.doing.is_some_and(|(current, _)| current == doing) {
            return;
        }
        self.add(now);
        self.doing = Some((doing, now));
    }

    fn add(&mut self, now: Duration) {
        let Some((doing, since)) = &mut self.doing else { return };
        let spent = now.saturating_sub(*since);
        *since = (*since).max(now);
        match doing {
            Doing::Busy => self.busy += spent,
            Doing::Blocked => self.blocked += spent,
            Doing::Idle => {}
        }
    }

    /// The shares of the period from `opened` to `now`; begins anew. `None` if the node never said what it does, or if
    /// the period has no length.
    pub(crate) fn take(&mut self, opened: Duration, now: Duration) -> Option<Share> {
        self.add(now);
        let (busy, blocked) = (std::mem::take(&mut self.busy), std::mem::take(&mut self.blocked));
        let lasted = now.saturating_sub(opened);
        if self.doing.is_none() || lasted.is_zero() {
            return None;
        }
        let part = |spent: Duration| rounded(spent.div_duration_f64(lasted).min(1.0));
        let busy = part(busy);
        let blocked = part(blocked).min(rounded(1.0 - busy));
        Some(Share { busy, blocked, idle: rounded(1.0 - busy - blocked) })
    }
}

/// To four digits, which nobody measures better.
fn rounded(part: f64) -> f64 {
    // The sum turns a zero that is negative into one that is not.
    (part * 1e4).round() / 1e4 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn shares_are_those_of_the_period() {
        let mut spent = Spent::default();
        assert_eq!(spent.take(MS(0), MS(1_000)), None, "it never said");
        spent.go_on(MS(1_000), Doing::Busy);
        spent.go_on(MS(1_200), Doing::Busy);
        spent.go_on(MS(1_250), Doing::Blocked);
        spent.go_on(MS(1_750), Doing::Idle);
        spent.go_on(MS(1_900), Doing::Busy);
        assert_eq!(spent.take(MS(1_000), MS(2_000)), Some(Share { busy: 0.35, blocked: 0.5, idle: 0.15 }));
        assert_eq!(spent.take(MS(2_000), MS(3_000)), Some(Share { busy: 1.0, blocked: 0.0, idle: 0.0 }));
        assert_eq!(spent.take(MS(3_000), MS(3_000)), None, "no time has passed");
    }

    #[test]
    fn shares_add_up_to_one() {
        for (busy, blocked, all) in [(1, 1, 3), (2, 5, 7), (1, 6, 7), (333, 333, 1_000), (1, 0, 1_000_000)] {
            let mut spent = Spent::default();
            spent.go_on(MS(0), Doing::Busy);
            spent.go_on(MS(busy), Doing::Blocked);
            spent.go_on(MS(busy + blocked), Doing::Idle);
            let share = spent.take(MS(0), MS(all)).unwrap();
            assert!((share.busy + share.blocked + share.idle - 1.0).abs() < 1e-9, "{share:?}");
            assert!(share.idle >= 0.0, "{share:?}");
        }
    }
}
