//! A process that is stopped and goes on.

use rustix::process::Signal;
use trials::{Client, Node, ReportSocket, wait_until};

use crate::{feeder_of_lines, listening, worker, worker_command};

/// A worker has leased messages and has sent its outputs, and is stopped before it hears of them. Another one does the work
/// again. What the first one says when it goes on comes too late, is counted, and changes nothing.
#[test]
fn a_stopped_workers_late_finish_doubles_nothing() {
    const EARLY: u64 = 10;
    const LINES: u64 = 60;
    let (sink, queue) = (listening("sink", &[]), listening("mq", &[]));
    let (asked, printed) = (Client::to(queue.address()), Client::to(sink.address()));
    let reports = ReportSocket::open();
    let mut command = worker_command("passthrough", queue.address(), &[sink.address()]);
    let first = Node::start(command.args(reports.flags("FIRST", "0.1")));
    let feed = |from: u64, to: u64| {
        let lines = (from..to).map(|n| format!("{{\"msg\": {n}, \"feed_time\": 1}}"));
        assert_eq!(feeder_of_lines(queue.address(), lines).wait().code, Some(0));
    };
    feed(0, EARLY);
    wait_until("the early ones", || asked.stat().count("done") == EARLY);
    // From here on the sink hears nothing until the worker is stopped, so the outputs stay under way for as long as that
    // takes.
    sink.signal(Signal::STOP);
    feed(EARLY, LINES);
    reports.wait_for("FIRST", 1);
    wait_until("outputs under way", || {
        let first = reports.ledger("FIRST");
        first.count("outputs_sent") == LINES && first.count("outputs_confirmed") == EARLY
    });
    assert_eq!(asked.stat().count("leased"), LINES - EARLY);
    first.signal(Signal::STOP);
    sink.signal(Signal::CONT);
    let second = worker("passthrough", queue.address(), sink.address());
    wait_until("the second worker's finishes", || asked.stat().count("done") == LINES);
    let before = asked.stat();
    assert!(before.count("lease_ended") >= LINES - EARLY, "the first worker's leases have not ended");
    first.signal(Signal::CONT);
    wait_until("the late finish", || asked.stat().count("other_finishes") > before.count("other_finishes"));
    wait_until("its report", || reports.ledger("FIRST").count("batches_finished_by_another") > 0);
    for worker in [first, second] {
        assert_eq!(worker.stop(Signal::TERM).code, Some(0));
    }
    let (queue, counts) = (asked.stat(), printed.stat());
    queue.assert_balanced();
    assert_eq!((queue.count("accepted"), queue.count("done")), (LINES, LINES));
    assert_eq!((counts.count("received"), counts.count("printed")), (LINES, LINES));
    assert!(counts.count("duplicate_ids") >= LINES - EARLY, "the second worker's outputs did not come again");
    let mut lines: Vec<u64> = sink.stop(Signal::TERM).stdout.iter().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert!(lines.into_iter().eq(0..LINES));
}
