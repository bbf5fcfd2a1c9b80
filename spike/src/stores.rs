//! What has come and not left: datagrams about to leave, delayed ones, and those that wait to be reordered.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use machine::Transmit;

use crate::{Direction, Each};

/// How long a datagram that is to be reordered waits for others to come after it.
const REORDER_WAIT: Duration = Duration::from_millis(50);

/// How much may be held, in both directions together. Not counted where it only passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many datagrams.
    pub datagrams_max: u64,
    /// How many bytes.
    pub bytes_max: u64,
}

impl Limits {
    /// Room for 20,000 datagrams a second that take five seconds each, or for 4,000 of the largest.
    pub const USUAL: Self = Self { datagrams_max: 100_000, bytes_max: 256 << 20 };
}

/// A datagram that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) direction: Direction,
    pub(crate) transmit: Transmit,
    pub(crate) bytes: Box<[u8]>,
}

/// There is no room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug)]
pub(crate) struct Stores {
    limits: Limits,
    /// How many datagrams are held, and how many bytes.
    held: Each<u64>,
    bytes: u64,
    leaving: VecDeque<Held>,
    /// By when they leave, then by when they came.
    delayed: BTreeMap<(Duration, u64), Held>,
    delayed_ever: u64,
    reordered: Each<Reordered>,
    paused: bool,
}

/// Datagrams that leave together, the newest first.
#[derive(Debug, Default)]
struct Reordered {
    held: Vec<Held>,
    leave_at: Option<Duration>,
}

impl Stores {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: Each::default(),
            bytes: 0,
            leaving: VecDeque::new(),
            delayed: BTreeMap::new(),
            delayed_ever: 0,
            reordered: Each::default(),
            paused: false,
        }
    }

    /// How many datagrams of a direction are held.
    pub(crate) fn held(&self, direction: Direction) -> u64 {
        *self.held.of(direction)
    }

    /// Nothing leaves from now on, or all may again.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// It leaves at once.
    pub(crate) fn send(&mut self, held: Held) -> Result<(), Full> {
        if self.paused {
            self.check_room(&held)?;
        }
        self.count_in(&held);
        self.leaving.push_back(held);
        Ok(())
    }

    /// It leaves at a time.
    pub(crate) fn delay(&mut self, until: Duration, held: Held) -> Result<(), Full> {
        self.check_room(&held)?;
        self.count_in(&held);
        self.delayed_ever += 1;
        self.delayed.insert((until, self.delayed_ever), held);
        Ok(())
    }

    /// It leaves when more than `held_max` are there, or when nothing more has come for a while.
    pub(crate) fn reorder(&mut self, now: Duration, held_max: u8, held: Held) -> Result<(), Full> {
        self.check_room(&held)?;
        self.count_in(&held);
        let store = self.reordered.of_mut(held.direction);
        store.held.push(held);
        store.leave_at = Some(now + REORDER_WAIT);
        if store.held.len() > usize::from(held_max) {
            store.release(&mut self.leaving);
        }
        Ok(())
    }

    /// When the next one is due to leave.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        if self.paused {
            return None;
        }
        let delayed = self.delayed.first_key_value().map(|((at, _), _)| *at);
        let reordered = Direction::BOTH.into_iter().filter_map(|direction| self.reordered.of(direction).leave_at);
        delayed.into_iter().chain(reordered).min()
    }

    /// What is due leaves.
    pub(crate) fn release_due(&mut self, now: Duration) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            self.leaving.push_back(first.remove());
        }
        for direction in Direction::BOTH {
            let store = self.reordered.of_mut(direction);
            if store.leave_at.is_some_and(|at| at <= now) {
                store.release(&mut self.leaving);
            }
        }
    }

    /// All leaves, be it due or not.
    pub(crate) fn release_all(&mut self) {
        self.paused = false;
        self.release_due(Duration::MAX);
    }

    /// The next one on its way.
    pub(crate) fn pop(&mut self) -> Option<Held> {
        if self.paused {
            return None;
        }
        let held = self.leaving.pop_front()?;
        *self.held.of_mut(held.direction) -= 1;
        self.bytes -= held.bytes.len() as u64;
        if self.leaving.is_empty() && self.leaving.capacity() > 1 << 12 {
            self.leaving = VecDeque::new(); // a pause that is over gives its memory back
        }
        Some(held)
    }

    fn check_room(&self, held: &Held) -> Result<(), Full> {
        let datagrams: u64 = Direction::BOTH.into_iter().map(|direction| self.held(direction)).sum();
        let fits =
            datagrams < self.limits.datagrams_max && self.bytes + held.bytes.len() as u64 <= self.limits.bytes_max;
        if fits { Ok(()) } else { Err(Full) }
    }

    fn count_in(&mut self, held: &Held) {
        *self.held.of_mut(held.direction) += 1;
        self.bytes += held.bytes.len() as u64;
    }
}

impl Reordered {
    fn release(&mut self, leaving: &mut VecDeque<Held>) {
        leaving.extend(self.held.drain(..).rev());
        self.leave_at = None;
    }
}

#[cfg(test)]
mod tests {
    use machine::Port;

    use super::*;

    fn held(text: &str) -> Held {
        let transmit = Transmit { port: Port(1), to: ([10, 0, 0, 1], 1).into() };
        Held { direction: Direction::In, transmit, bytes: text.as_bytes().into() }
    }

    fn stores(datagrams_max: u64, bytes_max: u64) -> Stores {
        Stores::new(Limits { datagrams_max, bytes_max })
    }

    fn left(stores: &mut Stores) -> String {
        let left = std::iter::from_fn(|| stores.pop());
        left.map(|held| String::from_utf8(held.bytes.to_vec()).unwrap()).collect::<Vec<_>>().join(" ")
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn delayed_ones_leave_when_due_and_in_order() {
        let mut stores = stores(10, 100);
        for (text, until) in [("c", 30), ("a", 10), ("b1", 20), ("b2", 20)] {
            stores.delay(ms(until), held(text)).unwrap();
        }
        assert_eq!((left(&mut stores).as_str(), stores.poll_timeout()), ("", Some(ms(10))));
        stores.release_due(ms(20));
        assert_eq!((left(&mut stores).as_str(), stores.poll_timeout()), ("a b1 b2", Some(ms(30))));
        stores.release_all();
        assert_eq!((left(&mut stores).as_str(), stores.held(Direction::In)), ("c", 0));
    }

    #[test]
    fn reordered_ones_leave_newest_first() {
        let mut stores = stores(10, 100);
        for text in ["a", "b"] {
            stores.reorder(ms(0), 2, held(text)).unwrap();
        }
        assert_eq!(left(&mut stores), "");
        stores.reorder(ms(1), 2, held("c")).unwrap();
        assert_eq!((left(&mut stores).as_str(), stores.poll_timeout()), ("c b a", None));
    }

    #[test]
    fn no_datagram_stays_in_the_store_for_ever() {
        let mut stores = stores(10, 100);
        stores.reorder(ms(0), 6, held("a")).unwrap();
        stores.reorder(ms(40), 6, held("b")).unwrap();
        assert_eq!(stores.poll_timeout(), Some(ms(90)));
        stores.release_due(ms(89));
        assert_eq!(left(&mut stores), "");
        stores.release_due(ms(90));
        assert_eq!(left(&mut stores), "b a");
    }

    #[test]
    fn a_pause_keeps_all_and_the_order() {
        let mut stores = stores(10, 100);
        stores.set_paused(true);
        stores.send(held("a")).unwrap();
        stores.delay(ms(1), held("c")).unwrap();
        stores.send(held("b")).unwrap();
        stores.release_due(ms(5));
        assert_eq!((left(&mut stores).as_str(), stores.poll_timeout(), stores.held(Direction::In)), ("", None, 3));
        stores.set_paused(false);
        assert_eq!(left(&mut stores), "a b c");
    }

    #[test]
    fn what_is_held_is_bounded_and_what_passes_is_not() {
        let mut few = stores(2, 100);
        assert_eq!(few.delay(ms(1), held("a")), Ok(()));
        assert_eq!(few.reorder(ms(0), 6, held("b")), Ok(()));
        assert_eq!(few.delay(ms(1), held("c")), Err(Full));
        assert_eq!(few.reorder(ms(0), 6, held("c")), Err(Full));
        assert_eq!(few.send(held("d")), Ok(()));
        assert_eq!(left(&mut few), "d");
        few.set_paused(true);
        assert_eq!(few.send(held("e")), Err(Full));
        let mut short = stores(100, 5);
        assert_eq!(short.delay(ms(1), held("12345")), Ok(()));
        assert_eq!(short.delay(ms(1), held("6")), Err(Full));
        assert_eq!(short.delay(ms(1), held("")), Ok(()));
    }
}
