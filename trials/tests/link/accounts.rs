//! Each node's account of what came: in its reports, in its last log line, and where it is a server, when it is asked.

use metrics::{EdgeFlow, Weir};
use rustix::process::Signal;
use trials::{Client, Ended, Ledger, Node, ReportSocket, program, wait_until};

use crate::{ANY_PORT, feeder_of_lines_with, worker_command};

/// What is counted wherever datagrams come in.
const EVERYWHERE: [&str; 5] = ["malformed", "bad_checksum", "stray", "kernel_drops", "unsent"];

#[track_caller]
fn assert_named(ledger: &Ledger, more: &[&str]) {
    for name in EVERYWHERE.iter().chain(more) {
        ledger.count(name);
    }
}

/// Its last word is its ledger.
#[track_caller]
fn assert_told(ended: &Ended, part: &str) {
    assert_eq!(ended.code, Some(0));
    let ledger = ended.stderr.iter().rfind(|line| line.contains("Ledger: ")).unwrap();
    assert!(ledger.contains(part), "{part} in {ledger}");
}

#[test]
fn every_node_gives_account() {
    let reports = ReportSocket::open();
    let flags = |name: &str| [&reports.flags(name, "60")[..], &["--console-log".to_owned()]].concat();
    let queue = Node::listening(program("mq").args(["--address", ANY_PORT]).args(flags("QUEUE")));
    let sink = Node::listening(program("sink").args(["--address", ANY_PORT]).args(flags("SINK")));
    let mut command = worker_command("passthrough", queue.address(), &[sink.address()]);
    let worker = Node::start(command.args(flags("WORKER")));
    let (of_queue, of_sink) = (Client::to(queue.address()), Client::to(sink.address()));
    // A call that was garbled on its way, to both.
    for server in [&of_queue, &of_sink] {
        server.send(b"40018STAT c=00000000 r=12345\n");
    }
    let lines = (0..3).map(|n| format!("{{\"msg\": {n}, \"feed_time\": 1}}"));
    let feeder = feeder_of_lines_with(queue.address(), lines, &flags("FEEDER"));
    assert_told(&feeder.wait(), "read 3, sent 3, confirmed 3");
    wait_until("the finishes", || of_queue.stat().count("done") == 3);
    let refusals = ["refused_messages_max", "refused_bytes_max", "refused_ids", "duplicates", "duplicate_ids"];
    for ledger in [of_queue.stat(), of_sink.stat()] {
        assert_named(&ledger, &["unknown_verb", "not_allowed", "refused_producers", "fenced"]);
        assert_eq!((ledger.count("bad_checksum"), ledger.count("malformed")), (1, 0));
    }
    assert_named(&of_queue.stat(), &refusals);
    of_queue.stat().assert_balanced();
    assert_told(&worker.stop(Signal::TERM), "received 3, processed 3, outputs 3, outputs_sent 3");
    assert_told(&sink.stop(Signal::TERM), "received 3, printed 3");
    assert_told(&queue.stop(Signal::TERM), "accepted 3, done 3");
    assert_named(&reports.ledger("QUEUE"), &refusals);
    assert_named(&reports.ledger("SINK"), &["refused_full", "refused_ids", "duplicates", "duplicate_ids", "not_json"]);
    assert_named(&reports.ledger("WORKER"), &["outputs_refused_full", "batches_held_back_full", "leases_lost"]);
    assert_named(&reports.ledger("FEEDER"), &["refused_full", "pushed_back", "resent_batches", "unconfirmed"]);
    let [of_queue, of_sink, of_worker, of_feeder] =
        ["QUEUE", "SINK", "WORKER", "FEEDER"].map(|vuid| reports.of(vuid).pop().unwrap().weir.unwrap());
    let kinds = [&of_queue, &of_sink, &of_worker, &of_feeder].map(|weir| weir.kind.clone().unwrap());
    assert_eq!(kinds, ["queue", "sink", "worker", "feeder"]);
    let all = EdgeFlow::Out { sent: 3, confirmed: Some(3), waits: false };
    assert_joined(&of_feeder, 0, all, &of_queue);
    assert_joined(&of_worker, 0, all, &of_sink);
    assert_joined(&of_worker, 1, EdgeFlow::In { taken: 3, finished: Some(3) }, &of_queue);
    let servers = [(&of_queue, "accepted"), (&of_sink, "batched")];
    assert_eq!(servers.map(|(weir, name)| weir.ledger[name]), [3, 3]);
    assert!(of_queue.share.is_some() && of_worker.share.is_some() && of_feeder.share.is_some());
}

/// This edge of the client leads to that server, by its address and by its node.
#[track_caller]
fn assert_joined(client: &Weir, place: usize, flow: EdgeFlow, server: &Weir) {
    let edge = client.edges.get(place).unwrap();
    assert_eq!((edge.flow, edge.guarantee.as_deref()), (flow, Some("exactly-once")));
    assert_eq!((Some(edge.peer), edge.node.is_some()), (server.address, true));
    assert_eq!(edge.node, server.node);
}
