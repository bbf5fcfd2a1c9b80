//! Frames, one by one: what a sink answers to each, and when.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what its checks share, too")]

use std::{net::SocketAddr, time::Duration};

use machine::{Machine as _, Now, STDOUT, Transmit};
use metrics::{Identity, LogOrder, Reports};
use protocol::{
    frame,
    link::{Ask, Deq, Derived, Enq, Sending, Welcome, push_discovery, push_varint},
};
use sink::{Counts, INPUT, Messages, Sink};

const NOW: Now = Now { since_start: Duration::ZERO, since_epoch: Duration::from_hours(1) };

/// A sink, and a stdout that writes when it is told to.
struct Bench {
    sink: Sink,
    from: SocketAddr,
    token: u64,
    given: Vec<u8>,
}

impl Bench {
    fn new(messages: Messages) -> Self {
        let identity = Identity { vuid: "SINK".to_owned(), func: "Sink".to_owned(), address: None };
        let reports = Reports::new(identity, LogOrder::CountFirst, Duration::from_secs(1), None, NOW);
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        Self { sink: Sink::new(0xa, messages, reports), from, token: 0, given: Vec::new() }
    }

    fn hear(&mut self, datagram: &[u8]) -> String {
        self.sink.handle_datagram(NOW, INPUT, self.from, datagram);
        self.answers()
    }

    /// A framed text, and what is answered to it.
    fn text(&mut self, text: &str) -> String {
        let mut datagram = Vec::new();
        frame::push(text.as_bytes(), &mut datagram).unwrap();
        self.hear(&datagram)
    }

    /// A call, and what is answered to it; calls are numbered from 1.
    fn ask(&mut self, ask: &Ask<'_>) -> String {
        self.token += 1;
        let mut datagram = Vec::new();
        ask.push(self.token, &mut datagram);
        self.hear(&datagram)
    }

    /// What it says of itself to who asks for the link.
    fn welcome(&mut self) -> Welcome {
        let mut datagram = Vec::new();
        push_discovery(9, &mut datagram);
        self.sink.handle_datagram(NOW, INPUT, self.from, &datagram);
        datagram.clear();
        self.sink.poll_transmit(NOW, &mut datagram).unwrap();
        Welcome::parse(frame::only(&datagram).unwrap()).unwrap().1
    }

    fn open(&mut self, nonce: u64) -> String {
        self.ask(&Ask::Open { producer: 7, nonce, from: 0 })
    }

    fn enq(&mut self, sequence: u64, messages: &[&str]) -> String {
        self.enq_derived(sequence, messages, None)
    }

    fn enq_derived(&mut self, sequence: u64, messages: &[&str], derived: Option<Derived<'_>>) -> String {
        let frames = framed(messages);
        let sending = Sending { producer: 7, epoch: (1 << 32) + 1, sequence };
        self.ask(&Ask::Enq(Enq { sending, count: messages.len() as u64, origin_us: 5, derived, frames: &frames }))
    }

    /// All that may leave now, without checksums; an epoch is shown as it counts from the boot.
    fn answers(&mut self) -> String {
        let mut answers = Vec::new();
        let mut datagram = Vec::new();
        while let Some(transmit) = self.sink.poll_transmit(NOW, &mut datagram) {
            assert_eq!(transmit, Transmit { port: INPUT, to: self.from });
            let text = String::from_utf8(frame::only(&datagram).unwrap().to_vec()).unwrap();
            let fields: Vec<&str> = text.trim_end().split(' ').filter(|field| !field.starts_with("c=")).collect();
            answers.push(fields.join(" ").replace("e=4294967297", "e=1").replace("e=4294967298", "e=2"));
            datagram.clear();
        }
        answers.join(", ")
    }

    /// What the sink gives out for stdout; it is not written yet.
    fn take_output(&mut self) -> String {
        let start = self.given.len();
        while let Some(outlet) = self.sink.poll_output(&mut self.given) {
            assert_eq!(outlet, STDOUT);
        }
        String::from_utf8_lossy(self.given.get(start..).unwrap()).into_owned()
    }

    /// Stdout has written all but so many bytes of what it got; what is answered then.
    fn write_all_but(&mut self, bytes: usize) -> String {
        self.sink.handle_written(NOW, STDOUT, (self.given.len() - bytes) as u64);
        self.answers()
    }

    fn write(&mut self) -> String {
        self.take_output();
        self.write_all_but(0)
    }
}

fn framed(messages: &[&str]) -> Vec<u8> {
    let mut frames = Vec::new();
    for message in messages {
        frame::push(message.as_bytes(), &mut frames).unwrap();
    }
    frames
}

const A: &str = r#"{"msg":"a","feed_time":1}"#;
const B: &str = r#"{"msg":"b","feed_time":1}"#;
const C: &str = r#"{"msg":"c","feed_time":1}"#;

#[test]
fn a_batch_is_confirmed_once_it_is_written() {
    let mut bench = Bench::new(Messages::Printed);
    assert_eq!(bench.open(1), "OPENED a=1 e=1 s=0 du=mem cr=100000");
    assert_eq!(bench.enq(0, &[A, "{}", B]), "");
    assert_eq!(bench.take_output(), "a\nb\n");
    assert_eq!((bench.answers(), bench.write_all_but(1)), (String::new(), String::new()));
    assert_eq!(bench.enq(3, &[C]), "");
    // The second batch is still not written.
    assert_eq!(bench.write_all_but(0), "STORED a=2 s=3 du=mem cr=99999");
    assert_eq!(bench.write(), "STORED a=3 s=4 du=mem cr=100000");
    let end = Ask::End(Sending { producer: 7, epoch: (1 << 32) + 1, sequence: 4 });
    assert_eq!(
        (bench.ask(&end), bench.ask(&end)),
        ("STORED a=4 s=4 du=mem cr=100000".into(), "STORED a=5 s=4 du=mem cr=100000".into())
    );
    let expected = Counts { received: 4, printed: 3, no_msg: 1, batches: 2, ..Counts::default() };
    assert_eq!((bench.sink.counts(), bench.sink.intake_counts().accepted), (expected, 4));
}

#[test]
fn what_comes_again_is_dropped_and_confirmed_when_it_is_written() {
    let mut bench = Bench::new(Messages::Printed);
    bench.open(1);
    bench.enq(0, &[A, B]);
    assert_eq!(bench.enq(0, &[A, B]), "", "not before the first is written");
    assert_eq!(bench.enq(1, &[B, C]), "");
    assert_eq!(bench.take_output(), "a\nb\nc\n");
    assert_eq!(
        bench.write(),
        "STORED a=2 s=2 du=mem cr=100000, STORED a=3 s=2 du=mem cr=100000, STORED a=4 s=3 du=mem cr=100000"
    );
    assert_eq!(bench.sink.intake_counts().duplicates, 3);
    assert_eq!(bench.sink.counts().received, 3);
}

#[test]
fn a_gap_waits_and_another_process_hears_of_what_is_written_only() {
    let mut bench = Bench::new(Messages::Printed);
    bench.open(1);
    assert_eq!(bench.enq(1, &[B]), "STORED a=2 s=0 du=mem cr=100000", "its turn has not come");
    assert_eq!(bench.take_output(), "");
    bench.enq(0, &[A]);
    assert_eq!(bench.open(2), "", "it would go on behind what is not written");
    assert_eq!(bench.take_output(), "a\nb\n");
    assert_eq!(bench.write(), "STORED a=3 s=2 du=mem cr=100000, OPENED a=4 e=2 s=2 du=mem cr=100000");
    assert_eq!(bench.enq(2, &[C]), "FENCED a=5 e=2");
}

#[test]
fn outputs_of_two_workers_are_taken_once() {
    let mut bench = Bench::new(Messages::Printed);
    bench.open(1);
    let mut ids = Vec::new();
    for number in [4, 0, 0, 1] {
        push_varint(number, &mut ids);
    }
    let derived = Derived { node: 3, generation: 1, stage: b"double", low_water: 0, ids: &ids };
    bench.enq_derived(0, &[A, B], Some(derived));
    bench.enq_derived(2, &[A, B], Some(derived));
    assert_eq!(bench.take_output(), "a\nb\n");
    assert_eq!(bench.write(), "STORED a=2 s=2 du=mem cr=100000, STORED a=3 s=4 du=mem cr=100000");
    assert_eq!((bench.sink.counts().printed, bench.sink.intake_counts().duplicate_ids), (2, 2));
}

#[test]
fn a_silenced_sink_confirms_at_once() {
    let mut bench = Bench::new(Messages::Silenced);
    bench.open(1);
    assert_eq!(bench.enq(0, &[A, B]), "STORED a=2 s=2 du=mem cr=100000");
    assert_eq!(bench.text(&format!("PUT:{C}")), "PUT 25 bytes");
    assert_eq!((bench.take_output(), bench.sink.counts().silenced), (String::new(), 3));
}

#[test]
fn while_too_much_is_unwritten_senders_are_refused() {
    const ROOM: u64 = 100_000;
    let mut bench = Bench::new(Messages::Printed);
    bench.open(1);
    let many = [r#"{"msg":1}"#; 1_000];
    for sequence in (0..ROOM).step_by(many.len()) {
        assert_eq!(bench.enq(sequence, &many), "");
    }
    // Nothing is written, so nothing may be claimed.
    assert_eq!(bench.enq(ROOM, &[A]), "FULL a=102 s=0 af=10");
    assert_eq!(bench.text(&format!("PUT:{A}")), "FULL");
    assert_eq!(bench.welcome().credit, 0);
    assert_eq!(bench.hear(B.as_bytes()), "", "a bare one is never refused");
    let first = bench.write();
    assert!(first.starts_with("STORED a=2 s=1000 du=mem cr=100000, "), "{first}");
    assert_eq!(first.matches("STORED").count(), 100);
    assert_eq!(bench.enq(ROOM, &[A]), "");
    assert_eq!(bench.write(), "STORED a=103 s=100001 du=mem cr=100000");
    let counts = bench.sink.counts();
    assert_eq!((counts.refused_full, counts.received, counts.printed), (2, ROOM + 2, ROOM + 2));
}

#[test]
fn verbs_of_2016_are_answered_if_a_sink_has_them() {
    let mut bench = Bench::new(Messages::Printed);
    // A question for the link that was garbled on its way is not answered.
    for (text, answer) in [("SIZE", "0"), ("SIZE:?", "0"), ("SIZE:?v2 c=00000000 r=42", "")] {
        assert_eq!(bench.text(text), answer);
    }
    assert_eq!(bench.text(&format!("PUT:{A}")), "");
    assert_eq!((bench.take_output(), bench.write_all_but(0)), ("a\n".into(), "PUT 25 bytes".into()));
    assert_eq!((bench.text("PUT:x"), bench.text("PUT")), ("PUT 1 bytes".into(), "PUT 0 bytes".into()));
    assert_eq!((bench.text("GET"), bench.text("GET:x")), (String::new(), String::new()));
    let counts = bench.sink.counts();
    assert_eq!((counts.received, counts.printed, counts.not_json, counts.unknown_verb), (3, 1, 2, 2));
    let Welcome { size, node, boot, credit, batch_messages_max, .. } = bench.welcome();
    assert_eq!((size, node, boot, credit, batch_messages_max), (0, 0xa, 1, 100_000, 100_000));
}

#[test]
fn a_sink_tells_all_that_it_counts() {
    let mut bench = Bench::new(Messages::Printed);
    bench.hear(A.as_bytes());
    bench.hear(b"x");
    let told = bench.ask(&Ask::Stat);
    let expected = "OK a=1 n=0 du=mem\n{\"node\":\"a\",\"boot\":1,\"ledger\":{\"received\":2,\"printed\":1,";
    assert!(told.starts_with(expected), "{told}");
    for part in [r#""not_json":1,"#, r#""bad_checksum":0,"#, r#""kernel_drops":0},"#, r#""gauges":{"depth":1,"#] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn what_is_no_request_to_a_sink_is_counted_and_never_answered() {
    let mut bench = Bench::new(Messages::Printed);
    let deq = Deq {
        session: 1,
        delivery: 1,
        deliveries: 1,
        open_from: 1,
        messages_max: 1,
        bytes_max: 100,
        wait_ms: 0,
        lease_ms: 1_000,
        finished: b"",
    };
    let ack = Ask::Ack { finished: b"1.0.1.1" };
    assert_eq!((bench.ask(&Ask::Deq(deq)), bench.ask(&ack)), (String::new(), String::new()));
    let mut garbled = Vec::new();
    Ask::Open { producer: 7, nonce: 1, from: 0 }.push(1, &mut garbled);
    *garbled.last_mut().unwrap() ^= 1;
    assert_eq!(bench.hear(&garbled), "");
    // An answer is no request, and a body must be what it says.
    let answer = protocol::link::Answer::Fenced { epoch: 1 };
    let mut datagram = Vec::new();
    answer.push(1, &mut datagram);
    assert_eq!(bench.hear(&datagram), "");
    bench.open(1);
    let sending = Sending { producer: 7, epoch: (1 << 32) + 1, sequence: 0 };
    let short = Enq { sending, count: 2, origin_us: 5, derived: None, frames: b"11a" };
    assert_eq!(bench.ask(&Ask::Enq(short)), "");
    let expected = Counts { unknown_verb: 2, bad_checksum: 1, malformed: 2, batches: 1, ..Counts::default() };
    assert_eq!(bench.sink.counts(), expected);
    // All other frames are the bare datagrams that they were in 2016.
    assert_eq!((bench.text("1"), bench.text(A), bench.hear(A.as_bytes())), Default::default());
    let counts = bench.sink.counts();
    assert_eq!((counts.received, counts.not_an_object, counts.not_json, counts.printed), (3, 1, 1, 1));
}
