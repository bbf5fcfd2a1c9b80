//! The report of one period: the eight members of 2016 in their order and, from a node of ours, a ninth, `weir`.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write as _},
    net::SocketAddr,
};

use hdrhistogram::Histogram;
use protocol::{DATAGRAM_BYTES_MAX, text};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, error::Category};

use crate::{
    bins::Bins,
    histogram::{self, HistogramError},
    members, python,
    standing::{Edge, Share},
};

/// What a node counted in (t0, t1]. The four measures are `None` when nothing happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// When the period began, in seconds since the epoch. Above `t1` where a node of 2016 had its clock set back.
    #[serde(deserialize_with = "members::time")]
    pub t0: f64,
    /// When it ended, in seconds since the epoch.
    #[serde(deserialize_with = "members::time")]
    pub t1: f64,
    /// What the node does: `Messagequeue`, `Sink`, `Feeder` or its function's name.
    #[serde(deserialize_with = "members::name")]
    pub func: String,
    /// Which node it is.
    #[serde(rename = "VUID", deserialize_with = "members::name")]
    pub vuid: String,
    /// The sum of the latencies per bin, in seconds.
    #[serde(default, deserialize_with = "members::bin_sums")]
    pub latency_time: Option<Bins<f64>>,
    /// How many latencies per bin.
    #[serde(default, deserialize_with = "members::bin_counts")]
    pub latency_count: Option<Bins<u64>>,
    /// Messages in per epoch second; seconds without any are absent.
    #[serde(default, deserialize_with = "members::throughput")]
    pub throughput_in: Option<BTreeMap<u64, u64>>,
    /// Messages out per epoch second; seconds without any are absent.
    #[serde(default, deserialize_with = "members::throughput")]
    pub throughput_out: Option<BTreeMap<u64, u64>>,
    /// What nodes of ours say beyond 2016; `None` in a bare report of 2016.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weir: Option<Weir>,
}

/// The ninth member. A reader takes what it knows and passes the rest on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Weir {
    /// The node's version.
    pub version: String,
    /// How long it has run, in seconds.
    pub uptime_s: f64,
    /// Where it listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// `queue`, `worker`, `sink` or `feeder`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "members::some_name")]
    pub kind: Option<String>,
    /// By which name its clients know it: the `nd` of its discovery, in hexadecimal digits. Only of a queue or a sink.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "members::some_name")]
    pub node: Option<String>,
    /// Which of its lives this is. Only of a queue or a sink.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "members::some_count")]
    pub boot: Option<u64>,
    /// The latencies in nanoseconds as an HDR histogram, V2 serialisation in base64; absent when there were none, and
    /// from a report that would not fit otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_hdr: Option<String>,
    /// How many latencies of the period were below the histogram's bounds and are held at the lowest one.
    #[serde(deserialize_with = "members::count", skip_serializing_if = "is_zero")]
    pub latency_below: u64,
    /// How many were above and are held at the highest one.
    #[serde(deserialize_with = "members::count", skip_serializing_if = "is_zero")]
    pub latency_above: u64,
    /// What became of the messages: cumulative counts since the node's start, by name.
    #[serde(deserialize_with = "members::counts")]
    pub ledger: BTreeMap<String, u64>,
    /// How things stand at t1, by name.
    pub gauges: BTreeMap<String, f64>,
    /// The node's edges as a client: the outputs in their order, and the inputs. At most [`EDGES_MAX`](crate::EDGES_MAX)
    /// from a node of ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Edge>,
    /// How many more there are.
    #[serde(deserialize_with = "members::count", skip_serializing_if = "is_zero")]
    pub edges_left_out: u64,
    /// What the period was spent on, if the node says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// Members of a later version.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Why a datagram is not a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It does not begin as a JSON object does.
    #[error("not a JSON object")]
    NotAnObject,
    /// It is not JSON, or not UTF-8.
    #[error("not JSON: {0}")]
    NotJson(serde_json::Error),
    /// It is JSON, but a member is missing or holds what cannot be shown.
    #[error("not a report: {0}")]
    NotAReport(serde_json::Error),
}

impl ReportError {
    /// The name under which it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotAnObject => "not_an_object",
            Self::NotJson(_) => "not_json",
            Self::NotAReport(_) => "not_a_report",
        }
    }
}

impl Report {
    /// Plain UTF-8 JSON as Python writes it, no frame; never above [`DATAGRAM_BYTES_MAX`].
    ///
    /// What is too large loses the histogram first, then all of `weir` that has no bound, then the measures. A report
    /// of a [`Reporter`](crate::Reporter) with a usual ledger never gets beyond the first step.
    pub fn to_datagram(&self) -> Vec<u8> {
        let whole = self.to_json();
        if whole.len() <= DATAGRAM_BYTES_MAX {
            return whole;
        }
        let mut smaller = self.clone();
        for shed in [Self::shed_histogram, Self::shed_weir, Self::shed_measures] {
            shed(&mut smaller);
            let datagram = smaller.to_json();
            if datagram.len() <= DATAGRAM_BYTES_MAX {
                return datagram;
            }
        }
        smaller.func.clear();
        smaller.vuid = members::cut(smaller.vuid);
        smaller.to_json()
    }

    fn to_json(&self) -> Vec<u8> {
        let json = python::to_vec(self);
        debug_assert!(json.is_ok(), "all keys are texts");
        json.unwrap_or_default()
    }

    fn shed_histogram(&mut self) {
        if let Some(weir) = &mut self.weir {
            weir.latency_hdr = None;
        }
    }

    fn shed_weir(&mut self) {
        if let Some(Weir { uptime_s, address, kind, node, boot, share, .. }) = self.weir.take() {
            let (kind, node) = (kind.map(members::cut), node.map(members::cut));
            self.weir = Some(Weir { uptime_s, address, kind, node, boot, share, ..Weir::default() });
        }
    }

    fn shed_measures(&mut self) {
        self.latency_time = None;
        self.latency_count = None;
        self.throughput_in = None;
        self.throughput_out = None;
    }

    /// Reads a report, of ours or of 2016.
    ///
    /// Taken: measures that are null or absent, one measure without its fellow, bins like `inf s` and `0.0 s`, floats
    /// without a fraction as counts, t1 before t0, members that are not known. Refused: counts that are negative,
    /// fractional or above 64 bits, keys that are no second or no bin, negative bins and sums, times that have no date,
    /// names above [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX), members of another type. Of a member that is there twice,
    /// the whole is refused; of a key inside a measure, the last one counts.
    pub fn parse(datagram: &[u8]) -> Result<Self, ReportError> {
        // serde would take an array of the members' values as well.
        if datagram.trim_ascii_start().first() != Some(&b'{') {
            return Err(ReportError::NotAnObject);
        }
        serde_json::from_slice(datagram).map_err(|error| match error.classify() {
            Category::Data => ReportError::NotAReport(error),
            Category::Syntax | Category::Eof | Category::Io => ReportError::NotJson(error),
        })
    }

    /// Whether a node of ours wrote it, and not one of 2016.
    pub fn is_ours(&self) -> bool {
        self.weir.is_some()
    }

    /// The period's latencies in nanoseconds, if they came along. Histograms of several reports add up exactly with
    /// `Histogram::add`, beginning from [`empty_histogram`](crate::empty_histogram).
    pub fn histogram(&self) -> Result<Option<Histogram<u64>>, HistogramError> {
        self.weir.as_ref().and_then(|weir| weir.latency_hdr.as_deref()).map(histogram::decode).transpose()
    }

    /// The four lines that an mq and a worker log each period.
    pub fn log_lines(&self) -> [String; 4] {
        [self.time_line(), self.count_line(), self.in_line(), self.out_line()]
    }

    /// The same lines in the order of the sink.
    pub fn sink_log_lines(&self) -> [String; 4] {
        [self.count_line(), self.time_line(), self.in_line(), self.out_line()]
    }

    /// The two lines that an mq and a worker log when they are stopped.
    pub fn stop_log_lines(&self) -> [String; 2] {
        [
            format!("Latency_count: {}", counter(self.latency_count.as_ref())),
            format!("Latency_time: {}", float_counter(self.latency_time.as_ref())),
        ]
    }

    fn time_line(&self) -> String {
        self.line("latency_time", &float_counter(self.latency_time.as_ref()))
    }

    fn count_line(&self) -> String {
        self.line("latency_count", &counter(self.latency_count.as_ref()))
    }

    fn in_line(&self) -> String {
        self.line("throughput_in", &counter(self.throughput_in.as_ref()))
    }

    fn out_line(&self) -> String {
        self.line("throughput_out", &counter(self.throughput_out.as_ref()))
    }

    fn line(&self, measure: &str, counter: &str) -> String {
        format!("({}, {}) {measure}: {counter}", text::float(self.t0), text::float(self.t1))
    }
}

fn float_counter(sums: Option<&Bins<f64>>) -> String {
    dictionary(sums.map(|sums| sums.iter().map(|(bin, sum)| (bin, text::float(*sum)))))
}

fn counter<K: Display>(counts: Option<&BTreeMap<K, u64>>) -> String {
    dictionary(counts.map(BTreeMap::iter))
}

/// A Python dictionary whose keys are strings, or `None`.
fn dictionary<K: Display, V: Display>(entries: Option<impl Iterator<Item = (K, V)>>) -> String {
    let Some(entries) = entries else {
        return "None".into();
    };
    let mut out = String::from("{");
    for (key, value) in entries {
        let comma = if out.len() > 1 { ", " } else { "" };
        let written = write!(out, "{comma}'{key}': {value}");
        debug_assert!(written.is_ok(), "a String takes all");
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::EdgeFlow;

    /// The report that the documents of 2016 show.
    const SAMPLE: &str = r#"{"t0": 1458195068.309974, "t1": 1458195070.3131151, "func": "Marketspread", "VUID": "NTg2ODIx", "latency_time": {"0.000100000 s": 0.13107776641845703, "0.001000000 s": 0.033399105072021484}, "latency_count": {"0.000100000 s": 2449, "0.001000000 s": 227}, "throughput_in": {"1458195069": 1507, "1458195070": 1169}, "throughput_out": {"1458195069": 1507, "1458195070": 1169}}"#;
    const IDLE: &str = r#"{"t0": 1.0, "t1": 2.5, "func": "Messagequeue", "VUID": "é", "latency_time": null, "latency_count": null, "throughput_in": null, "throughput_out": null}"#;

    fn parse(datagram: &str) -> Report {
        Report::parse(datagram.as_bytes()).unwrap()
    }

    fn datagram(report: &Report) -> String {
        String::from_utf8(report.to_datagram()).unwrap()
    }

    /// An idle report with one member set.
    fn with(member: &str, value: &str) -> String {
        let mut members: BTreeMap<&str, &str> =
            [("t0", "1"), ("t1", "2"), ("func", "\"Sink\""), ("VUID", "\"V\"")].into_iter().collect();
        members.insert(member, value);
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", members.join(", "))
    }

    fn verdict(datagram: &str) -> String {
        match Report::parse(datagram.as_bytes()) {
            Ok(_) => "taken".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_report_of_2016_is_read_and_written_byte_for_byte() {
        let report = parse(SAMPLE);
        assert!(!report.is_ours());
        assert_eq!(report.t1.to_bits(), 1_458_195_070.313_115_1_f64.to_bits());
        assert_eq!(report.throughput_in.as_ref().unwrap()[&1_458_195_069], 1507);
        assert_eq!(datagram(&report), SAMPLE);
        assert_eq!(datagram(&parse(IDLE)), IDLE.replace('é', "\\u00e9"));
    }

    #[test]
    fn our_member_is_read_and_written_with_all_that_it_holds() {
        let weir = r#""weir": {"version": "0.1.0", "uptime_s": 7.0, "address": "[::1]:10000", "latency_hdr": "AA==", "latency_above": 2, "ledger": {"accepted": 18446744073709551615}, "gauges": {"depth": 3.0}, "outputs": [{"id": 1}]}"#;
        let written = IDLE.replace('é', "V").replace(": null}", &format!(": null, {weir}}}"));
        let report = parse(&written);
        assert!(report.is_ours());
        assert_eq!(report.weir.as_ref().unwrap().ledger["accepted"], u64::MAX);
        assert_eq!(report.weir.as_ref().unwrap().others["outputs"], json!([{"id": 1}]));
        assert_eq!(datagram(&report), written);
        assert_eq!(report.histogram(), Err(HistogramError::ForeignBounds));
        assert!(parse(&with("weir", "{}")).is_ours());
    }

    #[test]
    fn what_can_be_shown_is_taken() {
        for (member, value) in [
            ("t1", "0.5"),
            ("t0", "253402300799"),
            ("latency_count", "null"),
            ("latency_count", "{}"),
            ("latency_count", r#"{"inf s": 1, "0.0 s": 2, "1e-05 s": 3}"#),
            ("latency_count", r#"{"1.000000000 s": 3.0, "10.000000000 s": 1e3}"#),
            ("latency_count", r#"{"1.000000000 s": 9223372036854775809}"#),
            ("latency_count", r#"{"1.0 s": 1, "1 s": 2}"#),
            ("latency_time", r#"{"1.000000000 s": 5}"#),
            ("throughput_in", r#"{"0": 0, "5": 1, "5": 2}"#),
            ("VUID", r#""<script>alert(1)</script>""#),
            ("VUID", r#""""#),
            ("unheard_of", r#"{"a": [1, 2]}"#),
            ("weir", "null"),
        ] {
            assert_eq!(verdict(&with(member, value)), "taken", "{member}: {value}");
        }
    }

    #[test]
    fn the_rest_is_refused_with_a_reason() {
        for (member, value, reason) in [
            ("t0", "-1", "time -1.0 has no date"),
            ("t1", "1e300", "time 1e+300 has no date"),
            ("t1", "null", "invalid type: null, expected f64"),
            ("t1", "\"2\"", "invalid type: string \"2\", expected f64"),
            ("func", "7", "invalid type: integer `7`, expected a string"),
            ("latency_count", "7", "invalid type: integer `7`, expected a map"),
            ("latency_count", "[]", "invalid type: sequence, expected a map"),
            ("latency_count", r#"{"-1.0 s": 1}"#, "`-1.0 s` is not a bin's bound"),
            ("latency_count", r#"{"nan s": 1}"#, "`nan s` is not a bin's bound"),
            ("latency_count", r#"{"many": 1}"#, "`many` is not a bin's bound"),
            ("latency_count", r#"{"1 s": -1}"#, "-1 is not a count"),
            ("latency_count", r#"{"1 s": 1.5}"#, "1.5 is not a count"),
            ("latency_count", r#"{"1 s": 18446744073709551616}"#, "1.8446744073709552e+19 is not a count"),
            ("latency_count", r#"{"1 s": null}"#, "invalid type: null, expected a JSON number"),
            ("latency_time", r#"{"1 s": -0.5}"#, "-0.5 is not a sum of latencies"),
            ("latency_time", r#"{"1 s": 1e300}"#, "1e+300 is not a sum of latencies"),
            ("throughput_in", r#"{"noon": 1}"#, "`noon` is not a second"),
            ("throughput_in", r#"{"-1": 1}"#, "`-1` is not a second"),
            ("throughput_in", r#"{"1.5": 1}"#, "`1.5` is not a second"),
            ("throughput_out", r#"{"253402300800": 1}"#, "`253402300800` is not a second"),
            ("weir", "7", "invalid type: integer `7`"),
            ("weir", r#"{"ledger": {"a": -1}}"#, "-1 is not a count"),
            ("weir", r#"{"address": "nowhere"}"#, "invalid socket address syntax"),
        ] {
            let verdict = verdict(&with(member, value));
            assert!(verdict.starts_with("not a report: ") && verdict.contains(reason), "{member}: {value}: {verdict}");
        }
        let long = format!("\"{}\"", "x".repeat(1_001));
        assert!(verdict(&with("VUID", &long)).contains("a name of 1001 bytes; at most 1000"));
    }

    #[test]
    fn what_is_no_json_is_told_from_what_is_no_report() {
        for (datagram, name) in [
            (&b""[..], "not_an_object"),
            (b"13GET", "not_an_object"),
            (b"null", "not_an_object"),
            (br#"[1, 2, "Sink", "V", null, null, null, null]"#, "not_an_object"),
            (b"{\"t0\": 1, ", "not_json"),
            (b"{\"VUID\": \"\xff\"}", "not_json"),
            (b"{\"t0\": NaN}", "not_json"),
            (b"{} {}", "not_a_report"),
            (b"{}", "not_a_report"),
            (b"\n {}", "not_a_report"),
            (br#"{"t0": 1, "t0": 2}"#, "not_a_report"),
        ] {
            let error = Report::parse(datagram).unwrap_err();
            assert_eq!(error.name(), name, "{error}");
        }
        let deep = with("unheard_of", &"[".repeat(60_000));
        assert_eq!(Report::parse(deep.as_bytes()).unwrap_err().name(), "not_json");
    }

    #[test]
    fn a_datagram_that_is_too_large_sheds_the_histogram_first() {
        let mut report = parse(&with("weir", r#"{"ledger": {"accepted": 1}}"#));
        report.latency_count = parse(SAMPLE).latency_count;
        let holds = |report: &Report| {
            let read = Report::parse(&report.to_datagram()).unwrap();
            let weir = read.weir.unwrap();
            (weir.latency_hdr.is_some(), weir.ledger.len(), read.latency_count.is_some())
        };
        let weir = |report: &mut Report, size: usize| {
            report.weir.as_mut().unwrap().latency_hdr = Some("A".repeat(size));
        };
        weir(&mut report, 60_000);
        assert_eq!(holds(&report), (true, 1, true));
        weir(&mut report, 65_400);
        assert_eq!(holds(&report), (false, 1, true));
        report.weir.as_mut().unwrap().ledger = (0..3_000).map(|n| (format!("a name of some length {n}"), n)).collect();
        assert_eq!(holds(&report), (false, 0, true));
        report.throughput_in = Some((0..10_000).map(|second| (second, 1)).collect());
        assert_eq!(holds(&report), (false, 0, false));
        report.vuid = "\u{1}".repeat(50_000);
        assert!(report.to_datagram().len() <= DATAGRAM_BYTES_MAX);
        assert_eq!(Report::parse(&report.to_datagram()).unwrap().vuid.len(), 1_000);
    }

    #[test]
    fn edges_and_shares_are_read_with_the_same_tolerance() {
        let weir = r#"{"kind": "worker", "node": "1f", "boot": 3.0, "share": {"busy": 0.5, "blocked": 0.25, "idle": 0.25},
            "edges": [
                {"dir": "out", "index": 0, "peer": "127.0.0.1:10001", "node": "ab", "guarantee": "exactly-once",
                 "sent": 7, "confirmed": 5.0, "waits": true, "new": 1},
                {"dir": "out", "index": 1, "peer": "[::1]:5000", "sent": 7},
                {"dir": "in", "index": 0, "peer": "127.0.0.1:10000", "taken": 9, "finished": null}
            ], "edges_left_out": 2, "depth_of_joy": [1]}"#;
        let report = parse(&with("weir", weir));
        let read = report.weir.as_ref().unwrap();
        assert_eq!((read.kind.as_deref(), read.node.as_deref(), read.boot), (Some("worker"), Some("1f"), Some(3)));
        let flows: Vec<EdgeFlow> = read.edges.iter().map(|edge| edge.flow).collect();
        assert_eq!(
            flows,
            [
                EdgeFlow::Out { sent: 7, confirmed: Some(5), waits: true },
                EdgeFlow::Out { sent: 7, confirmed: None, waits: false },
                EdgeFlow::In { taken: 9, finished: None },
            ]
        );
        assert_eq!((read.edges_left_out, read.share.map(|share| share.blocked)), (2, Some(0.25)));
        assert_eq!(read.others.keys().collect::<Vec<_>>(), ["depth_of_joy"]);
        assert_eq!(Report::parse(&report.to_datagram()).unwrap(), report);
        for bad in [
            r#"{"edges": [{"dir": "up", "index": 0, "peer": "127.0.0.1:1", "sent": 1}]}"#,
            r#"{"edges": [{"dir": "out", "index": 0, "peer": "127.0.0.1:1", "sent": -1}]}"#,
            r#"{"edges": [{"dir": "out", "index": 0, "peer": "nowhere", "sent": 1}]}"#,
            r#"{"share": {"busy": 1}}"#,
            r#"{"boot": -1}"#,
        ] {
            assert!(verdict(&with("weir", bad)).starts_with("not a report: "), "{bad}");
        }
    }

    #[test]
    fn what_a_hub_joins_by_is_shed_last() {
        let mut report =
            parse(&with("weir", r#"{"kind": "queue", "node": "1f", "boot": 3, "ledger": {"accepted": 1}}"#));
        report.weir.as_mut().unwrap().edges = (0..1_000)
            .map(|index| Edge {
                flow: EdgeFlow::In { taken: 1, finished: None },
                index,
                peer: "127.0.0.1:10000".parse().unwrap(),
                node: None,
                guarantee: None,
            })
            .collect();
        let read = Report::parse(&report.to_datagram()).unwrap().weir.unwrap();
        assert_eq!((read.edges.len(), read.ledger.len()), (0, 0));
        assert_eq!((read.kind.as_deref(), read.node.as_deref(), read.boot), (Some("queue"), Some("1f"), Some(3)));
    }

    #[test]
    fn log_lines_are_those_of_2016() {
        assert_eq!(
            parse(SAMPLE).log_lines().join("\n"),
            "(1458195068.309974, 1458195070.3131151) latency_time: {'0.000100000 s': 0.13107776641845703, \
             '0.001000000 s': 0.033399105072021484}\n\
             (1458195068.309974, 1458195070.3131151) latency_count: {'0.000100000 s': 2449, '0.001000000 s': 227}\n\
             (1458195068.309974, 1458195070.3131151) throughput_in: {'1458195069': 1507, '1458195070': 1169}\n\
             (1458195068.309974, 1458195070.3131151) throughput_out: {'1458195069': 1507, '1458195070': 1169}"
        );
        let idle = parse(IDLE);
        assert_eq!(
            idle.sink_log_lines(),
            ["latency_count", "latency_time", "throughput_in", "throughput_out"]
                .map(|name| format!("(1.0, 2.5) {name}: None"))
        );
        assert_eq!(idle.stop_log_lines(), ["Latency_count: None", "Latency_time: None"]);
    }

    proptest! {
        #[test]
        fn no_datagram_brings_the_reader_down(
            start in 0..SAMPLE.len(), end in 0..SAMPLE.len(), bytes in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut datagram = SAMPLE.as_bytes()[..start.min(end)].to_vec();
            datagram.extend(bytes);
            datagram.extend(&SAMPLE.as_bytes()[start.max(end)..]);
            if let Ok(report) = Report::parse(&datagram) {
                prop_assert_eq!(Report::parse(&report.to_datagram()).unwrap(), report);
            }
        }

        #[test]
        fn what_is_taken_is_taken_again(count in any::<u64>(), sum in 0.0..1e19_f64, second in 0..=members::SECOND_MAX) {
            let mut report = parse(SAMPLE);
            report.latency_count.as_mut().unwrap().insert(crate::Bound::Infinite, count);
            report.latency_time.as_mut().unwrap().insert(crate::Bound::Infinite, sum);
            report.throughput_out.as_mut().unwrap().insert(second, count);
            prop_assert_eq!(Report::parse(&report.to_datagram()).unwrap(), report);
        }
    }
}
