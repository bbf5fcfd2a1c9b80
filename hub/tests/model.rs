//! The hub's model: reports in, state out, with a clock that the test turns.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hub::{Hub, State, Window};
use serde_json::{Value, json};

const START: f64 = 1_800_000_000.0;

struct Bench {
    hub: Hub,
    now: f64,
}

impl Bench {
    fn new() -> Self {
        Self { hub: Hub::new(1_000, START), now: START }
    }

    /// A second passes, and these nodes report what they did in it.
    fn second(&mut self, reports: &[(&str, Value)]) {
        self.now += 1.0;
        for (id, weir) in reports {
            self.report(id, self.now, weir);
        }
        self.hub.look(self.now);
    }

    fn report(&mut self, id: &str, t1: f64, weir: &Value) {
        let second = format!("{}", (t1 - 1.0).floor());
        let func = weir.get("func").cloned().unwrap_or_else(|| json!("Double"));
        let body = json!({
            "pipeline_key": id, "t0": t1 - 1.0, "t1": t1,
            "topics": {"latency_bins": {}, "throughput_out": {&second: 10}},
            "report": {"t0": t1 - 1.0, "t1": t1, "func": func, "VUID": id, "throughput_in": {&second: 20},
                "throughput_out": {&second: 10}, "weir": weir},
        });
        self.hub.post(self.now, body.to_string().as_bytes()).unwrap();
    }

    fn state(&self) -> State {
        self.hub.state(self.now, Window::FiveMinutes, 0)
    }

    fn kinds(&self) -> Vec<String> {
        self.hub.events_since(0).0.into_iter().map(|event| event.kind).collect()
    }
}

fn queue(uptime: f64, accepted: u64, ready: u64) -> Value {
    json!({"kind": "queue", "func": "Messagequeue", "uptime_s": uptime, "address": "127.0.0.1:10000",
        "ledger": {"accepted": accepted, "ready": ready, "popped": accepted - ready, "duplicates": 0},
        "gauges": {"depth": ready, "messages_max": 100, "oldest_age_s": 2.5}})
}

fn feeder(uptime: f64, sent: u64, confirmed: u64) -> Value {
    json!({"kind": "feeder", "func": "Feeder", "uptime_s": uptime, "share": {"busy": 0.1, "blocked": 0.6, "idle": 0.3},
        "edges": [{"dir": "out", "index": 0, "peer": "127.0.0.1:10000", "sent": sent, "confirmed": confirmed}]})
}

fn worker(busy: f64) -> Value {
    json!({"kind": "worker", "uptime_s": 5, "share": {"busy": busy, "blocked": 0.0, "idle": 1.0 - busy},
        "edges": [{"dir": "in", "index": 0, "peer": "127.0.0.1:10000", "taken": 7, "finished": 5}]})
}

#[test]
fn nodes_that_report_are_live_and_have_rates() {
    let mut bench = Bench::new();
    for uptime in 1..=4 {
        bench.second(&[("Q", queue(f64::from(uptime), 10, 5)), ("W", worker(0.2))]);
    }
    let state = bench.state();
    let node = &state.nodes[0];
    assert_eq!((node.id.as_str(), node.kind.as_str(), node.state), ("Q", "queue", "live"));
    assert_eq!((node.rate_in, node.rate_out, node.fill), (Some(20.0), Some(10.0), Some(0.05)));
    assert_eq!((state.health.state, state.health.totals.backlog), ("healthy", 5.0));
    let edge = &state.edges[0];
    assert_eq!((edge.id.as_str(), edge.from.as_deref(), edge.to.as_deref()), ("W<0", Some("Q"), Some("W")));
    assert_eq!((edge.taken, edge.finished, edge.under_way, edge.state), (Some(7), Some(5), Some(2), "live"));
    assert_eq!(Hub::new(1, START).state(START, Window::Minute, 0).health.state, "waiting");
}

#[test]
fn a_node_falls_silent_after_two_and_a_half_periods_and_comes_back() {
    let mut bench = Bench::new();
    bench.second(&[("W", worker(0.2))]);
    bench.second(&[]);
    bench.second(&[]);
    assert_eq!(bench.state().nodes[0].state, "live");
    bench.second(&[]);
    let state = bench.state();
    assert_eq!((state.nodes[0].state, state.nodes[0].rate_in, state.health.state), ("silent", None, "trouble"));
    bench.second(&[("W", worker(0.2))]);
    assert_eq!(bench.state().health.state, "healthy");
    assert_eq!(bench.kinds(), ["came", "silent", "back"]);
    let series = bench.hub.series(bench.now, "W", Window::Minute, &["in"]).unwrap();
    let tail: Vec<Value> = series.columns["in"].as_array().unwrap().iter().rev().take(6).rev().cloned().collect();
    assert_eq!(json!(tail), json!([20.0, null, null, null, 20.0, null]), "a gap is a gap");
}

#[test]
fn of_two_nodes_with_one_name_the_younger_one_counts_and_it_is_said() {
    let mut bench = Bench::new();
    bench.second(&[("Q", queue(100.0, 10, 5))]);
    for uptime in 1..=4 {
        bench.second(&[("Q", queue(f64::from(uptime), 2, 2)), ("Q", queue(100.0 + f64::from(uptime), 70, 5))]);
    }
    let state = bench.state();
    assert_eq!((state.nodes[0].restarts, state.nodes[0].uptime_s, state.health.unaccounted), (1, Some(4.0), 0));
    assert_eq!(bench.kinds(), ["came", "restarted", "twin"]);
    // Once the younger one is silent, the older one is heard.
    for uptime in 105..=109 {
        bench.second(&[("Q", queue(f64::from(uptime), 70, 5))]);
    }
    assert_eq!(bench.state().nodes[0].uptime_s, Some(109.0));
}

#[test]
fn a_node_that_began_anew_is_told_from_one_that_went_on() {
    let mut bench = Bench::new();
    bench.second(&[("Q", queue(100.0, 10, 5))]);
    bench.second(&[("Q", queue(0.5, 2, 2))]);
    let state = bench.state();
    assert_eq!((state.nodes[0].restarts, bench.kinds()), (1, vec!["came".to_owned(), "restarted".to_owned()]));
    // It is older than the one before it ever was, and yet began after that was heard last.
    bench.second(&[]);
    bench.second(&[("Q", queue(1.0, 1, 1))]);
    assert_eq!(bench.state().nodes[0].restarts, 2);
    bench.second(&[("Q", queue(2.0, 1, 1))]);
    assert_eq!(bench.state().nodes[0].restarts, 2);
}

#[test]
fn the_queue_itself_must_add_up() {
    let mut bench = Bench::new();
    let mut wrong = queue(1.0, 10, 5);
    wrong["ledger"]["popped"] = json!(3);
    bench.second(&[("Q", wrong)]);
    let state = bench.state();
    assert_eq!((state.nodes[0].unaccounted, state.health.unaccounted, state.health.state), (2, 2, "trouble"));
}

#[test]
fn what_was_confirmed_and_is_not_there_is_unaccounted_for_and_nothing_else_is() {
    let mut bench = Bench::new();
    bench.second(&[("Q", queue(1.0, 0, 0)), ("F", feeder(0.5, 0, 0))]);
    bench.second(&[("Q", queue(2.0, 50, 0)), ("F", feeder(1.5, 80, 60))]);
    assert_eq!(bench.state().health.unaccounted, 10, "confirmed 60, and 50 came by the same time");
    bench.second(&[("Q", queue(3.0, 60, 0)), ("F", feeder(2.5, 80, 60))]);
    assert_eq!(bench.state().health.unaccounted, 0);
    // The feeder's report is the later one: what it confirmed since is no business of the queue's report.
    bench.report("F", bench.now + 0.5, &feeder(3.0, 500, 400));
    bench.hub.look(bench.now);
    assert_eq!(bench.state().health.unaccounted, 0);
    assert!(bench.kinds().contains(&"unaccounted".to_owned()));
}

#[test]
fn a_queue_that_began_anew_is_not_asked_for_what_the_old_one_had() {
    let mut bench = Bench::new();
    bench.second(&[("F", feeder(50.0, 1_000, 1_000)), ("Q", queue(49.0, 1_000, 0))]);
    bench.second(&[("F", feeder(51.0, 1_000, 1_000)), ("Q", queue(0.5, 0, 0))]);
    assert_eq!(bench.state().health.unaccounted, 0);
    bench.second(&[("F", feeder(52.0, 1_100, 1_100)), ("Q", queue(1.5, 90, 90))]);
    assert_eq!(bench.state().health.unaccounted, 10);
}

#[test]
fn counts_at_another_server_begin_anew() {
    let with_node = |mut report: Value, node: &str, of_edge: bool| {
        if of_edge {
            report["edges"][0]["node"] = json!(node);
        } else {
            report["node"] = json!(node);
        }
        report
    };
    let mut bench = Bench::new();
    bench.second(&[
        ("F", with_node(feeder(50.0, 1_000, 1_000), "a", true)),
        ("Q", with_node(queue(49.0, 1_000, 0), "a", false)),
    ]);
    // The new one is there, and the feeder has not found it yet.
    bench.second(&[
        ("F", with_node(feeder(51.0, 1_000, 1_000), "a", true)),
        ("Q", with_node(queue(0.5, 0, 0), "b", false)),
    ]);
    assert_eq!(bench.state().health.unaccounted, 0);
    assert_eq!(bench.state().edges[0].to.as_deref(), Some("Q"), "joined by its address");
    bench
        .second(&[("F", with_node(feeder(52.0, 30, 30), "b", true)), ("Q", with_node(queue(1.5, 25, 25), "b", false))]);
    assert_eq!(bench.state().health.unaccounted, 5);
}

/// A queue with a log: its counts go on from boot to boot, those of what it refused begin anew.
fn durable(boot: u64, uptime: f64, accepted: u64, replayed: u64) -> Value {
    json!({"kind": "queue", "func": "Messagequeue", "uptime_s": uptime, "address": "127.0.0.1:10000",
        "node": "a", "boot": boot, "gauges": {"depth": 1},
        "ledger": {"accepted": accepted, "ready": 1, "done": accepted - 8, "dead": 3, "popped": 4, "replayed": replayed,
            "duplicate_ids": 5, "refused_messages_max": if boot == 1 { 7 } else { 0 }}})
}

#[test]
fn a_queue_that_kept_its_messages_is_asked_for_all_of_them() {
    // Clients that say whom they count for, and those of a peer that they take for one of 2016.
    for names_node in [true, false] {
        let feeder = |uptime: f64, confirmed: u64| {
            let mut report = feeder(uptime, confirmed, confirmed);
            if names_node {
                report["edges"][0]["node"] = json!("a");
            }
            report
        };
        let mut bench = Bench::new();
        bench.second(&[("F", feeder(1.0, 0)), ("Q", durable(1, 2.0, 8, 0))]);
        bench.second(&[("F", feeder(2.0, 1_013)), ("Q", durable(1, 3.0, 1_008, 0))]);
        for (boot, uptime) in [(2, 0.5), (2, 1.5), (3, 0.5), (3, 1.5)] {
            bench.second(&[("F", feeder(bench.now - START + 1.0, 1_013)), ("Q", durable(boot, uptime, 1_008, 0))]);
            let state = bench.state();
            let queue = &state.nodes[1];
            assert_eq!((state.health.unaccounted, queue.restarts), (0, boot - 1), "{names_node}");
            assert_eq!((queue.elsewhere, queue.ledger["dead"]), (0, 3));
        }
        let restarted = ["came", "came", "restarted", "restarted"];
        assert_eq!(bench.kinds(), restarted, "neither dead letters nor refusals are new");
        bench.second(&[("F", feeder(9.0, 1_113)), ("Q", durable(3, 2.5, 1_098, 0))]);
        assert_eq!(bench.state().health.unaccounted, 10, "what is missing is seen as before");
    }
}

#[test]
fn what_a_rewind_delivers_again_hides_no_loss() {
    let feeder = |confirmed: u64| {
        let mut report = feeder(1.0, confirmed, confirmed);
        report["edges"][0]["node"] = json!("a");
        report
    };
    let mut bench = Bench::new();
    bench.second(&[("F", feeder(105)), ("Q", durable(1, 1.0, 100, 0))]);
    bench.second(&[("F", feeder(105)), ("Q", durable(2, 2.0, 160, 60))]);
    let state = bench.state();
    assert_eq!((state.health.unaccounted, state.nodes[1].elsewhere, state.nodes[1].restarts), (0, 0, 0));
    assert_eq!(bench.kinds(), ["came", "came", "rewound"]);
    assert_eq!(bench.hub.events_since(2).0[0].text, "rewound: 60 messages are delivered again");
    bench.second(&[("F", feeder(125)), ("Q", durable(3, 0.5, 170, 60))]);
    assert_eq!(bench.state().health.unaccounted, 10);
    assert_eq!(bench.kinds()[3..], ["restarted", "unaccounted"]);
}

#[test]
fn a_client_that_began_anew_keeps_what_it_had_confirmed() {
    let mut bench = Bench::new();
    bench.second(&[("F", feeder(1.0, 100, 100)), ("Q", queue(2.0, 100, 0))]);
    bench.second(&[("F", feeder(0.5, 10, 10)), ("Q", queue(3.0, 104, 0))]);
    assert_eq!(bench.state().nodes[0].restarts, 1);
    assert_eq!(bench.state().health.unaccounted, 6);
}

#[test]
fn what_others_sent_is_shown_and_is_no_error() {
    let mut bench = Bench::new();
    bench.second(&[("Q", queue(2.0, 100, 0)), ("F", feeder(1.0, 40, 40))]);
    let state = bench.state();
    assert_eq!((state.nodes[1].elsewhere, state.health.unaccounted), (60, 0));
}

#[test]
fn the_bottleneck_is_the_first_busy_node_downstream_of_blocked_ones() {
    let mut bench = Bench::new();
    bench.second(&[("F", feeder(1.0, 9, 9)), ("NODE_1", queue(1.0, 90, 85)), ("NODE_2", worker(0.97))]);
    let health = bench.state().health;
    assert_eq!(health.state, "bottleneck");
    assert_eq!(
        health.text,
        "worker NODE_2 is the bottleneck: busy 97 %, its queue NODE_1 is 85 % full and feeder F waits 60 % of the time"
    );
    bench.second(&[("F", feeder(2.0, 9, 9)), ("NODE_1", queue(2.0, 90, 5)), ("NODE_2", worker(0.3))]);
    assert_eq!(bench.state().health.bottleneck, None, "nobody downstream is busy");
}

#[test]
fn counters_of_harm_that_rise_begin_and_end() {
    let drops = |count: u64| json!({"uptime_s": 5, "ledger": {"kernel_drops": count, "refused_messages_max": count}});
    let mut bench = Bench::new();
    bench.second(&[("W", drops(0))]);
    bench.second(&[("W", drops(3))]);
    let health = bench.state().health;
    assert_eq!((health.state, health.text.as_str()), ("trouble", "kernel_drops rises at W: 3"));
    assert_eq!(health.totals.lost, 3, "what was refused is sent again, and not lost");
    for _ in 0..12 {
        bench.second(&[("W", drops(3))]);
    }
    assert_eq!(bench.state().health.state, "healthy");
    assert_eq!(bench.kinds(), ["came", "drops_began", "drops_began", "drops_ended", "drops_ended"]);
    assert_eq!(bench.state().nodes[0].drops["kernel_drops"], 3, "a counter of harm is always shown");
}

#[test]
fn a_full_queue_is_told_once() {
    let mut bench = Bench::new();
    for ready in [96, 90, 97, 50] {
        bench.second(&[("Q", queue(bench.now - START + 1.0, 100, ready))]);
    }
    assert_eq!(bench.kinds(), ["came", "full_began", "full_ended"]);
}

#[test]
fn nodes_beyond_the_most_are_refused_and_counted_until_one_makes_room() {
    let mut hub = Hub::new(3, START);
    let body =
        |id: u32| json!({"pipeline_key": format!("V{id}"), "t0": START, "t1": START + 1.0, "topics": {}}).to_string();
    for id in 0..100_000 {
        let taken = hub.post(START, body(id).as_bytes()).unwrap();
        assert_eq!((taken.taken, taken.nodes_refused), if id < 3 { (1, 0) } else { (0, 1) });
    }
    let state = hub.state(START, Window::Minute, 0);
    assert_eq!((state.nodes.len(), state.hub.nodes_refused, state.hub.reports), (3, 99_997, 3));
    assert_eq!(hub.events_since(0).0.iter().filter(|event| event.kind == "refused").count(), 1);
    assert_eq!(hub.post(START + 4_000.0, body(7).as_bytes()).unwrap().taken, 1, "one was silent for an hour");
    hub.look(START + 100_000.0);
    assert_eq!(hub.state(START, Window::Minute, 0).nodes.len(), 0, "a day of silence");
}

#[test]
fn bad_members_are_named_and_do_not_harm_the_others() {
    let mut hub = Hub::new(10, START);
    let good = json!({"pipeline_key": "G", "t0": 1, "t1": 2, "topics": {}});
    let with = |member: &str, value: Value| {
        let mut bad = good.clone();
        bad[member] = value;
        bad
    };
    for (bad, reason) in [
        (json!(7), "not an object"),
        (with("pipeline_key", json!(7)), "expected a string"),
        (with("pipeline_key", json!("")), "1 to 1000 bytes"),
        (with("pipeline_key", json!("x".repeat(1_001))), "1 to 1000 bytes"),
        (with("t1", json!("2")), "expected f64"),
        (with("t1", json!(-1)), "seconds since the epoch"),
        (with("t1", json!(1e300)), "seconds since the epoch"),
        (with("topics", json!(null)), "null"),
        (with("topics", json!({"latency_bins": {"fast": 1}})), "\"fast\" is not a bin's bound"),
        (with("topics", json!({"latency_bins": {"-1": 1}})), "is not a bin's bound"),
        (with("topics", json!({"latency_bins": {"1": -1}})), "-1 is not a count"),
        (with("topics", json!({"latency_bins": [1]})), "expected a map"),
        (with("topics", json!({"throughput_out": {"noon": 1}})), "\"noon\" is not a second"),
        (with("topics", json!({"throughput_out": {"5": 1.5}})), "1.5 is not a count"),
        (with("report", json!(7)), "report: "),
        (with("report", json!({"t0": 1, "t1": 2, "func": "F", "VUID": "G", "weir": {"edges": 7}})), "report: "),
        (
            with("report", json!({"t0": 1, "t1": 2, "func": "F", "VUID": "G", "weir": {"ledger": {"a": -1}}})),
            "not a count",
        ),
    ] {
        let refused = hub.post(START, json!([good, bad, good]).to_string().as_bytes()).unwrap_err();
        assert!(refused.error.contains(reason), "{bad}: {}", refused.error);
        assert_eq!((refused.at, refused.others.taken, refused.others.refused), (Some(1), 2, 1), "{bad}");
    }
    for body in [&b""[..], b"7", b"\"x\"", b"{\"a\": ", b"\xff", "[".repeat(100_000).as_bytes()] {
        assert!(hub.post(START, body).unwrap_err().at.is_none());
    }
    assert_eq!(hub.state(START, Window::Minute, 0).nodes.len(), 1);
}

#[test]
fn the_figures_of_2016() {
    let mut hub = Hub::new(10, START);
    let body = json!({"pipeline_key": "K", "t0": START + 0.3, "t1": START + 2.3, "topics": {
        "latency_bins": {"0.0001": 2449, "0.001": 227},
        "throughput_out": {format!("{}", START + 1.0): 1507, format!("{}", START + 2.0): 1169}}});
    hub.post(START + 3.0, body.to_string().as_bytes()).unwrap();
    let detail = hub.node_detail("K", Window::FiveMinutes).unwrap();
    assert_eq!(detail["throughput"], json!({"in": null, "out": {"min": 1169.0, "median": 1338.0, "max": 1507.0}}));
    assert_eq!(detail["bins"][0], json!({"le": 0.0001, "count": 2449, "percent": 91.52, "cumulative": 91.52}));
    assert_eq!(detail["bins"][1], json!({"le": 0.001, "count": 227, "percent": 8.48, "cumulative": 100.0}));
    let latency = &detail["latency"];
    assert_eq!(json!([latency["p50"], latency["p75"], latency["p90"]]), json!([0.0001, 0.0001, 0.0001]));
    assert_eq!(json!([latency["p99"], latency["p999"], latency["from"]]), json!([0.001, 0.001, "bins"]));
    assert_eq!(detail["in"], Value::Null, "a node of 2016 does not say");
}

#[test]
fn seconds_without_messages_count_as_zero_when_a_node_reports_through_them() {
    let mut hub = Hub::new(10, START);
    for second in 0..10 {
        let (t0, t1) = (START + f64::from(second) + 0.4, START + f64::from(second) + 1.4);
        let throughput = if second == 3 { json!({format!("{}", t0.floor()): 5}) } else { json!({}) };
        let body = json!({"pipeline_key": "K", "t0": t0, "t1": t1, "topics": {"throughput_out": throughput}});
        hub.post(t1, body.to_string().as_bytes()).unwrap();
    }
    let detail = hub.node_detail("K", Window::FiveMinutes).unwrap();
    assert_eq!(detail["throughput"]["out"], json!({"min": 0.0, "median": 0.0, "max": 5.0}));
}

#[test]
fn a_tick_carries_what_changed() {
    let mut bench = Bench::new();
    bench.second(&[("Q", queue(1.0, 10, 5)), ("W", worker(0.2))]);
    let before = hub::slim(&bench.state());
    bench.second(&[("Q", queue(2.0, 12, 5)), ("W", worker(0.2)), ("N", worker(0.1))]);
    let tick = hub::changes(&before, &hub::slim(&bench.state()));
    let nodes: Vec<_> = tick["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["N", "Q", "W"]);
    assert_eq!(tick["nodes"][1].get("kind"), None, "what did not change is not said again");
    assert_eq!(tick["events"].as_array().unwrap().len(), 1);
    let nothing = hub::changes(&before, &before);
    assert_eq!((&nothing["nodes"], &nothing["edges"], &nothing["events"]), (&json!([]), &json!([]), &json!([])));
    let gone = hub::changes(&before, &hub::slim(&Hub::new(1, START).state(START, Window::Minute, 0)));
    assert_eq!(gone["nodes_gone"], json!(["Q", "W"]));
}
