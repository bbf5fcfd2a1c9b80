//! What happened, the newest thousand.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How many events are kept.
pub const EVENTS_MAX: usize = 1_000;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Rising by one.
    pub n: u64,
    /// When, in seconds since the epoch, by the hub's clock.
    pub at: f64,
    /// Which node.
    pub node: Option<String>,
    /// `came`, `silent`, `back`, `restarted`, `rewound`, `drops_began`, `drops_ended`, `dead`, `full_began`, `full_ended`,
    /// `unaccounted`, `twin`, `forgotten` or `refused`.
    pub kind: String,
    /// In words.
    pub text: String,
}

/// The ring of events.
#[derive(Debug, Default)]
pub struct Events {
    ring: VecDeque<Event>,
    next: u64,
}

impl Events {
    /// Notes that something happened.
    pub fn note(&mut self, at: f64, node: Option<&str>, kind: &str, text: String) {
        let event = Event { n: self.next, at, node: node.map(str::to_owned), kind: kind.to_owned(), text };
        self.push(event);
    }

    /// Puts an event back that was written down.
    pub fn push(&mut self, event: Event) {
        self.next = event.n + 1;
        if self.ring.len() == EVENTS_MAX {
            self.ring.pop_front();
        }
        self.ring.push_back(event);
    }

    /// The events from a number on.
    pub fn since(&self, n: u64) -> impl Iterator<Item = &Event> {
        self.ring.iter().filter(move |event| event.n >= n)
    }

    /// The number of the next one.
    pub fn next(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut events = Events::default();
        for n in 0..EVENTS_MAX as u64 + 5 {
            events.note(1.0, Some("N"), "came", format!("{n}"));
        }
        assert_eq!(events.since(0).count(), EVENTS_MAX);
        assert_eq!(events.since(0).next().unwrap().text, "5");
        assert_eq!(events.since(1_003).count(), 2);
    }
}
