//! The queue node.

use std::time::Duration;

use rustix::process::Signal;
use trials::{Client, Node, ReportSocket, TempFolder, program, timed};

use super::start_mq;

/// 01
#[test]
fn a_fresh_queue_answers_a_get_with_an_empty_text() {
    let mq = start_mq(&[]);
    let client = Client::to(mq.address());
    client.send(b"13GET");
    assert_eq!(client.receive(), b"10");
}

/// 03
#[test]
fn a_message_keeps_its_colons() {
    let mq = start_mq(&[]);
    let client = Client::to(mq.address());
    assert_eq!(client.ask("PUT:a:b:c"), "PUT 5 bytes");
    assert_eq!(client.ask("GET"), "a:b:c");
}

/// 04
#[test]
fn messages_come_out_in_the_order_in_which_they_went_in() {
    let mq = start_mq(&[]);
    let client = Client::to(mq.address());
    let messages: Vec<String> = (0..100).map(|n| format!("message {n}")).collect();
    for message in &messages {
        client.put(message);
    }
    let got: Vec<String> = messages.iter().map(|_| client.ask("GET")).collect();
    assert_eq!(got, messages);
}

/// 05
#[test]
fn upper_case_headers_of_the_pony_tools_are_read() {
    let mq = start_mq(&[]);
    let client = Client::to(mq.address());
    client.send(b"1FPUT:Hello World");
    assert_eq!(client.receive(), b"1cPUT 11 bytes");
}

/// 06
#[test]
fn bad_datagrams_get_no_answer_and_do_no_harm() {
    let mq = start_mq(&[]);
    let client = Client::to(mq.address());
    for bad in [&b""[..], b"x", b"14GET", b"13GETx", b"12\xff\xfe"] {
        client.send(bad);
    }
    client.send(b"13GET");
    // A queue answers in order, so an answer to a bad one would stand before this one.
    assert_eq!(client.receive(), b"10");
    assert_eq!(client.receive_now(), None);
    let ended = mq.stop(Signal::INT);
    let warnings = ended.stderr.iter().filter(|line| line.contains("Bad datagram from")).count();
    assert_eq!((warnings, ended.code), (5, Some(0)), "{}", ended.log());
}

/// 22, for its first half; the second one is the receiver's.
#[test]
fn an_idle_queue_reports_four_nulls_once_a_second() {
    let reports = ReportSocket::open();
    let _mq = start_mq(&reports.flags("IDLE", "1"));
    for report in reports.wait_for("IDLE", 3) {
        assert!((0.5..1.5).contains(&(report.t1 - report.t0)), "{report:?}");
    }
    for datagram in reports.datagrams() {
        let text = String::from_utf8(datagram).unwrap();
        for member in ["latency_time", "latency_count", "throughput_in", "throughput_out"] {
            assert!(text.contains(&format!("\"{member}\": null")), "{text}");
        }
    }
}

/// 30
#[test]
fn a_hundred_thousand_messages_pass_and_none_is_lost() {
    const MESSAGES: usize = 100_000;
    let folder = TempFolder::create();
    let lines: Vec<String> = (0..MESSAGES).map(|n| format!("{n:0>150}")).collect();
    let file = folder.write("lines", lines.join("\n") + "\n");
    let mq = start_mq(&[]);

    let mut feeder = program("feeder");
    feeder.args(["--address", &mq.address().to_string(), "--path", &file, "--format", "lines"]);
    let feeder = Node::start(&mut feeder);
    let (got, took) = timed(|| take_all(&Client::to(mq.address()), MESSAGES));

    let expected = lines.iter().map(|line| format!("296{line}").into_bytes());
    assert!(got.into_iter().eq(expected), "messages came out of order");
    let ended = feeder.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    assert!(ended.log().contains("sent 100000, confirmed 100000, resumed 0"), "{}", ended.log());
    // The queue of 2016 passed 12,000 a second.
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// Takes so many messages with some requests under way at a time.
fn take_all(client: &Client, messages: usize) -> Vec<Vec<u8>> {
    const UNDER_WAY: usize = 64;
    for _ in 0..UNDER_WAY {
        client.send(b"13GET");
    }
    let mut taken = Vec::with_capacity(messages);
    while taken.len() < messages {
        let answer = client.receive();
        client.send(b"13GET");
        if answer != b"10" {
            taken.push(answer);
        }
    }
    taken
}
