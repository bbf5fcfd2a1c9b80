//! The hub's account beside what the nodes say themselves: nothing unaccounted for as long as nothing is, however bad the
//! weather; and what is lost is said.

use std::{cell::Cell, fmt::Write as _, net::SocketAddr};

use rustix::process::Signal;
use serde_json::{Value, json};
use trials::{Client, Node, TempFolder, program, wait_until};

use crate::{
    ANY_PORT,
    hub::{node_in, post, start_hub, state},
    invented::{now, queue},
    pipeline::Reporting,
};

/// A man in the middle of the way to a node, both ways: a fifth is lost, a tenth doubled.
fn rain(server: SocketAddr, seed: &str) -> Node {
    let mut command = program("spike");
    command.args([ANY_PORT, &server.to_string(), "mix", "--seed", seed, "--quiet"]);
    Node::listening(command.args(["--drop", "20", "--duplicate", "10"]))
}

fn lines(count: usize) -> String {
    let mut text = String::new();
    (0..count).for_each(|n| writeln!(text, "{{\"msg\": {n}, \"feed_time\": 1.0}}").unwrap());
    text
}

/// What the hub's newest report of a node counted.
fn counted(state: &Value, id: &str, name: &str) -> Option<u64> {
    node_in(state, id)?["ledger"][name].as_u64()
}

#[test]
fn nothing_is_unaccounted_for_in_bad_weather_and_after_a_death() {
    const LINES: u64 = 20_000;
    let hub = start_hub();
    let reporting = Reporting::to(hub.address());
    let folder = TempFolder::create();
    let path = folder.write("lines", lines(20_000));
    let sink = reporting.server("sink", "SINK", &["--quiet"]);
    let queue = reporting.server("mq", "QUEUE", &[]);
    let [to_queue, from_queue, to_sink] =
        [(&queue, "1"), (&queue, "2"), (&sink, "3")].map(|(to, seed)| rain(to.address(), seed));
    let work = || reporting.worker("WORKER", "passthrough", from_queue.address(), to_sink.address());
    let worker = work();
    let feeder =
        reporting.feeder("FEEDER", to_queue.address(), &["--format", "lines", "--rate", "5k", "--path", &path]);
    let looks = Cell::new(0_u64);
    let look = || {
        let state = state(hub.address());
        let unaccounted = &state["health"]["unaccounted"];
        assert_eq!(unaccounted.as_u64(), Some(0), "after {} looks: {state:#}", looks.get());
        for edge in state["edges"].as_array().unwrap() {
            let behind =
                edge["sent"].as_u64().zip(edge["confirmed"].as_u64()).is_none_or(|(sent, confirmed)| sent >= confirmed);
            assert!(behind, "{edge}");
        }
        looks.set(looks.get() + 1);
        state
    };
    wait_until("the worker's first report", || node_in(&look(), "WORKER").is_some());
    wait_until("some messages at the sink", || counted(&look(), "SINK", "batched") > Some(LINES / 5));
    worker.stop(Signal::KILL);
    let worker = work();
    wait_until("all messages at the sink", || counted(&look(), "SINK", "batched") >= Some(LINES));
    assert_eq!(feeder.wait().code, Some(0));
    let (of_queue, of_sink) = (Client::to(queue.address()), Client::to(sink.address()));
    wait_until("the last finishes", || of_queue.stat().count("done") == LINES);
    wait_until("the hub knows the end", || counted(&look(), "QUEUE", "done") == Some(LINES));
    let end = look();
    let (queue_stat, sink_stat) = (of_queue.stat(), of_sink.stat());
    for (id, stat, names) in [
        ("QUEUE", &queue_stat, &["accepted", "ready", "leased", "done", "dead", "discarded", "popped"][..]),
        ("SINK", &sink_stat, &["received", "batched", "silenced", "duplicates"][..]),
    ] {
        for name in names {
            assert_eq!(counted(&end, id, name), Some(stat.count(name)), "{id} {name}");
        }
    }
    assert_eq!((sink_stat.count("batched"), sink_stat.count("silenced")), (LINES, LINES));
    let dead = &end["health"]["totals"]["dead"];
    assert_eq!(dead.as_u64(), Some(0));
    assert_eq!(end["health"]["totals"]["lost"].as_u64(), Some(0));
    assert_eq!(node_in(&end, "WORKER").unwrap()["restarts"].as_u64(), Some(1));
    assert!(
        end["events"].as_array().unwrap().iter().any(|event| event["node"] == "WORKER" && event["kind"] == "restarted")
    );
    assert!(looks.get() > 20, "only {} looks", looks.get());
    drop(worker);
}

/// A sink that stands still while bare datagrams come: what its kernel drops is lost, and the hub says so by name.
#[test]
fn what_the_kernel_drops_is_lost_by_name() {
    const LINES: u64 = 40_000;
    let hub = start_hub();
    let reporting = Reporting::to(hub.address());
    let folder = TempFolder::create();
    let path = folder.write("lines", lines(40_000));
    let sink = reporting.server("sink", "SINK", &["--quiet"]);
    let queue = reporting.server("mq", "QUEUE", &[]);
    sink.signal(Signal::STOP);
    let worker = reporting.worker_with("WORKER", queue.address(), sink.address(), &["--output-type", "socket"]);
    assert_eq!(
        reporting.feeder("FEEDER", queue.address(), &["--format", "lines", "--path", &path]).wait().code,
        Some(0)
    );
    wait_until("all outputs", || counted(&state(hub.address()), "WORKER", "outputs_sent") == Some(LINES));
    sink.signal(Signal::CONT);
    let drops = |state: &Value| node_in(state, "SINK").and_then(|sink| sink["drops"]["kernel_drops"].as_u64());
    wait_until("the account", || {
        let state = state(hub.address());
        counted(&state, "SINK", "received")
            .zip(drops(&state))
            .is_some_and(|(received, drops)| received + drops == LINES)
    });
    let state = state(hub.address());
    let lost = drops(&state).unwrap();
    assert!(lost > 0, "nothing ran over");
    assert_eq!(state["health"]["totals"]["lost"].as_u64(), Some(lost), "{:#}", state["health"]);
    assert_eq!(
        state["health"]["unaccounted"].as_u64(),
        Some(0),
        "what is named is accounted for: {:#}",
        state["health"]
    );
    drop((worker, queue));
}

/// A queue that says it has accepted less than its client had confirmed.
#[test]
fn what_is_missing_without_a_name_is_unaccounted_for() {
    let hub = start_hub();
    let post_report = |report: &Value| assert_eq!(post(hub.address(), report.to_string()).status, 202);
    let start = now();
    for second in 1..=5_u32 {
        let at = start - 5.0 + f64::from(second);
        let mut client = queue("CLIENT", at, second.into());
        let weir = &mut client["report"]["weir"];
        weir["kind"] = json!("feeder");
        weir["address"] = json!(null);
        weir["ledger"] = json!({"sent": 200, "confirmed": 150});
        weir["node"] = json!(null);
        weir["edges"] = json!([{
            "dir": "out", "index": 0, "peer": "127.0.0.1:9", "node": "1f", "guarantee": "exactly-once", "sent": 200,
            "confirmed": 150, "waits": false,
        }]);
        let mut server = queue("SERVER", at + 0.1, u64::from(second) + 10);
        server["report"]["weir"]["ledger"] = json!({
            "accepted": 100, "ready": 100, "leased": 0, "done": 0, "dead": 0, "discarded": 0, "popped": 0,
            "duplicates": 7, "duplicate_ids": 3, "kernel_drops": 0,
        });
        post_report(&client);
        post_report(&server);
    }
    wait_until("the loss", || state(hub.address())["health"]["unaccounted"].as_u64() == Some(47));
    let state = state(hub.address());
    assert_eq!(state["health"]["state"], "trouble", "{:#}", state["health"]);
    assert!(
        state["events"].as_array().unwrap().iter().any(|event| event["kind"] == "unaccounted"),
        "{:#}",
        state["events"]
    );
}

/// A queue whose own places do not add up.
#[test]
fn a_ledger_that_does_not_add_up_is_unaccounted_for() {
    let hub = start_hub();
    let mut report = queue("QUEUE", now(), 10);
    report["report"]["weir"]["ledger"]["accepted"] = json!(1_010);
    assert_eq!(post(hub.address(), report.to_string()).status, 202);
    wait_until("the loss", || state(hub.address())["health"]["unaccounted"].as_u64() == Some(7));
}
