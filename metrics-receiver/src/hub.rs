//! A report as the JSON that the hub of 2016 takes by POST; of a node of ours with the whole report, after the members of 2016.

use std::collections::BTreeMap;

use metrics::{Bins, Report, python};
use protocol::text;
use serde::{Serialize, Serializer};

#[derive(Serialize)]
struct Body<'a> {
    pipeline_key: &'a str,
    t1: f64,
    t0: f64,
    topics: Topics<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a Report>,
}

#[derive(Serialize)]
struct Topics<'a> {
    latency_bins: PerBound<'a>,
    throughput_out: PerSecond<'a>,
}

/// Counts by bound, as Python writes a float: `1e-05`, `0.0001`, `1.0`, `inf`.
struct PerBound<'a>(Option<&'a Bins<u64>>);

impl Serialize for PerBound<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.into_iter().flatten().map(|(bin, count)| (text::float(bin.seconds()), count)))
    }
}

/// Counts by second. 2016 posted nothing where they were null; a hub can do more with an empty object.
struct PerSecond<'a>(Option<&'a BTreeMap<u64, u64>>);

impl Serialize for PerSecond<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.into_iter().flatten())
    }
}

/// The body to post, on one line; `None` for a bare report of 2016 without latencies, which was not posted then.
///
/// A report of ours always is, so that the hub can tell an idle node from a dead one.
pub fn hub_body(report: &Report) -> Option<Vec<u8>> {
    let is_ours = report.is_ours();
    if !is_ours && report.latency_count.as_ref().is_none_or(BTreeMap::is_empty) {
        return None;
    }
    let body = Body {
        pipeline_key: &report.vuid,
        t1: report.t1,
        t0: report.t0,
        topics: Topics {
            latency_bins: PerBound(report.latency_count.as_ref()),
            throughput_out: PerSecond(report.throughput_out.as_ref()),
        },
        report: is_ours.then_some(report),
    };
    let body = python::to_vec(&body);
    debug_assert!(body.is_ok(), "all keys are texts");
    body.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(report: &str, body: Option<&str>) {
        let report = Report::parse(report.as_bytes()).unwrap();
        assert_eq!(hub_body(&report).map(|body| String::from_utf8(body).unwrap()).as_deref(), body);
    }

    #[test]
    fn a_report_of_2016_has_the_body_of_2016() {
        check(
            r#"{"t0": 1458195068.309974, "t1": 1458195070.3131151, "func": "Marketspread", "VUID": "NTg2ODIx",
                "latency_count": {"0.000100000 s": 2449, "0.001000000 s": 227},
                "throughput_in": {"1458195069": 1507}, "throughput_out": {"1458195069": 1507, "1458195070": 1169}}"#,
            Some(concat!(
                r#"{"pipeline_key": "NTg2ODIx", "t1": 1458195070.3131151, "t0": 1458195068.309974, "#,
                r#""topics": {"latency_bins": {"0.0001": 2449, "0.001": 227}, "#,
                r#""throughput_out": {"1458195069": 1507, "1458195070": 1169}}}"#,
            )),
        );
    }

    #[test]
    fn bounds_are_floats_of_python() {
        check(
            r#"{"t0": 1, "t1": 2, "func": "F", "VUID": "<é>", "latency_count": {"0.000001000 s": 1, "0.000010000 s": 2,
                "0.1 s": 3, "1.000000000 s": 4, "10.000000000 s": 5, "100.000000000 s": 6, "inf s": 7}}"#,
            Some(concat!(
                r#"{"pipeline_key": "<\u00e9>", "t1": 2.0, "t0": 1.0, "topics": {"latency_bins": {"1e-06": 1, "#,
                r#""1e-05": 2, "0.1": 3, "1.0": 4, "10.0": 5, "100.0": 6, "inf": 7}, "throughput_out": {}}}"#,
            )),
        );
    }

    #[test]
    fn an_idle_report_is_posted_if_it_is_ours() {
        let idle = r#"{"t0": 1, "t1": 2, "func": "Sink", "VUID": "S", "latency_count": null}"#;
        check(idle, None);
        check(&idle.replace("null", "{}"), None);
        check(
            &idle.replace("null", r#"null, "weir": {"version": "0.1.0", "ledger": {"accepted": 7}, "new": [1]}"#),
            Some(concat!(
                r#"{"pipeline_key": "S", "t1": 2.0, "t0": 1.0, "#,
                r#""topics": {"latency_bins": {}, "throughput_out": {}}, "#,
                r#""report": {"t0": 1.0, "t1": 2.0, "func": "Sink", "VUID": "S", "latency_time": null, "#,
                r#""latency_count": null, "throughput_in": null, "throughput_out": null, "#,
                r#""weir": {"version": "0.1.0", "uptime_s": 0.0, "ledger": {"accepted": 7}, "gauges": {}, "new": [1]}}}"#,
            )),
        );
    }
}
