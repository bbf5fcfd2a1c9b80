//! Where each message stands that has been handed out and is not finished: as ranges of offsets, never one by one.
//!
//! A message is *fresh* until it is handed out, then *open* until it is finished, dead or popped. Fresh ones are all at the
//! end, so a message below them that is not open is done with, and the lowest open one is the low water.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

/// Open messages of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// The last of them.
    pub(crate) last: u64,
    /// How often they have been handed out: the attempt that a lease names. It never names two leases of one message.
    pub(crate) attempts: u64,
    /// How many of these attempts failed.
    pub(crate) failures: u64,
    /// What their outputs' ids are told apart by from those of their other lives.
    pub(crate) generation: u64,
    /// Where they are.
    pub(crate) state: State,
}

/// Where open messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// With a consumer.
    Leased {
        /// Until then.
        ends: Duration,
    },
    /// Back, and not to be handed out yet.
    Waiting {
        /// Not before then.
        until: Duration,
    },
    /// Back, and to be handed out before all others.
    Ready,
}

impl Open {
    pub(crate) fn is_leased(&self) -> bool {
        matches!(self.state, State::Leased { .. })
    }
}

/// All open messages.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// By their first offset.
    open: BTreeMap<u64, Open>,
    /// Which of them are [`State::Ready`].
    ready: BTreeSet<u64>,
    /// When leases and waits end. An entry counts only if its range still ends then.
    due: BinaryHeap<Reverse<(Duration, u64)>>,
    /// How many ranges end at a time.
    timed: usize,
    /// The lowest fresh offset.
    fresh: u64,
    leased: u64,
    returned: u64,
}

impl Leases {
    /// The lowest offset that was never handed out.
    pub(crate) fn fresh(&self) -> u64 {
        self.fresh
    }

    /// All below this offset is done with.
    pub(crate) fn low_water(&self) -> u64 {
        self.open.first_key_value().map_or(self.fresh, |(first, _)| *first)
    }

    /// How many messages are with consumers.
    pub(crate) fn leased(&self) -> u64 {
        self.leased
    }

    /// How many messages have come back and were not handed out again.
    pub(crate) fn returned(&self) -> u64 {
        self.returned
    }

    /// The lowest range that has come back and may be handed out.
    pub(crate) fn first_ready(&self) -> Option<(u64, Open)> {
        let first = *self.ready.first()?;
        Some((first, *self.open.get(&first)?))
    }

    /// All open ranges, in order.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, Open)> {
        self.open.iter().map(|(first, open)| (*first, *open))
    }

    /// Takes fresh messages up to `last`; the caller says what becomes of them.
    pub(crate) fn take_fresh(&mut self, last: u64) {
        self.fresh = last + 1;
    }

    /// These are open now.
    pub(crate) fn insert(&mut self, first: u64, open: Open) {
        let count = open.last - first + 1;
        if open.is_leased() {
            self.leased += count;
        } else {
            self.returned += count;
        }
        match open.state {
            State::Leased { ends: at } | State::Waiting { until: at } => {
                self.timed += 1;
                self.due.push(Reverse((at, first)));
            }
            State::Ready => {
                self.ready.insert(first);
            }
        }
        self.open.insert(first, open);
    }

    fn remove(&mut self, first: u64) -> Option<Open> {
        let open = self.open.remove(&first)?;
        let count = open.last - first + 1;
        if open.is_leased() {
            self.leased -= count;
        } else {
            self.returned -= count;
        }
        match open.state {
            State::Ready => {
                self.ready.remove(&first);
            }
            State::Leased { .. } | State::Waiting { .. } => self.timed -= 1,
        }
        if self.due.len() > 2 * self.timed + 64 {
            self.drop_stale();
        }
        Some(open)
    }

    /// Takes out what is open within `from..=to` and `wanted`, cut to fit, into `pieces`.
    pub(crate) fn cut(&mut self, from: u64, to: u64, wanted: impl Fn(&Open) -> bool, pieces: &mut Vec<(u64, Open)>) {
        // The range that `from` is inside of, or the first behind it.
        let around = self.open.range(..=from).next_back().filter(|(_, open)| open.last >= from);
        let mut key = around.map_or(from, |(first, _)| *first);
        while key <= to {
            let Some((&first, &open)) = self.open.range(key..=to).next() else { return };
            key = open.last + 1;
            if !wanted(&open) {
                continue;
            }
            self.remove(first);
            let (start, last) = (first.max(from), open.last.min(to));
            if first < start {
                self.insert(first, Open { last: start - 1, ..open });
            }
            if last < open.last {
                self.insert(last + 1, open);
            }
            pieces.push((start, Open { last, ..open }));
        }
    }

    /// The first range within `from..=to` that is leased in this attempt.
    pub(crate) fn leased_part(&self, from: u64, to: u64, attempt: u64) -> Option<(u64, u64)> {
        let around = self.open.range(..=from).next_back().filter(|(_, open)| open.last >= from);
        around
            .into_iter()
            .chain(self.open.range(from..=to).skip_while(|(first, _)| **first == from && around.is_some()))
            .find(|(_, open)| open.is_leased() && open.attempts == attempt)
            .map(|(first, open)| ((*first).max(from), open.last.min(to)))
    }

    /// What is open within `from..=to`, cut to fit.
    pub(crate) fn open_within(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let around = self.open.range(..from).next_back();
        around
            .into_iter()
            .chain(self.open.range(from..=to))
            .filter(move |(_, open)| open.last >= from)
            .map(move |(first, open)| ((*first).max(from), open.last.min(to)))
    }

    /// The open range that an offset lies in.
    pub(crate) fn open_at(&self, offset: u64) -> Option<Open> {
        self.open.range(..=offset).next_back().map(|(_, open)| *open).filter(|open| open.last >= offset)
    }

    /// Whether anything within `from..=to` is open.
    pub(crate) fn any_open(&self, from: u64, to: u64) -> bool {
        self.open.range(..=to).next_back().is_some_and(|(_, open)| open.last >= from)
    }

    /// Ends the waits that are over, and takes out the next range whose lease is over.
    pub(crate) fn next_ended(&mut self, now: Duration) -> Option<(u64, Open)> {
        while let Some(&Reverse((at, first))) = self.due.peek()
            && at <= now
        {
            self.due.pop();
            match self.open.get(&first).copied() {
                Some(open) if open.state == (State::Leased { ends: at }) => {
                    self.remove(first);
                    return Some((first, open));
                }
                Some(open) if open.state == (State::Waiting { until: at }) => {
                    self.remove(first);
                    self.insert(first, Open { state: State::Ready, ..open });
                }
                _ => {} // finished or cut since
            }
        }
        None
    }

    /// When to look for ended leases and waits again.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    fn drop_stale(&mut self) {
        let ends = |(first, open): (&u64, &Open)| match open.state {
            State::Leased { ends: at } | State::Waiting { until: at } => Some(Reverse((at, *first))),
            State::Ready => None,
        };
        self.due = self.open.iter().filter_map(ends).collect();
    }

    /// Recounts everything from the ranges.
    pub(crate) fn check(&self) {
        let mut behind = 0;
        let (mut leased, mut returned, mut timed) = (0, 0, 0);
        for (first, open) in self.ranges() {
            assert!(first >= behind && open.last >= first && open.last < self.fresh, "ranges lie one behind another");
            behind = open.last + 1;
            *(if open.is_leased() { &mut leased } else { &mut returned }) += behind - first;
            timed += usize::from(open.state != State::Ready);
            assert_eq!(self.ready.contains(&first), open.state == State::Ready);
        }
        assert_eq!((leased, returned, timed), (self.leased, self.returned, self.timed));
        assert!(self.due.len() >= timed && self.due.len() <= 2 * timed + 64, "deadlines are kept, and few besides");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn open(last: u64, attempts: u64, state: State) -> Open {
        Open { last, attempts, failures: 0, generation: 1, state }
    }

    fn leased(last: u64, ends: u64) -> Open {
        open(last, 1, State::Leased { ends: MS(ends) })
    }

    fn three() -> Leases {
        let mut leases = Leases::default();
        leases.take_fresh(29);
        leases.insert(0, leased(9, 100));
        leases.insert(10, leased(19, 50));
        leases.insert(20, open(29, 2, State::Ready));
        leases
    }

    fn cut(leases: &mut Leases, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut pieces = Vec::new();
        leases.cut(from, to, |open| open.attempts == 1, &mut pieces);
        leases.check();
        pieces.into_iter().map(|(first, open)| (first, open.last)).collect()
    }

    #[test]
    fn cuts_what_is_wanted_to_fit() {
        for (from, to, expected) in [
            (0, 9, &[(0, 9)][..]),
            (3, 5, &[(3, 5)]),
            (5, 14, &[(5, 9), (10, 14)]),
            (15, 25, &[(15, 19)]),
            (20, 29, &[]),
            (30, 99, &[]),
            (0, u64::MAX - 1, &[(0, 9), (10, 19)]),
        ] {
            assert_eq!(cut(&mut three(), from, to), expected, "{from}-{to}");
        }
    }

    #[test]
    fn what_is_left_keeps_its_deadline() {
        let mut leases = three();
        cut(&mut leases, 3, 12);
        assert_eq!(leases.low_water(), 0);
        let mut ended = Vec::new();
        while let Some((first, open)) = leases.next_ended(MS(100)) {
            ended.push((first, open.last));
        }
        assert_eq!(ended, [(13, 19), (0, 2)]);
        assert_eq!((leases.leased(), leases.returned(), leases.low_water()), (0, 10, 20));
        assert_eq!(leases.first_ready(), Some((20, open(29, 2, State::Ready))));
    }

    #[test]
    fn a_lease_is_found_by_its_attempt() {
        let mut leases = three();
        assert_eq!(leases.leased_part(0, 9, 1), Some((0, 9)));
        assert_eq!(leases.leased_part(20, 29, 2), None, "back is not leased");
        cut(&mut leases, 0, 3);
        assert_eq!(leases.leased_part(0, 9, 1), Some((4, 9)));
        assert_eq!(leases.leased_part(5, 9, 1), Some((5, 9)));
        assert_eq!(leases.leased_part(0, 9, 2), None);
        assert!(leases.any_open(0, 4) && !leases.any_open(0, 3) && !leases.any_open(30, 40));
    }

    #[test]
    fn deadlines_of_finished_leases_do_not_pile_up() {
        let mut leases = Leases::default();
        for n in 0..10_000 {
            leases.take_fresh(n);
            leases.insert(n, leased(n, 30_000 + n));
            assert_eq!(cut(&mut leases, n, n).len(), 1);
        }
        assert!(leases.due.len() <= 64, "{}", leases.due.len());
    }
}
