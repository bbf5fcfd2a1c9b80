//! What the hub says of reports whose numbers are known.

use serde_json::{Value, json};
use trials::{
    Client, Node,
    http::{get, request},
    program, wait_for, wait_until,
};

use crate::{
    ANY_PORT,
    hub::{node, post, start_hub},
    invented::{now, of_2016},
};

/// The bins of a node: upper bound, count, percent.
#[track_caller]
fn bins(node: &Value) -> Vec<(f64, u64, f64)> {
    let bin =
        |bin: &Value| (bin["le"].as_f64().unwrap(), bin["count"].as_u64().unwrap(), bin["percent"].as_f64().unwrap());
    node["bins"].as_array().unwrap().iter().map(bin).filter(|(_, count, _)| *count > 0).collect()
}

#[track_caller]
fn percentiles(node: &Value) -> [Option<f64>; 5] {
    ["p50", "p75", "p90", "p99", "p999"].map(|name| node["latency"][name].as_f64())
}

/// 28, and a hub that is given the same bin under several names.
#[test]
fn bins_of_2016_are_one_bin_however_they_are_written() {
    let hub = start_hub();
    let bins_written = json!({"1e-05": 1, "0.00001": 2, "1": 3, "1.0": 4});
    let answer = post(hub.address(), of_2016("OLD", now(), &bins_written).to_string());
    assert_eq!((answer.status, answer.json()), (202, json!({"taken": 1})));
    let node = get(hub.address(), "/api/v1/nodes/OLD").json();
    assert_eq!(bins(&node), [(1e-5, 3, 30.0), (1.0, 7, 70.0)]);
    assert_eq!(node["ours"], json!(false));
    assert_eq!((node["latency"]["from"].as_str(), node["latency"]["count"].as_u64()), (Some("bins"), Some(10)));
}

/// 27, through the real metrics-receiver.
#[test]
fn a_report_of_2016_is_shown_right() {
    let hub = start_hub();
    let uri = format!("http://{}/post", hub.address());
    let receiver = Node::listening(program("metrics-receiver").args(["--address", ANY_PORT, "--uri", &uri]));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since the epoch")]
    let second = now() as u64;
    let report = json!({
        "t0": f64::from(u32::try_from(second).unwrap()) - 2.0, "t1": f64::from(u32::try_from(second).unwrap()),
        "func": "Marketspread", "VUID": "K",
        "latency_time": {"0.000100000 s": 0.13, "0.001000000 s": 0.03},
        "latency_count": {"0.000100000 s": 2449, "0.001000000 s": 227},
        "throughput_in": {(second - 2).to_string(): 1507, (second - 1).to_string(): 1169},
        "throughput_out": {(second - 2).to_string(): 1507, (second - 1).to_string(): 1169},
    });
    Client::to(receiver.address()).send(report.to_string().as_bytes());
    node(hub.address(), "K");
    let node = get(hub.address(), "/api/v1/nodes/K").json();
    assert_eq!(bins(&node), [(1e-4, 2449, 91.52), (1e-3, 227, 8.48)]);
    assert_eq!(percentiles(&node), [1e-4, 1e-4, 1e-4, 1e-3, 1e-3].map(Some));
    let out = &node["throughput"]["out"];
    assert_eq!(
        [&out["min"], &out["median"], &out["max"]].map(Value::as_f64),
        [Some(1169.0), Some(1338.0), Some(1507.0)]
    );
}

#[test]
fn an_array_of_reports_is_taken_but_for_the_bad_ones() {
    let hub = start_hub();
    let (first, third) = (of_2016("A", now(), &json!({"0.001": 1})), of_2016("C", now(), &json!({"0.001": 1})));
    let answer = post(hub.address(), json!([first, {"pipeline_key": 7}, third]).to_string());
    assert_eq!((answer.status, &answer.json()["at"]), (400, &json!(1)), "{}", answer.text());
    node(hub.address(), "A");
    node(hub.address(), "C");
}

/// The old path of a hub, and both of its names.
#[test]
fn reports_are_taken_at_either_path() {
    let hub = start_hub();
    let body = of_2016("ROOT", now(), &json!({"0.001": 1})).to_string();
    let answer = request(hub.address(), "POST /", body.as_bytes());
    assert_eq!(answer.status, 202);
    node(hub.address(), "ROOT");
}

#[test]
fn a_series_is_numbers_and_gaps_and_csv() {
    let hub = start_hub();
    let start = now();
    for back in [10.0, 9.0, 2.0, 1.0] {
        post(hub.address(), of_2016("S", start - back, &json!({"0.001": 7})).to_string());
    }
    let series = wait_for("the series", || {
        let series = get(hub.address(), "/api/v1/series?node=S&window=5m").json();
        series["out"].as_array().is_some_and(|out| out.iter().any(|value| value.as_f64() > Some(0.0))).then_some(series)
    });
    let column = |name: &str| series[name].as_array().unwrap().clone();
    let (times, out) = (column("t"), column("out"));
    assert_eq!((series["step"].as_u64(), times.len()), (Some(1), out.len()));
    let at = |second: f64| times.iter().position(|time| time.as_f64() == Some(second.floor()));
    // Four seconds with a rate, and silence between them that is no number.
    assert!(out.iter().filter(|value| value.as_f64() > Some(0.0)).count() >= 3, "{out:?}");
    let gap = at(start - 5.0).unwrap_or_else(|| panic!("no {start} - 5 in {times:?}"));
    assert_eq!(out[gap], Value::Null, "{out:?}");
    let csv = get(hub.address(), "/api/v1/series?node=S&window=5m&format=csv");
    assert!(csv.head.contains("content-type: text/csv"), "{}", csv.head);
    let csv = csv.text();
    assert!(csv.lines().count() > 4 && csv.starts_with("t,"), "{csv}");
}

#[test]
fn prometheus_reads_the_same_numbers() {
    let hub = start_hub();
    post(hub.address(), of_2016("P\"1\n", now(), &json!({"0.001": 7})).to_string());
    wait_until("the node", || get(hub.address(), "/metrics").text().contains(r#"node="P\"1\n""#));
    let text = get(hub.address(), "/metrics").text();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let value = line.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert_eq!(get(hub.address(), "/healthz").text(), "ok");
}
