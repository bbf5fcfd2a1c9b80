//! Old peers: a script of a few lines, written from docs/protocol.md alone, plays ping-pong with our worker and with our
//! queue. It needs `python3` on the machine, and nothing beside its standard library.

use std::process::{Command, Stdio};

use rustix::process::Signal;
use trials::{Client, Node, ReportSocket, program, wait_until};

const ROUNDS: u64 = 200;

fn old_peer(args: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/old_peer.py")).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn our_worker_plays_on_an_old_queue() {
    let reports = ReportSocket::open();
    let queue = Node::listening(&mut old_peer(&["queue"]));
    let address = queue.address().to_string();
    let mut command = program("worker");
    command.args(["--function", "pong", "--output-type", "queue", "--input-address", &address]);
    let worker = Node::start(command.args(["--output-address", &address]).args(reports.flags("WORKER", "0.1")));
    let client = Client::to(queue.address());
    client.put("ping");
    wait_until("rounds", || {
        assert!(client.size() <= 1, "more messages than were put");
        !reports.of("WORKER").is_empty() && reports.ledger("WORKER").count("processed") >= ROUNDS
    });
    assert_eq!(worker.stop(Signal::TERM).code, Some(0));
    let worker = reports.ledger("WORKER");
    for name in ["malformed", "stray", "function_errors", "outputs_refused_full", "outputs_unconfirmed"] {
        assert_eq!(worker.count(name), 0, "{name}");
    }
}

#[test]
fn an_old_worker_plays_on_our_queue() {
    let reports = ReportSocket::open();
    let mut command = program("mq");
    let mq = Node::listening(command.args(["--address", "127.0.0.1:0"]).args(reports.flags("QUEUE", "0.1")));
    let address = mq.address().to_string();
    let _worker = Node::start(&mut old_peer(&["pong", &address, &address]));
    let client = Client::to(mq.address());
    client.put("ping");
    wait_until("rounds", || {
        assert!(client.size() <= 1, "more messages than were put");
        !reports.of("QUEUE").is_empty() && reports.ledger("QUEUE").count("popped") >= ROUNDS
    });
    assert_eq!(mq.stop(Signal::TERM).code, Some(0));
    let queue = reports.ledger("QUEUE");
    assert_eq!(queue.sum(&["malformed", "unknown_verb", "refused_messages_max", "kernel_drops"]), 0);
}

/// Both ways at once: what our worker puts, an old one takes, and back.
#[test]
fn old_and_new_play_with_each_other() {
    let reports = ReportSocket::open();
    let old = Node::listening(&mut old_peer(&["queue"]));
    let mut command = program("mq");
    let new = Node::listening(command.args(["--address", "127.0.0.1:0"]).args(reports.flags("QUEUE", "0.1")));
    let (old_address, new_address) = (old.address().to_string(), new.address().to_string());
    let mut command = program("worker");
    command.args(["--function", "pong", "--output-type", "queue"]);
    let _our_worker = Node::start(command.args(["--input-address", &old_address, "--output-address", &new_address]));
    let _old_worker = Node::start(&mut old_peer(&["pong", &new_address, &old_address]));
    Client::to(old.address()).put("ping");
    wait_until("rounds", || !reports.of("QUEUE").is_empty() && reports.ledger("QUEUE").count("popped") >= ROUNDS);
}
