//! Consumers' sessions: which batch was given for which delivery, so that a request that comes again gets the same one.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use machine::Now;
use protocol::link::Lease;

/// How many sessions are remembered. For one more, that which was heard of least recently is forgotten.
const SESSIONS_MAX: usize = 10_000;

/// How many deliveries a session may have open; of more the lowest are forgotten.
const DELIVERIES_MAX: usize = 4_096;

/// One consumer, from its start to its end.
#[derive(Debug, Default)]
pub(crate) struct Session {
    heard: Duration,
    open_from: u64,
    /// By number, rising.
    deliveries: VecDeque<(u64, Lease)>,
}

/// What is known of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Nothing was given for it.
    New,
    /// This was given for it.
    Given(Lease),
    /// The consumer has said that it is done with it.
    Closed,
}

impl Session {
    /// What is known of a delivery.
    pub(crate) fn delivery(&self, number: u64) -> Delivery {
        if number < self.open_from {
            return Delivery::Closed;
        }
        match self.place(number).map(|place| self.deliveries.get(place)) {
            Ok(Some((_, lease))) => Delivery::Given(*lease),
            _ => Delivery::New,
        }
    }

    /// This was given for a delivery.
    pub(crate) fn give(&mut self, number: u64, lease: Lease) {
        match self.place(number) {
            Ok(place) => {
                if let Some(delivery) = self.deliveries.get_mut(place) {
                    delivery.1 = lease;
                }
            }
            Err(place) => self.deliveries.insert(place, (number, lease)),
        }
        if self.deliveries.len() > DELIVERIES_MAX {
            self.deliveries.pop_front();
        }
    }

    fn place(&self, number: u64) -> Result<usize, usize> {
        if self.deliveries.back().is_none_or(|(last, _)| *last < number) {
            return Err(self.deliveries.len());
        }
        self.deliveries.binary_search_by_key(&number, |(number, _)| *number)
    }

    fn close_below(&mut self, open_from: u64) {
        self.open_from = self.open_from.max(open_from);
        while self.deliveries.front().is_some_and(|(number, _)| *number < self.open_from) {
            self.deliveries.pop_front();
        }
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions(BTreeMap<u64, Session>);

impl Sessions {
    /// A session that asks, and has nothing open below `open_from`.
    pub(crate) fn hear(&mut self, now: Now, key: u64, open_from: u64) -> &mut Session {
        if self.0.len() >= SESSIONS_MAX && !self.0.contains_key(&key) {
            self.forget_one();
        }
        let session = self.0.entry(key).or_default();
        session.heard = now.since_start;
        session.close_below(open_from);
        session
    }

    /// A session that is known.
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut Session> {
        self.0.get_mut(&key)
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Its leases live on; only a request of it that comes again would get another batch, and the first one come back when
    /// its lease ends.
    fn forget_one(&mut self) {
        if let Some(key) = self.0.iter().min_by_key(|(_, session)| session.heard).map(|(key, _)| *key) {
            self.0.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { since_start: Duration::from_millis(ms), since_epoch: Duration::ZERO }
    }

    fn lease(first: u64) -> Lease {
        Lease { boot: 1, first, count: 1, attempt: 1 }
    }

    #[test]
    fn a_delivery_is_remembered_until_it_is_closed() {
        let mut sessions = Sessions::default();
        for number in [2, 1, 4, 3] {
            sessions.hear(at(0), 7, 1).give(number, lease(number));
        }
        let session = sessions.hear(at(0), 7, 3);
        let known: Vec<_> = (1..=5).map(|number| session.delivery(number)).collect();
        assert_eq!(
            known,
            [Delivery::Closed, Delivery::Closed, Delivery::Given(lease(3)), Delivery::Given(lease(4)), Delivery::New]
        );
        let session = sessions.hear(at(0), 7, 1);
        assert_eq!(session.delivery(2), Delivery::Closed, "a request from the past opens nothing again");
    }

    #[test]
    fn memory_is_bounded() {
        let mut sessions = Sessions::default();
        for key in 0..SESSIONS_MAX as u64 {
            sessions.hear(at(key), key, 0);
        }
        sessions.hear(at(20_000), 0, 0);
        sessions.hear(at(20_001), u64::MAX, 0);
        assert_eq!(sessions.len(), SESSIONS_MAX as u64);
        assert!(sessions.get_mut(1).is_none() && sessions.get_mut(0).is_some());
        let session = sessions.hear(at(20_002), 0, 0);
        (0..10_000).for_each(|number| session.give(number, lease(number)));
        assert_eq!(session.deliveries.len(), DELIVERIES_MAX);
        assert_eq!(session.delivery(9_999), Delivery::Given(lease(9_999)));
    }
}
