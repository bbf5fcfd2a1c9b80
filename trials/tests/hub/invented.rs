//! Reports of nodes that do not exist.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use machine::Now;
use metrics::{Identity, Reporter};
use serde_json::{Value, json};

pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// What a node of 2016 has posted through its metrics-receiver: the second before `t1`, with some latencies.
pub(crate) fn of_2016(key: &str, t1: f64, bins: &Value) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "seconds since the epoch")]
    let second = t1.floor() as i64;
    let per_second = json!({ second.to_string(): 7 });
    json!({"pipeline_key": key, "t1": t1, "t0": t1 - 1.0, "topics": {"latency_bins": bins, "throughput_out": per_second}})
}

/// A hundred latencies from 20 to 515 microseconds, as a histogram in a report.
fn latencies() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let identity = Identity { vuid: "N".to_owned(), func: "Messagequeue".to_owned(), address: None };
        let start = Now { since_start: Duration::ZERO, since_epoch: Duration::from_secs(1) };
        let mut reporter = Reporter::new(identity, Duration::from_secs(1), start);
        (0..100).for_each(|n| reporter.record_latency(Duration::from_micros(20 + n * 5)));
        reporter.close(start, &[], &[]).weir.and_then(|weir| weir.latency_hdr).unwrap()
    });
    &TEXT
}

/// What the metrics-receiver posts for a queue of ours that took and gave 100 messages in each second of its `uptime`.
pub(crate) fn queue(key: &str, t1: f64, uptime: u64) -> Value {
    let mut post = of_2016(key, t1, &json!({"0.0001": 60, "0.001": 40}));
    #[expect(clippy::cast_possible_truncation, reason = "seconds since the epoch")]
    let second = (t1.floor() as i64).to_string();
    let done = 100 * uptime;
    post["report"] = json!({
        "t0": t1 - 1.0, "t1": t1, "func": "Messagequeue", "VUID": key,
        "latency_time": {"0.000100000 s": 0.003, "0.001000000 s": 0.01},
        "latency_count": {"0.000100000 s": 60, "0.001000000 s": 40},
        "throughput_in": {second.as_str(): 100}, "throughput_out": {second.as_str(): 100},
        "weir": {
            "version": "0.1.0", "uptime_s": uptime, "address": "127.0.0.1:9", "kind": "queue", "node": "1f", "boot": 1,
            "latency_hdr": latencies(),
            "ledger": {
                "accepted": done + 3, "ready": 2, "leased": 1, "done": done, "dead": 0, "discarded": 0, "popped": 0,
                "duplicates": 0, "duplicate_ids": 0, "kernel_drops": 0,
            },
            "gauges": {"depth": 3, "bytes": 300, "oldest_age_s": 0.01},
            "share": {"busy": 0.1, "blocked": 0.0, "idle": 0.9},
        },
    });
    post
}
