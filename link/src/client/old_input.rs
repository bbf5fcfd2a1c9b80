//! A queue that speaks the verbs of 2016 only, as a consumer asks it: a GET takes a message away for good, and its answer
//! looks like any message. So whoever asks such a queue for its size must not be waiting for messages meanwhile.

use std::time::Duration;

use crate::{GetEdge, GetLimits};

/// How long no GET leaves after a size came: the same answer, doubled on its way, would be taken for a message.
const QUIET: Duration = Duration::from_millis(100);

/// How often such a queue is asked whether it has been upgraded: when it is silent or idle, and when it is busy, for which
/// it is left alone for a moment.
const PROBE_EVERY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(1));

/// How long after the last GET a message may still come.
const LATE_MAX: Duration = Duration::from_secs(2);

/// The edge, and when to ask what.
#[derive(Debug)]
pub(super) struct OldInput {
    edge: GetEdge,
    under_way: u64,
    last_get: Option<Duration>,
    quiet_until: Duration,
    probe_at: Duration,
    /// No GET leaves from then on until it was asked.
    stop_at: Duration,
    /// How many GETs had been repeated when the queue was last asked who it is.
    repeats: u64,
    is_idle: bool,
    /// Whether a GET has left since the queue last said that it is an old one.
    has_asked: bool,
}

impl OldInput {
    pub(super) fn new(limits: GetLimits) -> Self {
        Self {
            edge: GetEdge::new(limits),
            under_way: 0,
            last_get: None,
            quiet_until: Duration::ZERO,
            probe_at: Duration::ZERO,
            stop_at: Duration::ZERO,
            repeats: 0,
            is_idle: false,
            has_asked: false,
        }
    }

    /// The queue has said that it is an old one.
    pub(super) fn begin(&mut self, now: Duration) {
        self.quiet_until = now + QUIET;
        self.probe_at = now + PROBE_EVERY.0;
        self.stop_at = now + PROBE_EVERY.1;
        self.repeats = self.edge.repeats();
        self.is_idle = false;
        self.has_asked = false;
    }

    /// Whether a size that comes is no message.
    pub(super) fn is_quiet(&self, now: Duration) -> bool {
        now < self.quiet_until || !self.has_asked
    }

    /// Whether to send a GET now; if so, that is taken as done.
    pub(super) fn poll_get(&mut self, now: Duration) -> bool {
        let get = (self.quiet_until..self.stop_at).contains(&now) && self.edge.poll_get(now);
        if get {
            self.under_way += 1;
            self.has_asked = true;
            self.last_get = Some(now);
        }
        get
    }

    /// Whether to ask the queue anew who it is.
    pub(super) fn wants_probe(&self, now: Duration) -> bool {
        let is_silent = self.edge.repeats() > self.repeats;
        let is_free = self.under_way == 0 && (self.is_idle || now >= self.stop_at);
        now >= self.probe_at && (is_silent || is_free)
    }

    /// The text of an answer to a GET: the message, if it is one.
    pub(super) fn handle_answer<'a>(&mut self, now: Duration, text: &'a [u8]) -> Option<&'a [u8]> {
        self.under_way = self.under_way.saturating_sub(1);
        // An empty message and an empty queue look alike.
        self.is_idle = text.is_empty();
        if self.is_idle {
            self.edge.handle_empty(now);
            return None;
        }
        self.edge.handle_message(now);
        Some(text)
    }

    /// Whether a text that comes now may be a message that a GET has taken away.
    pub(super) fn may_be_late(&self, now: Duration) -> bool {
        self.last_get.is_some_and(|at| now < at + LATE_MAX)
    }

    /// How many GETs left, how many of them were repeated, and how many are under way.
    pub(super) fn gets(&self) -> (u64, u64, u32) {
        (self.edge.gets(), self.edge.repeats(), self.edge.under_way())
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        self.edge.handle_timeout(now);
        if self.edge.repeats() > self.repeats {
            self.under_way = 0;
        }
    }

    /// When something is to be done, if the caller `wants` a message at all.
    pub(super) fn poll_timeout(&self, wants: bool) -> Option<Duration> {
        self.edge.poll_timeout(wants).map(|at| at.max(self.quiet_until))
    }
}
