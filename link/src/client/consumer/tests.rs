//! A consumer and a queue whose answers are written down.

use protocol::link::Lease;

use super::*;
use crate::GetLimits;

const WELCOME: Welcome = Welcome {
    size: 0,
    node: 0xa,
    boot: 1,
    datagram_bytes_max: 65_507,
    level: Durability::Memory,
    credit: 1_000,
    batch_messages_max: 1_000,
};

fn plan() -> ConsumerPlan {
    ConsumerPlan {
        session: 7 << 16,
        messages_max: 4,
        datagram_bytes_max: 65_507,
        deliveries_max: 4,
        lease: Duration::from_secs(3),
        floor: None,
        old: GetLimits { under_way_max: 4, rest_min: Duration::from_millis(1), rest_max: Duration::from_millis(50) },
    }
}

/// A consumer, and what time it is for it.
struct Edge {
    consumer: Consumer,
    now: Now,
    wants: bool,
}

impl Edge {
    fn new(plan: ConsumerPlan) -> Self {
        let now = Now { since_start: Duration::ZERO, since_epoch: Duration::from_secs(1) };
        Self { consumer: Consumer::new(plan), now, wants: true }
    }

    /// One whose peer is a newer one.
    fn open() -> Self {
        let mut edge = Self::new(plan());
        edge.welcome(WELCOME);
        edge
    }

    /// Introduces a peer that is asked for.
    fn welcome(&mut self, welcome: Welcome) {
        let token = self.sent_one("size");
        self.introduce(token, welcome);
    }

    fn introduce(&mut self, token: u64, welcome: Welcome) {
        let mut datagram = Vec::new();
        welcome.push(token, &mut datagram);
        self.consumer.handle_datagram(self.now, &datagram);
    }

    fn old_server(&mut self) {
        for _ in 0..5 {
            self.sent_one("size");
            self.old(b"17");
        }
    }

    fn old(&mut self, text: &[u8]) {
        let mut datagram = Vec::new();
        frame::push(text, &mut datagram).unwrap();
        self.consumer.handle_datagram(self.now, &datagram);
    }

    fn answer(&mut self, token: u64, answer: &Answer<'_>) {
        let mut datagram = Vec::new();
        answer.push(token, &mut datagram);
        self.consumer.handle_datagram(self.now, &datagram);
    }

    /// Gives messages from this offset on.
    fn msg(&mut self, token: u64, delivery: u64, lease: Lease, finished: &[u8]) {
        self.msg_of(0xa, token, delivery, lease, finished);
    }

    fn msg_of(&mut self, node: u64, token: u64, delivery: u64, lease: Lease, finished: &[u8]) {
        let mut frames = Vec::new();
        for n in 0..lease.count {
            frame::push((lease.first + n).to_string().as_bytes(), &mut frames).unwrap();
        }
        let msg = Msg {
            delivery,
            lease,
            low_water: 0,
            generation: 1,
            node,
            origin_us: 3,
            finished,
            level: Durability::Memory,
            frames: &frames,
        };
        self.answer(token, &Answer::Msg(msg));
    }

    fn none(&mut self, token: u64, delivery: u64, finished: &[u8]) {
        self.answer(token, &Answer::None { delivery, ended: false, finished, level: Durability::Memory });
    }

    fn done(&mut self, token: u64, finished: &[u8]) {
        self.answer(token, &Answer::Done { finished, count: 0, level: Durability::Memory, body: b"" });
    }

    fn wait(&mut self, ms: u64) {
        self.now.since_start += Duration::from_millis(ms);
        self.consumer.handle_timeout(self.now);
    }

    /// Waits until it has something to do; how many milliseconds that were. A deadline may turn out to be none.
    fn wait_for_deadline(&mut self) -> u128 {
        let before = self.now.since_start;
        while let Some(deadline) = self.consumer.poll_timeout(self.wants) {
            self.now.since_start = self.now.since_start.max(deadline);
            self.consumer.handle_timeout(self.now);
            if self.consumer.poll_timeout(self.wants).is_some_and(|next| next <= self.now.since_start) {
                break;
            }
        }
        self.now.since_start.saturating_sub(before).as_millis()
    }

    /// All that it sends now: tokens and requests.
    fn sent(&mut self) -> Vec<(u64, String)> {
        let mut datagram = Vec::new();
        std::iter::from_fn(|| {
            datagram.clear();
            self.consumer.poll_transmit(self.now, self.wants, &mut datagram).then(|| shown(&datagram))
        })
        .collect()
    }

    /// The one thing that it sends now; its token.
    fn sent_one(&mut self, expected: &str) -> u64 {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}, not {expected}");
        assert_eq!(sent[0].1, expected);
        sent[0].0
    }

    /// The ids of the batches that are here.
    fn batches(&mut self) -> Vec<u64> {
        std::iter::from_fn(|| self.consumer.next_batch()).map(|batch| batch.id).collect()
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.consumer.poll_notice()).collect()
    }

    /// One that holds batch 1, with the next request answered in vain.
    fn holding() -> Self {
        let mut edge = Self::open();
        let token = edge.sent_one("deq 1 lo1 m4 wt20");
        edge.msg(token, 1, lease(0, 1), b"");
        let token = edge.sent_one("deq 2 lo2 m4 wt20");
        assert_eq!(edge.batches(), [1]);
        edge.wants = false;
        edge.none(token, 2, b"");
        edge
    }
}

fn lease(first: u64, count: u64) -> Lease {
    Lease { boot: 1, first, count, attempt: 1 }
}

fn shown(datagram: &[u8]) -> (u64, String) {
    let text = frame::only(datagram).unwrap();
    if let Some(token) = protocol::link::discovery(text) {
        return (token, "size".to_owned());
    }
    if text == b"GET" {
        return (0, "get".to_owned());
    }
    let (token, ask) = Ask::parse(text).unwrap();
    let list = |finished: &[u8]| String::from_utf8(finished.to_vec()).unwrap();
    let text = match ask {
        Ask::Deq(deq) => {
            let Deq { session, delivery, deliveries, open_from, messages_max, wait_ms, lease_ms, finished, .. } = deq;
            assert_eq!((session, lease_ms), (7 << 16, 3_000));
            let more = if deliveries == 1 { String::new() } else { format!(" q{deliveries}") };
            let finished = if finished.is_empty() { String::new() } else { format!(" f{}", list(finished)) };
            format!("deq {delivery}{more} lo{open_from} m{messages_max} wt{wait_ms}{finished}")
        }
        Ask::Ack { finished } => format!("ack {}", list(finished)),
        Ask::Touch { leases, lease_ms } => format!("touch {} {lease_ms}", list(leases)),
        Ask::Nak { leases, how, delay_ms, mut reasons } => {
            let mut text = format!("nak {} {how:?} {delay_ms}", list(leases));
            while let Ok((reason, rest)) = frame::split(reasons) {
                text.push(' ');
                text.push_str(&list(reason));
                reasons = rest;
            }
            text
        }
        other => panic!("{other:?}"),
    };
    (token, text)
}

#[test]
fn a_busy_edge_finishes_and_asks_in_one_datagram() {
    let mut edge = Edge::open();
    let mut token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.msg(token, 1, lease(0, 1), b"");
    for n in 1..10 {
        let batch = edge.consumer.next_batch().unwrap();
        assert_eq!((batch.id, batch.first_offset, batch.attempt, batch.node, batch.origin_us), (n, n - 1, 1, 0xa, 3));
        assert_eq!(batch.messages().collect::<Vec<_>>(), [(n - 1).to_string().as_bytes()]);
        edge.consumer.finish(edge.now, n);
        edge.consumer.recycle(batch.frames);
        token = edge.sent_one(&format!("deq {} lo{} m4 wt20 f1.{}.1.1", n + 1, n + 1, n - 1));
        edge.wait(1);
        edge.msg(token, n + 1, lease(n, 1), b"d");
        assert_eq!(edge.notices(), [Notice::Ended(n, Outcome::Finished)]);
    }
    let counts = edge.consumer.counts();
    assert_eq!((counts.batches, counts.messages, counts.finished, counts.asked), (10, 10, 9, 10));
    assert_eq!((edge.consumer.negotiated(), edge.consumer.peer_node()), (Some(Guarantee::ExactlyOnce), Some(0xa)));
}

#[test]
fn an_idle_edge_has_one_request_waiting_ever_longer() {
    let mut edge = Edge::open();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let sent = edge.sent();
        assert_eq!(sent.len(), 1);
        waits.push(sent[0].1.clone());
        edge.wait(1);
        edge.none(sent[0].0, 1, b"");
    }
    let expected = [20, 40, 80, 160, 320, 640, 1_000, 1_000].map(|wait| format!("deq 1 lo1 m4 wt{wait}"));
    assert_eq!(waits, expected);
    let token = edge.sent_one("deq 1 lo1 m4 wt1000");
    edge.msg(token, 1, lease(0, 1), b"");
    edge.sent_one("deq 2 lo2 m4 wt20");
}

#[test]
fn a_queue_that_has_more_is_asked_for_more() {
    let mut edge = Edge::open();
    let mut asked = edge.sent();
    let mut most = 0;
    for n in 0..10 {
        let (token, _) = asked.remove(0);
        edge.msg(token, n + 1, lease(4 * n, 4), b"");
        assert_eq!(edge.batches(), [n + 1]);
        edge.consumer.finish(edge.now, n + 1);
        asked.extend(edge.sent());
        most = most.max(asked.len());
    }
    assert_eq!((most, asked.len()), (4, 4), "as many as may be");
    // The queue runs dry.
    let (token, _) = asked.remove(0);
    edge.msg(token, 11, lease(40, 1), b"");
    edge.consumer.next_batch();
    assert!(edge.sent().is_empty(), "one is held, three are asked for");
    for (n, (token, _)) in asked.into_iter().enumerate() {
        edge.none(token, 12 + n as u64, b"");
    }
    edge.sent_one("deq 12 lo12 m4 wt20");
}

#[test]
fn no_more_is_asked_for_than_may_be_held() {
    let mut edge = Edge::open();
    for n in 1..=4 {
        let token = edge.sent_one(&format!("deq {n} lo{n} m4 wt20"));
        edge.wait(1);
        edge.msg(token, n, lease(n, 1), b"");
        assert_eq!(edge.batches(), [n]);
    }
    assert!(edge.sent().is_empty());
    edge.consumer.finish(edge.now, 2);
    edge.sent_one("deq 5 lo5 m4 wt20 f1.2.1.1");
}

#[test]
fn a_lost_request_or_answer_is_asked_for_again() {
    let mut edge = Edge::open();
    edge.sent_one("deq 1 lo1 m4 wt20");
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(edge.wait_for_deadline());
        edge.sent_one("deq 1 lo1 m4 wt20");
    }
    assert_eq!(waits, [40, 60, 100, 180]);
    assert_eq!(edge.wait_for_deadline(), 340);
    let token = edge.sent_one("size");
    edge.introduce(token, WELCOME);
    let token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.msg(token, 1, lease(0, 2), b"");
    edge.msg(token, 1, lease(0, 2), b"");
    assert_eq!(edge.batches(), [1]);
    let counts = edge.consumer.counts();
    assert_eq!((counts.asked, counts.asked_again, counts.duplicates, counts.negotiations), (6, 5, 1, 1));
}

#[test]
fn a_delivery_whose_lease_ended_unseen_is_given_up() {
    let mut edge = Edge::open();
    let token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.answer(token, &Answer::None { delivery: 1, ended: true, finished: b"", level: Durability::Memory });
    edge.sent_one("deq 2 lo2 m4 wt20");
    assert_eq!(edge.consumer.counts().ended_unseen, 1);
}

#[test]
fn a_lone_message_is_finished_at_once() {
    let mut edge = Edge::holding();
    edge.wait(300);
    edge.consumer.finish(edge.now, 1);
    let token = edge.sent_one("ack 1.0.1.1");
    assert!(edge.sent().is_empty());
    assert_eq!(edge.wait_for_deadline(), 20);
    let again = edge.sent_one("ack 1.0.1.1");
    edge.done(token, b"d");
    assert_eq!(edge.notices(), [], "the answer to a list that has been sent again");
    edge.done(again, b"d");
    assert_eq!(edge.notices(), [Notice::Ended(1, Outcome::Finished)]);
    assert!(edge.consumer.is_settled() && edge.consumer.poll_timeout(false).is_none());
}

#[test]
fn a_finish_waits_for_a_ride_while_there_is_more() {
    let mut edge = Edge::open();
    let token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.msg(token, 1, lease(0, 4), b"");
    assert_eq!(edge.sent().len(), 2, "before the batch is finished");
    assert_eq!(edge.batches(), [1]);
    edge.consumer.finish(edge.now, 1);
    assert!(edge.sent().is_empty());
    assert_eq!(edge.wait_for_deadline(), 1);
    edge.sent_one("ack 1.0.4.1");
}

#[test]
fn a_part_of_a_batch_is_finished_before_the_rest() {
    let mut edge = Edge::open();
    let token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.wants = false;
    edge.msg(token, 1, lease(0, 4), b"");
    assert_eq!(edge.batches(), [1]);
    assert!(edge.consumer.bury(edge.now, 1, 1, "no"));
    let token = edge.sent_one("nak 1.1.1.1 Dead 0 no");
    edge.done(token, b"d");
    for (below, sent) in [(0, None), (2, Some("ack 1.0.1.1")), (2, None), (3, Some("ack 1.2.1.1")), (9, None)] {
        edge.consumer.finish_below(edge.now, 1, below);
        edge.wait(1);
        let Some(sent) = sent else { continue };
        let token = edge.sent_one(sent);
        edge.done(token, b"d");
    }
    assert!(edge.sent().is_empty() && edge.notices().is_empty(), "the last one is held");
    edge.consumer.finish(edge.now, 1);
    edge.wait(1);
    let token = edge.sent_one("ack 1.3.1.1");
    edge.done(token, b"d");
    assert_eq!(edge.notices(), [Notice::Ended(1, Outcome::Finished)]);
}

#[test]
fn parts_that_follow_one_another_are_finished_as_one() {
    let mut edge = Edge::open();
    let token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.wants = false;
    edge.msg(token, 1, lease(0, 4), b"");
    assert_eq!(edge.batches(), [1]);
    edge.consumer.finish_below(edge.now, 1, 1);
    edge.consumer.finish_below(edge.now, 1, 3);
    edge.wait(1);
    edge.sent_one("ack 1.0.3.1");
}

#[test]
fn where_messages_come_quickly_one_request_asks_for_several_and_finishes_wait_for_the_next() {
    let mut edge = Edge::open();
    let first = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.msg(first, 1, lease(0, 1), b"");
    assert_eq!(edge.batches(), [1]);
    edge.consumer.finish(edge.now, 1);
    let second = edge.sent_one("deq 2 lo2 m4 wt20 f1.0.1.1");
    edge.msg(second, 2, lease(1, 1), b"d");
    assert_eq!(edge.batches(), [2]);
    let third = edge.sent_one("deq 3 q3 lo3 m4 wt20");
    edge.consumer.finish(edge.now, 2);
    assert!(edge.sent().is_empty(), "more than half of them are to come");
    edge.msg(third, 3, lease(2, 1), b"");
    assert_eq!(edge.batches(), [3]);
    let fourth = edge.sent_one("deq 6 lo4 m4 wt20 f1.1.1.1");
    // No other comes that it must ask for; the finish rides on what it may ask for.
    edge.consumer.finish(edge.now, 3);
    assert_eq!(edge.wait_for_deadline(), 1);
    let fifth = edge.sent_one("deq 7 lo4 m4 wt20 f1.2.1.1");
    edge.msg(fifth, 7, lease(4, 1), b"d");
    edge.msg(third, 5, lease(5, 1), b"");
    assert_eq!(edge.batches(), [], "what the third asked for first may have what is missing");
    edge.msg(third, 4, lease(3, 1), b"");
    assert_eq!(edge.batches(), [4, 7, 5]);
    // Nothing comes: one request is enough.
    edge.none(fourth, 6, b"d");
    edge.sent_one("deq 6 lo6 m4 wt40");
}

#[test]
fn a_consumer_that_is_not_alone_asks_for_little() {
    let mut edge = Edge::open();
    let first = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.msg(first, 1, lease(0, 1), b"");
    edge.consumer.finish(edge.now, 1);
    let second = edge.sent_one("deq 2 lo2 m4 wt20 f1.0.1.1");
    // Another one got the second message.
    edge.msg(second, 2, lease(2, 1), b"d");
    assert_eq!(edge.batches(), [1, 2]);
    edge.consumer.finish(edge.now, 2);
    let asked = edge.sent();
    assert_eq!(
        asked.iter().map(|(_, ask)| &ask[..]).collect::<Vec<_>>(),
        ["deq 3 lo3 m4 wt20 f1.2.1.1", "deq 4 lo3 m4 wt20"]
    );
}

#[test]
fn leases_are_kept_alive_while_a_batch_is_held() {
    let mut edge = Edge::holding();
    for _ in 0..3 {
        assert_eq!(edge.wait_for_deadline(), 1_000);
        let token = edge.sent_one("touch 1.0.1.1 3000");
        edge.done(token, b"d");
    }
    assert_eq!(edge.wait_for_deadline(), 1_000);
    edge.sent_one("touch 1.0.1.1 3000");
    assert_eq!(edge.wait_for_deadline(), 20);
    let token = edge.sent_one("touch 1.0.1.1 3000");
    edge.done(token, b"x");
    assert_eq!(edge.notices(), [Notice::Lost(1)]);
    assert!(edge.consumer.poll_timeout(false).is_none(), "it is not touched again");
    edge.consumer.finish(edge.now, 1);
    let token = edge.sent_one("ack 1.0.1.1");
    edge.done(token, b"l");
    assert_eq!(edge.notices(), [Notice::Ended(1, Outcome::FinishedLate)]);
    assert_eq!((edge.consumer.counts().leases_lost, edge.consumer.counts().finished_late), (1, 1));
}

#[test]
fn what_is_given_back_goes_until_it_is_answered() {
    let mut edge = Edge::holding();
    edge.consumer.give_back(edge.now, 1, GiveBack::Counted, Duration::from_millis(5), "panic");
    edge.sent_one("nak 1.0.1.1 Counted 5 panic");
    edge.wait_for_deadline();
    let token = edge.sent_one("nak 1.0.1.1 Counted 5 panic");
    assert!(!edge.consumer.is_settled());
    edge.done(token, b"d");
    assert_eq!(edge.notices(), [Notice::Ended(1, Outcome::GivenBack)]);
    assert!(edge.consumer.is_settled());

    let mut edge = Edge::holding();
    edge.consumer.give_back(edge.now, 1, GiveBack::Dead, Duration::ZERO, "Unknown input: 'x'");
    let token = edge.sent_one("nak 1.0.1.1 Dead 0 Unknown input: 'x'");
    edge.done(token, b"x");
    assert_eq!(edge.notices(), [Notice::Ended(1, Outcome::Lost)]);
}

#[test]
fn refusals_share_requests_and_neighbours_with_one_reason_a_lease() {
    let mut edge = Edge::open();
    let token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.wants = false;
    edge.msg(token, 1, lease(0, 4), b"");
    assert_eq!(edge.batches(), [1]);
    for (offset, reason) in [(0, "a"), (1, "b"), (2, "b"), (3, "c")] {
        assert!(edge.consumer.bury(edge.now, 1, offset, reason));
        assert!(!edge.consumer.bury(edge.now, 1, offset, reason), "once is enough");
    }
    let token = edge.sent_one("nak 1.0.1.1,1.1.2.1,1.3.1.1 Dead 0 a b c");
    edge.done(token, b"dd");
    assert_eq!(edge.wait_for_deadline(), 20);
    let token = edge.sent_one("nak 1.3.1.1 Dead 0 c");
    edge.done(token, b"x");
    edge.consumer.finish(edge.now, 1);
    assert_eq!(edge.notices(), [Notice::Ended(1, Outcome::GivenBack)]);
    let counts = edge.consumer.counts();
    assert_eq!((counts.parts_given_back, counts.parts_lost, edge.sent().len()), (3, 1, 0));
}

#[test]
fn an_end_gives_back_what_was_not_taken() {
    let mut edge = Edge::open();
    let token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.msg(token, 1, lease(0, 4), b"");
    let asked = edge.sent();
    assert_eq!(asked.len(), 2);
    edge.consumer.end(edge.now);
    let token = edge.sent_one("nak 1.0.4.1 Quiet 0 ");
    edge.done(token, b"d");
    assert!(!edge.consumer.is_settled(), "two requests are open: batches may have been given for them");
    edge.msg(asked[1].0, 3, lease(4, 4), b"");
    edge.none(asked[0].0, 2, b"");
    let token = edge.sent_one("nak 1.4.4.1 Quiet 0 ");
    edge.done(token, b"d");
    assert!(edge.consumer.is_settled() && edge.sent().is_empty());
}

#[test]
fn a_queue_that_restarted_knows_no_lease() {
    let mut edge = Edge::open();
    let token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.msg(token, 1, lease(0, 4), b"");
    let asked = edge.sent();
    assert_eq!(edge.batches(), [1]);
    edge.msg(asked[1].0, 3, lease(8, 4), b"");
    assert_eq!(edge.batches(), [], "held back");
    edge.wait_for_deadline();
    let again = edge.sent();
    assert_eq!(again[0].1, "deq 2 lo2 m4 wt20");
    edge.msg_of(0xb, again[0].0, 2, Lease { boot: 2, first: 0, count: 4, attempt: 1 }, b"");
    assert_eq!(edge.notices(), [Notice::Lost(1)]);
    assert_eq!(edge.batches(), [2], "what the old one gave and nobody saw is forgotten");
    edge.welcome(Welcome { node: 0xb, boot: 2, ..WELCOME });
    let sent = edge.sent();
    assert!(sent.iter().any(|(_, text)| text.contains(" lo4 m4 ")), "{sent:?}");
    edge.msg(sent[0].0, 4, lease(12, 4), b"");
    assert_eq!(edge.batches(), [], "late from the one before");
    edge.consumer.finish(edge.now, 1);
    edge.wait(1);
    let sent = edge.sent();
    let (token, _) = sent.iter().find(|(_, text)| text.ends_with(" 1.0.4.1") || text.ends_with(" f1.0.4.1")).unwrap();
    edge.done(*token, b"x");
    assert_eq!(edge.notices(), [Notice::Ended(1, Outcome::Unknown)]);
    assert_eq!((edge.consumer.peer_node(), edge.consumer.counts().negotiations), (Some(0xb), 2));
}

#[test]
fn an_old_queue_gives_single_messages_for_good() {
    let mut edge = Edge::new(plan());
    edge.old_server();
    assert_eq!(edge.consumer.negotiated(), Some(Guarantee::AtMostOnce));
    assert!(edge.sent().is_empty());
    edge.old(b"17");
    assert_eq!(edge.wait_for_deadline(), 100, "until no size can come that looks like a message");
    edge.sent_one("get");
    edge.old(b"17");
    edge.sent();
    let batch = edge.consumer.next_batch().unwrap();
    assert_eq!((batch.lease, batch.count, batch.messages().next()), (None, 1, Some(&b"17"[..])));
    edge.consumer.finish(edge.now, batch.id);
    assert_eq!(edge.notices(), [Notice::Ended(batch.id, Outcome::Finished)]);
    edge.old(b"MSG c=12345678 a=1\n");
    assert_eq!(edge.batches().len(), 1, "whatever it looks like, it is a message");
    edge.old(b"");
    assert_eq!(edge.batches(), []);
    assert_eq!((edge.consumer.counts().batches, edge.consumer.counts().stray), (2, 1));
}

#[test]
fn an_idle_old_queue_is_asked_now_and_then_whether_it_was_upgraded() {
    let mut edge = Edge::new(plan());
    edge.old_server();
    let mut probes = 0;
    while edge.now.since_start < Duration::from_secs(25) {
        edge.wait_for_deadline();
        for (_, text) in edge.sent() {
            probes += u32::from(text == "size");
            edge.old(if text == "size" { b"0" } else { b"" });
        }
    }
    assert_eq!(probes, 2);
    while edge.consumer.peer_node().is_none() {
        edge.wait_for_deadline();
        for (token, text) in edge.sent() {
            if text == "size" {
                edge.introduce(token, WELCOME);
            } else {
                edge.old(b"");
            }
        }
    }
    edge.sent_one("deq 1 lo1 m4 wt20");
    edge.old(b"late");
    assert_eq!(edge.batches(), [2], "a GET had taken it away");
}

#[test]
fn a_queue_may_be_downgraded() {
    let mut edge = Edge::holding();
    edge.wants = true;
    for _ in 0..5 {
        edge.sent();
        edge.wait_for_deadline();
    }
    edge.old_server();
    assert_eq!((edge.consumer.negotiated(), edge.consumer.peer_node()), (Some(Guarantee::AtMostOnce), None));
    assert_eq!(edge.notices(), [Notice::Lost(1)]);
    edge.consumer.finish(edge.now, 1);
    edge.wait_for_deadline();
    edge.sent_one("get");
    edge.old(b"x");
    assert_eq!(edge.batches().len(), 1);
}

#[test]
fn an_old_queue_will_not_do_where_more_is_asked_for() {
    let mut edge = Edge::new(ConsumerPlan { floor: Some(Guarantee::AtLeastOnce), ..plan() });
    edge.old_server();
    let expected = Failure::Floor { asked: Guarantee::AtLeastOnce, given: Guarantee::AtMostOnce };
    assert_eq!(edge.consumer.failed(), Some(expected));
    assert!(edge.sent().is_empty() && edge.consumer.poll_timeout(true).is_none());
}

#[test]
fn what_answers_nothing_is_counted() {
    let mut edge = Edge::open();
    let token = edge.sent_one("deq 1 lo1 m4 wt20");
    edge.msg(token + 1_000_000, 1, lease(0, 1), b"");
    edge.answer(token, &Answer::Fenced { epoch: 0 });
    edge.answer(token, &Answer::Full { sequence: 0, after_ms: 1 });
    edge.old(b"stranger");
    edge.none(token, 77, b"dd");
    let mut datagram = Vec::new();
    Ask::Stat.push(token, &mut datagram);
    edge.consumer.handle_datagram(edge.now, &datagram);
    datagram.clear();
    Answer::None { delivery: 1, ended: true, finished: b"", level: Durability::Memory }.push(token, &mut datagram);
    *datagram.last_mut().unwrap() ^= 1;
    edge.consumer.handle_datagram(edge.now, &datagram);
    edge.consumer.handle_datagram(edge.now, b"");
    let short = Msg {
        delivery: 1,
        lease: lease(0, 2),
        low_water: 0,
        generation: 1,
        node: 0xa,
        origin_us: 0,
        finished: b"",
        level: Durability::Memory,
        frames: b"11a",
    };
    edge.answer(token, &Answer::Msg(short));
    let counts = edge.consumer.counts();
    assert_eq!((counts.stray, counts.requests, counts.malformed, counts.bad_checksum), (4, 1, 2, 1));
    assert_eq!((edge.batches(), edge.consumer.counts().batches), (vec![], 0));
    assert!(edge.sent().is_empty(), "the request still waits");
}

#[test]
fn an_answer_fits_in_the_datagram_that_was_asked_for() {
    const GROWN: u64 = 999_999_999_999;
    let mut edge = Edge::new(ConsumerPlan { datagram_bytes_max: 1_472, ..plan() });
    edge.welcome(WELCOME);
    let mut datagram = Vec::new();
    assert!(edge.consumer.poll_transmit(edge.now, true, &mut datagram));
    let Ok((token, Ask::Deq(deq))) = Ask::parse(frame::only(&datagram).unwrap()) else { panic!("no DEQ") };
    let msg = Msg {
        delivery: GROWN,
        lease: Lease { boot: u64::from(u32::MAX), first: GROWN, count: 736, attempt: 5 },
        low_water: GROWN,
        generation: 1,
        node: u64::MAX,
        origin_us: 9_999_999_999_999_999,
        finished: &[b'd'; 16],
        level: Durability::Disk,
        frames: &vec![b'x'; usize::try_from(deq.bytes_max).unwrap()],
    };
    datagram.clear();
    Answer::Msg(msg).push(token.max(1 << 48), &mut datagram);
    assert!((1_400..=1_472).contains(&datagram.len()), "{}", datagram.len());
}

#[test]
fn a_planted_fault_asks_once() {
    let mut edge = Edge::open();
    edge.consumer.plant(Faults { asks_once: true, ..Faults::default() });
    edge.sent_one("deq 1 lo1 m4 wt20");
    edge.wait(10_000);
    assert!(edge.sent().is_empty() && edge.consumer.poll_timeout(true).is_none());
}

#[test]
fn what_went_back_one_by_one_is_not_finished() {
    let lease = Lease { boot: 1, first: 10, count: 5, attempt: 2 };
    let left = |offsets: &[u64]| -> Vec<(u64, u64)> {
        without(lease, offsets.to_vec()).into_iter().map(|lease| (lease.first, lease.count)).collect()
    };
    assert_eq!(left(&[]), [(10, 5)]);
    assert_eq!(left(&[14, 10]), [(11, 3)]);
    assert_eq!(left(&[12]), [(10, 2), (13, 2)]);
    assert_eq!(left(&[10, 11, 12, 13, 14]), []);
}
