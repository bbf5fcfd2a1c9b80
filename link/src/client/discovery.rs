//! Learns what a peer speaks. The one question that every server since 2016 answers and that costs no message is
//! `SIZE:`; what stands behind the colon makes a newer server introduce itself.
//!
//! Neither the question nor its answers have a checksum. A garbled question looks like any SIZE, so a newer server answers
//! it as an old one would; a garbled answer may name another node. So one answer is not believed.

use std::time::Duration;

use protocol::link::{Welcome, push_discovery};

use super::{rtt::Rtt, tokens::Tokens};

/// How long to wait for an answer, at first and at the most.
const REST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// So many plain sizes without a word of a newer server make an old one.
const SIZES_OF_AN_OLD_SERVER: u32 = 5;

/// What is known of the peer from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
    Nothing,
    /// It spoke the verbs of 2016 only.
    Old,
    /// It was this node in this boot.
    New(Identity),
}

/// Which process a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) node: u64,
    pub(super) boot: u64,
}

/// What the peer turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It speaks the verbs of 2016 only.
    Old,
    /// It speaks the link.
    New(Welcome),
}

/// One attempt to learn it, which goes on until it succeeds.
#[derive(Debug)]
pub(super) struct Discovery {
    known: Known,
    /// The first token of this attempt: what answers an earlier one may be out of date.
    from: u64,
    last: u64,
    last_at: Duration,
    ask_at: Duration,
    rest: Duration,
    unanswered: u64,
    /// Which question was answered so, if one was.
    candidate: Option<(u64, Welcome)>,
    sizes: u32,
}

impl Discovery {
    /// Asks from `now` on.
    pub(super) fn begin(now: Duration, known: Known, tokens: &Tokens) -> Self {
        Self {
            known,
            from: tokens.next(),
            last: 0,
            last_at: now,
            ask_at: now,
            rest: REST.0,
            unanswered: 0,
            candidate: None,
            sizes: 0,
        }
    }

    /// Whether the question is due; if so, it is appended.
    pub(super) fn poll_transmit(&mut self, now: Duration, tokens: &mut Tokens, out: &mut Vec<u8>) -> bool {
        if now < self.ask_at {
            return false;
        }
        self.last = tokens.take();
        self.last_at = now;
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

    /// A server that speaks the link has answered.
    pub(super) fn handle_welcome(
        &mut self,
        now: Duration,
        token: u64,
        welcome: Welcome,
        rtt: &mut Rtt,
    ) -> Option<Verdict> {
        if token < self.from {
            return None;
        }
        if token == self.last {
            rtt.sample(now.saturating_sub(self.last_at));
        }
        self.hear(now);
        self.sizes = 0;
        let seen_before =
            self.candidate.is_some_and(|(earlier, seen)| earlier != token && says_the_same(seen, welcome));
        if seen_before || self.known == Known::New(identity(welcome)) {
            return Some(Verdict::New(welcome));
        }
        self.candidate = Some((token, welcome));
        None
    }

    /// A plain size came.
    pub(super) fn handle_size(&mut self, now: Duration) -> Option<Verdict> {
        self.hear(now);
        self.sizes += 1;
        let enough = if self.known == Known::Old { 1 } else { SIZES_OF_AN_OLD_SERVER };
        (self.sizes >= enough).then_some(Verdict::Old)
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

/// Whether two answers agree in what lasts.
fn says_the_same(one: Welcome, other: Welcome) -> bool {
    one == Welcome { size: one.size, credit: one.credit, ..other }
}

/// Whether a text is a server's plain size.
pub(super) fn is_size(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use protocol::link::Durability;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const WELCOME: Welcome =
        Welcome { size: 3, node: 0xa, boot: 7, datagram_bytes_max: 65_507, level: Durability::Memory, credit: 100 };

    struct Asker {
        tokens: Tokens,
        discovery: Discovery,
        rtt: Rtt,
    }

    impl Asker {
        fn new(known: Known) -> Self {
            let tokens = Tokens::new(5 << 16);
            let discovery = Discovery::begin(MS(0), known, &tokens);
            Self { tokens, discovery, rtt: Rtt::default() }
        }

        fn ask(&mut self, ms: u64) -> Option<u64> {
            let mut out = Vec::new();
            let asked = self.discovery.poll_transmit(MS(ms), &mut self.tokens, &mut out);
            asked.then(|| protocol::link::discovery(protocol::frame::only(&out).unwrap()).unwrap())
        }

        fn welcome(&mut self, ms: u64, token: u64, welcome: Welcome) -> Option<Verdict> {
            self.discovery.handle_welcome(MS(ms), token, welcome, &mut self.rtt)
        }
    }

    #[test]
    fn a_silent_peer_is_asked_less_and_less_for_ever() {
        let mut asker = Asker::new(Known::Nothing);
        let asked: Vec<u64> = (0..5_000).filter(|&ms| asker.ask(ms).is_some()).collect();
        assert_eq!(asked, [0, 50, 150, 350, 750, 1_550, 2_550, 3_550, 4_550]);
        assert_eq!(asker.discovery.unanswered(), 9);
    }

    #[test]
    fn a_stranger_is_believed_when_it_says_the_same_twice() {
        let mut asker = Asker::new(Known::Nothing);
        let first = asker.ask(0).unwrap();
        assert_eq!(asker.welcome(1, first, WELCOME), None);
        assert_eq!(asker.welcome(1, first, WELCOME), None, "the same answer, doubled on its way");
        let second = asker.ask(1).unwrap();
        let garbled = Welcome { node: 0xb, ..WELCOME };
        assert_eq!(asker.welcome(2, second, garbled), None);
        let third = asker.ask(2).unwrap();
        assert_eq!(asker.welcome(3, third, WELCOME), None);
        let fourth = asker.ask(3).unwrap();
        let grown = Welcome { size: 9, credit: 0, ..WELCOME };
        assert_eq!(asker.welcome(4, fourth, grown), Some(Verdict::New(grown)));
    }

    #[test]
    fn who_is_known_is_believed_at_once() {
        let mut asker = Asker::new(Known::New(identity(WELCOME)));
        let token = asker.ask(0).unwrap();
        assert_eq!(asker.welcome(1, token - 1, WELCOME), None, "an answer from before this attempt");
        assert_eq!(asker.welcome(1, token, WELCOME), Some(Verdict::New(WELCOME)));
        let mut restarted = Asker::new(Known::New(identity(Welcome { boot: 6, ..WELCOME })));
        let token = restarted.ask(0).unwrap();
        assert_eq!(restarted.welcome(1, token, WELCOME), None);
    }

    #[test]
    fn five_sizes_make_an_old_server_and_one_confirms_it() {
        let mut asker = Asker::new(Known::Nothing);
        for ms in 0..4 {
            asker.ask(ms).unwrap();
            assert_eq!(asker.discovery.handle_size(MS(ms)), None);
        }
        asker.ask(4).unwrap();
        assert_eq!(asker.discovery.handle_size(MS(4)), Some(Verdict::Old));
        assert_eq!(Asker::new(Known::Old).discovery.handle_size(MS(0)), Some(Verdict::Old));
    }

    #[test]
    fn a_garbled_question_does_not_downgrade() {
        let mut asker = Asker::new(Known::Nothing);
        let mut verdict = None;
        for ms in 0..20 {
            let token = asker.ask(ms).unwrap();
            verdict = if ms % 3 == 0 {
                asker.welcome(ms, token, Welcome { boot: ms, ..WELCOME })
            } else {
                asker.discovery.handle_size(MS(ms))
            };
            assert_eq!(verdict, None, "at {ms}");
        }
        assert_eq!(verdict, None);
    }
}
