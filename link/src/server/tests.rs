//! The rules of the link, one by one, as requests and answers in the words that travel.

mod logged;

use std::fmt::Write;

use super::*;
use proptest::prelude::*;
use protocol::{
    call::Draft,
    link::{Derived, Enq, Sending, push_varint},
};

const NODE: u64 = 0xa;

/// A server and its clock. Its boot is 0, so that epochs count from 1.
struct Bench {
    server: Server,
    ms: u64,
    token: u64,
}

impl Bench {
    fn new(messages_max: u64) -> Self {
        let limits = ServerLimits { messages_max, producers_max: 2, ..ServerLimits::default() };
        Self { server: Server::new(NODE, 0, limits), ms: 0, token: 0 }
    }

    fn now(&self) -> Now {
        let since_start = Duration::from_millis(self.ms);
        Now { since_start, since_epoch: since_start }
    }

    /// Does one step: `+100` lets milliseconds pass, `PUT x` and `GET` are those of 2016, all else is a request of the
    /// link as it travels, without checksum and token, ` | ` before its body. Gives the answers, likewise; an answer to
    /// another request than this one begins with `#` and the number of its step.
    fn step_quickly(&mut self, step: &str) -> String {
        self.token += 1;
        let mut answers = String::new();
        if let Some(ms) = step.strip_prefix('+') {
            self.ms += ms.parse::<u64>().unwrap();
            self.server.handle_timeout(self.now());
        } else if let Some(message) = step.strip_prefix("PUT ") {
            answers = self
                .server
                .put(self.now(), message.as_bytes())
                .map_or_else(|full| format!("{full:?}"), |()| "PUT".into());
        } else if step == "GET" {
            let mut out = Vec::new();
            self.server.pop(self.now(), &mut out);
            answers = String::from_utf8(out).unwrap();
        } else {
            let datagram = written(step, self.token);
            let (token, ask) = Ask::parse(frame::only(&datagram).unwrap()).unwrap();
            self.server.handle(self.now(), SocketAddr::from(([127, 0, 0, 1], 9)), token, &ask);
        }
        let mut out = Vec::new();
        while self.server.poll_answer(self.now(), &mut out).is_some() {
            let separator = if answers.is_empty() { "" } else { " & " };
            write!(answers, "{separator}{}", shown(&out, self.token)).unwrap();
            out.clear();
        }
        answers
    }

    /// Does one step and recounts everything.
    fn step(&mut self, step: &str) -> String {
        let answers = self.step_quickly(step);
        self.server.check();
        answers
    }
}

fn written(step: &str, token: u64) -> Vec<u8> {
    let (line, body) = step.split_once(" | ").unwrap_or((step, ""));
    let (verb, fields) = line.split_once(' ').unwrap_or((line, ""));
    let mut datagram = Vec::new();
    let mut draft = Draft::begin(verb, &mut datagram).number("r", token);
    for (key, value) in fields.split(' ').filter_map(|field| field.split_once('=')) {
        draft = draft.text(key, value.as_bytes());
    }
    draft.finish(&[body.as_bytes()]);
    datagram
}

fn shown(datagram: &[u8], expected: u64) -> String {
    let text = frame::only(datagram).unwrap();
    let (token, _) = Answer::parse(text).unwrap();
    let text = std::str::from_utf8(text).unwrap();
    let (line, body) = text.split_once('\n').unwrap();
    let fields = line.split(' ').filter(|field| !field.starts_with("c=") && !field.starts_with("a="));
    let number = if token == expected { String::new() } else { format!("#{token} ") };
    let body = if body.is_empty() { String::new() } else { format!(" | {body}") };
    format!("{number}{}{body}", fields.collect::<Vec<_>>().join(" "))
}

fn check(steps: &[(&str, &str)]) -> Server {
    check_with(Bench::new(100), steps)
}

fn check_with(mut bench: Bench, steps: &[(&str, &str)]) -> Server {
    for (n, (step, expected)) in steps.iter().enumerate() {
        assert_eq!(bench.step(step), *expected, "step {}: {step}", n + 1);
    }
    bench.server
}

const OPEN: (&str, &str) = ("OPEN p=7 k=1", "OPENED e=1 s=0 du=mem cr=100");
const ENQ_ABC: (&str, &str) = ("ENQ p=7 e=1 s=0 n=3 t=5 | 11a11b11c", "STORED s=3 du=mem cr=97");

#[test]
fn a_batch_goes_in_and_out_and_is_finished() {
    let server = check(&[
        OPEN,
        ENQ_ABC,
        ("DEQ k=1 n=1 lo=1 m=10 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.3.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c"),
        ("ACK f=0.0.3.1", "OK n=0 du=mem v=d"),
        ("DEQ k=1 n=2 lo=2 m=10 z=1000 wt=0 ls=1000", "NONE n=2 en=0 du=mem"),
    ]);
    let Ledger { accepted, done, nones, .. } = server.ledger();
    assert_eq!((accepted, done, nones), (3, 3, 1));
}

#[test]
fn a_producers_batches_are_taken_in_its_order() {
    let server = check(&[
        OPEN,
        ("ENQ p=7 e=1 s=3 n=1 t=5 | 11d", "STORED s=0 du=mem cr=100"),
        ("ENQ p=7 e=1 s=1 n=2 t=5 | 11b11c", "STORED s=0 du=mem cr=100"),
        ("ENQ p=7 e=1 s=1 n=2 t=5 | 11b11c", "STORED s=0 du=mem cr=100"),
        ("ENQ p=7 e=1 s=0 n=1 t=5 | 11a", "STORED s=4 du=mem cr=96"),
        ("ENQ p=7 e=1 s=1 n=2 t=5 | 11b11c", "STORED s=4 du=mem cr=96"),
        ("ENQ p=7 e=1 s=2 n=4 t=5 | 11c11d11e11f", "STORED s=6 du=mem cr=94"),
        ("DEQ k=1 n=1 lo=1 m=10 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.6.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c11d11e11f"),
    ]);
    assert_eq!((server.ledger().duplicates, server.ledger().held), (2 + 2, 3));
}

#[test]
fn a_batch_that_waits_is_bounded() {
    let mut bench = Bench::new(100);
    bench.step(OPEN.0);
    for n in 0..1_030 {
        assert_eq!(bench.step(&format!("ENQ p=7 e=1 s={} n=1 t=5 | 11a", n + 1)), "STORED s=0 du=mem cr=100");
    }
    assert_eq!((bench.server.ledger().held, bench.server.ledger().held_dropped), (1_024, 6));
    let large = "x".repeat(60_000);
    for n in 0..200 {
        bench.step(&format!("ENQ p=7 e=1 s={} n=1 t=5 | 4ea60{large}", n + 5_000));
    }
    assert!(bench.server.gauges(bench.now()).held_bytes <= 8 << 20);
    bench.step("OPEN p=7 k=2");
    assert_eq!(bench.server.gauges(bench.now()).held_bytes, 0, "another epoch sends all that waited again");
}

#[test]
fn a_newer_open_fences_the_older() {
    check(&[
        ("OPEN p=7 k=1", "OPENED e=1 s=0 du=mem cr=100"),
        ("OPEN p=7 k=1", "OPENED e=1 s=0 du=mem cr=100"),
        ENQ_ABC,
        ("OPEN p=7 k=2", "OPENED e=2 s=3 du=mem cr=97"),
        ("OPEN p=7 k=1", "FENCED e=2"),
        ("ENQ p=7 e=1 s=3 n=1 t=5 | 11d", "FENCED e=2"),
        ("END p=7 e=1 s=3", "FENCED e=2"),
        ("ENQ p=7 e=2 s=3 n=1 t=5 | 11d", "STORED s=4 du=mem cr=96"),
        ("ENQ p=8 e=2 s=0 n=1 t=5 | 11d", "FENCED e=0"),
    ]);
}

#[test]
fn an_end_frees_the_producer() {
    let server = check(&[
        OPEN,
        ENQ_ABC,
        ("OPEN p=8 k=1", "OPENED e=2 s=0 du=mem cr=97"),
        ("OPEN p=9 k=1 s=5", "FULL s=5 af=1000"),
        ("END p=7 e=1 s=4", "STORED s=3 du=mem cr=97"),
        ("END p=7 e=1 s=3", "STORED s=3 du=mem cr=97"),
        ("END p=7 e=1 s=3", "STORED s=3 du=mem cr=97"),
        ("END p=7 e=2 s=3", "FENCED e=0"),
        ("OPEN p=7 k=1", "FENCED e=0"),
        ("OPEN p=9 k=1", "OPENED e=3 s=0 du=mem cr=97"),
        ("END p=9 e=3 s=0", "STORED s=0 du=mem cr=97"),
        ("OPEN p=7 k=2", "OPENED e=4 s=0 du=mem cr=97"),
    ]);
    let Ledger { refused_producers, fenced, .. } = server.ledger();
    assert_eq!((refused_producers, fenced), (1, 2));
}

#[test]
fn a_producer_says_what_is_done_with() {
    check(&[
        ("OPEN p=7 k=1 s=100", "OPENED e=1 s=100 du=mem cr=100"),
        ("OPEN p=7 k=1 s=0", "OPENED e=1 s=100 du=mem cr=100"),
        ("ENQ p=7 e=1 s=100 n=1 t=5 | 11a", "STORED s=101 du=mem cr=99"),
        ("ENQ p=7 e=1 s=103 n=1 t=5 | 11d", "STORED s=101 du=mem cr=99"),
        ("OPEN p=7 k=2", "OPENED e=2 s=101 du=mem cr=99"),
        ("OPEN p=7 k=2 s=102", "OPENED e=2 s=102 du=mem cr=99"),
        ("OPEN p=7 k=1 s=200", "FENCED e=2"),
        ("ENQ p=7 e=2 s=102 n=1 t=5 | 11c", "STORED s=103 du=mem cr=98"),
    ]);
}

#[test]
fn epochs_differ_from_boot_to_boot() {
    let opened = |boot| {
        let mut server = Server::new(NODE, boot, ServerLimits::default());
        let (now, from) = (Bench::new(1).now(), SocketAddr::from(([127, 0, 0, 1], 9)));
        server.handle(now, from, 1, &Ask::Open { producer: 7, nonce: 1, from: 0 });
        let mut out = Vec::new();
        server.poll_answer(now, &mut out);
        shown(&out, 1)
    };
    assert!(opened(1).starts_with("OPENED e=4294967297 "));
    assert!(opened(u64::MAX).starts_with("OPENED e=18446744069414584321 "));
}

#[test]
fn a_full_queue_takes_no_part_of_a_batch_nor_what_waits_behind() {
    let server = check_with(
        Bench::new(4),
        &[
            ("OPEN p=7 k=1", "OPENED e=1 s=0 du=mem cr=4"),
            ("ENQ p=7 e=1 s=0 n=3 t=5 | 11a11b11c", "STORED s=3 du=mem cr=1"),
            ("ENQ p=7 e=1 s=5 n=1 t=5 | 11f", "STORED s=3 du=mem cr=1"),
            ("ENQ p=7 e=1 s=3 n=2 t=5 | 11d11e", "FULL s=3 af=10 & #3 FULL s=3 af=10"),
            ("PUT d", "PUT"),
            ("PUT e", "Messages"),
            ("GET", "11a"),
            ("GET", "11b"),
            ("ENQ p=7 e=1 s=3 n=2 t=5 | 11d11e", "STORED s=5 du=mem cr=0"),
            ("DEQ k=1 n=1 lo=1 m=10 z=1000 wt=0 ls=1000", "MSG n=1 l=0.2.4.1 w=2 g=1 nd=a t=5 du=mem | 11c11d11d11e"),
            ("PUT f", "Messages"),
        ],
    );
    let Ledger { accepted, popped, refused_messages_max, .. } = server.ledger();
    assert_eq!((accepted, popped, refused_messages_max), (6, 2, 4));
}

#[test]
fn what_waits_behind_a_batch_that_waited_in_vain_is_refused_with_it() {
    check_with(
        Bench::new(3),
        &[
            ("OPEN p=7 k=1", "OPENED e=1 s=0 du=mem cr=3"),
            ("ENQ p=7 e=1 s=1 n=1 t=5 | 11b", "STORED s=0 du=mem cr=3"),
            ("ENQ p=7 e=1 s=2 n=3 t=5 | 11c11d11e", "STORED s=0 du=mem cr=3"),
            ("ENQ p=7 e=1 s=5 n=1 t=5 | 11f", "STORED s=0 du=mem cr=3"),
            ("ENQ p=7 e=1 s=0 n=1 t=5 | 11a", "STORED s=2 du=mem cr=1 & #3 FULL s=2 af=10 & #4 FULL s=2 af=10"),
        ],
    );
}

#[test]
fn bytes_are_bounded_too() {
    let limits = ServerLimits { bytes_max: 200, ..ServerLimits::default() };
    let mut bench = Bench::new(1);
    bench.server = Server::new(NODE, 0, limits);
    check_with(
        bench,
        &[
            ("PUT 0123456789", "PUT"), // a frame of 12 bytes and 64 of overhead
            ("PUT 0123456789", "PUT"),
            ("PUT 0123456789", "Bytes"),
            ("GET", "1a0123456789"),
            ("PUT 0123456789", "PUT"),
        ],
    );
}

#[test]
fn what_workers_put_in_finds_the_room_of_what_is_handed_out() {
    check_with(
        Bench::new(2),
        &[
            ("OPEN p=7 k=1", "OPENED e=1 s=0 du=mem cr=2"),
            ("ENQ p=7 e=1 s=0 n=2 t=5 | 11a11b", "STORED s=2 du=mem cr=0"),
            ("DEQ k=1 n=1 lo=1 m=10 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.2.1 w=0 g=1 nd=a t=5 du=mem | 11a11b"),
            ("ENQ p=7 e=1 s=2 n=1 t=5 | 11x", "FULL s=2 af=10"),
            ("PUT x", "Messages"),
            ("ENQ p=7 e=1 s=2 n=1 t=5 d=b g=1 st=F w=0 b=2 | \u{0}\u{0}11A", "STORED s=3 du=mem cr=0"),
            ("NAK f=0.0.2.1 h=quiet y=0 | 10", "OK n=0 du=mem v=d"),
            ("ENQ p=7 e=1 s=3 n=1 t=5 d=b g=1 st=F w=0 b=2 | \u{1}\u{0}11B", "STORED s=4 du=mem cr=0"),
            ("ENQ p=7 e=1 s=4 n=1 t=5 d=b g=1 st=F w=0 b=2 | \u{2}\u{0}11x", "FULL s=4 af=10"),
            // What is made from its own messages finds room in any case.
            ("ENQ p=7 e=1 s=4 n=2 t=5 d=a g=1 st=F w=0 b=4 | \u{0}\u{0}\u{1}\u{0}11C11D", "STORED s=6 du=mem cr=0"),
            (
                "ENQ p=7 e=1 s=6 n=3 t=5 d=a g=1 st=F w=0 b=6 | \u{1}\u{1}\u{0}\u{2}\u{0}\u{3}11x11y11z",
                "FULL s=6 af=10",
            ),
            ("ACK f=0.0.2.1", "OK n=0 du=mem v=l"),
            ("DEQ k=1 n=2 lo=2 m=3 z=1000 wt=0 ls=1000", "MSG n=2 l=0.2.3.1 w=2 g=1 nd=a t=5 du=mem | 11A11B11C"),
            // One was never handed out, but there are four.
            ("ENQ p=7 e=1 s=6 n=1 t=5 d=b g=1 st=F w=0 b=2 | \u{2}\u{0}11x", "FULL s=6 af=10"),
            ("ACK f=0.2.3.1+0-0", "OK n=0 du=mem v=d"),
            ("ENQ p=7 e=1 s=6 n=1 t=5 d=b g=1 st=F w=0 b=2 | \u{2}\u{0}11E", "STORED s=7 du=mem cr=0"),
        ],
    );
}

#[test]
fn a_message_of_a_known_id_is_taken_once() {
    let server = check(&[
        OPEN,
        ("OPEN p=8 k=1", "OPENED e=2 s=0 du=mem cr=100"),
        (
            "ENQ p=7 e=1 s=0 n=3 t=5 d=b g=1 st=F w=0 b=6 | \u{5}\u{0}\u{0}\u{1}\u{2}\u{0}11a11b11c",
            "STORED s=3 du=mem cr=97",
        ),
        // Another worker, after the first has died: 5/1 and 7/0 are known, 6/0 and 7/1 are not.
        (
            "ENQ p=8 e=2 s=0 n=4 t=5 d=b g=1 st=F w=0 b=8 | \u{5}\u{1}\u{1}\u{0}\u{1}\u{0}\u{0}\u{1}11B11x11C11y",
            "STORED s=4 du=mem cr=95",
        ),
        // Another stage, another generation.
        ("ENQ p=8 e=2 s=4 n=1 t=5 d=b g=1 st=G w=0 b=2 | \u{5}\u{0}11p", "STORED s=5 du=mem cr=94"),
        ("ENQ p=8 e=2 s=5 n=1 t=5 d=b g=2 st=F w=0 b=2 | \u{5}\u{0}11q", "STORED s=6 du=mem cr=93"),
        // Below the low water; and all of a batch.
        ("ENQ p=8 e=2 s=6 n=2 t=5 d=b g=1 st=F w=9 b=4 | \u{8}\u{0}\u{1}\u{0}11-11z", "STORED s=8 du=mem cr=92"),
        ("ENQ p=8 e=2 s=8 n=1 t=5 d=b g=1 st=F w=0 b=2 | \u{8}\u{0}11-", "STORED s=9 du=mem cr=92"),
        (
            "DEQ k=1 n=1 lo=1 m=10 z=1000 wt=0 ls=1000",
            "MSG n=1 l=0.0.8.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c11x11y11p11q11z",
        ),
    ]);
    let Ledger { duplicate_ids, duplicates, accepted, .. } = server.ledger();
    assert_eq!((duplicate_ids, duplicates, accepted), (4, 0, 8));
}

#[test]
fn ids_far_above_the_low_water_have_to_wait() {
    let server = check(&[
        OPEN,
        // 1,048,576 and 1,048,575 as varints would be 80 80 40 and ff ff 3f; a low water of 128 leaves room for the first.
        ("ENQ p=7 e=1 s=0 n=1 t=5 d=b g=1 st=F w=0 b=2 | \u{7f}\u{0}11a", "STORED s=1 du=mem cr=99"),
    ]);
    let mut bench = Bench { server, ms: 0, token: 100 };
    let mut enq = |offset: u64, low_water: u64| {
        let mut ids = Vec::new();
        push_varint(offset, &mut ids);
        push_varint(0, &mut ids);
        let derived = Derived { node: 0xb, generation: 1, stage: b"F", low_water, ids: &ids };
        let sending = Sending { producer: 7, epoch: 1, sequence: 1 };
        let enq = Enq { sending, count: 1, origin_us: 5, derived: Some(derived), frames: b"11b" };
        bench.server.handle(bench.now(), SocketAddr::from(([127, 0, 0, 1], 9)), 1, &Ask::Enq(enq));
        let mut out = Vec::new();
        bench.server.poll_answer(bench.now(), &mut out);
        shown(&out, 1)
    };
    assert_eq!(enq(1 << 20, 0), "FULL s=1 af=10");
    assert_eq!(enq((1 << 20) + 127, 127), "FULL s=1 af=10");
    assert_eq!(enq((1 << 20) + 126, 0), "STORED s=2 du=mem cr=98", "the low water stays where it was told to be");
    assert_eq!(bench.server.ledger().refused_ids, 2);
}

#[test]
fn what_is_not_what_it_says_is_counted_and_not_answered() {
    let server = check(&[
        OPEN,
        ("ENQ p=7 e=1 s=0 n=2 t=5 | 11a", ""),
        ("ENQ p=7 e=1 s=0 n=1 t=5 | 11a1", ""),
        ("ENQ p=7 e=1 s=0 n=1 t=5 | 12a", ""),
        ("ENQ p=7 e=1 s=0 n=1 t=5 | hello", ""),
        ("ENQ p=7 e=1 s=9 n=18446744073709551606 t=5 | 11a", ""),
        ("ENQ p=7 e=1 s=0 n=1 t=5 d=b g=1 st=F w=0 b=1 | \u{0}11a", ""),
        ("ENQ p=7 e=1 s=0 n=2 t=5 d=b g=1 st=F w=0 b=4 | \u{0}\u{0}\u{0}\u{0}11a11b", ""),
        ("ENQ p=7 e=1 s=0 n=0 t=5", "STORED s=0 du=mem cr=100"),
    ]);
    assert_eq!(server.ledger().malformed, 7);
}

#[test]
fn a_delivery_asked_for_again_is_the_same_batch() {
    check(&[
        OPEN,
        ENQ_ABC,
        ("DEQ k=1 n=1 lo=1 m=2 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.2.1 w=0 g=1 nd=a t=5 du=mem | 11a11b"),
        ("DEQ k=1 n=2 lo=1 m=2 z=1000 wt=0 ls=1000", "MSG n=2 l=0.2.1.1 w=0 g=1 nd=a t=5 du=mem | 11c"),
        ("DEQ k=1 n=1 lo=1 m=2 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.2.1 w=0 g=1 nd=a t=5 du=mem | 11a11b"),
        ("DEQ k=2 n=1 lo=1 m=2 z=1000 wt=0 ls=1000", "NONE n=1 en=0 du=mem"),
        // What another has finished is not sent again.
        ("ACK f=0.0.2.1+0-0", "OK n=0 du=mem v=d"),
        ("DEQ k=1 n=1 lo=1 m=2 z=1000 wt=0 ls=1000", "MSG n=1 l=0.1.1.1 w=1 g=1 nd=a t=5 du=mem | 11b"),
        ("DEQ k=1 n=3 lo=2 m=2 z=1000 wt=0 ls=1000 f=0.1.1.1", "NONE n=3 en=0 du=mem v=d"),
        ("DEQ k=1 n=1 lo=1 m=2 z=1000 wt=0 ls=1000", "NONE n=1 en=1 du=mem"),
        ("+1000", ""),
        ("DEQ k=1 n=2 lo=2 m=2 z=1000 wt=0 ls=1000", "NONE n=2 en=1 du=mem"),
        ("DEQ k=1 n=4 lo=3 m=2 z=1000 wt=0 ls=1000", "MSG n=4 l=0.2.1.2 w=2 g=1 nd=a t=5 du=mem | 11c"),
    ]);
}

#[test]
fn a_request_waits_for_a_message() {
    let server = check(&[
        OPEN,
        ("DEQ k=1 n=1 lo=1 m=1 z=1000 wt=9999 ls=5000", ""),
        ("DEQ k=2 n=1 lo=1 m=9 z=1000 wt=500 ls=5000", ""),
        ("DEQ k=1 n=2 lo=1 m=9 z=1000 wt=9999 ls=5000", ""),
        ("DEQ k=1 n=1 lo=1 m=1 z=1000 wt=9999 ls=5000", ""),
        ("PUT a", "PUT & #5 MSG n=1 l=0.0.1.1 w=0 g=1 nd=a t=0 du=mem | 11a"),
        ("+499", ""),
        ("+1", "#3 NONE n=1 en=0 du=mem"),
        ("+499", ""),
        ("+1", "#4 NONE n=2 en=0 du=mem"),
        ("DEQ k=1 n=2 lo=1 m=9 z=1000 wt=1000 ls=5000", ""),
        ("DEQ k=1 n=3 lo=3 m=9 z=1000 wt=1000 ls=5000 f=0.0.1.1", ""),
        ("DEQ k=1 n=3 lo=3 m=9 z=1000 wt=1000 ls=5000 f=0.0.1.1", ""),
        (
            "ENQ p=7 e=1 s=0 n=3 t=5 | 11a11b11c",
            "#13 MSG n=3 l=0.1.3.1 w=1 g=1 nd=a t=5 du=mem v=d | 11a11b11c & STORED s=3 du=mem cr=97",
        ),
        ("DEQ k=1 n=4 lo=3 m=0 z=1000 wt=1000 ls=5000", "NONE n=4 en=0 du=mem"),
    ]);
    assert_eq!((server.ledger().nones, server.ledger().done), (3, 1));
}

#[test]
fn a_request_asks_for_several_deliveries() {
    let server = check(&[
        OPEN,
        ("PUT a", "PUT"),
        ("DEQ k=1 n=1 lo=1 m=1 z=1000 wt=500 ls=5000 q=3", "MSG n=1 l=0.0.1.1 w=0 g=1 nd=a t=0 du=mem | 11a"),
        ("PUT b", "PUT & #3 MSG n=2 l=0.1.1.1 w=0 g=1 nd=a t=0 du=mem | 11b"),
        // One that comes again waits on, and the finish is told of with the first.
        (
            "DEQ k=1 n=1 lo=1 m=1 z=1000 wt=500 ls=5000 q=2 f=0.1.1.1",
            "MSG n=1 l=0.0.1.1 w=0 g=1 nd=a t=0 du=mem v=d | 11a & NONE n=2 en=1 du=mem",
        ),
        ("+500", "#3 NONE n=3 en=0 du=mem"),
        (ENQ_ABC.0, "STORED s=3 du=mem cr=96"),
        (
            "DEQ k=1 n=3 lo=3 m=2 z=1000 wt=0 ls=5000 q=3 f=0.0.1.1",
            "MSG n=3 l=0.2.2.1 w=2 g=1 nd=a t=5 du=mem v=d | 11a11b & MSG n=4 l=0.4.1.1 w=2 g=1 nd=a t=5 du=mem | 11c & NONE n=5 en=0 du=mem",
        ),
    ]);
    assert_eq!(server.ledger().done, 2);
    let mut bench = Bench::new(100);
    assert_eq!(bench.step("DEQ k=1 n=1 lo=1 m=1 z=1000 wt=500 ls=5000 q=99"), "");
    assert_eq!(bench.server.gauges(bench.now()).parked, DELIVERIES_A_REQUEST_MAX);
    let last = u64::MAX;
    let asked = format!("DEQ k=2 n={last} lo=1 m=1 z=1000 wt=0 ls=5000 q=3");
    assert_eq!(bench.step(&asked), format!("NONE n={last} en=0 du=mem"), "there is none behind it");
}

#[test]
fn a_request_that_waits_and_comes_again_gets_one_batch_whenever_answers_are_taken_out() {
    let mut bench = Bench::new(100);
    bench.step(OPEN.0);
    let deq = "DEQ k=1 n=1 lo=1 m=2 z=100 wt=50 ls=1000";
    assert_eq!(bench.step(deq), "");
    for (token, step) in [(3, ENQ_ABC.0), (4, deq)] {
        let datagram = written(step, token);
        let (token, ask) = Ask::parse(frame::only(&datagram).unwrap()).unwrap();
        bench.server.handle(bench.now(), SocketAddr::from(([127, 0, 0, 1], 9)), token, &ask);
    }
    bench.token = 4;
    let answers = bench.step("STAT");
    let leases: Vec<&str> = answers.split(' ').filter(|field| field.starts_with("l=")).collect();
    assert_eq!(leases, ["l=0.0.2.1", "l=0.0.2.1"], "{answers}");
    assert_eq!(bench.server.ledger().leased, 2);
}

#[test]
fn so_many_wait_and_no_more() {
    let mut bench = Bench::new(100);
    for n in 1..=64 {
        assert_eq!(bench.step(&format!("DEQ k=1 n={n} lo=1 m=9 z=1000 wt=1000 ls=5000")), "");
    }
    assert_eq!(bench.step("DEQ k=1 n=65 lo=1 m=9 z=1000 wt=1000 ls=5000"), "NONE n=65 en=0 du=mem");
    assert_eq!(bench.server.ledger().refused_parked, 1);
}

#[test]
fn what_comes_back_goes_first() {
    let server = check(&[
        OPEN,
        ENQ_ABC,
        ("DEQ k=1 n=1 lo=1 m=1 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.1.1 w=0 g=1 nd=a t=5 du=mem | 11a"),
        ("DEQ k=1 n=2 lo=1 m=1 z=1000 wt=0 ls=400", "MSG n=2 l=0.1.1.1 w=0 g=1 nd=a t=5 du=mem | 11b"),
        ("+400", ""),
        ("NAK f=0.0.1.1 h=quiet y=0", "OK n=0 du=mem v=d"),
        ("NAK f=0.0.1.1 h=quiet y=0", "OK n=0 du=mem v=x"),
        ("DEQ k=2 n=1 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.1.2 w=0 g=1 nd=a t=5 du=mem | 11a"),
        ("NAK f=0.0.1.1 h=quiet y=0", "OK n=0 du=mem v=x"),
        ("GET", "11b"),
        ("DEQ k=2 n=2 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=2 l=0.2.1.1 w=0 g=1 nd=a t=5 du=mem | 11c"),
    ]);
    let Ledger { lease_ended, redelivered, popped, .. } = server.ledger();
    assert_eq!((lease_ended, redelivered, popped), (1, 1, 1));
}

#[test]
fn a_message_rests_longer_with_each_failure_and_then_is_dead() {
    let mut bench = Bench::new(100);
    for step in [OPEN.0, "ENQ p=7 e=1 s=0 n=2 t=5 | 11a11b", "DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000"] {
        bench.step(step);
    }
    for (n, rest_ms) in [(2, 0), (3, 100), (4, 200)] {
        assert_eq!(bench.step(&format!("NAK f=0.0.2.{} h=counted y=0 | 13why", n - 1)), "OK n=0 du=mem v=d");
        if rest_ms > 0 {
            bench.step(&format!("+{}", rest_ms - 1));
            assert_eq!(bench.step("DEQ k=1 n=9 lo=1 m=9 z=1000 wt=0 ls=1000"), "NONE n=9 en=0 du=mem");
            bench.step("+1");
        }
        let expected = format!("MSG n={n} l=0.0.2.{n} w=0 g=1 nd=a t=5 du=mem | 11a11b");
        assert_eq!(bench.step(&format!("DEQ k=1 n={n} lo=1 m=9 z=1000 wt=0 ls=1000")), expected);
    }
    check_with(
        bench,
        &[
            ("+1000", ""),
            ("+399", ""),
            ("DEQ k=1 n=5 lo=5 m=9 z=1000 wt=0 ls=1000", "NONE n=5 en=0 du=mem"),
            ("+1", ""),
            // The last attempt at a message is its own.
            ("DEQ k=1 n=5 lo=5 m=9 z=1000 wt=0 ls=1000", "MSG n=5 l=0.0.1.5 w=0 g=1 nd=a t=5 du=mem | 11a"),
            ("DEQ k=1 n=6 lo=5 m=9 z=1000 wt=0 ls=1000", "MSG n=6 l=0.1.1.5 w=0 g=1 nd=a t=5 du=mem | 11b"),
            ("NAK f=0.0.1.5 h=counted y=0 | 13why", "OK n=0 du=mem v=d"),
            ("+1000", ""),
            ("DEAD op=list o=0 m=9", "OK n=2 du=mem | 2110 5 attempts: why11a1c1 5 attempts11b"),
        ],
    );
}

#[test]
fn a_message_given_back_may_be_told_to_rest() {
    check(&[
        OPEN,
        ENQ_ABC,
        ("DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.3.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c"),
        ("ACK f=0.0.3.1+1-1", "OK n=0 du=mem v=d"),
        ("NAK f=0.0.3.1 h=quiet y=300", "OK n=0 du=mem v=d"),
        ("DEQ k=1 n=2 lo=2 m=9 z=1000 wt=1000 ls=1000", ""),
        ("+299", ""),
        ("+1", "#6 MSG n=2 l=0.0.1.2 w=0 g=1 nd=a t=5 du=mem | 11a"),
    ]);
}

#[test]
fn a_touched_lease_lives_longer() {
    check(&[
        OPEN,
        ENQ_ABC,
        ("DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.3.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c"),
        ("+900", ""),
        ("TOUCH f=0.0.3.1,0.0.3.2 ls=1000", "OK n=0 du=mem v=dx"),
        ("+999", ""),
        // Whoever asks again lives, too.
        ("DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.3.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c"),
        ("+999", ""),
        ("DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.3.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c"),
        ("+1000", ""),
        ("TOUCH f=0.0.3.1 ls=1000", "OK n=0 du=mem v=x"),
    ]);
}

#[test]
fn the_first_to_finish_counts_be_it_late() {
    let server = check(&[
        OPEN,
        ENQ_ABC,
        ("DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.3.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c"),
        ("+1000", ""),
        ("ACK f=0.0.3.1+0-0", "OK n=0 du=mem v=l"),
        ("DEQ k=2 n=1 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=1 l=0.1.2.2 w=1 g=1 nd=a t=5 du=mem | 11b11c"),
        ("ACK f=0.0.3.1+1-1", "OK n=0 du=mem v=l"),
        ("ACK f=0.1.2.2", "OK n=0 du=mem v=o"),
        ("ACK f=0.1.2.2", "OK n=0 du=mem v=o"),
        ("ACK f=0.1.2.2+1-1", "OK n=0 du=mem v=d"),
        ("ACK f=0.0.3.1+0-1", "OK n=0 du=mem v=d"),
        ("ACK f=0.0.3.1", "OK n=0 du=mem v=o"),
    ]);
    let Ledger { done, late_finishes, other_finishes, .. } = server.ledger();
    assert_eq!((done, late_finishes, other_finishes), (3, 2, 3));
}

#[test]
fn a_finish_list_gets_a_letter_for_each_lease() {
    check(&[
        OPEN,
        ENQ_ABC,
        ("DEQ k=1 n=1 lo=1 m=1 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.1.1 w=0 g=1 nd=a t=5 du=mem | 11a"),
        ("GET", "11b"),
        // Of another boot, never leased, an attempt to come, no lease at all, popped, good.
        ("ACK f=1.0.1.1,0.2.1.1,0.0.1.2,0.0.1.0,hello,0.0.1,0.1.1.1,0.0.1.1", "OK n=0 du=mem v=xxxxxxod"),
        ("ACK f=0.0.99.1,0.0.1.1+1-1,0.0.1.1+,0.0.0.1", "OK n=0 du=mem v=xxxx"),
        ("ACK f=", "OK n=0 du=mem"),
    ]);
}

#[test]
fn dead_letters_are_listed_put_back_and_dropped() {
    let server = check(&[
        OPEN,
        ENQ_ABC,
        ("DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.3.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c"),
        ("NAK f=0.0.3.1 h=dead y=0 | 213Unknown input: '=='", "OK n=0 du=mem v=d"),
        ("ACK f=0.0.3.1", "OK n=0 du=mem v=o"),
        ("DEAD op=list o=1 m=1", "OK n=1 du=mem | 2171 1 Unknown input: '=='11b"),
        ("DEAD op=drop o=2 m=9", "OK n=1 du=mem"),
        ("DEAD op=requeue o=0 m=1", "OK n=1 du=mem"),
        ("DEAD op=list o=0 m=9", "OK n=1 du=mem | 2171 1 Unknown input: '=='11b"),
        ("DEQ k=1 n=2 lo=2 m=9 z=1000 wt=0 ls=1000", "MSG n=2 l=0.3.1.1 w=3 g=1 nd=a t=5 du=mem | 11a"),
    ]);
    let Ledger { accepted, dead, discarded, leased, requeued, .. } = server.ledger();
    assert_eq!((accepted, dead, discarded, leased, requeued), (3, 1, 1, 1, 1));
}

#[test]
fn what_was_done_with_dead_letters_is_not_done_twice() {
    let mut bench = Bench::new(100);
    for step in [OPEN.0, ENQ_ABC.0, "DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000", "NAK f=0.0.3.1 h=dead y=0"] {
        bench.step(step);
    }
    bench.token = 99;
    assert_eq!(bench.step("DEAD op=requeue o=0 m=1"), "OK n=1 du=mem");
    bench.token = 99;
    assert_eq!(bench.step("DEAD op=requeue o=0 m=1"), "OK n=1 du=mem");
    assert_eq!((bench.server.ledger().dead, bench.server.ready()), (2, 1));
}

#[test]
fn a_list_of_dead_letters_fits_in_a_datagram() {
    let mut bench = Bench::new(100);
    for (n, len) in [65_490, 30_000, 30_000, 10_000].into_iter().enumerate() {
        bench.step(&format!("PUT {}", "x".repeat(len)));
        bench.step(&format!("DEQ k=1 n={n} lo={n} m=9 z=1000 wt=0 ls=1000"));
        bench.step(&format!("NAK f=0.{n}.1.1 h=dead y=0"));
    }
    let first = bench.step("DEAD op=list o=0 m=9");
    assert!(first.starts_with("OK n=1 du=mem | 22c0 0 too long to be leased, a GET can take it4"), "{}", &first[..60]);
    assert!((65_300..65_507).contains(&first.len()), "cut to fit");
    assert!(bench.step("DEAD op=list o=1 m=9").starts_with("OK n=2 du=mem | "));
}

#[test]
fn old_and_new_verbs_share_the_queue() {
    let server = check(&[
        OPEN,
        ("PUT x", "PUT"),
        ("ENQ p=7 e=1 s=0 n=2 t=5 | 400013001c", ""),
        ("ENQ p=7 e=1 s=0 n=2 t=5 | 40001a3001b", "STORED s=2 du=mem cr=97"),
        ("DEQ k=1 n=1 lo=1 m=2 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.2.1 w=0 g=1 nd=a t=0 du=mem | 11x40001a"),
        ("GET", "3001b"),
        ("GET", ""),
        ("NAK f=0.0.2.1 h=quiet y=0", "OK n=0 du=mem v=d"),
        ("GET", "11x"),
        ("GET", "40001a"),
    ]);
    assert_eq!((server.ledger().popped, server.ledger().malformed), (3, 1));
}

#[test]
fn a_batch_has_one_attempt_and_fits() {
    check(&[
        OPEN,
        ("ENQ p=7 e=1 s=0 n=4 t=5 | 11a11b11c11d", "STORED s=4 du=mem cr=96"),
        ("DEQ k=1 n=1 lo=1 m=9 z=6 wt=0 ls=1000", "MSG n=1 l=0.0.2.1 w=0 g=1 nd=a t=5 du=mem | 11a11b"),
        ("NAK f=0.0.2.1 h=quiet y=0", "OK n=0 du=mem v=d"),
        ("DEQ k=1 n=2 lo=1 m=9 z=1000 wt=0 ls=1000", "MSG n=2 l=0.0.2.2 w=0 g=1 nd=a t=5 du=mem | 11a11b"),
        ("DEQ k=1 n=3 lo=1 m=9 z=1 wt=0 ls=1000", "MSG n=3 l=0.2.1.1 w=0 g=1 nd=a t=5 du=mem | 11c"),
    ]);
}

#[test]
fn a_message_too_long_for_the_link_goes_by_a_get_or_to_the_dead_letters() {
    let mut bench = Bench::new(100);
    let longest = "x".repeat(protocol::MESSAGE_BYTES_MAX);
    let fits = "y".repeat(DATAGRAM_BYTES_MAX - MSG_FIELDS_BYTES_MAX - 5);
    for message in [&longest, &longest, &fits] {
        assert_eq!(bench.step(&format!("PUT {message}")), "PUT");
    }
    assert_eq!(bench.step("GET").len(), protocol::MESSAGE_BYTES_MAX + 5);
    let answer = bench.step("DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000 f=9.9.9.9");
    assert_eq!(answer, "NONE n=1 en=0 du=mem v=x", "the letter leaves no room for the message");
    let answer = bench.step("DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000");
    assert!(answer.starts_with("MSG n=1 l=0.2.1.1 w=2 g=1 nd=a t=0 du=mem | 4fedeyyy") && answer.len() > 65_000);
    assert_eq!(bench.server.ledger().dead, 1);
}

#[test]
fn a_server_says_how_it_stands() {
    let mut bench = Bench::new(100);
    bench.step(OPEN.0);
    bench.step(ENQ_ABC.0);
    assert_eq!(bench.step("STAT"), "", "the node's to answer");
    let welcome = bench.server.welcome();
    assert_eq!((welcome.size, welcome.node, welcome.boot, welcome.credit), (3, NODE, 0, 97));
    bench.step("+20");
    let gauges = bench.server.gauges(bench.now());
    assert_eq!((gauges.oldest_ready, gauges.bytes), (Duration::from_millis(20), 3 * 67));
    bench.step("DEQ k=1 n=1 lo=1 m=2 z=1000 wt=0 ls=1000");
    let flow = bench.server.take_flow();
    assert_eq!((flow.accepted, flow.delivered, flow.waited), (3, 2, vec![(Duration::from_millis(20), 2)]));
    assert_eq!(bench.server.take_flow(), Flow::default());
}

#[test]
fn a_nak_that_comes_again_is_answered_as_before() {
    let mut bench = Bench::new(100);
    for step in [OPEN.0, ENQ_ABC.0, "DEQ k=1 n=1 lo=1 m=9 z=1000 wt=0 ls=1000"] {
        bench.step(step);
    }
    let (now, from) = (bench.now(), SocketAddr::from(([127, 0, 0, 1], 9)));
    let nak = Ask::Nak { leases: b"0.0.3.1", how: GiveBack::Quiet, delay_ms: 0, reasons: b"10" };
    for (token, letter) in [(900, b"d"), (900, b"d"), (901, b"x")] {
        bench.server.handle(now, from, token, &nak);
        let mut out = Vec::new();
        bench.server.poll_answer(now, &mut out);
        let (_, answer) = Answer::parse(frame::only(&out).unwrap()).unwrap();
        assert!(matches!(answer, Answer::Done { finished, .. } if finished == letter), "{token}: {answer:?}");
    }
    assert_eq!(bench.server.ledger().ready, 3);
}

#[test]
fn nothing_is_leased_beyond_the_window_above_the_low_water() {
    let mut bench = Bench::new(10_000_000);
    let (now, from) = (bench.now(), SocketAddr::from(([127, 0, 0, 1], 9)));
    bench.step(OPEN.0);
    let (count, frames) = (30_000, b"10".repeat(30_000));
    let mut out = Vec::new();
    for n in 0..36 {
        let sending = Sending { producer: 7, epoch: 1, sequence: n * count };
        let enq = Enq { sending, count, origin_us: 5, derived: None, frames: &frames };
        bench.server.handle(now, from, n, &Ask::Enq(enq));
        bench.server.poll_answer(now, &mut out);
        out.clear();
    }
    let mut leased = 0;
    for n in 1..100 {
        let answer = bench.step_quickly(&format!("DEQ k=1 n={n} lo={n} m=30000 z=65000 wt=0 ls=1000"));
        if answer.starts_with("NONE") {
            break;
        }
        leased = bench.server.ledger().leased;
    }
    assert_eq!(leased, queue::WINDOW);
    assert_eq!(bench.server.gauges(now).window, queue::WINDOW);
    // All but the first are finished: memory holds that one's segment, and nothing more is leased until it is back.
    bench.step_quickly(&format!("ACK f=0.0.{leased}.1+1-{}", leased - 1));
    assert_eq!(bench.server.ledger().leased, 1);
    assert!(bench.server.gauges(now).held_in_memory <= 3 << 20);
    assert!(bench.step_quickly("DEQ k=1 n=200 lo=200 m=30000 z=65000 wt=0 ls=1000").starts_with("NONE"));
    bench.step_quickly("ACK f=0.0.1.1");
    assert!(bench.step_quickly("DEQ k=1 n=201 lo=201 m=30000 z=65000 wt=0 ls=1000").starts_with("MSG"));
    bench.server.check();
}

#[test]
fn memory_is_bounded_when_few_messages_keep_many_segments_alive() {
    let limits = ServerLimits { bytes_max: 1 << 20, ..ServerLimits::default() };
    let mut bench = Bench::new(1);
    bench.server = Server::new(NODE, 0, limits);
    let text = "x".repeat(60_000);
    let mut refused = 0;
    for n in 0..2_000 {
        refused += u32::from(bench.step_quickly(&format!("PUT {text}")) == "Bytes");
        if n % 18 == 0 {
            bench.step_quickly(&format!("DEQ k=1 n={n} lo={n} m=1 z=65000 wt=0 ls=3600000"));
        } else {
            bench.step_quickly("GET");
        }
        assert!(bench.server.gauges(bench.now()).held_in_memory <= (3 << 20) + (8 << 20));
    }
    assert!(refused > 1_000);
    bench.step_quickly("+3600000");
    for _ in 0..20 {
        bench.step_quickly("GET");
    }
    assert_eq!(bench.step(&format!("PUT {text}")), "PUT", "what comes back makes room again");
}

/// Numbers at the edges, and small ones that fit together.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0_u64..4, 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1), 1 => Just(1 << 20), 1 => any::<u64>()]
}

proptest! {
    #[test]
    fn no_numbers_break_it(requests in proptest::collection::vec((0_usize..11, proptest::array::uniform8(number())), 1..60)) {
        let mut bench = Bench::new(100);
        bench.step(OPEN.0);
        bench.step(ENQ_ABC.0);
        for (which, [a, b, c, d, e, f, g, h]) in requests {
            let token = format!("0.{a}.{b}.{c}");
            let request = match which {
                0 => format!("OPEN p=7 k={a:x}"),
                1 => format!("END p=7 e=1 s={a}"),
                2 => format!("ENQ p=7 e=1 s={a} n=1 t={b} | 11a"),
                3 => format!("ENQ p=7 e=1 s={a} n={b} t=0 | 11a11b"),
                4 => format!("ENQ p=7 e=1 s={a} n=1 t=0 d=a g={b} st=F w={c} b=2 | \u{1}\u{2}11a"),
                5 => format!("DEQ k={a:x} n={b} lo={c} m={d} z={e} wt={f} ls={g} f=0.{h}.{a}.{b},{token}+{d}-{e}"),
                6 => format!("ACK f={token},0.{d}.{e}.{f}+{g}-{h}"),
                7 => format!("NAK f={token} h=counted y={d}"),
                8 => format!("TOUCH f={token} ls={d}"),
                9 => format!("DEAD op=requeue o={a} m={}", b % 10),
                _ => format!("+{}", a % 2_000),
            };
            let is_request = !request.starts_with('+');
            if is_request && Ask::parse(frame::only(&written(&request, 1)).unwrap()).is_err() {
                continue;
            }
            bench.step(&request);
        }
    }
}

#[test]
fn a_queue_in_memory_has_no_past() {
    check(&[
        ("READ o=0 m=10 z=1000", "GONE o=0 e=0"),
        OPEN,
        ENQ_ABC,
        ("READ o=0 m=10 z=1000", "GONE o=3 e=3"),
        ("READ t=0 m=10 z=1000", "GONE o=3 e=3"),
        ("SEEK o=0", "GONE o=3 e=3"),
        ("SEEK t=18446744073709551615", "GONE o=3 e=3"),
        ("DEQ k=1 n=1 lo=1 m=10 z=1000 wt=0 ls=1000", "MSG n=1 l=0.0.3.1 w=0 g=1 nd=a t=5 du=mem | 11a11b11c"),
    ]);
}
