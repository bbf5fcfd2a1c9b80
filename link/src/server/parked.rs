//! Requests that wait for a message: the sessions take turns, each request until its wait is over. A session that waits with
//! many requests gets no more messages in a row than one that waits with one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::Bound,
    time::Duration,
};

/// How many may wait in all.
const PARKED_MAX: usize = 4_096;

/// How many of one session may wait.
const SESSION_PARKED_MAX: usize = 64;

/// A request for messages.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) to: SocketAddr,
    pub(crate) token: u64,
    pub(crate) session: u64,
    pub(crate) delivery: u64,
    pub(crate) messages_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) lease: Duration,
    /// What became of the finishes that came with it.
    pub(crate) letters: Vec<u8>,
    /// The place in the journal that says so.
    pub(crate) gate: u64,
}

/// A session's delivery.
type Key = (u64, u64);

/// All requests that wait.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    waiting: BTreeMap<Key, (Duration, Waiting)>,
    /// When each wait is over.
    until: BTreeSet<(Duration, Key)>,
    /// The session whose turn was last.
    last: u64,
}

impl Parked {
    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Lets a request wait; gives it back if too many do. One that waits already is answered as asked last.
    pub(crate) fn park(&mut self, request: Waiting, until: Duration) -> Result<(), Waiting> {
        let key = (request.session, request.delivery);
        if !self.waiting.contains_key(&key) && self.is_full(request.session) {
            return Err(request);
        }
        if let Some((before, _)) = self.waiting.insert(key, (until, request)) {
            self.until.remove(&(before, key));
        }
        self.until.insert((until, key));
        Ok(())
    }

    fn is_full(&self, session: u64) -> bool {
        self.waiting.len() >= PARKED_MAX
            || self.waiting.range((session, 0)..=(session, u64::MAX)).count() >= SESSION_PARKED_MAX
    }

    /// Takes out the lowest delivery of the session whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let mut later = self.waiting.range((Bound::Excluded((self.last, u64::MAX)), Bound::Unbounded));
        let (&key, _) = later.next().or_else(|| self.waiting.first_key_value())?;
        self.last = key.0;
        self.remove(key)
    }

    /// Takes out one whose wait is over.
    pub(crate) fn pop_over(&mut self, now: Duration) -> Option<Waiting> {
        let &(until, key) = self.until.first()?;
        if until <= now { self.remove(key) } else { None }
    }

    /// Drops those of a session that it has closed.
    pub(crate) fn drop_below(&mut self, session: u64, open_from: u64) {
        while let Some((&key, _)) = self.waiting.range((session, 0)..(session, open_from)).next() {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) -> Option<Waiting> {
        let (until, request) = self.waiting.remove(&key)?;
        self.until.remove(&(until, key));
        Some(request)
    }

    /// When the next wait is over.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.until.first().map(|(until, _)| *until)
    }

    /// Recounts everything.
    pub(crate) fn check(&self) {
        assert_eq!(self.waiting.len(), self.until.len());
        for (key, (until, request)) in &self.waiting {
            assert!(self.until.contains(&(*until, *key)));
            assert_eq!(*key, (request.session, request.delivery));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn request(session: u64, delivery: u64, token: u64) -> Waiting {
        Waiting {
            to: SocketAddr::from(([127, 0, 0, 1], 9)),
            token,
            session,
            delivery,
            messages_max: 1,
            bytes_max: 1,
            lease: MS(1),
            letters: Vec::new(),
            gate: 0,
        }
    }

    #[test]
    fn sessions_take_turns() {
        let mut parked = Parked::default();
        for (session, delivery, token) in [(2, 2, 10), (2, 1, 11), (5, 7, 12), (1, 1, 13), (2, 1, 14), (2, 3, 15)] {
            parked.park(request(session, delivery, token), MS(100 + token)).unwrap();
        }
        parked.check();
        assert_eq!((parked.len(), parked.poll_timeout()), (5, Some(MS(110))));
        let mut served: Vec<_> = std::iter::from_fn(|| parked.pop()).take(4).map(|request| request.token).collect();
        parked.park(request(5, 8, 16), MS(1)).unwrap();
        served.extend(std::iter::from_fn(|| parked.pop()).map(|request| request.token));
        assert_eq!(
            served,
            [13, 14, 12, 10, 16, 15],
            "asked again, the first delivery of the second is answered as asked last"
        );
        parked.check();
    }

    #[test]
    fn a_wait_ends() {
        let mut parked = Parked::default();
        for n in 0..4 {
            parked.park(request(1, n, n), MS(100 - n)).unwrap();
        }
        assert!(parked.pop_over(MS(96)).is_none());
        assert_eq!(parked.pop_over(MS(98)).map(|request| request.token), Some(3));
        parked.drop_below(1, 2);
        parked.check();
        assert_eq!(parked.pop_over(MS(200)).map(|request| request.token), Some(2));
        assert!(parked.pop_over(MS(200)).is_none() && parked.poll_timeout().is_none());
    }

    #[test]
    fn as_many_wait_as_may() {
        let mut parked = Parked::default();
        let taken = (0..100).filter(|n| parked.park(request(1, *n, 0), MS(1)).is_ok()).count();
        assert_eq!(taken, SESSION_PARKED_MAX);
        let taken = (2..100_000).filter(|n| parked.park(request(*n, 0, 0), MS(1)).is_ok()).count();
        assert_eq!(taken + SESSION_PARKED_MAX, PARKED_MAX);
        assert!(parked.park(request(1, 5, 0), MS(2)).is_ok(), "one that waits already may ask again");
        parked.check();
    }
}
