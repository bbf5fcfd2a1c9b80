//! Batches that a consumer holds: their leases are kept alive until they are finished or given back.

use std::{collections::VecDeque, time::Duration};

use protocol::link::{GiveBack, Lease};

use super::{consumer::Outcome, request::Request};

/// A batch between its coming and its end.
#[derive(Debug)]
pub(super) struct Held {
    id: u64,
    pub(super) lease: Option<Lease>,
    /// Messages of it that have gone back one by one, by their offsets.
    pub(super) parts: Vec<u64>,
    /// The next TOUCH; none once the lease is lost, or without one.
    touch: Option<Request>,
}

/// A batch that goes back to the queue, until the queue has said so.
#[derive(Debug)]
pub(super) struct Return {
    /// None if it is one message of a batch.
    id: Option<u64>,
    pub(super) lease: Lease,
    pub(super) how: GiveBack,
    pub(super) delay_ms: u64,
    pub(super) reason: Vec<u8>,
    pub(super) request: Request,
}

/// All batches held, and those that go back.
#[derive(Debug)]
pub(super) struct Holding {
    /// In the order of their coming, which is mostly that of their end.
    held: VecDeque<Held>,
    returns: Vec<Return>,
    /// Nothing is to be sent or taken for lost before this.
    next_at: Duration,
    /// How long after its coming, and after each TOUCH, a lease is to be touched.
    touch_after: Duration,
}

impl Holding {
    pub(super) fn new(touch_after: Duration) -> Self {
        Self { held: VecDeque::new(), returns: Vec::new(), next_at: Duration::MAX, touch_after }
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
        self.held.push_back(Held { id, lease, parts: Vec::new(), touch });
    }

    /// A batch is not held any more.
    pub(super) fn remove(&mut self, id: u64) -> Option<Held> {
        let place = self.held.iter().position(|held| held.id == id)?;
        self.held.remove(place)
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
        self.returns.push(Return { id, lease, how, delay_ms, reason: reason.as_bytes().to_vec(), request });
    }

    /// One message of a batch goes back, while the others stay. Whether it could.
    pub(super) fn give_back_one(&mut self, now: Duration, id: u64, offset: u64, how: GiveBack, reason: &str) -> bool {
        let Some(held) = self.held.iter_mut().find(|held| held.id == id) else { return false };
        let is_part = |lease: &Lease| offset >= lease.first && offset - lease.first < lease.count;
        let Some(lease) = held.lease.filter(is_part) else { return false };
        if held.parts.contains(&offset) {
            return false;
        }
        held.parts.push(offset);
        self.next_at = now;
        let lease = Lease { first: offset, count: 1, ..lease };
        let (request, reason) = (Request::due(now), reason.as_bytes().to_vec());
        self.returns.push(Return { id: None, lease, how, delay_ms: 0, reason, request });
        true
    }

    /// One that is to be given back now.
    pub(super) fn due_return(&mut self, now: Duration) -> Option<&mut Return> {
        self.returns.iter_mut().find(|back| back.request.is_due(now))
    }

    /// A lease that is to be touched now.
    pub(super) fn due_touch(&mut self, now: Duration) -> Option<(Lease, &mut Request)> {
        if now < self.next_at {
            return None;
        }
        let touches = self.held.iter_mut().filter_map(|held| Some((held.lease?, held.touch.as_mut()?)));
        touches.into_iter().find(|(_, touch)| touch.is_due(now))
    }

    /// The queue has done what was asked with this token. What came to its end by that, and when it was asked.
    pub(super) fn handle_done(&mut self, now: Duration, token: u64) -> Option<(Done, Duration)> {
        let touched = self.held.iter_mut().filter_map(|held| held.touch.as_mut());
        if let Some(touch) = touched.into_iter().find(|touch| touch.is_answered_by(token)) {
            let sent_at = touch.sent_at();
            *touch = Request::due(now + self.touch_after);
            self.next_at = self.next_at.min(touch.at());
            return Some((Done::Touch, sent_at));
        }
        let back = self.take_return(token)?;
        Some((back.id.map_or(Done::Part, Done::Return), back.request.sent_at()))
    }

    /// The attempt was over when this was asked.
    pub(super) fn handle_fenced(&mut self, token: u64) -> Option<Fenced> {
        let is_touched = |held: &&mut Held| held.touch.is_some_and(|touch| touch.is_answered_by(token));
        if let Some(held) = self.held.iter_mut().find(is_touched) {
            held.touch = None;
            return Some(Fenced::Held(held.id));
        }
        self.take_return(token).map(|back| back.id.map_or(Fenced::Part, Fenced::Returning))
    }

    fn take_return(&mut self, token: u64) -> Option<Return> {
        let place = self.returns.iter().position(|back| back.request.is_answered_by(token))?;
        Some(self.returns.remove(place))
    }

    /// What was sent too long ago may go again. Whether there was any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        if now < self.next_at {
            return false;
        }
        let (mut any, mut next) = (false, Duration::MAX);
        let touches = self.held.iter_mut().filter_map(|held| held.touch.as_mut());
        for request in touches.chain(self.returns.iter_mut().map(|back| &mut back.request)) {
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

/// Whose attempt was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fenced {
    /// That of a batch which is held.
    Held(u64),
    /// That of a batch which was to go back.
    Returning(u64),
    /// That of one message of a batch, which was to go back.
    Part,
}

/// What the queue has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// It has extended a lease.
    Touch,
    /// It has taken this batch back.
    Return(u64),
    /// It has taken one message of a batch back.
    Part,
}
