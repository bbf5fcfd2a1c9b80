//! The sink, and the bins of latencies.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use machine::Now;
use metrics::{Identity, Reporter};
use rustix::process::Signal;
use trials::{Client, ReportSocket};

use super::start_sink;

/// 25
#[test]
fn bad_datagrams_are_quoted_and_the_sink_lives() {
    let mut sink = start_sink(&[]);
    let client = Client::to(sink.address());
    for (datagram, quoted) in [
        (&b"not json"[..], "'not json'"),
        (br#"{"msg":"x"}"#, r#"'{"msg":"x"}'"#),
        (b"\xff\xfe", "'\u{fffd}\u{fffd}'"),
        (br#"{"msg":"early","feed_time":99999999999}"#, r#"'{"msg":"early","feed_time":99999999999}'"#),
    ] {
        client.send(datagram);
        sink.stderr.wait_for(&format!("Error encountered when processing: {quoted}"));
    }
    client.send(br#"{"msg": "good", "feed_time": 1458195068.3}"#);
    // A message is shown whatever is wrong with its time.
    assert_eq!(sink.stdout.wait_for_count(3), ["x", "early", "good"]);
    assert!(sink.is_running());
}

fn bins(counts: Option<&metrics::Bins<u64>>) -> Vec<String> {
    counts
        .into_iter()
        .flatten()
        .flat_map(|(bin, count)| vec![bin.to_string(); usize::try_from(*count).unwrap()])
        .collect()
}

/// 24: bounds belong to their bins.
#[test]
fn latencies_go_into_the_bin_whose_bound_is_not_below_them() {
    let now = Now { since_start: Duration::ZERO, since_epoch: Duration::ZERO };
    let identity = Identity { vuid: String::new(), func: String::new(), address: None };
    let mut reporter = Reporter::new(identity, Duration::from_secs(1), now);
    for nanoseconds in [1_000_000, 1_000_100, 1_000_000_000, 3_800_000_000] {
        reporter.record_latency(Duration::from_nanos(nanoseconds));
    }
    let report = reporter.close(now, &[], &[]);
    let expected = ["0.001000000 s", "0.010000000 s", "1.000000000 s", "10.000000000 s"];
    assert_eq!(bins(report.latency_count.as_ref()), expected);
}

/// 24, through a sink, where some time passes on the way.
#[test]
fn a_sink_measures_the_time_since_the_feed() {
    let reports = ReportSocket::open();
    let sink = start_sink(&reports.flags("SINK", "60"));
    let client = Client::to(sink.address());
    #[expect(clippy::disallowed_methods, reason = "the trial is the feeder")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    for latency in [0.2, 3.8, 50.0] {
        client.send(format!("{{\"msg\": {latency}, \"feed_time\": {}}}", now - latency).as_bytes());
    }
    sink.stdout.wait_for_count(3);
    assert_eq!(sink.stop(Signal::INT).code, Some(0));
    let last = reports.of("SINK").pop().unwrap();
    assert_eq!(bins(last.latency_count.as_ref()), ["1.000000000 s", "10.000000000 s", "100.000000000 s"]);
}
