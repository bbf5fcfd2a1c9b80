//! Requests that wait for a message: first come, first served, each until its wait is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
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

/// All requests that wait.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    /// By the order in which they came.
    waiting: BTreeMap<u64, (Duration, Waiting)>,
    /// By session and delivery: their places in that order.
    places: BTreeMap<(u64, u64), u64>,
    /// When each wait is over.
    until: BTreeSet<(Duration, u64)>,
    came: u64,
}

impl Parked {
    /// How many wait.
    pub(crate) fn len(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// Lets a request wait; gives it back if too many do. One that waits already keeps its place and is answered as asked
    /// last.
    pub(crate) fn park(&mut self, request: Waiting, until: Duration) -> Result<(), Waiting> {
        let key = (request.session, request.delivery);
        let known = self.places.get(&key).copied();
        if known.is_none() && self.is_full(request.session) {
            return Err(request);
        }
        let place = known.unwrap_or_else(|| {
            self.came += 1;
            self.came
        });
        if let Some((before, _)) = self.waiting.insert(place, (until, request)) {
            self.until.remove(&(before, place));
        }
        self.places.insert(key, place);
        self.until.insert((until, place));
        Ok(())
    }

    fn is_full(&self, session: u64) -> bool {
        self.waiting.len() >= PARKED_MAX
            || self.places.range((session, 0)..=(session, u64::MAX)).count() >= SESSION_PARKED_MAX
    }

    /// Takes out the one that came first.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        let place = *self.waiting.first_key_value()?.0;
        self.remove(place)
    }

    /// Takes out one whose wait is over.
    pub(crate) fn pop_over(&mut self, now: Duration) -> Option<Waiting> {
        let &(until, place) = self.until.first()?;
        if until <= now { self.remove(place) } else { None }
    }

    /// Drops those of a session that it has closed.
    pub(crate) fn drop_below(&mut self, session: u64, open_from: u64) {
        while let Some((_, &place)) = self.places.range((session, 0)..(session, open_from)).next() {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: u64) -> Option<Waiting> {
        let (until, request) = self.waiting.remove(&place)?;
        self.until.remove(&(until, place));
        self.places.remove(&(request.session, request.delivery));
        Some(request)
    }

    /// When the next wait is over.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.until.first().map(|(until, _)| *until)
    }

    /// Recounts everything.
    pub(crate) fn check(&self) {
        assert!(self.waiting.len() == self.places.len() && self.waiting.len() == self.until.len());
        for (place, (until, request)) in &self.waiting {
            assert!(self.until.contains(&(*until, *place)));
            assert_eq!(self.places.get(&(request.session, request.delivery)), Some(place));
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
    fn first_come_first_served() {
        let mut parked = Parked::default();
        for (session, delivery, token) in [(1, 1, 10), (2, 1, 11), (1, 2, 12), (1, 1, 13)] {
            parked.park(request(session, delivery, token), MS(100 + token)).unwrap();
        }
        parked.check();
        assert_eq!((parked.len(), parked.poll_timeout()), (3, Some(MS(111))));
        let served: Vec<_> = std::iter::from_fn(|| parked.pop()).map(|request| request.token).collect();
        assert_eq!(served, [13, 11, 12], "asked again, the first keeps its place");
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
