//! A producer and a peer whose answers are written down.

use protocol::link::{Durability, split_varint};

use super::*;

const WELCOME: Welcome = Welcome {
    size: 0,
    node: 0xa,
    boot: 1,
    datagram_bytes_max: 65_507,
    level: Durability::Memory,
    credit: 1_000,
    batch_messages_max: 1_000,
};

fn plan() -> ProducerPlan {
    ProducerPlan {
        producer: 0xfeed,
        nonce: 7 << 16,
        stage: "Market spread".to_owned(),
        floor: None,
        datagram_bytes_max: 65_507,
        limits: SendLimits { batches_max: 8, bytes_max: 1 << 20 },
        puts_max: 128,
    }
}

/// A producer, what time it is for it, and what it has sent.
struct Edge {
    producer: Producer,
    now: Now,
}

impl Edge {
    fn new(plan: ProducerPlan) -> Self {
        let now = Now { since_start: Duration::ZERO, since_epoch: Duration::from_secs(1) };
        Self { producer: Producer::new(plan), now }
    }

    /// One whose peer is a newer one, in epoch 1, with nothing from this producer.
    fn open() -> Self {
        let mut edge = Self::new(plan());
        edge.welcome(WELCOME);
        edge.opened(1, 0, 1_000);
        edge
    }

    /// Introduces a peer that is asked for.
    fn welcome(&mut self, welcome: Welcome) {
        let asked = self.sent();
        let [(token, ask)] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!(ask, "size");
        self.introduce(*token, welcome);
    }

    fn introduce(&mut self, token: u64, welcome: Welcome) {
        let mut datagram = Vec::new();
        welcome.push(token, &mut datagram);
        self.producer.handle_datagram(self.now, &datagram);
    }

    /// Answers the OPEN that is asked.
    fn opened(&mut self, epoch: u64, sequence: u64, credit: u64) {
        let asked = self.sent();
        let [(token, ask)] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!(*ask, format!("open feed 70000 from {}", self.producer.confirmed()));
        self.answer(*token, &Answer::Opened { epoch, sequence, level: Durability::Memory, credit });
    }

    fn answer(&mut self, token: u64, answer: &Answer<'_>) {
        let mut datagram = Vec::new();
        answer.push(token, &mut datagram);
        self.producer.handle_datagram(self.now, &datagram);
    }

    fn stored(&mut self, token: u64, sequence: u64) {
        self.answer(token, &Answer::Stored { sequence, level: Durability::Memory, credit: 1_000 });
    }

    fn old(&mut self, text: &[u8]) {
        let mut datagram = Vec::new();
        frame::push(text, &mut datagram).unwrap();
        self.producer.handle_datagram(self.now, &datagram);
    }

    /// Pushes so many messages of a thousand bytes.
    fn push(&mut self, count: u64) {
        for _ in 0..count {
            self.producer.push(self.now, &[b'x'; 1_000], None).unwrap();
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now.since_start += Duration::from_millis(ms);
        self.producer.handle_timeout(self.now);
    }

    /// Waits for its next deadline; how many milliseconds that were.
    fn wait_for_deadline(&mut self) -> u128 {
        let wait = self.producer.poll_timeout().unwrap().saturating_sub(self.now.since_start);
        self.now.since_start += wait;
        self.producer.handle_timeout(self.now);
        wait.as_millis()
    }

    /// All that it sends now: tokens and requests.
    fn sent(&mut self) -> Vec<(u64, String)> {
        let mut datagram = Vec::new();
        std::iter::from_fn(|| {
            datagram.clear();
            self.producer.poll_transmit(self.now, &mut datagram).then(|| shown(&datagram))
        })
        .collect()
    }

    fn sent_texts(&mut self) -> Vec<String> {
        self.sent().into_iter().map(|(_, text)| text).collect()
    }
}

fn shown(datagram: &[u8]) -> (u64, String) {
    let text = frame::only(datagram).unwrap();
    if let Some(token) = protocol::link::discovery(text) {
        return (token, "size".to_owned());
    }
    if let Ok(Request::Put(message)) = Request::parse(datagram) {
        return (0, format!("put {}", message.escape_ascii()));
    }
    let (token, ask) = Ask::parse(text).unwrap();
    let text = match ask {
        Ask::Open { producer, nonce, from } => format!("open {producer:x} {nonce:x} from {from}"),
        Ask::End(sending) => format!("end e{} s{}", sending.epoch, sending.sequence),
        Ask::Enq(Enq { sending, count, derived, .. }) => {
            let derived = derived.map(shown_ids).unwrap_or_default();
            format!("enq e{} {}+{count}{derived}", sending.epoch, sending.sequence)
        }
        other => panic!("{other:?}"),
    };
    (token, text)
}

fn shown_ids(derived: Derived<'_>) -> String {
    let Derived { node, generation, stage, low_water, mut ids } = derived;
    let mut numbers = Vec::new();
    while let Some((number, rest)) = split_varint(ids) {
        numbers.push(number);
        ids = rest;
    }
    format!(" from {node:x}.{generation} {} w{low_water} {numbers:?}", str::from_utf8(stage).unwrap())
}

#[test]
fn a_conversation() {
    let mut edge = Edge::open();
    assert!(edge.producer.is_settled() && edge.producer.resume_at() == Some(0));
    edge.push(3);
    let sent = edge.sent();
    assert_eq!(sent[0].1, "enq e1 0+3");
    assert_eq!((edge.producer.confirmed(), edge.producer.unconfirmed()), (0, 3));
    edge.stored(sent[0].0, 3);
    assert_eq!((edge.producer.confirmed(), edge.producer.is_settled()), (3, true));
    edge.producer.end();
    assert!(!edge.producer.is_settled() && !edge.producer.room());
    let sent = edge.sent();
    assert_eq!(sent[0].1, "end e1 s3");
    assert!(edge.sent().is_empty(), "asked once");
    edge.wait(20);
    assert_eq!(edge.sent_texts(), ["end e1 s3"], "and again");
    edge.stored(sent[0].0, 3);
    assert!(edge.producer.is_settled() && edge.producer.poll_timeout().is_none());
    let counts = edge.producer.counts();
    assert_eq!((counts.sent, counts.confirmed, counts.batches, counts.resent_batches), (3, 3, 1, 0));
    assert_eq!((edge.producer.negotiated(), edge.producer.peer_node()), (Some(Guarantee::ExactlyOnce), Some(0xa)));
}

#[test]
fn a_feed_goes_on_where_the_peer_has_it() {
    let mut edge = Edge::new(plan());
    assert!(!edge.producer.room(), "nobody knows where to begin");
    edge.welcome(WELCOME);
    edge.opened(4, 1_234, 9);
    assert_eq!((edge.producer.resume_at(), edge.producer.next_sequence()), (Some(1_234), 1_234));
    edge.push(2);
    let sent = edge.sent();
    assert_eq!(sent[0].1, "enq e4 1234+2");
    edge.stored(sent[0].0, 1_236);
    assert_eq!((edge.producer.counts().sent, edge.producer.counts().confirmed), (2, 2));
}

#[test]
fn a_batch_leaves_when_there_is_room_and_fills_up_meanwhile() {
    let mut edge = Edge::open();
    edge.push(1);
    assert_eq!(edge.sent_texts(), ["enq e1 0+1"]);
    edge.push(64);
    let sent = edge.sent();
    assert_eq!(sent[0].1, "enq e1 1+64", "a datagram holds 64 of them");
    // The window is four datagrams at first.
    edge.push(200);
    assert_eq!(edge.sent_texts(), ["enq e1 65+64", "enq e1 129+64", "enq e1 193+64"]);
    assert!(!edge.producer.is_held_back() && edge.producer.room());
    edge.push(125);
    assert!(!edge.producer.room(), "two datagrams wait");
    edge.stored(sent[0].0, 65);
    assert_eq!(edge.sent_texts(), ["enq e1 257+64", "enq e1 321+64", "enq e1 385+5"], "the window has grown");
}

#[test]
fn silence_is_asked_again_and_again_ever_slower() {
    let mut edge = Edge::open();
    edge.push(200);
    assert_eq!(edge.sent_texts().len(), 4);
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(edge.wait_for_deadline());
        let sent = edge.sent_texts();
        assert_eq!(sent[0], "enq e1 0+64", "the oldest first");
    }
    assert_eq!(waits, [20, 40, 80, 160]);
    edge.wait_for_deadline();
    assert_eq!(edge.sent_texts(), ["size"], "after five silences it is asked who it is");
    assert_eq!(edge.producer.counts().timeouts, 5);
    edge.wait(50);
    let asked = edge.sent();
    edge.introduce(asked[0].0, WELCOME);
    let sent = edge.sent();
    assert_eq!(sent[0].1, "enq e1 0+64", "the same process, so nothing has changed");
    edge.stored(sent[0].0, 128);
    assert_eq!((edge.producer.confirmed(), edge.producer.timeouts), (128, 0));
    assert_eq!(edge.producer.counts().negotiations, 1);
}

#[test]
fn a_late_answer_is_an_answer() {
    let mut edge = Edge::open();
    edge.push(3);
    let first = edge.sent()[0].0;
    for _ in 0..5 {
        edge.wait_for_deadline();
        edge.sent();
    }
    edge.stored(first, 3);
    assert!(edge.producer.is_settled());
    edge.push(1);
    assert_eq!(edge.sent_texts(), ["enq e1 3+1"], "it was slow, not gone");
}

#[test]
fn three_answers_that_confirm_nothing_mean_a_gap() {
    let mut edge = Edge::open();
    edge.push(250);
    let sent = edge.sent();
    assert_eq!(sent.len(), 4);
    edge.stored(sent[0].0, 64);
    edge.sent();
    for &(token, _) in &sent[1..3] {
        edge.stored(token, 64);
        assert!(edge.sent().is_empty());
    }
    edge.stored(sent[3].0, 64);
    let again = edge.sent();
    assert_eq!(again[0].1, "enq e1 64+64");
    assert_eq!(edge.producer.counts().resent_batches, 1);
    edge.stored(sent[3].0, 64);
    edge.stored(again[0].0, 64);
    assert!(edge.sent().is_empty(), "sent again once");
    edge.stored(again[0].0, 250);
    assert!(edge.producer.is_settled());
}

#[test]
fn a_full_peer_makes_it_rest_and_halve() {
    let mut edge = Edge::open();
    edge.push(64);
    let mut rests = Vec::new();
    let mut batches = Vec::new();
    for _ in 0..8 {
        let sent = edge.sent();
        assert_eq!(sent.len(), 1);
        batches.push(sent[0].1.clone());
        edge.answer(sent[0].0, &Answer::Full { sequence: 0, after_ms: 10 });
        edge.answer(sent[0].0, &Answer::Full { sequence: 0, after_ms: 10 });
        assert!(edge.producer.is_held_back() && edge.sent().is_empty());
        rests.push(edge.wait_for_deadline());
    }
    assert_eq!(rests, [10, 20, 40, 80, 160, 320, 500, 500]);
    assert_eq!(batches[..4], ["enq e1 0+64", "enq e1 0+64", "enq e1 0+32", "enq e1 0+16"]);
    let sent = edge.sent();
    assert_eq!(sent[0].1, "enq e1 0+1");
    edge.stored(sent[0].0, 1);
    assert!(!edge.producer.is_held_back());
    let mut taken = 1;
    while !edge.producer.is_settled() {
        for (token, text) in edge.sent() {
            let (_, batch) = text.rsplit_once(' ').unwrap();
            let (first, count) = batch.split_once('+').unwrap();
            assert_eq!(first.parse(), Ok(taken));
            taken += count.parse::<u64>().unwrap();
            edge.stored(token, taken);
        }
    }
    assert_eq!((taken, edge.producer.counts().refused_full, edge.producer.counts().confirmed), (64, 8, 64));
}

#[test]
fn a_full_answer_to_what_was_taken_since_is_ignored() {
    let mut edge = Edge::open();
    edge.push(1);
    let first = edge.sent()[0].0;
    edge.wait_for_deadline();
    let second = edge.sent()[0].0;
    edge.answer(first, &Answer::Full { sequence: 0, after_ms: 10 });
    assert!(!edge.producer.is_held_back());
    edge.stored(second, 1);
    edge.answer(second, &Answer::Full { sequence: 0, after_ms: 10 });
    assert!(edge.producer.is_settled() && !edge.producer.is_held_back());
}

#[test]
fn no_more_is_under_way_than_there_is_credit() {
    let mut edge = Edge::new(plan());
    edge.welcome(WELCOME);
    edge.opened(1, 0, 100);
    edge.push(192);
    let sent = edge.sent();
    assert_eq!(sent.len(), 1, "64 messages of 100");
    edge.answer(sent[0].0, &Answer::Stored { sequence: 64, level: Durability::Memory, credit: 128 });
    assert_eq!(edge.sent().len(), 2);
    let mut starved = Edge::new(plan());
    starved.welcome(WELCOME);
    starved.opened(1, 0, 0);
    starved.push(128);
    assert_eq!(starved.sent().len(), 1, "a lone batch asks for credit");
}

#[test]
fn another_process_takes_over() {
    let mut edge = Edge::open();
    edge.push(1);
    let token = edge.sent()[0].0;
    edge.wait(5_000);
    edge.answer(token, &Answer::Fenced { epoch: 2 });
    edge.welcome(WELCOME);
    assert_eq!(edge.producer.failed(), Some(Failure::Fenced { epoch: 2 }));
    assert!(edge.sent().is_empty() && edge.producer.poll_timeout().is_none() && !edge.producer.room());
}

#[test]
fn an_epoch_of_a_peer_that_has_gone_since_is_asked_for_anew() {
    // OPENED was late: it is from before the peer was started anew, and the OPEN has reached that one, too.
    let mut edge = Edge::open();
    edge.push(1);
    let token = edge.sent()[0].0;
    edge.wait(5_000);
    edge.answer(token, &Answer::Fenced { epoch: 9 });
    edge.welcome(Welcome { node: 0xb, boot: 2, ..WELCOME });
    edge.opened(9, 0, 1_000);
    assert_eq!(edge.sent_texts(), ["enq e9 0+1"]);
}

#[test]
fn a_late_open_of_the_process_before_does_not_end_this_one() {
    let mut edge = Edge::new(plan());
    edge.welcome(WELCOME);
    let token = edge.sent()[0].0;
    edge.answer(token, &Answer::Fenced { epoch: 2 });
    let asked = edge.sent();
    assert_eq!(asked[0].1, "open feed 70001 from 0");
    edge.answer(asked[0].0, &Answer::Opened { epoch: 3, sequence: 0, level: Durability::Memory, credit: 9 });
    for takes_back in 2..=3 {
        edge.push(1);
        let token = edge.sent()[0].0;
        edge.answer(token, &Answer::Fenced { epoch: 4 });
        let asked = edge.sent();
        assert_eq!(asked[0].1, format!("open feed 7000{takes_back} from {}", takes_back - 2));
        edge.answer(
            asked[0].0,
            &Answer::Opened { epoch: 5, sequence: takes_back - 1, level: Durability::Memory, credit: 9 },
        );
    }
    assert_eq!(edge.producer.confirmed(), 2);
    edge.push(1);
    let token = edge.sent()[0].0;
    edge.answer(token, &Answer::Fenced { epoch: 6 });
    edge.welcome(WELCOME);
    assert_eq!(edge.producer.failed(), Some(Failure::Fenced { epoch: 6 }), "that one lives");
}

#[test]
fn who_was_overtaken_by_another_process_does_not_take_back() {
    let mut edge = Edge::open();
    edge.push(2);
    let token = edge.sent()[0].0;
    edge.answer(token, &Answer::Fenced { epoch: 2 });
    let token = edge.sent()[0].0;
    edge.answer(token, &Answer::Opened { epoch: 3, sequence: 3, level: Durability::Memory, credit: 9 });
    assert_eq!(edge.producer.failed(), Some(Failure::Fenced { epoch: 3 }), "it never sent a third message");
}

#[test]
fn a_peer_with_enough_producers_is_asked_again() {
    let mut edge = Edge::new(plan());
    edge.welcome(WELCOME);
    let asked = edge.sent();
    edge.answer(asked[0].0, &Answer::Full { sequence: 0, after_ms: 1_000 });
    assert!(edge.producer.is_held_back() && edge.producer.failed().is_none());
    assert_eq!(edge.wait_for_deadline(), 1_000);
    edge.opened(1, 0, 10);
    assert!(!edge.producer.is_held_back() && edge.producer.counts().refused_producers == 1);
}

#[test]
fn a_feed_that_another_process_has_ended_is_at_its_end() {
    let mut edge = Edge::new(plan());
    edge.welcome(WELCOME);
    let token = edge.sent()[0].0;
    edge.answer(token, &Answer::Fenced { epoch: 0 });
    assert_eq!(edge.producer.failed(), Some(Failure::Fenced { epoch: 0 }));
}

#[test]
fn a_peer_that_lost_its_memory_gets_what_it_had_not_confirmed() {
    let mut edge = Edge::open();
    edge.push(130);
    let sent = edge.sent();
    edge.stored(sent[0].0, 64);
    edge.sent();
    edge.answer(sent[1].0, &Answer::Fenced { epoch: 0 });
    edge.answer(sent[2].0, &Answer::Fenced { epoch: 0 });
    edge.welcome(Welcome { node: 0xb, boot: 2, ..WELCOME });
    edge.opened(9, 64, 1_000);
    let sent = edge.sent();
    assert_eq!(sent.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["enq e9 64+64", "enq e9 128+2"]);
    edge.stored(sent[0].0, 128);
    edge.stored(sent[1].0, 130);
    assert_eq!((edge.producer.confirmed(), edge.producer.peer_node()), (130, Some(0xb)));
    edge.producer.end();
    assert_eq!(edge.sent_texts(), ["end e9 s130"]);
    assert_eq!((edge.producer.counts().negotiations, edge.producer.counts().sent), (2, 130));
}

#[test]
fn a_new_peer_is_not_met_with_the_epoch_of_the_one_before() {
    let mut edge = Edge::open();
    edge.push(1);
    edge.sent();
    // Twice it falls silent: before it is known to be another, and when it is asked for an epoch.
    for _ in 0..2 {
        let token = loop {
            edge.wait_for_deadline();
            if let [(token, ask)] = edge.sent().as_slice()
                && ask == "size"
            {
                break *token;
            }
        };
        edge.introduce(token, Welcome { node: 0xb, boot: 2, ..WELCOME });
        assert_eq!(edge.sent_texts(), ["open feed 70000 from 0"]);
    }
}

#[test]
fn a_peer_that_kept_its_memory_says_what_it_has() {
    let mut edge = Edge::open();
    edge.push(130);
    let sent = edge.sent();
    edge.answer(sent[1].0, &Answer::Fenced { epoch: 0 });
    edge.welcome(Welcome { boot: 2, ..WELCOME });
    edge.opened(3, 100, 1_000);
    assert_eq!((edge.producer.confirmed(), edge.producer.unconfirmed()), (100, 30));
    assert_eq!(edge.sent_texts(), ["enq e3 100+28", "enq e3 128+2"]);
    // What comes late from before says nothing about now.
    edge.stored(sent[2].0, 130);
    assert_eq!((edge.producer.confirmed(), edge.producer.counts().stray), (100, 1));
}

#[test]
fn counts_go_on_with_a_node_that_restarts_and_begin_anew_with_another() {
    let mut edge = Edge::open();
    edge.push(130);
    let sent = edge.sent();
    edge.stored(sent[0].0, 64);
    assert_eq!(edge.producer.peer_counts(), PeerCounts { sent: 130, confirmed: 64 });
    edge.answer(sent[1].0, &Answer::Fenced { epoch: 0 });
    edge.welcome(Welcome { boot: 2, ..WELCOME });
    edge.opened(3, 100, 1_000);
    assert_eq!(edge.producer.peer_counts().confirmed, 100);
    let sent = edge.sent();
    edge.answer(sent[0].0, &Answer::Fenced { epoch: 0 });
    edge.welcome(Welcome { node: 0xb, boot: 1, ..WELCOME });
    edge.opened(1, 100, 1_000);
    edge.sent();
    assert_eq!(edge.producer.peer_counts(), PeerCounts { sent: 30, confirmed: 0 });
}

#[test]
fn an_end_that_was_forgotten_was_an_end() {
    let mut edge = Edge::open();
    edge.producer.end();
    let sent = edge.sent();
    edge.answer(sent[0].0, &Answer::Fenced { epoch: 0 });
    assert!(edge.producer.is_settled());
}

#[test]
fn an_end_that_a_peer_remembers_after_its_restart_was_an_end() {
    let mut edge = Edge::open();
    edge.producer.end();
    let sent = edge.sent();
    assert_eq!(sent[0].1, "end e1 s0");
    // Its answer is lost, and the peer is another when it is there again.
    let token = loop {
        edge.wait_for_deadline();
        if let [(token, ask)] = edge.sent().as_slice()
            && ask == "size"
        {
            break *token;
        }
    };
    edge.introduce(token, Welcome { boot: 2, ..WELCOME });
    let asked = edge.sent();
    assert_eq!(asked[0].1, "open feed 70000 from 0");
    edge.answer(asked[0].0, &Answer::Fenced { epoch: 0 });
    assert!(edge.producer.is_settled() && edge.producer.failed().is_none());
}

#[test]
fn an_old_peer_gets_single_messages_once() {
    let mut edge = Edge::new(plan());
    for _ in 0..5 {
        assert_eq!(edge.sent_texts(), ["size"]);
        edge.old(b"17");
    }
    assert_eq!((edge.producer.negotiated(), edge.producer.resume_at()), (Some(Guarantee::AtMostOnce), Some(0)));
    for message in [&b"one"[..], b"two", b"three"] {
        edge.producer.push(edge.now, message, None).unwrap();
    }
    assert_eq!(edge.sent_texts(), ["put one", "put two", "put three"]);
    assert_eq!((edge.producer.confirmed(), edge.producer.is_settled()), (3, false));
    edge.old(b"PUT 3 bytes");
    edge.old(b"PUT 3 bytes");
    edge.wait_for_deadline();
    assert!(edge.sent().is_empty(), "nothing is sent again");
    let old = edge.producer.old_counts();
    assert_eq!((old.sent, old.confirmed, old.unconfirmed), (3, 2, 1));
    assert_eq!((edge.producer.counts().sent, edge.producer.counts().confirmed), (3, 2));
    edge.producer.end();
    assert!(edge.producer.is_settled());
}

#[test]
fn an_old_peer_will_not_do_where_more_is_asked_for() {
    let mut edge = Edge::new(ProducerPlan { floor: Some(Guarantee::AtLeastOnce), ..plan() });
    for _ in 0..5 {
        assert_eq!(edge.sent_texts(), ["size"]);
        edge.old(b"0");
    }
    let expected = Failure::Floor { asked: Guarantee::AtLeastOnce, given: Guarantee::AtMostOnce };
    assert_eq!(edge.producer.failed(), Some(expected));
    assert!(edge.sent().is_empty() && !edge.producer.room());
}

#[test]
fn an_old_peer_is_upgraded_and_a_new_one_downgraded() {
    let mut edge = Edge::open();
    edge.push(2);
    for _ in 0..5 {
        edge.sent();
        edge.wait_for_deadline();
    }
    for _ in 0..5 {
        assert_eq!(edge.sent_texts(), ["size"]);
        edge.old(b"0");
    }
    let sent = edge.sent_texts();
    assert!(sent.len() == 2 && sent[0].starts_with("put xxx"), "what was not confirmed goes to the new peer");
    assert_eq!((edge.producer.confirmed(), edge.producer.counts().sent), (2, 2));
    edge.wait_for_deadline();
    edge.push(3);
    let asked = edge.sent();
    assert_eq!(asked[0].1, "size", "a silent old peer is asked in the words of a newer one");
    edge.introduce(asked[0].0, Welcome { node: 0xc, ..WELCOME });
    edge.welcome(Welcome { node: 0xc, ..WELCOME });
    edge.opened(1, 2, 1_000);
    assert_eq!(edge.sent_texts(), ["enq e1 2+3"]);
    assert_eq!(edge.producer.counts().negotiations, 3);
}

#[test]
fn outputs_carry_the_ids_of_their_inputs() {
    let mut edge = Edge::open();
    let input = |node, low_water| Input { node, generation: 1, low_water, origin_us: 5 };
    let push = |edge: &mut Edge, offset, index| {
        edge.producer.push(edge.now, b"out", Some(OutputId { offset, index })).unwrap();
    };
    edge.producer.derive_from(input(0xa, 10));
    push(&mut edge, 12, 0);
    push(&mut edge, 12, 1);
    push(&mut edge, 300, 0);
    edge.producer.derive_from(input(0xb, 0));
    push(&mut edge, 1, 0);
    push(&mut edge, 0, 0);
    edge.producer.push(edge.now, b"plain", None).unwrap();
    let expected = [
        "enq e1 0+3 from a.1 Market_spread w10 [12, 0, 0, 1, 288, 0]",
        "enq e1 3+1 from b.1 Market_spread w0 [1, 0]",
        "enq e1 4+1 from b.1 Market_spread w0 [0, 0]",
        "enq e1 5+1",
    ];
    assert_eq!(edge.sent_texts(), expected);
    edge.producer.derive_from(input(0xa, 200));
    edge.wait_for_deadline();
    assert!(edge.sent_texts()[0].contains(" w200 "), "the latest low water goes with a batch that is sent again");
}

#[test]
fn what_answers_nothing_is_counted() {
    let mut edge = Edge::open();
    edge.push(1);
    let token = edge.sent()[0].0;
    edge.stored(token + 1_000_000, 1);
    edge.stored(0, 1);
    edge.answer(token, &Answer::Done { finished: b"", count: 0, level: Durability::Memory, body: b"" });
    edge.old(b"PUT 1 bytes");
    let mut datagram = Vec::new();
    Ask::Stat.push(token, &mut datagram);
    edge.producer.handle_datagram(edge.now, &datagram);
    datagram.clear();
    Answer::Stored { sequence: 1, level: Durability::Memory, credit: 1 }.push(token, &mut datagram);
    *datagram.last_mut().unwrap() ^= 1;
    edge.producer.handle_datagram(edge.now, b"");
    edge.producer.handle_datagram(edge.now, &datagram);
    let counts = edge.producer.counts();
    assert_eq!((counts.stray, counts.requests, counts.malformed, counts.bad_checksum), (4, 1, 1, 1));
    assert_eq!(edge.producer.confirmed(), 0);
    edge.stored(token, 99);
    assert_eq!(edge.producer.confirmed(), 0, "more than was sent");
}

#[test]
fn datagrams_are_as_small_as_the_peer_wants_them() {
    let mut edge = Edge::new(ProducerPlan { datagram_bytes_max: 9_000, stage: String::new(), ..plan() });
    edge.welcome(Welcome { datagram_bytes_max: 1_472, ..WELCOME });
    edge.opened(1, 0, 1_000);
    for _ in 0..100 {
        edge.producer.push(edge.now, &[b'x'; 100], None).unwrap();
    }
    edge.producer.push(edge.now, &[b'x'; 5_000], None).unwrap();
    let mut sizes = Vec::new();
    loop {
        let mut datagram = Vec::new();
        if !edge.producer.poll_transmit(edge.now, &mut datagram) {
            break;
        }
        let (token, text) = shown(&datagram);
        sizes.push(datagram.len());
        let (first, count) = text.rsplit_once(' ').unwrap().1.split_once('+').unwrap();
        edge.stored(token, first.parse::<u64>().unwrap() + count.parse::<u64>().unwrap());
    }
    assert!(sizes[..7].iter().all(|size| (1_300..=1_472).contains(size)), "{sizes:?}");
    assert!(*sizes.last().unwrap() > 5_000, "what is larger travels alone");
}

#[test]
fn the_longest_message_fits_with_the_longest_header() {
    let mut edge = Edge::new(ProducerPlan { producer: u128::MAX, stage: "s".repeat(100), ..plan() });
    edge.welcome(WELCOME);
    let asked = edge.sent();
    edge.answer(
        asked[0].0,
        &Answer::Opened { epoch: u64::MAX, sequence: u64::MAX - 9, level: Durability::Memory, credit: 9 },
    );
    let input = Input { node: u64::MAX, generation: u64::MAX, low_water: u64::MAX, origin_us: u64::MAX };
    edge.producer.derive_from(input);
    let id = OutputId { offset: u64::MAX, index: u64::MAX };
    edge.producer.push(edge.now, &vec![b'x'; MESSAGE_BYTES_MAX], Some(id)).unwrap();
    let mut datagram = Vec::new();
    assert!(edge.producer.poll_transmit(edge.now, &mut datagram));
    assert!(datagram.len() <= DATAGRAM_BYTES_MAX, "{}", datagram.len());
    let refused = edge.producer.push(edge.now, &vec![b'x'; MESSAGE_BYTES_MAX + 1], None);
    assert_eq!(refused, Err(MessageTooLong { bytes: MESSAGE_BYTES_MAX + 1 }));
}

#[test]
fn planted_faults_show() {
    let mut edge = Edge::open();
    edge.producer.plant(Faults { no_window: true, random_ids: true, low_water_ahead: 90, ..Faults::default() });
    edge.producer.derive_from(Input { node: 1, generation: 1, low_water: 10, origin_us: 0 });
    edge.producer.push(edge.now, b"out", Some(OutputId { offset: 12, index: 0 })).unwrap();
    let sent = edge.sent_texts();
    assert!(sent[0].contains(" w100 [12, ") && !sent[0].ends_with("[12, 0]"), "{sent:?}");
    for _ in 0..5 {
        edge.push(100);
        assert!(!edge.sent().is_empty());
    }
    assert!(edge.producer.outbox.under_way().1 > 400_000);
}

#[test]
fn what_later_batches_overtake_is_sent_again_without_a_silence() {
    let mut edge = Edge::open();
    edge.push(64);
    let sent = edge.sent();
    edge.stored(sent[0].0, 64);
    edge.push(5 * 64);
    let sent = edge.sent();
    assert_eq!(sent.len(), 5);
    // The first and the third are lost.
    edge.stored(sent[1].0, 64);
    edge.stored(sent[3].0, 64);
    assert!(edge.sent().is_empty(), "two may have overtaken it");
    edge.stored(sent[4].0, 64);
    let again = edge.sent();
    assert_eq!(again[0].1, "enq e1 64+64");
    edge.stored(again[0].0, 3 * 64);
    let third = edge.sent();
    assert_eq!(third[0].1, "enq e1 192+64", "what it confirms up to is lost as well");
    edge.stored(third[0].0, 6 * 64);
    assert!(edge.producer.is_settled());
    assert_eq!((edge.producer.counts().timeouts, edge.producer.counts().resent_batches), (0, 2));
}
