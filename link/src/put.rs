//! The sending end of an edge on the verbs of 2016.

use std::time::Duration;

use protocol::verb::PutAnswer;

/// How many PUTs may wait for their answers at the start.
const WINDOW_START: u64 = 16;

/// How long nothing may be heard while answers are due, before they are written off.
const SILENCE: Duration = Duration::from_millis(200);

/// How long to rest between two questions to a peer that does not answer, at first and at the most.
const PROBE_REST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long to rest after a full queue refused a message, at first and at the most.
const FULL_REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(640));

/// How a sender is paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// At most so many PUTs wait for their answers, and none is sent before the queue has answered a SIZE.
    AtMost(u64),
    /// As fast as the caller likes, as in 2016; answers are counted, not waited for.
    None,
}

/// What became of the messages of one edge. `sent = confirmed + refused + unconfirmed + under way`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutCounts {
    /// Messages sent.
    pub sent: u64,
    /// Messages that the queue said it has.
    pub confirmed: u64,
    /// Messages that a full queue said it does not have.
    pub refused: u64,
    /// Messages whose answer did not come: lost, or in the queue with their answer lost.
    pub unconfirmed: u64,
}

/// Paces the PUTs to one queue by its answers.
///
/// The window grows by one with each answer and halves in silence (RFC 8085, section 3.1). A silent peer is asked for its
/// SIZE, which every queue since 2016 answers and which costs no message, until it speaks.
#[derive(Debug)]
pub struct PutEdge {
    limit: Window,
    window: u64,
    under_way: u64,
    /// Whether the peer has spoken since it was last silent.
    heard: bool,
    /// When answers that are due are written off.
    silent_at: Duration,
    /// Not before this is anything sent.
    rest_until: Duration,
    rest: Duration,
    probes: u64,
    counts: PutCounts,
}

impl PutEdge {
    /// An edge that has not been used.
    pub fn new(limit: Window) -> Self {
        Self {
            limit,
            window: WINDOW_START,
            under_way: 0,
            heard: false,
            silent_at: Duration::ZERO,
            rest_until: Duration::ZERO,
            rest: PROBE_REST.0,
            probes: 0,
            counts: PutCounts::default(),
        }
    }

    /// Whether a message may be sent now.
    pub fn may_put(&self, now: Duration) -> bool {
        match self.limit {
            Window::None => true,
            Window::AtMost(limit) => self.heard && now >= self.rest_until && self.under_way < self.window.min(limit),
        }
    }

    /// A message has been sent.
    pub fn handle_put(&mut self, now: Duration) {
        self.counts.sent += 1;
        if self.under_way == 0 {
            self.silent_at = now + SILENCE;
        }
        self.under_way += 1;
    }

    /// Whether to send a SIZE now; if so, that is taken as done. A sender that has nothing to send need not ask.
    pub fn poll_probe(&mut self, now: Duration) -> bool {
        if self.limit == Window::None || self.heard || now < self.rest_until {
            return false;
        }
        self.probes += 1;
        self.rest_until = now + self.rest;
        self.rest = (self.rest * 2).min(PROBE_REST.1);
        true
    }

    /// How many probes have stayed unanswered. 0 once the peer has spoken.
    pub fn unanswered_probes(&self) -> u64 {
        self.probes
    }

    /// Takes the text of the peer's answer in; `false` where it is none that a queue gives to a PUT or a SIZE.
    pub fn handle_answer(&mut self, now: Duration, text: &[u8]) -> bool {
        let answer = PutAnswer::parse(text);
        if answer.is_none() && !is_size(text) {
            return false;
        }
        if !self.heard {
            self.heard = true;
            self.probes = 0;
            self.rest_until = now;
            self.rest = FULL_REST.0;
        }
        self.silent_at = now + SILENCE;
        match answer {
            Some(PutAnswer::Stored { .. }) if self.settle() => {
                self.counts.confirmed += 1;
                self.window = self.window.saturating_add(1);
                self.rest = FULL_REST.0;
                if let Window::AtMost(limit) = self.limit {
                    self.window = self.window.min(limit);
                }
            }
            Some(PutAnswer::Full) if self.settle() => {
                self.counts.refused += 1;
                self.window = 1;
                self.rest_until = now + self.rest;
                self.rest = (self.rest * 2).min(FULL_REST.1);
            }
            // An answer doubled on its way, or one to a SIZE.
            _ => {}
        }
        true
    }

    /// One more message is accounted for, be it late.
    fn settle(&mut self) -> bool {
        if self.under_way > 0 {
            self.under_way -= 1;
        } else if self.counts.unconfirmed > 0 {
            self.counts.unconfirmed -= 1;
        } else {
            return false;
        }
        true
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.under_way > 0 && now >= self.silent_at {
            self.counts.unconfirmed += self.under_way;
            self.under_way = 0;
            self.window = (self.window / 2).max(1);
            self.heard = false;
            self.rest_until = now;
            self.rest = PROBE_REST.0;
        }
    }

    /// When something is to be done without an answer: [`handle_timeout`](Self::handle_timeout) at the end of a silence,
    /// [`may_put`](Self::may_put) or [`poll_probe`](Self::poll_probe) at the end of a rest if there is `more` to send.
    pub fn poll_timeout(&self, more: bool) -> Option<Duration> {
        let silence = (self.under_way > 0).then_some(self.silent_at);
        let rests = more && self.limit != Window::None && self.under_way == 0;
        silence.into_iter().chain(rests.then_some(self.rest_until)).min()
    }

    /// How many messages wait for their answer.
    pub fn under_way(&self) -> u64 {
        self.under_way
    }

    /// What became of the messages so far.
    pub fn counts(&self) -> PutCounts {
        self.counts
    }
}

fn is_size(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn heard() -> PutEdge {
        let mut edge = PutEdge::new(Window::AtMost(128));
        assert!(!edge.may_put(MS(0)) && edge.poll_probe(MS(0)));
        assert!(edge.handle_answer(MS(1), b"0"));
        edge
    }

    fn put(edge: &mut PutEdge, now: Duration) -> u64 {
        let before = edge.under_way();
        while edge.may_put(now) {
            edge.handle_put(now);
        }
        edge.under_way() - before
    }

    #[test]
    fn nothing_is_put_to_a_queue_that_is_not_there() {
        let mut edge = PutEdge::new(Window::AtMost(128));
        let probes = (0..3_000).filter(|&ms| edge.poll_probe(MS(ms))).count();
        assert_eq!(probes, 7, "at 0, 50, 150, 350, 750, 1550 and 2550 ms");
        assert!(!edge.may_put(MS(3_000)));
        assert!(edge.handle_answer(MS(3_000), b"17") && edge.may_put(MS(3_000)));
    }

    #[test]
    fn window_grows_with_answers_up_to_its_limit() {
        let mut edge = heard();
        assert_eq!(put(&mut edge, MS(2)), 16);
        for _ in 0..16 {
            assert!(edge.handle_answer(MS(3), b"PUT 4 bytes"));
        }
        assert_eq!(put(&mut edge, MS(3)), 32);
        for n in 0..1_000 {
            edge.handle_answer(MS(4 + n), b"PUT 4 bytes");
            put(&mut edge, MS(4 + n));
        }
        assert_eq!(edge.under_way(), 128);
    }

    #[test]
    fn silence_is_counted_and_a_late_answer_still_counts() {
        let mut edge = heard();
        put(&mut edge, MS(2));
        edge.handle_timeout(MS(100));
        assert_eq!(edge.under_way(), 16);
        edge.handle_timeout(MS(203));
        assert_eq!((edge.counts().unconfirmed, edge.under_way(), edge.may_put(MS(203))), (16, 0, false));
        assert!(edge.handle_answer(MS(300), b"PUT 1 bytes"));
        assert_eq!((edge.counts().unconfirmed, edge.counts().confirmed), (15, 1));
    }

    #[test]
    fn full_queue_makes_the_sender_rest() {
        let mut edge = heard();
        put(&mut edge, MS(2));
        assert!(edge.handle_answer(MS(3), b"FULL"));
        assert_eq!(edge.counts().refused, 1);
        for _ in 0..15 {
            edge.handle_answer(MS(3), b"PUT 1 bytes");
        }
        assert!(!edge.may_put(MS(12)) && edge.may_put(MS(13)));
    }

    #[test]
    fn doubled_answers_confirm_nothing() {
        let mut edge = heard();
        edge.handle_put(MS(2));
        for _ in 0..3 {
            assert!(edge.handle_answer(MS(3), b"PUT 1 bytes"));
        }
        let counts = edge.counts();
        assert_eq!((counts.sent, counts.confirmed, edge.under_way()), (1, 1, 0));
        assert!(!edge.handle_answer(MS(3), b"pong"), "a message is no answer to a PUT");
    }
}
