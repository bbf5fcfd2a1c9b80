//! One thing that is asked for until it is answered.

use std::time::Duration;

/// A request that waits to be sent, or was sent and waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// When it may leave; once it has left, when it is taken for lost.
    at: Duration,
    /// Its token, once it has left.
    token: Option<u64>,
    sent_at: Duration,
    tries: u32,
}

impl Request {
    /// One that may leave at `at`.
    pub(super) fn due(at: Duration) -> Self {
        Self { at, token: None, sent_at: Duration::ZERO, tries: 0 }
    }

    /// Whether it waits to be sent, if not at once.
    pub(super) fn is_waiting(&self) -> bool {
        self.token.is_none()
    }

    /// Whether it may leave now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.is_waiting() && self.at <= now
    }

    /// It leaves.
    pub(super) fn send(&mut self, token: u64, now: Duration, deadline: Duration) {
        *self = Self { at: deadline, token: Some(token), sent_at: now, tries: self.tries + 1 };
    }

    /// Whether it was taken for lost now, so that it may leave again.
    pub(super) fn expire(&mut self, now: Duration) -> bool {
        let lost = self.token.is_some() && self.at <= now;
        if lost {
            self.token = None;
        }
        lost
    }

    /// It is known to be lost before its deadline, which says nothing about how long answers take.
    pub(super) fn give_up(&mut self, now: Duration) {
        *self = Self { at: now, token: None, tries: self.tries.saturating_sub(1), ..*self };
    }

    /// Whether its latest sending is what this token answers.
    pub(super) fn is_answered_by(&self, token: u64) -> bool {
        self.token == Some(token)
    }

    /// When it next needs a look.
    pub(super) fn at(&self) -> Duration {
        self.at
    }

    /// When it last left.
    pub(super) fn sent_at(&self) -> Duration {
        self.sent_at
    }

    /// How often it has left.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn leaves_again_after_its_deadline() {
        let mut request = Request::due(MS(5));
        assert!(!request.is_due(MS(4)) && request.is_due(MS(5)));
        request.send(1, MS(5), MS(25));
        assert!(!request.is_due(MS(30)) && request.is_answered_by(1));
        assert!(!request.expire(MS(24)) && request.expire(MS(25)) && !request.expire(MS(25)));
        assert!(request.is_due(MS(25)) && !request.is_answered_by(1));
        request.send(2, MS(25), MS(65));
        assert_eq!((request.tries(), request.sent_at(), request.at()), (2, MS(25), MS(65)));
    }
}
