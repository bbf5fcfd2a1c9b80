//! Batches that a consumer holds: their leases are kept alive until they are finished or given back.

use std::{collections::VecDeque, time::Duration};

use protocol::{
    frame,
    link::{Finishes, GiveBack, Lease},
};

use super::{consumer::Outcome, request::Request};

/// How many leases one request extends or gives back at the most.
const LIST_MAX: usize = 16;

/// What a reason has beyond it is cut.
const REASON_BYTES_MAX: usize = 1_000;

/// How many returns may be under way at once.
const RETURNS_UNDER_WAY_MAX: usize = 512;

/// A batch between its coming and its end.
#[derive(Debug)]
pub(super) struct Held {
    id: u64,
    pub(super) lease: Option<Lease>,
    /// Messages of it that have gone back one by one, by their offsets.
    pub(super) parts: Vec<u64>,
    /// The next TOUCH; none once the lease is lost, or without one.
    touch: Option<Request>,
    /// Which place it had in the list of the last one.
    place: usize,
}

/// A batch that goes back to the queue, or a part of one, until the queue has said so.
#[derive(Debug)]
struct Return {
    /// None if it is a part of a batch.
    id: Option<u64>,
    lease: Lease,
    how: GiveBack,
    delay_ms: u64,
    reason: Vec<u8>,
    request: Request,
    /// Which place it had in the list that it last left in.
    place: usize,
}

/// All batches held, and those that go back.
#[derive(Debug)]
pub(super) struct Holding {
    /// In the order of their coming, which is mostly that of their end.
    held: VecDeque<Held>,
    /// Only the first of them are under way.
    returns: VecDeque<Return>,
    /// Nothing is to be sent or taken for lost before this.
    next_at: Duration,
    /// Kept for its room.
    list: Finishes,
    reasons: Vec<u8>,
    /// How long after its coming, and after each TOUCH, a lease is to be touched.
    touch_after: Duration,
}

impl Holding {
    pub(super) fn new(touch_after: Duration) -> Self {
        Self {
            held: VecDeque::new(),
            returns: VecDeque::new(),
            next_at: Duration::MAX,
            list: Finishes::default(),
            reasons: Vec::new(),
            touch_after,
        }
    }

    /// How many batches are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// How many go back.
    pub(super) fn returning(&self) -> usize {
        self.returns.len()
    }

    /// A batch has come.
    pub(super) fn push(&mut self, id: u64, lease: Option<Lease>, now: Duration) {
        let touch_at = now + self.touch_after;
        self.next_at = self.next_at.min(touch_at);
        let touch = lease.map(|_| Request::due(touch_at));
        self.held.push_back(Held { id, lease, parts: Vec::new(), touch, place: 0 });
    }

    /// A batch is not held any more.
    pub(super) fn remove(&mut self, id: u64) -> Option<Held> {
        let place = self.held.iter().position(|held| held.id == id)?;
        self.held.remove(place)
    }

    /// The messages of a batch below this offset are not held any more, but for the last one: their lease, and which of them
    /// have gone back.
    pub(super) fn remove_below(&mut self, id: u64, offset: u64) -> Option<(Lease, Vec<u64>)> {
        let held = self.held.iter_mut().find(|held| held.id == id)?;
        let lease = held.lease?;
        let count = offset.saturating_sub(lease.first).min(lease.count.saturating_sub(1));
        if count == 0 {
            return None;
        }
        let first = lease.first + count;
        held.lease = Some(Lease { first, count: lease.count - count, ..lease });
        let (below, parts) = std::mem::take(&mut held.parts).into_iter().partition(|part| *part < first);
        held.parts = parts;
        Some((Lease { count, ..lease }, below))
    }

    /// A batch goes back.
    pub(super) fn give_back(
        &mut self,
        now: Duration,
        (id, lease): (u64, Lease),
        how: GiveBack,
        delay: Duration,
        reason: &str,
    ) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let request = Request::due(now);
        self.next_at = now;
        let id = Some(id);
        self.returns.push_back(Return {
            id,
            lease,
            how,
            delay_ms,
            reason: reason.as_bytes().to_vec(),
            request,
            place: 0,
        });
    }

    /// One message of a batch goes back, while the others stay. Whether it could.
    pub(super) fn give_back_one(&mut self, now: Duration, id: u64, offset: u64, how: GiveBack, reason: &str) -> bool {
        let Some(held) = self.held.iter_mut().find(|held| held.id == id) else { return false };
        let is_part = |lease: &Lease| offset >= lease.first && offset - lease.first < lease.count;
        let Some(lease) = held.lease.filter(is_part) else { return false };
        // They mostly come in their order.
        if held.parts.last().is_some_and(|last| *last >= offset) && held.parts.contains(&offset) {
            return false;
        }
        held.parts.push(offset);
        self.next_at = now;
        let lease = Lease { first: offset, count: 1, ..lease };
        if let Some(last) = self.returns.back_mut()
            && last.takes(lease, how, reason)
        {
            last.lease.count += 1;
            return true;
        }
        let (request, reason) = (Request::due(now), cut(reason));
        self.returns.push_back(Return { id: None, lease, how, delay_ms: 0, reason, request, place: 0 });
        true
    }

    /// What is to be given back now, if anything is: how, after which delay, and how often it was sent in vain.
    pub(super) fn due_return(&self, now: Duration) -> Option<(GiveBack, u64, u32)> {
        let back = self.returns.iter().take(RETURNS_UNDER_WAY_MAX).find(|back| back.request.is_due(now))?;
        Some((back.how, back.delay_ms, back.request.tries()))
    }

    /// What is to be given back so, as a list and its reasons for the request with this token. The reasons are cut to fit
    /// into so many bytes; one is always sent.
    pub(super) fn give(
        &mut self,
        (how, delay_ms): (GiveBack, u64),
        bytes_max: usize,
        token: u64,
        now: Duration,
        deadline: Duration,
    ) -> (&[u8], &[u8]) {
        self.list.clear();
        self.reasons.clear();
        let mut place = 0;
        for back in self.returns.iter_mut().take(RETURNS_UNDER_WAY_MAX) {
            let fits = place == 0 || self.reasons.len() + back.reason.len() <= bytes_max;
            if back.request.is_due(now) && (back.how, back.delay_ms) == (how, delay_ms) && place < LIST_MAX && fits {
                back.request.send(token, now, deadline);
                back.place = place;
                place += 1;
                self.list.push(back.lease);
                let pushed = frame::push(&back.reason, &mut self.reasons);
                debug_assert!(pushed.is_ok(), "a reason is short");
            }
        }
        (self.list.as_bytes(), &self.reasons)
    }

    /// How often the one was touched in vain that is to be touched now, if any is.
    pub(super) fn due_touch(&self, now: Duration) -> Option<u32> {
        if now < self.next_at {
            return None;
        }
        let due = self.held.iter().filter_map(|held| held.touch.filter(|touch| touch.is_due(now)));
        due.map(|touch| touch.tries()).max()
    }

    /// The leases that are to be touched now or soon, as a list for the request with this token.
    pub(super) fn touch(&mut self, token: u64, now: Duration, deadline: Duration) -> &[u8] {
        self.list.clear();
        let soon = now + self.touch_after / 2;
        let mut place = 0;
        for held in &mut self.held {
            if let (Some(lease), Some(touch)) = (held.lease, &mut held.touch)
                && touch.is_due(soon)
                && place < LIST_MAX
            {
                touch.send(token, now, deadline);
                self.list.push(lease);
                held.place = place;
                place += 1;
            }
        }
        self.list.as_bytes()
    }

    /// The queue's letters, one for each lease that was to be touched with this token; `lost` is told of those that have
    /// ended. When it was asked, if it was.
    pub(super) fn handle_touched(
        &mut self,
        now: Duration,
        token: u64,
        letters: &[u8],
        mut lost: impl FnMut(u64),
    ) -> Option<Duration> {
        let mut sent_at = None;
        for held in &mut self.held {
            let Some(touch) = held.touch.filter(|touch| touch.is_answered_by(token)) else { continue };
            sent_at = Some(touch.sent_at());
            held.touch = match letters.get(held.place) {
                Some(b'd') => {
                    let again = now + self.touch_after;
                    self.next_at = self.next_at.min(again);
                    Some(Request::due(again))
                }
                Some(_) => None,
                None => continue,
            };
            if held.touch.is_none() {
                lost(held.id);
            }
        }
        sent_at
    }

    /// The queue's letters, one for each lease that was given back with this token; `ended` is told of each, and whether it
    /// could go back. When it was sent, if it was.
    pub(super) fn handle_given(
        &mut self,
        token: u64,
        letters: &[u8],
        mut ended: impl FnMut(Option<u64>, u64, bool),
    ) -> Option<Duration> {
        let mut sent_at = None;
        let mut place = 0;
        while let Some(back) = self.returns.get(place).filter(|_| place < RETURNS_UNDER_WAY_MAX) {
            let letter = letters.get(back.place).filter(|_| back.request.is_answered_by(token));
            let Some(letter) = letter else {
                place += 1;
                continue;
            };
            sent_at = Some(back.request.sent_at());
            ended(back.id, back.lease.count, *letter == b'd');
            self.returns.remove(place);
            // The next one may be under way now.
            self.next_at = Duration::ZERO;
        }
        sent_at
    }

    /// What was sent too long ago may go again. Whether there was any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        if now < self.next_at {
            return false;
        }
        let (mut any, mut next) = (false, Duration::MAX);
        let touches = self.held.iter_mut().filter_map(|held| held.touch.as_mut());
        let returns = self.returns.iter_mut().take(RETURNS_UNDER_WAY_MAX).map(|back| &mut back.request);
        for request in touches.chain(returns) {
            any |= request.expire(now);
            next = next.min(request.at());
        }
        self.next_at = next;
        any
    }

    /// When to look for what is to be sent, or is lost: it may be too early, since answers come in between.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let any = !self.returns.is_empty() || self.held.iter().any(|held| held.touch.is_some());
        any.then_some(self.next_at)
    }

    /// The queue is another: it knows of no lease. Which batches lost theirs now.
    pub(super) fn lose_leases(&mut self, mut lost: impl FnMut(u64)) {
        for held in &mut self.held {
            if held.touch.take().is_some() {
                lost(held.id);
            }
        }
    }

    /// Nobody will ever say what became of those that go back.
    pub(super) fn forget_returns(&mut self, mut ended: impl FnMut(u64, Outcome)) {
        self.returns.drain(..).filter_map(|back| back.id).for_each(|id| ended(id, Outcome::Unknown));
    }
}

impl Return {
    /// Whether the message after its last may go back with it: it has not left yet.
    fn takes(&self, next: Lease, how: GiveBack, reason: &str) -> bool {
        let Lease { boot, first, count, attempt } = self.lease;
        self.id.is_none()
            && (boot, first + count, attempt) == (next.boot, next.first, next.attempt)
            && (self.how, &self.reason) == (how, &cut(reason))
            && self.request.is_waiting()
            && self.request.tries() == 0
    }
}

fn cut(reason: &str) -> Vec<u8> {
    reason.bytes().take(REASON_BYTES_MAX).collect()
}
