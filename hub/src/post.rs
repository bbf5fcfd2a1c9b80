//! What is posted: the JSON of 2016 and, beside it, the whole report of a node of ours.

use std::collections::BTreeMap;

use metrics::{NAME_BYTES_MAX, Report, SECOND_MAX};
use serde::Deserialize;
use serde_json::Value;

use crate::Latencies;

/// How many members of a ledger, and how many gauges, are kept of a node.
pub const NAMES_MAX: usize = 128;
/// How many edges are kept of a node.
pub const EDGES_MAX: usize = 64;
/// How many reports one POST may hold.
pub const REPORTS_MAX: usize = 10_000;

/// One member of a POST, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Posted {
    /// The node's name.
    pub id: String,
    /// When the period began and ended, in seconds since the epoch.
    pub t0: f64,
    /// Its end.
    pub t1: f64,
    /// The period's latencies.
    pub latencies: Latencies,
    /// Messages in and out per second since the epoch.
    pub throughput: BTreeMap<u32, (u64, u64)>,
    /// What the node does, if it says so.
    pub func: Option<String>,
    /// What a node of ours says beside; `None` from a node of 2016.
    pub ours: Option<Ours>,
}

/// The member `weir` of a report.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(default)]
pub(crate) struct Ours {
    /// The node's version.
    pub version: String,
    /// How long it has run, in seconds.
    pub uptime_s: f64,
    /// Where it listens.
    pub address: Option<String>,
    /// `queue`, `worker`, `sink`, `feeder` or `receiver`.
    pub kind: Option<String>,
    /// The id that a queue or a sink gives in discovery.
    pub node: Option<String>,
    /// Which life of that node it is.
    pub boot: Option<u64>,
    /// A client's edges.
    pub edges: Vec<EdgeReport>,
    /// How many more there are.
    pub edges_left_out: u64,
    /// How the period was spent.
    pub share: Option<Share>,
    /// Cumulative counts by name.
    #[serde(deserialize_with = "counts")]
    pub ledger: BTreeMap<String, u64>,
    /// How things stand, by name.
    pub gauges: BTreeMap<String, f64>,
}

/// One edge as its client reports it. Counts are messages since the client's start.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(default)]
pub(crate) struct EdgeReport {
    /// `out` or `in`, seen from the client.
    pub dir: Direction,
    /// Which of the client's edges in this direction.
    pub index: u64,
    /// The address of the server.
    pub peer: String,
    /// The server's id, once discovered.
    pub node: Option<String>,
    /// What the edge promises.
    pub guarantee: Option<String>,
    /// Out: sent, each once.
    pub sent: u64,
    /// Out: confirmed by the server; absent on a bare socket.
    pub confirmed: Option<u64>,
    /// In: taken.
    pub taken: u64,
    /// In: finished.
    pub finished: Option<u64>,
    /// Whether the edge waits for its peer.
    pub waits: bool,
}

/// Which way the messages go, seen from the client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the client to the server.
    #[default]
    Out,
    /// From the server to the client.
    In,
}

/// How a period was spent; the sum is 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct Share {
    /// At work.
    pub busy: f64,
    /// Held back by what is downstream.
    pub blocked: f64,
    /// Without anything to do.
    pub idle: f64,
}

/// Why a member is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PostError(String);

/// The JSON of 2016, and what is beside it.
#[derive(Deserialize)]
struct Body {
    pipeline_key: String,
    t0: f64,
    t1: f64,
    topics: Topics,
    #[serde(default)]
    report: Option<Value>,
}

#[derive(Deserialize)]
struct Topics {
    #[serde(default)]
    latency_bins: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    throughput_out: Option<BTreeMap<String, Value>>,
}

/// Reads a body: one object or an array of them. A member that is bad does not harm the others.
///
/// # Errors
/// When it is no JSON, or neither object nor array.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Result<Posted, PostError>>, PostError> {
    let value: Value = serde_json::from_slice(body).map_err(|error| PostError(format!("not JSON: {error}")))?;
    match value {
        Value::Object(_) => Ok(vec![member(value)]),
        Value::Array(members) if members.len() > REPORTS_MAX => {
            Err(PostError(format!("{} reports in one POST; at most {REPORTS_MAX}", members.len())))
        }
        Value::Array(members) => Ok(members.into_iter().map(member).collect()),
        _ => Err(PostError("neither an object nor an array".to_owned())),
    }
}

fn member(value: Value) -> Result<Posted, PostError> {
    if !value.is_object() {
        return Err(PostError("not an object".to_owned()));
    }
    let body: Body = serde_json::from_value(value).map_err(|error| PostError(error.to_string()))?;
    if body.pipeline_key.is_empty() || body.pipeline_key.len() > NAME_BYTES_MAX {
        return Err(PostError(format!("pipeline_key must have 1 to {NAME_BYTES_MAX} bytes")));
    }
    let is_time = |time: f64| (0.0..=SECOND_MAX as f64).contains(&time);
    if !is_time(body.t0) || !is_time(body.t1) {
        return Err(PostError("t0 and t1 must be seconds since the epoch".to_owned()));
    }
    let mut posted = Posted { id: body.pipeline_key, t0: body.t0, t1: body.t1, ..Posted::default() };
    posted.latencies.add_bins(bins(body.topics.latency_bins)?);
    for (second, count) in seconds(body.topics.throughput_out, "throughput_out")? {
        posted.throughput.entry(second).or_default().1 += count;
    }
    if let Some(report) = body.report.filter(|report| !report.is_null()) {
        add_report(&mut posted, report)?;
    }
    Ok(posted)
}

fn whole(report: Value) -> Result<Report, PostError> {
    serde_json::from_value(report).map_err(|error| PostError(format!("report: {error}")))
}

/// Takes what the report says beyond the members of 2016.
fn add_report(posted: &mut Posted, report: Value) -> Result<(), PostError> {
    let weir = report.get("weir").cloned().filter(|weir| !weir.is_null());
    let report = whole(report)?;
    for (second, count) in report.throughput_in.iter().flatten() {
        if let Ok(second) = u32::try_from(*second) {
            posted.throughput.entry(second).or_default().0 = *count;
        }
    }
    add_histogram(posted, &report);
    posted.func = Some(cut(report.func));
    posted.ours = weir.map(ours).transpose()?;
    Ok(())
}

/// A histogram that cannot be read leaves the bins, which say the same more coarsely.
fn add_histogram(posted: &mut Posted, report: &Report) {
    if let Ok(Some(histogram)) = report.histogram() {
        posted.latencies.add_histogram(&histogram);
    }
}

fn ours(weir: Value) -> Result<Ours, PostError> {
    let mut ours: Ours = serde_json::from_value(weir).map_err(|error| PostError(format!("weir: {error}")))?;
    ours.edges_left_out += ours.edges.len().saturating_sub(EDGES_MAX) as u64;
    ours.edges.truncate(EDGES_MAX);
    for edge in &mut ours.edges {
        edge.peer = cut(std::mem::take(&mut edge.peer));
        edge.node = edge.node.take().map(cut);
        edge.guarantee = edge.guarantee.take().map(cut);
    }
    ours.version = cut(ours.version);
    ours.address = ours.address.map(cut);
    ours.kind = ours.kind.map(cut);
    ours.node = ours.node.map(cut);
    ours.ledger = few(ours.ledger);
    ours.gauges = few(ours.gauges);
    Ok(ours)
}

/// Short names only, and not too many: a node's memory has a bound whatever it reports.
fn few<T>(named: BTreeMap<String, T>) -> BTreeMap<String, T> {
    named.into_iter().filter(|(name, _)| name.len() <= TEXT_BYTES_MAX).take(NAMES_MAX).collect()
}

/// The longest text that is kept beside a node's name, in bytes.
const TEXT_BYTES_MAX: usize = 128;

fn cut(mut text: String) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text.truncate(end);
    text
}

fn bins(bins: Option<BTreeMap<String, Value>>) -> Result<Vec<(f64, u64)>, PostError> {
    let read = |(bound, value): (String, Value)| {
        let text = bound.strip_suffix(" s").unwrap_or(&bound);
        let seconds = if text == "overflow" { Ok(f64::INFINITY) } else { text.parse::<f64>() };
        let seconds = seconds.ok().filter(|seconds| *seconds >= 0.0);
        let seconds = seconds.ok_or_else(|| PostError(format!("latency_bins: {bound:?} is not a bin's bound")))?;
        count(&value).map(|count| (seconds, count)).ok_or_else(|| bad_count("latency_bins", &value))
    };
    bins.into_iter().flatten().map(read).collect()
}

fn seconds(counts: Option<BTreeMap<String, Value>>, topic: &str) -> Result<Vec<(u32, u64)>, PostError> {
    let read = |(second, value): (String, Value)| {
        let second = second.parse().map_err(|_| PostError(format!("{topic}: {second:?} is not a second")))?;
        count(&value).map(|count| (second, count)).ok_or_else(|| bad_count(topic, &value))
    };
    counts.into_iter().flatten().map(read).collect()
}

fn bad_count(topic: &str, value: &Value) -> PostError {
    let shown: String = value.to_string().chars().take(40).collect();
    PostError(format!("{topic}: {shown} is not a count"))
}

/// A whole number; a float without a fraction is one, because some writers of JSON know floats only.
fn count(value: &Value) -> Option<u64> {
    let float = || value.as_f64().filter(|value| value.fract() == 0.0)?.to_string().parse().ok();
    value.as_u64().or_else(float)
}

fn counts<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, u64>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(from)?;
    let read = |(name, value): (String, Value)| match count(&value) {
        Some(count) => Ok((name, count)),
        None => Err(serde::de::Error::custom(bad_count(&name, &value))),
    };
    values.into_iter().map(read).collect()
}
