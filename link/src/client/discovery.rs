//! Learns what a peer speaks. The one question that every server since 2016 answers and that costs no message is
//! `SIZE:`; what stands behind the colon makes a newer server introduce itself.
//!
//! A newer server's answer has a checksum, and is believed. A plain size has none, and a newer server may give it, too, if
//! the question was garbled beyond recognition; so one plain size is not believed.

use std::time::Duration;

use protocol::link::{Welcome, push_discovery};

use super::{rtt::Rtt, tokens::Tokens};

/// How long to wait for an answer, at first and at the most.
const REST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// So many questions answered by plain sizes, without a word of a newer server, make an old one.
const SIZES_OF_AN_OLD_SERVER: u32 = 5;

/// Which process a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) node: u64,
    pub(super) boot: u64,
}

/// One attempt to learn it, which goes on until it succeeds.
#[derive(Debug)]
pub(super) struct Discovery {
    /// So many plain sizes are believed.
    sizes_enough: u32,
    /// The first token of this attempt: what answers an earlier one may be out of date.
    from: u64,
    last: u64,
    last_at: Duration,
    ask_at: Duration,
    rest: Duration,
    unanswered: u64,
    sizes: u32,
    /// Whether the last question was answered with a plain size. What comes after that was doubled on its way.
    has_size: bool,
}

impl Discovery {
    /// Asks from `now` on. Of a peer that is known to be an old one, one size is enough.
    pub(super) fn begin(now: Duration, is_old: bool, tokens: &Tokens) -> Self {
        Self {
            sizes_enough: if is_old { 1 } else { SIZES_OF_AN_OLD_SERVER },
            from: tokens.next(),
            last: 0,
            last_at: now,
            ask_at: now,
            rest: REST.0,
            unanswered: 0,
            sizes: 0,
            has_size: false,
        }
    }

    /// Whether the question is due; if so, it is appended.
    pub(super) fn poll_transmit(&mut self, now: Duration, tokens: &mut Tokens, out: &mut Vec<u8>) -> bool {
        if now < self.ask_at {
            return false;
        }
        self.last = tokens.take();
        self.last_at = now;
        self.has_size = false;
        self.ask_at = now + self.rest;
        self.rest = (self.rest * 2).min(REST.1);
        self.unanswered += 1;
        push_discovery(self.last, out);
        true
    }

    /// When the question is due.
    pub(super) fn ask_at(&self) -> Duration {
        self.ask_at
    }

    /// How often it was asked since the last answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// A server that speaks the link has answered the question with this token; whether that is one of this attempt.
    pub(super) fn handle_welcome(&mut self, now: Duration, token: u64, rtt: &mut Rtt) -> bool {
        if token == self.last {
            rtt.sample(now.saturating_sub(self.last_at));
        }
        token >= self.from
    }

    /// A plain size came; whether that makes an old server.
    pub(super) fn handle_size(&mut self, now: Duration) -> bool {
        if !self.has_size {
            self.has_size = true;
            self.sizes += 1;
            self.hear(now);
        }
        self.sizes >= self.sizes_enough
    }

    fn hear(&mut self, now: Duration) {
        self.unanswered = 0;
        self.ask_at = now;
        self.rest = REST.0;
    }
}

/// Which process it is that introduces itself.
pub(super) fn identity(welcome: Welcome) -> Identity {
    Identity { node: welcome.node, boot: welcome.boot }
}

/// Whether a text is a server's plain size.
pub(super) fn is_size(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    struct Asker {
        tokens: Tokens,
        discovery: Discovery,
        rtt: Rtt,
    }

    impl Asker {
        fn new(is_old: bool) -> Self {
            let tokens = Tokens::new(5 << 16);
            let discovery = Discovery::begin(MS(0), is_old, &tokens);
            Self { tokens, discovery, rtt: Rtt::default() }
        }

        fn ask(&mut self, ms: u64) -> Option<u64> {
            let mut out = Vec::new();
            let asked = self.discovery.poll_transmit(MS(ms), &mut self.tokens, &mut out);
            asked.then(|| protocol::link::discovery(protocol::frame::only(&out).unwrap()).unwrap())
        }
    }

    #[test]
    fn a_silent_peer_is_asked_less_and_less_for_ever() {
        let mut asker = Asker::new(false);
        let asked: Vec<u64> = (0..5_000).filter(|&ms| asker.ask(ms).is_some()).collect();
        assert_eq!(asked, [0, 50, 150, 350, 750, 1_550, 2_550, 3_550, 4_550]);
        assert_eq!(asker.discovery.unanswered(), 9);
    }

    #[test]
    fn one_answer_of_this_attempt_is_believed() {
        let mut asker = Asker::new(false);
        let token = asker.ask(0).unwrap();
        assert!(!asker.discovery.handle_welcome(MS(1), token - 1, &mut asker.rtt), "from before this attempt");
        assert!(asker.discovery.handle_welcome(MS(1), token, &mut asker.rtt));
    }

    #[test]
    fn five_sizes_make_an_old_server_and_one_confirms_it() {
        let mut asker = Asker::new(false);
        for ms in 0..5 {
            asker.ask(ms).unwrap();
            assert_eq!(asker.discovery.handle_size(MS(ms)), ms == 4);
            assert_eq!(asker.discovery.handle_size(MS(ms)), ms == 4, "doubled on its way");
        }
        let mut known = Asker::new(true);
        known.ask(0).unwrap();
        assert!(known.discovery.handle_size(MS(0)));
    }
}
