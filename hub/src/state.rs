//! The state of everything, as the API and the page show it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    Bottleneck, Edge, Event, Hub, Latencies, Percentiles, Window,
    graph::{self, Nodes, Servers},
    hub::{Counts, Named},
    node::{Node, whole_seconds},
    post::Share,
};

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    /// The hub's time, in seconds since the epoch.
    pub now: f64,
    /// The hub's version.
    pub version: &'static str,
    /// When it started.
    pub started: f64,
    /// Whether all is well.
    pub health: Health,
    /// The nodes, by name.
    pub nodes: Vec<NodeState>,
    /// The edges.
    pub edges: Vec<Edge>,
    /// What happened, the oldest first.
    pub events: Vec<Event>,
    /// The hub itself.
    pub hub: HubState,
}

/// The hub itself.
#[derive(Debug, Clone, Serialize)]
pub struct HubState {
    /// What it took and refused.
    #[serde(flatten)]
    pub counts: Counts,
    /// How many pages listen.
    pub streams: usize,
    /// How many nodes are kept at most.
    pub nodes_max: usize,
}

impl std::ops::Deref for HubState {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.counts
    }
}

/// Whether all is well, in one word, one sentence and some figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// `healthy`, `bottleneck`, `trouble` or `waiting`.
    pub state: &'static str,
    /// Why.
    pub text: String,
    /// Which node holds the others back.
    pub bottleneck: Option<Bottleneck>,
    /// Messages that nobody can account for.
    pub unaccounted: u64,
    /// All nodes together.
    pub totals: Totals,
}

/// All nodes together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Messages per second that come in: what feeders send, or what nodes take that nothing leads to.
    #[serde(rename = "in")]
    pub rate_in: f64,
    /// Messages per second that come out at the end.
    #[serde(rename = "out")]
    pub rate_out: f64,
    /// Latency at the end, in seconds.
    pub p50: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// 99.9 %.
    pub p999: Option<f64>,
    /// Messages that wait in queues.
    pub backlog: f64,
    /// How long the oldest has waited, in seconds.
    pub oldest_age_s: f64,
    /// Messages and datagrams that were thrown away, each with its reason in the nodes' ledgers.
    pub lost: u64,
    /// Came twice and were taken once.
    pub duplicates: u64,
    /// Handed out again.
    pub redelivered: u64,
    /// Given up, and kept as dead letters.
    pub dead: u64,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeState {
    /// Its name.
    pub id: String,
    /// `queue`, `worker`, `sink`, `feeder`, `receiver` or `unknown`.
    pub kind: String,
    /// What it does.
    pub func: Option<String>,
    /// Where it listens.
    pub address: Option<String>,
    /// Its id in discovery.
    pub node: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// How long it had run at its last report, in seconds.
    pub uptime_s: Option<f64>,
    /// Whether it is of ours, and not of 2016.
    pub ours: bool,
    /// `live` or `silent`.
    pub state: &'static str,
    /// When its last report came.
    pub last_seen: f64,
    /// The length of its last period.
    pub period_s: f64,
    /// How often it began anew.
    pub restarts: u64,
    /// Messages in per second, over the last ten seconds or its last period; null while it is silent.
    #[serde(rename = "in")]
    pub rate_in: Option<f64>,
    /// Messages out per second.
    #[serde(rename = "out")]
    pub rate_out: Option<f64>,
    /// Its latencies in the window.
    pub latency: Option<Percentiles>,
    /// How its time was spent.
    pub share: Option<Share>,
    /// How full its queue is.
    pub fill: Option<f64>,
    /// How things stand, by name.
    pub gauges: BTreeMap<String, f64>,
    /// Counts by name.
    pub ledger: Named,
    /// The counts of harm by name, those that are zero too.
    pub drops: Named,
    /// Those of them that rise now, and since when the count was lower.
    pub rising: Vec<String>,
    /// Messages that are missing here.
    pub unaccounted: u64,
    /// Messages that came from others than the nodes that report.
    pub elsewhere: u64,
}

impl NodeState {
    pub(crate) fn labels(&self) -> Vec<(&str, &str)> {
        vec![("node", &self.id), ("func", self.func.as_deref().unwrap_or("")), ("kind", &self.kind)]
    }
}

impl Hub {
    /// Everything, with the latencies of a window.
    pub fn state(&self, now: f64, window: Window, streams: usize) -> State {
        let servers = Servers::of(&self.nodes);
        let edges = graph::edges(&self.nodes, &servers);
        State {
            now,
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            health: health(&self.nodes, &edges, window),
            nodes: self.nodes.iter().map(|(id, node)| node_state(id, node, window)).collect(),
            edges,
            events: self.events.since(0).cloned().collect(),
            hub: HubState { counts: self.counts, streams, nodes_max: self.nodes_max() },
        }
    }

    /// One node with the rows of its histogram and its throughput over the window; `None` if there is no such node.
    pub fn node_detail(&self, id: &str, window: Window) -> Option<Value> {
        let node = self.nodes.get(id)?;
        let mut detail = serde_json::to_value(node_state(id, node, window)).ok()?;
        let rates = |of: fn(&crate::Slot) -> Option<f64>| spread(in_window(node, window).filter_map(of).collect());
        let more = json!({
            "bins": latencies(node, window).bins(),
            "throughput": {"in": if node.tells_in { rates(crate::Slot::rate_in) } else { Value::Null }, "out": rates(crate::Slot::rate_out)},
            "edges": node.ours.iter().map(|ours| ours.edges.len() as u64 + ours.edges_left_out).sum::<u64>(),
        });
        if let (Value::Object(detail), Value::Object(more)) = (&mut detail, more) {
            detail.extend(more);
        }
        Some(detail)
    }
}

/// The least, the middle and the most.
fn spread(mut rates: Vec<f64>) -> Value {
    rates.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (rates.first(), rates.last()) else { return Value::Null };
    let upper = rates.get(rates.len() / 2).unwrap_or(most);
    let lower = rates.get((rates.len() - 1) / 2).unwrap_or(least);
    json!({"min": least, "median": f64::midpoint(*lower, *upper), "max": most})
}

fn in_window(node: &Node, window: Window) -> impl Iterator<Item = &crate::Slot> {
    let ring = node.rings.of(window);
    let until = whole_seconds(node.t1).max(ring.newest().unwrap_or(0));
    ring.between(until.saturating_sub(window.seconds() - ring.step), until)
}

fn latencies(node: &Node, window: Window) -> Latencies {
    let mut sum = Latencies::default();
    for slot in in_window(node, window) {
        slot.add_latencies_to(&mut sum);
    }
    sum
}

fn node_state(id: &str, node: &Node, window: Window) -> NodeState {
    let ours = node.ours.as_ref();
    let rates = node.rates();
    NodeState {
        id: id.to_owned(),
        kind: node.kind().to_owned(),
        func: node.func.clone(),
        address: ours.and_then(|ours| ours.address.clone()),
        node: ours.and_then(|ours| ours.node.clone()),
        version: ours.map(|ours| ours.version.clone()),
        uptime_s: ours.map(|ours| ours.uptime_s),
        ours: ours.is_some(),
        state: if node.is_silent { "silent" } else { "live" },
        last_seen: node.last_seen,
        period_s: node.period,
        restarts: node.restarts,
        rate_in: rates.map(|rates| rates.0).filter(|_| node.tells_in),
        rate_out: rates.map(|rates| rates.1),
        latency: latencies(node, window).percentiles(),
        share: node.share(),
        fill: node.fill(),
        gauges: ours.map(|ours| ours.gauges.clone()).unwrap_or_default(),
        ledger: ours.map(|ours| ours.ledger.clone()).unwrap_or_default(),
        drops: node.drops().into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        rising: node.rises.keys().cloned().collect(),
        unaccounted: node.unaccounted(),
        elsewhere: node.elsewhere,
    }
}

fn health(nodes: &Nodes, edges: &[Edge], window: Window) -> Health {
    let bottleneck = graph::bottleneck(nodes, edges);
    let unaccounted = nodes.values().map(Node::unaccounted).sum();
    let (state, text) = if nodes.is_empty() {
        ("waiting", "no node has reported yet".to_owned())
    } else if let Some(trouble) = trouble(nodes, unaccounted) {
        ("trouble", trouble)
    } else if let Some(bottleneck) = &bottleneck {
        ("bottleneck", bottleneck.text.clone())
    } else {
        let is_known = nodes.values().any(|node| node.ours.is_some());
        let rest = if is_known { ", every message is accounted for" } else { "" };
        let many = if nodes.len() == 1 { "1 node reports" } else { &format!("{} nodes report", nodes.len()) };
        let quiet = nodes.values().filter(|node| node.is_silent).count();
        let quiet = if quiet > 0 { &format!("; {quiet} of 2016 silent, as they are when they are idle") } else { "" };
        ("healthy", format!("{many}{rest}{quiet}"))
    };
    Health { state, text, bottleneck, unaccounted, totals: totals(nodes, edges, window) }
}

/// What is wrong, the worst first; the rest is counted.
fn trouble(nodes: &Nodes, unaccounted: u64) -> Option<String> {
    let mut troubles = Vec::new();
    if unaccounted > 0 {
        troubles.push(format!("{unaccounted} messages are unaccounted for"));
    }
    // A node of 2016 says nothing when it is idle.
    for (id, _) in nodes.iter().filter(|(_, node)| node.is_silent && node.ours.is_some()) {
        troubles.push(format!("{id} is silent"));
    }
    for (id, node) in nodes {
        if node.rises.contains_key("dead") {
            troubles.push(format!("dead letters at {id}: {}", node.counter("dead")));
        }
        for name in node.rising_losses() {
            troubles.push(format!("{name} rises at {id}: {}", node.counter(name)));
        }
    }
    let more = troubles.len().saturating_sub(1);
    let first = troubles.into_iter().next()?;
    Some(if more == 0 { first } else { format!("{first}, and {more} more") })
}

fn totals(nodes: &Nodes, edges: &[Edge], window: Window) -> Totals {
    let is_kind = |kind: &'static str| nodes.values().any(|node| node.kind() == kind);
    let leads_to = |id: &str| edges.iter().any(|edge| edge.to.as_deref() == Some(id));
    let leads_on = |id: &str| edges.iter().any(|edge| edge.from.as_deref() == Some(id));
    let (has_feeders, has_sinks) = (is_kind("feeder"), is_kind("sink"));
    let mut totals = Totals::default();
    let mut ends = Latencies::default();
    for (id, node) in nodes {
        let (rate_in, rate_out) = node.rates().unwrap_or((0.0, 0.0));
        if has_feeders && node.kind() == "feeder" {
            totals.rate_in += rate_out;
        } else if !has_feeders && !leads_to(id) {
            totals.rate_in += rate_in;
        }
        let is_end = if has_sinks { node.kind() == "sink" } else { !leads_on(id) };
        if is_end {
            totals.rate_out += if has_sinks { rate_in.max(rate_out) } else { rate_out };
            for slot in in_window(node, window) {
                slot.add_latencies_to(&mut ends);
            }
        }
        if node.kind() == "queue" {
            totals.backlog += node.depth();
            totals.oldest_age_s = totals.oldest_age_s.max(node.gauge("oldest_age_s").unwrap_or(0.0));
        }
        totals.lost += node.losses();
        totals.duplicates += node.counter("duplicates") + node.counter("duplicate_ids");
        totals.redelivered += node.counter("redelivered");
        totals.dead += node.counter("dead");
    }
    let ends = ends.percentiles();
    totals.p50 = ends.and_then(|ends| ends.p50);
    totals.p99 = ends.and_then(|ends| ends.p99);
    totals.p999 = ends.and_then(|ends| ends.p999);
    totals
}

/// The state as streams carry it: without what only a node's own page shows.
pub fn slim(state: &State) -> Value {
    let mut value = serde_json::to_value(state).unwrap_or_default();
    if let Some(Value::Array(nodes)) = value.get_mut("nodes") {
        for node in nodes.iter_mut().filter_map(Value::as_object_mut) {
            node.remove("ledger");
            if let Some(Value::Object(gauges)) = node.get_mut("gauges") {
                gauges
                    .retain(|name, _| ["depth", "oldest_age_s", "parked", "waiting", "bytes"].contains(&name.as_str()));
            }
        }
    }
    value
}

/// What differs between two states, as a tick: of nodes and edges the members that changed, beside their ids; those
/// that are gone; the events that are new.
pub fn changes(before: &Value, after: &Value) -> Value {
    let mut tick = Map::new();
    for member in ["now", "health", "hub"] {
        tick.insert(member.to_owned(), after.get(member).cloned().unwrap_or_default());
    }
    for member in ["nodes", "edges"] {
        let old = by_id(before.get(member));
        let new = by_id(after.get(member));
        let changed = new.iter().filter_map(|(id, object)| {
            let known = old.get(id);
            let mut differs: Map<String, Value> = object
                .iter()
                .filter(|(name, value)| known.is_none_or(|known| known.get(*name) != Some(*value)))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            (!differs.is_empty()).then(|| {
                differs.insert("id".to_owned(), json!(id));
                Value::Object(differs)
            })
        });
        tick.insert(member.to_owned(), changed.collect());
        let gone: Vec<&&str> = old.keys().filter(|id| !new.contains_key(*id)).collect();
        if !gone.is_empty() {
            tick.insert(format!("{member}_gone"), json!(gone));
        }
    }
    let last = before
        .get("events")
        .and_then(Value::as_array)
        .and_then(|events| events.last())
        .and_then(|event| event.get("n")?.as_u64());
    let events = after.get("events").and_then(Value::as_array).into_iter().flatten();
    let new = events.filter(|event| event.get("n").and_then(Value::as_u64) > last).cloned().collect();
    tick.insert("events".to_owned(), new);
    Value::Object(tick)
}

fn by_id(objects: Option<&Value>) -> BTreeMap<&str, &Map<String, Value>> {
    let objects = objects.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    objects.filter_map(|object| Some((object.get("id")?.as_str()?, object))).collect()
}
