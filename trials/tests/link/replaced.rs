//! Servers that are replaced by older ones, and back, while clients are at work.

use std::{net::SocketAddr, process::Command, process::Stdio};

use rustix::process::Signal;
use trials::{Client, Ledger, Node, ReportSocket, program, wait_until};

use crate::{feeder_of_lines_with, listening, worker_command};

/// A queue of 2016 where a server was before.
fn old_queue_at(address: SocketAddr) -> Node {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/old_peer.py")).args(["queue", &address.port().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Node::listening(&mut command)
}

fn queue_at(address: SocketAddr) -> Node {
    Node::listening(program("mq").args(["--address", &address.to_string()]))
}

fn numbers(count: u64) -> impl Iterator<Item = String> {
    (0..count).map(|n| n.to_string())
}

/// A feeder's own account: each message has one fate.
#[track_caller]
fn assert_honest(feeder: &Ledger, lines: u64) {
    assert_eq!(feeder.count("sent"), lines);
    assert_eq!(feeder.sum(&["confirmed", "refused_full", "unconfirmed", "under_way"]), lines);
}

#[test]
fn a_feeder_goes_on_with_an_older_queue_and_back() {
    const LINES: u64 = 3_000;
    let reports = ReportSocket::open();
    let first = listening("mq", &[]);
    let address = first.address();
    let mut flags = reports.flags("FEEDER", "0.1").to_vec();
    flags.extend(["--rate", "200", "--console-log"].map(str::to_owned));
    let feeder = feeder_of_lines_with(address, numbers(LINES), &flags);
    let asked = Client::to(address);
    wait_until("messages", || asked.stat().count("accepted") > 100);
    first.stop(Signal::KILL);
    let old = old_queue_at(address);
    wait_until("messages in the old queue", || Client::to(address).size() > 100);
    let in_old = Client::to(address).size();
    old.stop(Signal::KILL);
    let last = queue_at(address);
    wait_until("messages on the link again", || {
        reports.ledger("FEEDER").count("negotiations") >= 3 && Client::to(address).stat().count("accepted") > 100
    });
    let ended = feeder.wait();
    let account = reports.ledger("FEEDER");
    assert_honest(&account, LINES);
    // Exit code 0 says that all was confirmed; a PUT whose answer died with the queue was not.
    let code = i32::from(account.count("confirmed") < LINES);
    assert_eq!(ended.code, Some(code), "{}", ended.log());
    for said in [": exactly-once, mem", ": at-most-once (a queue of 2016)"] {
        assert!(ended.log().contains(said), "{said} in {}", ended.log());
    }
    let arrived = Client::to(last.address()).stat();
    arrived.assert_balanced();
    assert!(arrived.count("accepted") + in_old < LINES, "what the first queue had is gone with it");
}

#[test]
fn a_feeder_that_must_not_promise_less_ends() {
    let queue = listening("mq", &[]);
    let address = queue.address();
    let flags = ["--rate", "200", "--guarantee", "at-least-once"].map(str::to_owned);
    let feeder = feeder_of_lines_with(address, numbers(100_000), &flags);
    let asked = Client::to(address);
    wait_until("messages", || asked.stat().count("accepted") > 100);
    queue.stop(Signal::KILL);
    let _old = old_queue_at(address);
    let ended = feeder.wait();
    assert_eq!(ended.code, Some(1));
    let said = format!("error: the edge to the queue at {address} has ended: the peer speaks the verbs of 2016 only");
    assert!(ended.log().contains(&said), "{}", ended.log());
    assert_eq!(Client::to(address).size(), 0);
}

#[test]
fn a_worker_goes_on_with_an_older_queue_and_back() {
    let (queue, answers) = (listening("mq", &[]), listening("mq", &[]));
    let address = queue.address();
    let mut worker = Node::start(&mut worker_command("passthrough", address, &[answers.address()]));
    let mut strict = worker_command("passthrough", address, &[answers.address()]);
    let strict = Node::start(strict.args(["--guarantee", "at-least-once"]));
    let arrived = Client::to(answers.address());
    let pass = |count: u64| {
        let (client, before) = (Client::to(address), arrived.size());
        (0..count).for_each(|n| client.put(&n.to_string()));
        wait_until("answers", || arrived.size() == before + count);
    };
    pass(100);
    queue.stop(Signal::KILL);
    let old = old_queue_at(address);
    let ended = strict.wait();
    assert_eq!(ended.code, Some(1));
    assert!(ended.log().contains("the peer speaks the verbs of 2016 only"), "{}", ended.log());
    pass(100);
    old.stop(Signal::KILL);
    let last = queue_at(address);
    pass(100);
    let asked = Client::to(last.address());
    wait_until("finishes on the link", || {
        Client::to(address).put("one more");
        asked.stat().count("done") > 0
    });
    wait_until("the last finish", || asked.stat().sum(&["ready", "leased"]) == 0);
    assert!(worker.is_running());
    let ended = worker.stop(Signal::TERM);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    let ledger = asked.stat();
    ledger.assert_balanced();
    assert_eq!(ledger.sum(&["dead", "discarded"]), 0, "{ledger:?}");
}
