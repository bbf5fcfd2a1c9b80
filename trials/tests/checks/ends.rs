//! How nodes end.

use std::time::Duration;

use rustix::process::Signal;
use trials::{Client, Ended, Node, ReportSocket, program};

use super::{ANY_PORT, To, start_mq, start_sink, start_worker};

#[track_caller]
fn check(ended: &Ended, said: &str) {
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    assert!(ended.took < Duration::from_secs(1), "{:?}: {}", ended.took, ended.log());
    assert!(ended.log().contains(said), "{}", ended.log());
}

/// 29
#[test]
fn an_interrupted_queue_prints_its_size() {
    let mq = start_mq(&[]);
    Client::to(mq.address()).put("left behind");
    check(&mq.stop(Signal::INT), "Queue size: 1");
}

/// 29. A script may end a node as soon as it has announced itself.
#[test]
fn a_signal_right_after_the_announcement_is_heard() {
    for _ in 0..20 {
        check(&start_mq(&[]).stop(Signal::TERM), "Queue size: 0");
    }
}

/// 29
#[test]
fn an_interrupted_worker_prints_its_latencies() {
    let (input, output) = (start_mq(&[]), start_mq(&[]));
    let worker = start_worker("pong", input.address(), To::Queues(&[output.address()]), &[]);
    Client::to(input.address()).put("ping");
    assert_eq!(Client::to(output.address()).get(), "pong");
    check(&worker.stop(Signal::INT), "Latency_count: {'0.");
}

/// 29
#[test]
fn an_interrupted_sink_sends_its_last_report() {
    let reports = ReportSocket::open();
    let sink = start_sink(&reports.flags("SINK", "60"));
    Client::to(sink.address()).send(br#"{"msg": "last", "feed_time": 1458195068.3}"#);
    sink.stdout.wait_for("last");
    check(&sink.stop(Signal::INT), "");
    let last = reports.of("SINK").pop().unwrap();
    assert_eq!(last.throughput_in.unwrap().into_values().sum::<u64>(), 1);
}

/// 29
#[test]
fn an_interrupted_receiver_ends() {
    let receiver = Node::listening(program("metrics-receiver").args(["--address", ANY_PORT, "--uri", ""]));
    Client::to(receiver.address()).send(b"no report");
    receiver.stdout.wait_for("no report");
    check(&receiver.stop(Signal::INT), "Bad datagram from");
}

/// 29. It waits for lines from a terminal that says nothing.
#[test]
fn an_interrupted_feeder_says_what_it_has_done() {
    let mq = start_mq(&[]);
    let mut command = program("feeder");
    command.args(["--address", &mq.address().to_string(), "--path", "-", "--format", "lines"]);
    let mut feeder = Node::start(command.stdin(std::process::Stdio::piped()));
    let mut stdin = feeder.stdin().unwrap();
    std::io::Write::write_all(&mut stdin, b"one\ntwo\n").unwrap();
    let client = Client::to(mq.address());
    trials::wait_until("two messages", || client.size() == 2);
    check(&feeder.stop(Signal::INT), "sent 2, confirmed 2, resumed 0, resent 0, unconfirmed 0");
}
