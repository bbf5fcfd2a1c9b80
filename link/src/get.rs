//! The receiving end of an edge on the verbs of 2016.

use std::time::Duration;

/// How long nothing may be heard before the GETs under way are taken for lost, at first and at the most. Below a second,
/// so that a worker that was there before its queue starts within one.
const SILENCE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));

/// The shortest rest.
const REST_MIN: Duration = Duration::from_micros(1);

/// How an edge is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetLimits {
    /// How many GETs may be under way at once. Each may carry a message away from the queue, so this is also how many
    /// messages die with the node.
    pub under_way_max: u32,
    /// How long to rest after an empty answer, at first.
    pub rest_min: Duration,
    /// How long to rest after many empty answers in a row.
    pub rest_max: Duration,
}

/// Decides when to ask one queue for a message.
///
/// Answers carry no mark of their question, so the number under way is a guess: whatever comes is a message, be it late,
/// and silence means that what was asked is lost.
#[derive(Debug)]
pub struct GetEdge {
    limits: GetLimits,
    window: u32,
    under_way: u32,
    /// Not before this is asked: a rest after an empty answer.
    rest_until: Duration,
    rest: Duration,
    /// When the GETs under way are taken for lost.
    silent_at: Duration,
    silence: Duration,
    gets: u64,
    repeats: u64,
}

impl GetEdge {
    /// An edge that has not been used.
    pub fn new(limits: GetLimits) -> Self {
        // A rest of nothing would double to nothing, and never end the asking.
        let limits = GetLimits { rest_min: limits.rest_min.max(REST_MIN), ..limits };
        Self {
            limits,
            window: 1,
            under_way: 0,
            rest_until: Duration::ZERO,
            rest: limits.rest_min,
            silent_at: Duration::ZERO,
            silence: SILENCE.0,
            gets: 0,
            repeats: 0,
        }
    }

    /// Whether to send a GET now; if so, that is taken as done.
    pub fn poll_get(&mut self, now: Duration) -> bool {
        if self.under_way >= self.window || now < self.rest_until {
            return false;
        }
        if self.under_way == 0 {
            self.silent_at = now + self.silence;
        }
        self.under_way += 1;
        self.gets += 1;
        true
    }

    /// The queue gave a message.
    pub fn handle_message(&mut self, now: Duration) {
        self.hear(now);
        self.rest = self.limits.rest_min;
        self.rest_until = now;
        self.window = (self.window + 1).min(self.limits.under_way_max);
    }

    /// The queue has no message.
    pub fn handle_empty(&mut self, now: Duration) {
        self.hear(now);
        self.window = 1;
        // The first of several empty answers begins the rest; the others say nothing new.
        if now >= self.rest_until {
            self.rest_until = now + self.rest;
            self.rest = (self.rest * 2).clamp(self.limits.rest_min, self.limits.rest_max);
        }
    }

    fn hear(&mut self, now: Duration) {
        self.under_way = self.under_way.saturating_sub(1);
        self.silence = SILENCE.0;
        self.silent_at = now + self.silence;
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.under_way > 0 && now >= self.silent_at {
            self.repeats += 1;
            self.under_way = 0;
            self.window = 1;
            self.silence = (self.silence * 2).min(SILENCE.1);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, or [`poll_get`](Self::poll_get) if the caller
    /// `wants` a message at all.
    pub fn poll_timeout(&self, wants: bool) -> Option<Duration> {
        if self.under_way > 0 { Some(self.silent_at) } else { wants.then_some(self.rest_until) }
    }

    /// How many GETs are under way, as far as can be known.
    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    /// How many GETs were sent.
    pub fn gets(&self) -> u64 {
        self.gets
    }

    /// How often GETs stayed unanswered and were repeated.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn edge() -> GetEdge {
        GetEdge::new(GetLimits { under_way_max: 8, rest_min: MS(1), rest_max: MS(50) })
    }

    fn ask(edge: &mut GetEdge, now: Duration) -> usize {
        std::iter::from_fn(|| edge.poll_get(now).then_some(())).count()
    }

    #[test]
    fn a_busy_queue_is_asked_for_more_at_once() {
        let mut edge = edge();
        assert_eq!(ask(&mut edge, MS(0)), 1);
        for _ in 0..20 {
            edge.handle_message(MS(1));
            ask(&mut edge, MS(1));
        }
        edge.handle_message(MS(1));
        assert_eq!(ask(&mut edge, MS(1)), 1, "eight are under way, so each message makes room for one");
    }

    #[test]
    fn an_idle_queue_is_asked_less_and_less() {
        let mut edge = edge();
        let mut asked = 0;
        for ms in 0..1_000 {
            if edge.poll_get(MS(ms)) {
                asked += 1;
                edge.handle_empty(MS(ms));
            }
        }
        assert!((20..30).contains(&asked), "{asked}");
        edge.rest_until = MS(0);
        assert_eq!(ask(&mut edge, MS(1_000)), 1);
        edge.handle_message(MS(1_000));
        assert_eq!(ask(&mut edge, MS(1_000)), 2, "one message brings it back");
    }

    #[test]
    fn a_lost_datagram_is_asked_for_again() {
        let mut edge = edge();
        assert_eq!(ask(&mut edge, MS(0)), 1);
        edge.handle_timeout(MS(99));
        assert_eq!(ask(&mut edge, MS(99)), 0);
        edge.handle_timeout(edge.poll_timeout(true).unwrap());
        assert_eq!((ask(&mut edge, MS(100)), edge.repeats()), (1, 1));
    }

    #[test]
    fn a_late_answer_does_no_harm() {
        let mut edge = edge();
        ask(&mut edge, MS(0));
        edge.handle_timeout(MS(100));
        ask(&mut edge, MS(100));
        edge.handle_message(MS(101));
        edge.handle_message(MS(101));
        assert_eq!(ask(&mut edge, MS(101)), 3);
    }
}
