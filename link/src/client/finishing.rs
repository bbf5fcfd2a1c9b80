//! Batches that are finished, until the queue has said so. They ride on requests for more, or go by themselves.

use std::{ops::Range, time::Duration};

use protocol::link::{Finishes, Lease};

use super::{consumer::Outcome, request::Request};

/// How many leases one request finishes at the most: with them it still fits in a small datagram.
const LIST_MAX: usize = 16;

/// Finished batches whose finish is not confirmed, in the order of their finishing.
#[derive(Debug, Default)]
pub(super) struct Finishing {
    entries: Vec<Entry>,
    /// Kept for its room.
    list: Finishes,
}

/// Batches that follow one another, so that one lease names them all.
#[derive(Debug)]
struct Entry {
    /// None for a part of a batch beside the one that is told of.
    ids: Range<u64>,
    lease: Lease,
    request: Request,
}

impl Entry {
    /// Whether what follows may join: it has not been told to the queue yet.
    fn precedes(&self, next: Lease) -> bool {
        let Lease { boot, first, count, attempt } = self.lease;
        (next.boot, next.first, next.attempt) == (boot, first + count, attempt)
            && self.request.is_waiting()
            && self.request.tries() == 0
    }
}

impl Finishing {
    /// How many entries there are, each of one batch or several.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A batch is finished; it waits until `at` for a request to ride on.
    pub(super) fn push(&mut self, id: u64, lease: Lease, at: Duration) {
        match self.entries.last_mut() {
            Some(last) if id == last.ids.end && last.precedes(lease) => {
                last.ids.end = id + 1;
                last.lease.count += lease.count;
            }
            _ => self.entries.push(Entry { ids: id..id + 1, lease, request: Request::due(at) }),
        }
    }

    /// A part of a batch is finished, of which another part tells.
    pub(super) fn push_part(&mut self, lease: Lease, at: Duration) {
        match self.entries.last_mut() {
            Some(last) if last.ids.is_empty() && last.precedes(lease) => last.lease.count += lease.count,
            _ => self.entries.push(Entry { ids: 0..0, lease, request: Request::due(at) }),
        }
    }

    /// Whether one has waited long enough to go by itself.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.entries.iter().any(|entry| entry.request.is_due(now))
    }

    /// How often the one that has been sent most was sent.
    pub(super) fn tries(&self) -> u32 {
        self.entries
            .iter()
            .filter(|entry| entry.request.is_waiting())
            .map(|entry| entry.request.tries())
            .max()
            .unwrap_or(0)
    }

    /// Those that wait, as a list for the request with this token; empty if none does.
    pub(super) fn send(&mut self, token: u64, now: Duration, deadline: Duration) -> &[u8] {
        self.list.clear();
        for entry in self.entries.iter_mut().filter(|entry| entry.request.is_waiting()).take(LIST_MAX) {
            self.list.push(entry.lease);
            entry.request.send(token, now, deadline);
        }
        self.list.as_bytes()
    }

    /// The queue's letters, one for each lease of the list that went with this token. When the list had left, if that was
    /// the last time.
    pub(super) fn handle_letters(
        &mut self,
        token: u64,
        letters: &[u8],
        mut ended: impl FnMut(u64, Outcome),
    ) -> Option<Duration> {
        if letters.is_empty() {
            return None;
        }
        let mut sent_at = None;
        let mut letters = letters.iter();
        self.entries.retain(|entry| {
            if !entry.request.is_answered_by(token) {
                return true;
            }
            let outcome = match letters.next() {
                Some(b'd') => Outcome::Finished,
                Some(b'l') => Outcome::FinishedLate,
                Some(b'o') => Outcome::FinishedByAnother,
                Some(b'x') => Outcome::Unknown,
                _ => return true,
            };
            sent_at = Some(entry.request.sent_at());
            entry.ids.clone().for_each(|id| ended(id, outcome));
            false
        });
        sent_at
    }

    /// What was sent too long ago may go again. Whether there was any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        self.entries.iter_mut().filter_map(|entry| entry.request.expire(now).then_some(())).count() > 0
    }

    /// When one is to go by itself, or is taken for lost.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.entries.iter().map(|entry| entry.request.at()).min()
    }

    /// Nobody will ever say what became of them.
    pub(super) fn forget(&mut self, mut ended: impl FnMut(u64, Outcome)) {
        for id in self.entries.drain(..).flat_map(|entry| entry.ids) {
            ended(id, Outcome::Unknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn lease(first: u64) -> Lease {
        Lease { boot: 1, first, count: 1, attempt: 1 }
    }

    fn letters(finishing: &mut Finishing, token: u64, letters: &[u8]) -> Vec<(u64, Outcome)> {
        let mut ended = Vec::new();
        finishing.handle_letters(token, letters, |id, outcome| ended.push((id, outcome)));
        ended
    }

    #[test]
    fn a_letter_for_each_lease_of_the_list() {
        let mut finishing = Finishing::default();
        (1..=3).for_each(|id| finishing.push(id, lease(10 * id), MS(0)));
        assert_eq!(finishing.send(7, MS(0), MS(20)), b"1.10.1.1,1.20.1.1,1.30.1.1");
        finishing.push(4, lease(40), MS(0));
        assert_eq!(finishing.send(8, MS(0), MS(20)), b"1.40.1.1");
        assert_eq!(finishing.send(9, MS(0), MS(20)), b"");
        assert_eq!(letters(&mut finishing, 6, b"ddd"), []);
        assert_eq!(letters(&mut finishing, 7, b"lo"), [(1, Outcome::FinishedLate), (2, Outcome::FinishedByAnother)]);
        assert_eq!(letters(&mut finishing, 8, b"x"), [(4, Outcome::Unknown)]);
        assert!(finishing.expire(MS(20)));
        assert_eq!(finishing.send(10, MS(20), MS(60)), b"1.30.1.1", "it got no letter, so it goes again");
        assert_eq!(letters(&mut finishing, 7, b"ddd"), [], "an answer to an earlier list");
        assert_eq!(letters(&mut finishing, 10, b"d"), [(3, Outcome::Finished)]);
        assert_eq!(finishing.len(), 0);
    }

    #[test]
    fn batches_that_follow_one_another_are_named_as_one() {
        let mut finishing = Finishing::default();
        (1..=3).for_each(|id| finishing.push(id, lease(id), MS(0)));
        assert_eq!(finishing.send(1, MS(0), MS(20)), b"1.1.3.1");
        finishing.push(4, lease(4), MS(0));
        finishing.push(6, lease(5), MS(0));
        assert_eq!(finishing.send(2, MS(0), MS(20)), b"1.4.1.1,1.5.1.1", "what has left takes nothing more in");
        let all = [1, 2, 3].map(|id| (id, Outcome::Finished));
        assert_eq!(letters(&mut finishing, 1, b"d"), all);
    }

    #[test]
    fn a_list_is_short() {
        let mut finishing = Finishing::default();
        (1..=20).for_each(|id| finishing.push(id, lease(10 * id), MS(5)));
        assert!(!finishing.is_due(MS(4)) && finishing.is_due(MS(5)));
        assert_eq!(finishing.send(1, MS(5), MS(25)).split(|byte| *byte == b',').count(), LIST_MAX);
        assert_eq!(finishing.send(2, MS(5), MS(25)).split(|byte| *byte == b',').count(), 4);
    }
}
