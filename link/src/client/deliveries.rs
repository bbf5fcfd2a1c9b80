//! What a consumer has asked a queue for, and the order in which what comes is handed on.
//!
//! A consumer that is alone on a queue sees offsets rising. A queue gives batches in the order in which the requests reach
//! it, which need not be that of their sending, and answers overtake one another. So a batch that does not follow on the
//! one before is held back until it is known what was given for all that was asked before it came: what is missing may be
//! there, or may be another consumer's. That goes for requests that were answered in vain, too: a copy of such a request,
//! late on its way, may have been given a batch since.

use std::{collections::VecDeque, ops::Range, time::Duration};

use super::{batch::Batch, request::Request};

/// So many batches for later requests mean that this request or its answer is lost.
const OVERTAKEN_MAX: u32 = 3;

/// One delivery, by its number.
#[derive(Debug)]
struct Slot {
    state: State,
    request: Request,
    /// How many batches have come for later requests since it was last asked for.
    overtaken: u32,
    /// How many batches had come when it was last asked for.
    asked_after: u64,
    /// Whether it is asked for only to learn what was given for it.
    is_check: bool,
}

impl Slot {
    fn new(state: State, now: Duration) -> Self {
        Self { state, request: Request::due(now), overtaken: 0, asked_after: 0, is_check: false }
    }

    /// Whether it was asked for with this token, and neither answered nor given up since.
    fn is_unanswered(&self, token: u64) -> bool {
        matches!(self.state, State::Asked) && self.request.is_answered_by(token)
    }
}

#[derive(Debug)]
enum State {
    /// Not asked for: new, or there was no message.
    Idle,
    /// Asked for; to be asked for again when its request is due.
    Asked,
    /// Its batch is here, and held back.
    Here,
    /// Handed on, or never to come.
    Gone,
}

/// A batch that is held back until it is known what was given for all deliveries below `below` up to its coming, which was
/// the `came`th.
#[derive(Debug)]
struct HeldBack {
    batch: Batch,
    below: u64,
    came: u64,
}

impl HeldBack {
    /// Its place among the others: in the order of offsets.
    fn place(&self) -> (u64, u64) {
        (self.batch.first_offset, self.batch.id)
    }
}

/// All deliveries that are not behind.
///
/// What is done for each batch does not grow with their number as long as answers come in the order of the requests.
#[derive(Debug)]
pub(super) struct Deliveries {
    /// The first slot's number.
    first: u64,
    slots: VecDeque<Slot>,
    asked: usize,
    /// In the order of their offsets.
    held_back: VecDeque<HeldBack>,
    /// Tokens and numbers of requests in the order of their sending, from the oldest unanswered one on.
    sent: VecDeque<(u64, u64)>,
    /// No request is taken for lost before this.
    expires_at: Duration,
    /// Whether a request may have to be sent again. In most turns none has, which need not be looked up.
    any_overdue: bool,
    /// How many batches have come.
    came: u64,
    /// The offset after the last message that was handed on.
    next_offset: u64,
    /// Whether the last batch that was handed on followed on the one before.
    is_alone: bool,
}

impl Deliveries {
    pub(super) fn new() -> Self {
        Self {
            first: 1,
            slots: VecDeque::new(),
            asked: 0,
            held_back: VecDeque::new(),
            sent: VecDeque::new(),
            expires_at: Duration::MAX,
            any_overdue: false,
            came: 0,
            next_offset: 0,
            is_alone: true,
        }
    }

    fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// A number for something that was not asked for by number.
    pub(super) fn take_number(&mut self) -> u64 {
        let number = self.next();
        self.slots.push_back(Slot::new(State::Gone, Duration::ZERO));
        self.advance();
        number
    }

    /// Whether the queue seems to have no other consumer: what was handed on last followed on what came before. Where that is not
    /// so, each batch waits until it is known what was given for all that was asked for, so it is better to ask for little.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// How many are asked for and not answered.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// The lowest delivery that may still be asked for: what the queue need not remember is below it.
    pub(super) fn open_from(&self) -> u64 {
        let open = |slot: &Slot| matches!(slot.state, State::Idle | State::Asked);
        let place = self.slots.iter().position(open).unwrap_or(self.slots.len());
        self.first + place as u64
    }

    /// One that was asked for in vain and must be asked for again: a batch may have been given for it.
    pub(super) fn overdue(&mut self, now: Duration) -> Option<u64> {
        if !self.any_overdue {
            return None;
        }
        let due = |slot: &Slot| matches!(slot.state, State::Asked) && slot.request.is_due(now);
        let place = self.slots.iter().position(due);
        self.any_overdue = place.is_some();
        Some(self.first + place? as u64)
    }

    /// The lowest one that may be asked for, and as many as may follow on it, so many in all at the most.
    pub(super) fn idle(&mut self, now: Duration, count_max: usize) -> Range<u64> {
        // In a busy consumer none is, which need not be looked up.
        let any = self.slots.len() > self.asked + self.held_back.len();
        let idle = |slot: &Slot| matches!(slot.state, State::Idle);
        let place = any.then(|| self.slots.iter().position(idle)).flatten().unwrap_or(self.slots.len());
        let there = self.slots.iter().skip(place).take(count_max).take_while(|slot| idle(slot)).count();
        let mut end = place + there;
        while end == self.slots.len() && end < place + count_max.max(1) {
            self.slots.push_back(Slot::new(State::Idle, now));
            end += 1;
        }
        self.first + place as u64..self.first + end as u64
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(place)
    }

    /// How often a delivery was asked for since it was last answered.
    pub(super) fn tries(&mut self, number: u64) -> u32 {
        self.slot(number).map_or(0, |slot| slot.request.tries())
    }

    /// Whether it is asked for only to learn what was given for it, so that there is nothing to wait for.
    pub(super) fn is_check(&mut self, number: u64) -> bool {
        self.slot(number).is_some_and(|slot| slot.is_check)
    }

    /// These are asked for, again perhaps.
    pub(super) fn ask(&mut self, numbers: Range<u64>, token: u64, now: Duration, deadline: Duration) {
        let came = self.came;
        for number in numbers {
            let Some(slot) = self.slot(number) else { continue };
            slot.request.send(token, now, deadline);
            slot.asked_after = came;
            slot.overtaken = 0;
            if matches!(slot.state, State::Idle) {
                slot.state = State::Asked;
                self.asked += 1;
            }
            self.sent.push_back((token, number));
        }
        self.expires_at = self.expires_at.min(deadline);
        while let Some(&(token, number)) = self.sent.front()
            && !self.slot(number).is_some_and(|slot| slot.is_unanswered(token))
        {
            self.sent.pop_front();
        }
    }

    /// When it was asked for with this token, if that was the last time.
    pub(super) fn asked_at(&mut self, number: u64, token: u64) -> Option<Duration> {
        let slot = self.slot(number).filter(|slot| slot.request.is_answered_by(token))?;
        Some(slot.request.sent_at())
    }

    /// Whether this one is open, so that a batch for it is welcome.
    pub(super) fn is_open(&mut self, number: u64) -> bool {
        self.slot(number).is_some_and(|slot| matches!(slot.state, State::Idle | State::Asked))
    }

    /// A batch has come for an open delivery.
    pub(super) fn put(&mut self, batch: Batch) {
        let (below, came) = (self.next(), self.came + 1);
        let Some(slot) = self.slot(batch.id) else { return };
        let was_asked = matches!(slot.state, State::Asked);
        slot.state = State::Here;
        self.came = came;
        self.asked -= usize::from(was_asked);
        let held = HeldBack { batch, below, came };
        let place = self.held_back.partition_point(|other| other.place() < held.place());
        self.held_back.insert(place, held);
    }

    /// The request with this token was answered with a batch. Whether an earlier one is taken for lost by that.
    pub(super) fn overtake(&mut self, token: u64, now: Duration) -> bool {
        let mut any_lost = false;
        let earlier = self.sent.iter().take_while(|(sent, _)| *sent < token);
        for &(sent, number) in earlier {
            let place = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
            let slot = place.and_then(|place| self.slots.get_mut(place));
            let Some(slot) = slot.filter(|slot| slot.is_unanswered(sent)) else { continue };
            slot.overtaken += 1;
            if slot.overtaken == OVERTAKEN_MAX {
                slot.request.give_up(now);
                any_lost = true;
            }
        }
        if any_lost {
            self.expires_at = now;
        }
        self.any_overdue |= any_lost;
        any_lost
    }

    /// There was no message for what was asked with this token; whether that was the last time. Else the later request is
    /// still out, and may get a batch.
    pub(super) fn answer_none(&mut self, number: u64, token: u64, now: Duration) -> bool {
        let Some(slot) = self.slot(number) else { return false };
        if !matches!(slot.state, State::Asked) || !slot.request.is_answered_by(token) {
            return false;
        }
        slot.state = State::Idle;
        slot.request = Request::due(now);
        slot.is_check = false;
        self.asked -= 1;
        true
    }

    /// It was given a batch that will never come, for its lease has ended; whether that is news.
    pub(super) fn answer_ended(&mut self, number: u64) -> bool {
        if !self.is_open(number) {
            return false;
        }
        let Some(slot) = self.slot(number) else { return false };
        let was_asked = matches!(slot.state, State::Asked);
        slot.state = State::Gone;
        self.asked -= usize::from(was_asked);
        self.advance();
        true
    }

    /// The next batch to hand on, if one may be.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Batch> {
        let &HeldBack { ref batch, below, came } = self.held_back.front()?;
        if batch.first_offset > self.next_offset && self.is_any_unknown(below, came, now) {
            return None;
        }
        let HeldBack { batch, .. } = self.held_back.pop_front()?;
        self.slot(batch.id)?.state = State::Gone;
        self.is_alone = batch.first_offset <= self.next_offset;
        self.next_offset = self.next_offset.max(batch.end_offset());
        self.advance();
        Some(batch)
    }

    /// Whether it is not known what was given for some delivery before a batch came. If so, it will be asked.
    fn is_any_unknown(&mut self, below: u64, came: u64, now: Duration) -> bool {
        let count = usize::try_from(below.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut unknown = false;
        for slot in self.slots.iter_mut().take(count) {
            if matches!(slot.state, State::Idle) && slot.asked_after < came {
                slot.state = State::Asked;
                slot.request = Request::due(now);
                slot.is_check = true;
                self.asked += 1;
            }
            unknown |= matches!(slot.state, State::Asked);
        }
        if unknown {
            self.any_overdue = true;
            self.expires_at = now;
        }
        unknown
    }

    fn advance(&mut self) {
        while self.slots.front().is_some_and(|slot| matches!(slot.state, State::Gone)) {
            self.slots.pop_front();
            self.first += 1;
        }
    }

    /// What was asked for too long ago may be asked for again. Whether there was any.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        if now < self.expires_at {
            return false;
        }
        let (mut any, mut next) = (false, Duration::MAX);
        for slot in self.slots.iter_mut().filter(|slot| matches!(slot.state, State::Asked)) {
            any |= slot.request.expire(now);
            next = next.min(slot.request.at());
        }
        self.any_overdue |= any;
        self.expires_at = next;
        any
    }

    /// When to look for lost ones: it may be too early, since answers come in between.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        (self.asked > 0).then_some(self.expires_at)
    }

    /// The queue is another: what is held back is of no use, and its offsets mean nothing. What was asked for stays so.
    pub(super) fn forget(&mut self, mut dropped: impl FnMut(Batch)) {
        self.next_offset = 0;
        for HeldBack { batch, .. } in std::mem::take(&mut self.held_back) {
            if let Some(slot) = self.slot(batch.id) {
                slot.state = State::Gone;
            }
            dropped(batch);
        }
        self.advance();
    }

    /// Nobody will answer what was asked for.
    pub(super) fn clear(&mut self) {
        self.first = self.next();
        self.slots.clear();
        self.held_back.clear();
        self.sent.clear();
        (self.asked, self.next_offset) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const LATER: Duration = Duration::from_millis(20);

    fn batch(id: u64, first_offset: u64, count: u64) -> Batch {
        let mut batch = Batch::of_old_queue(id, b"", Vec::new());
        (batch.first_offset, batch.count) = (first_offset, count);
        batch
    }

    /// With deliveries 1 to `count` asked for.
    fn asked(count: u64) -> Deliveries {
        let mut deliveries = Deliveries::new();
        for n in 1..=count {
            assert_eq!(deliveries.idle(NOW, 1), n..n + 1);
            deliveries.ask(n..n + 1, 100 + n, NOW, LATER);
        }
        deliveries
    }

    /// Puts batches of ten, each by its delivery and offset, and tells what is handed on after each.
    fn check(asked_for: u64, steps: &[(u64, u64, &[u64])]) {
        let mut deliveries = asked(asked_for);
        for &(id, offset, expected) in steps {
            assert!(deliveries.is_open(id));
            deliveries.put(batch(id, offset, 10));
            let handed_on: Vec<u64> =
                std::iter::from_fn(|| deliveries.pop(NOW)).map(|batch| batch.first_offset).collect();
            assert_eq!(handed_on, expected, "after delivery {id}");
        }
    }

    #[test]
    fn what_follows_on_is_handed_on_at_once() {
        check(4, &[(1, 0, &[0]), (2, 10, &[10]), (4, 20, &[20]), (3, 30, &[30])]);
    }

    #[test]
    fn a_gap_waits_for_what_was_asked_before() {
        check(4, &[(2, 10, &[]), (4, 30, &[]), (1, 0, &[0, 10]), (3, 20, &[20, 30])]);
        check(3, &[(1, 50, &[]), (2, 20, &[]), (3, 35, &[20, 35, 50])]);
    }

    #[test]
    fn requests_that_overtook_one_another_do_not_mix_up_offsets() {
        // The third request came first, the first one last.
        check(3, &[(2, 10, &[]), (1, 20, &[]), (3, 0, &[0, 10, 20])]);
    }

    #[test]
    fn what_comes_back_comes_at_once() {
        check(3, &[(1, 0, &[0]), (2, 10, &[10]), (3, 0, &[0])]);
    }

    #[test]
    fn a_gap_does_not_wait_for_what_was_asked_later() {
        let mut deliveries = asked(2);
        deliveries.put(batch(1, 50, 10));
        assert_eq!(deliveries.idle(NOW, 1), 3..4);
        deliveries.ask(3..4, 103, NOW, LATER);
        assert!(deliveries.pop(NOW).is_none());
        assert!(!deliveries.answer_none(2, 999, NOW) && deliveries.answer_none(2, 102, NOW));
        // It had been asked for before the batch came, so a copy of that may have got what is missing.
        assert!(deliveries.pop(NOW).is_none());
        assert_eq!((deliveries.overdue(NOW), deliveries.is_check(2), deliveries.asked()), (Some(2), true, 2));
        deliveries.ask(2..3, 202, NOW, LATER);
        assert!(deliveries.answer_none(2, 202, NOW));
        assert_eq!(deliveries.pop(NOW).map(|batch| batch.id), Some(1));
        assert_eq!((deliveries.open_from(), deliveries.asked(), deliveries.idle(NOW, 1)), (2, 1, 2..3));
        assert!(!deliveries.is_check(2));
    }

    #[test]
    fn one_request_asks_for_what_lies_together() {
        let mut deliveries = asked(3);
        assert!(deliveries.answer_none(2, 102, NOW));
        assert_eq!(deliveries.idle(NOW, 4), 2..3, "the third is asked for");
        deliveries.ask(2..3, 202, NOW, LATER);
        let numbers = deliveries.idle(NOW, 2);
        assert_eq!(numbers, 4..6);
        deliveries.ask(numbers, 204, NOW, LATER);
        assert_eq!(
            (deliveries.asked(), deliveries.asked_at(4, 204), deliveries.asked_at(5, 204)),
            (5, Some(NOW), Some(NOW))
        );
        assert!(deliveries.answer_none(5, 204, NOW));
        assert_eq!(deliveries.idle(NOW, 3), 5..8, "what was asked for in vain, and new ones");
    }

    #[test]
    fn numbers_are_closed_as_they_are_answered() {
        let mut deliveries = asked(3);
        assert_eq!(deliveries.open_from(), 1);
        deliveries.put(batch(1, 70, 10));
        assert_eq!(deliveries.open_from(), 2, "what is here need not be sent again, handed on or not");
        assert!(deliveries.answer_ended(2), "its lease has ended: it will never come");
        assert!(!deliveries.is_open(1) && !deliveries.is_open(2) && deliveries.is_open(3) && !deliveries.is_open(4));
        assert_eq!(deliveries.open_from(), 3);
        assert!(!deliveries.answer_none(2, 102, NOW) && !deliveries.answer_ended(2) && !deliveries.answer_ended(9));
    }

    #[test]
    fn what_was_asked_in_vain_is_asked_again() {
        let mut deliveries = asked(2);
        assert_eq!(deliveries.overdue(LATER), None);
        assert!(deliveries.expire(LATER));
        assert_eq!((deliveries.overdue(LATER), deliveries.asked()), (Some(1), 2));
        deliveries.ask(1..2, 201, LATER, LATER * 2);
        assert_eq!((deliveries.overdue(LATER), deliveries.asked(), deliveries.tries(1)), (Some(2), 2, 2));
        assert_eq!((deliveries.asked_at(1, 101), deliveries.asked_at(1, 201)), (None, Some(LATER)));
    }

    #[test]
    fn what_is_overtaken_thrice_is_asked_again_at_once() {
        let mut deliveries = asked(5);
        let lost = [2, 3, 4].map(|n| {
            deliveries.put(batch(n, n * 10, 10));
            deliveries.overtake(100 + n, NOW)
        });
        assert_eq!(lost, [false, false, true]);
        assert_eq!(deliveries.overdue(NOW), Some(1));
        deliveries.ask(1..2, 201, NOW, LATER);
        deliveries.put(batch(5, 50, 10));
        assert!(!deliveries.overtake(105, NOW));
        assert_eq!(deliveries.overdue(NOW), None, "its request left later");
    }

    #[test]
    fn another_queue_gives_other_batches() {
        let mut deliveries = asked(3);
        deliveries.put(batch(2, 10, 10));
        let mut dropped = 0;
        deliveries.forget(|_| dropped += 1);
        assert_eq!((dropped, deliveries.asked(), deliveries.open_from()), (1, 2, 1));
        deliveries.put(batch(1, 0, 10));
        assert_eq!(deliveries.pop(NOW).map(|batch| batch.id), Some(1));
        assert_eq!(deliveries.open_from(), 3);
    }
}
