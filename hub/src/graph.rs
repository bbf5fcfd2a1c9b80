//! The edges between the nodes, the balance over them, and where the bottleneck is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use serde::Serialize;

use crate::{
    node::Node,
    post::{Direction, EdgeReport},
};

/// Nodes by name.
pub(crate) type Nodes = BTreeMap<String, Node>;

/// One edge, from where messages come to where they go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edge {
    /// The client's name, `>` or `<`, and the index.
    pub id: String,
    /// Where messages come from.
    pub from: Option<String>,
    /// Where they go.
    pub to: Option<String>,
    /// The server's address, as the client names it.
    pub peer: String,
    /// Which of the client's edges.
    pub index: u64,
    /// Which way, seen from the client.
    pub dir: Direction,
    /// What it promises.
    pub guarantee: Option<String>,
    /// Messages per second.
    pub rate: f64,
    /// Out: sent since the client's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Out: confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<u64>,
    /// In: taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<u64>,
    /// In: finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<u64>,
    /// Sent and not confirmed, or taken and not finished; on a bare socket lost or under way, if it can be known.
    pub under_way: Option<u64>,
    /// What the server misses, if this is its only client.
    pub unaccounted: u64,
    /// How full the queue is that the edge leads to or comes from.
    pub fill: Option<f64>,
    /// Whether the client waits for the server.
    pub waits: bool,
    /// `live`; `silent` if one of the two ends is; `unknown` if the server reports nothing.
    pub state: &'static str,
}

/// Who serves whom.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    nodes: HashMap<String, String>,
    addresses: HashMap<SocketAddr, String>,
    ports: HashMap<u16, String>,
}

impl Servers {
    /// All nodes that listen. Of two at one address, the one that was heard last has it.
    pub(crate) fn of(nodes: &Nodes) -> Self {
        let mut servers = Self::default();
        let mut listening: Vec<_> =
            nodes.iter().filter_map(|(id, node)| Some((id, node, node.ours.as_ref()?))).collect();
        listening.sort_by(|(_, one, _), (_, other, _)| one.last_seen.total_cmp(&other.last_seen));
        for (id, _, ours) in listening {
            if let Some(node) = &ours.node {
                servers.nodes.insert(node.clone(), id.clone());
            }
            let Some(Ok(address)) = ours.address.as_ref().map(|address| address.parse::<SocketAddr>()) else {
                continue;
            };
            if address.ip().is_unspecified() {
                servers.ports.insert(address.port(), id.clone());
            } else {
                servers.addresses.insert(address, id.clone());
            }
        }
        servers
    }

    fn find(&self, edge: &EdgeReport) -> Option<&String> {
        let nodes = || self.nodes.get(edge.node.as_ref()?);
        let addresses = || {
            let address: SocketAddr = edge.peer.parse().ok()?;
            self.addresses.get(&address).or_else(|| self.ports.get(&address.port()))
        };
        nodes().or_else(addresses)
    }
}

/// All edges that nodes report, as pairs of client and server.
pub(crate) fn edges(nodes: &Nodes, servers: &Servers) -> Vec<Edge> {
    let mut clients_of: HashMap<&String, usize> = HashMap::new();
    let reported = || {
        nodes.iter().flat_map(|(id, node)| {
            node.ours.iter().flat_map(move |ours| ours.edges.iter().map(move |edge| (id, node, edge)))
        })
    };
    for (_, _, edge) in reported().filter(|(.., edge)| edge.dir == Direction::Out) {
        if let Some(server) = servers.find(edge) {
            *clients_of.entry(server).or_default() += 1;
        }
    }
    reported()
        .map(|(id, node, report)| {
            let server = servers.find(report);
            let is_sole = server.is_some_and(|server| clients_of.get(server) == Some(&1));
            edge(id, node, report, server.and_then(|id| Some((id, nodes.get(id)?))), is_sole)
        })
        .collect()
}

fn edge(id: &str, node: &Node, report: &EdgeReport, server: Option<(&String, &Node)>, is_sole: bool) -> Edge {
    let is_out = report.dir == Direction::Out;
    let other = server.map(|(id, _)| id.clone());
    let (from, to) = if is_out { (Some(id.to_owned()), other) } else { (other, Some(id.to_owned())) };
    let (count, settled) = if is_out { (report.sent, report.confirmed) } else { (report.taken, report.finished) };
    let bare = || {
        // The counts of two moments can be compared when the sender's is the earlier one.
        let (_, server) = server.filter(|_| is_sole && is_out)?;
        let sent = node.samples.get(&(report.dir, report.index))?.sent_at(server.t1)?;
        let received = ["received", "accepted"].iter().map(|name| server.counter(name)).find(|count| *count > 0);
        Some(sent.saturating_sub(received.unwrap_or(0) + server.losses()))
    };
    let state = match server {
        _ if node.is_silent => "silent",
        None => "unknown",
        Some((_, server)) if server.is_silent => "silent",
        Some(_) => "live",
    };
    Edge {
        id: format!("{id}{}{}", if is_out { '>' } else { '<' }, report.index),
        from,
        to,
        peer: report.peer.clone(),
        index: report.index,
        dir: report.dir,
        guarantee: report.guarantee.clone(),
        rate: rate(node, report),
        sent: is_out.then_some(report.sent),
        confirmed: report.confirmed.filter(|_| is_out),
        taken: (!is_out).then_some(report.taken),
        finished: report.finished.filter(|_| !is_out),
        under_way: settled.map(|settled| count.saturating_sub(settled)).or_else(bare),
        unaccounted: server.filter(|_| is_sole && is_out).map_or(0, |(_, server)| server.lost),
        fill: server.and_then(|(_, server)| server.fill()),
        waits: report.waits,
        state,
    }
}

/// Over the last ten seconds, or the last two reports.
fn rate(node: &Node, report: &EdgeReport) -> f64 {
    if node.is_silent {
        return 0.0;
    }
    let Some(samples) = node.samples.get(&(report.dir, report.index)) else { return 0.0 };
    let Some((t1, last, _)) = samples.ring.back() else { return 0.0 };
    let earlier = samples.ring.iter().rev().skip(1).take_while(|(at, ..)| t1 - at <= 10.0).last();
    match earlier.or_else(|| samples.ring.iter().rev().nth(1)) {
        Some((t0, first, _)) if t1 > t0 => last.saturating_sub(*first) as f64 / (t1 - t0),
        _ => 0.0,
    }
}

/// What a server misses.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    /// Confirmed to clients, and not here.
    pub lost: u64,
    /// Here, and from none of the nodes that report; `None` while it is not known.
    pub elsewhere: Option<u64>,
    /// Of clients that are older than this life of the server's messages: what they had confirmed before, by name and index.
    pub bases: Vec<((String, u64), u64)>,
}

/// Looks whether everything that clients were told is safe has come to the servers.
///
/// Reports are not taken at one instant, and yet the sum is exact: what a client had confirmed at a time had come to the
/// server by then, so it is in every later report of the server. A count that is too old only hides a loss for a moment.
pub(crate) fn balance(nodes: &Nodes) -> Vec<(String, Missing)> {
    let servers = Servers::of(nodes);
    let mut clients: BTreeMap<&String, Vec<(&String, &Node, &EdgeReport)>> = BTreeMap::new();
    for (id, node) in nodes {
        for edge in node.ours.iter().flat_map(|ours| &ours.edges).filter(|edge| edge.dir == Direction::Out) {
            if let Some(server) = servers.find(edge) {
                clients.entry(server).or_default().push((id, node, edge));
            }
        }
    }
    let missing = |(id, clients): (&String, Vec<_>)| Some((id.clone(), missing(nodes.get(id)?, &clients)?));
    clients.into_iter().filter_map(missing).collect()
}

fn missing(server: &Node, clients: &[(&String, &Node, &EdgeReport)]) -> Option<Missing> {
    // A sink's link counts apart from its bare socket.
    let name = if server.kind() == "sink" { "batched" } else { "accepted" };
    // What a rewind delivers again is counted again, and was sent once.
    let accepted = server.ours.as_ref()?.ledger.get(name)?.saturating_sub(server.counter("replayed"));
    // A message that was sent again is confirmed once, and so is its duplicate; a derived id that came before is confirmed to
    // each worker that sends it.
    let came = accepted + server.counter("duplicate_ids");
    let mut missing = Missing::default();
    let (mut confirmed, mut sent) = (0_u64, Some(0_u64));
    for (id, client, edge) in clients {
        let Some(samples) = client.samples.get(&(edge.dir, edge.index)) else { continue };
        let key = ((*id).clone(), edge.index);
        let is_known = edge.node.is_some() && server.ours.as_ref().is_some_and(|ours| ours.node.is_some());
        let is_this = edge.node == server.ours.as_ref().and_then(|ours| ours.node.clone());
        if is_known && !is_this {
            // Its counts are still of the server that was there before.
            sent = None;
            continue;
        }
        let base = match server.bases.get(&key) {
            // Its counts began anew with this life of the server.
            _ if is_known => 0,
            Some(base) => *base,
            None => {
                // A client that is younger than the server told it everything in this life.
                let is_younger = client.began >= server.life_began && client.restarts == 0;
                let base = if is_younger { Some(0) } else { samples.confirmed_after(server.life_began) };
                let Some(base) = base else { continue };
                missing.bases.push((key, base));
                base
            }
        };
        if edge.confirmed.is_some() {
            confirmed = confirmed.saturating_add(samples.confirmed_at(server.t1).unwrap_or(0).saturating_sub(base));
        }
        // A client that fell silent sends no more.
        let last = || samples.ring.back().filter(|_| client.is_silent).map(|(_, sent, _)| *sent);
        sent = sent.zip(samples.sent_after(server.t1).or_else(last)).map(|(sum, count)| sum.saturating_add(count));
    }
    missing.lost = confirmed.saturating_sub(came);
    missing.elsewhere = sent.map(|sent| accepted.saturating_sub(sent));
    Some(missing)
}

/// The bottleneck, by the rule of Flink: the first busy node downstream of blocked ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bottleneck {
    /// The node.
    pub node: String,
    /// The share of time that it is busy.
    pub busy: f64,
    /// In words.
    pub text: String,
}

const BUSY: f64 = 0.5;
const BLOCKED: f64 = 0.1;
/// From here on, a queue that reports no share of time counts as blocked.
const NEARLY_FULL: f64 = 0.8;

/// Finds the bottleneck among nodes that are live.
pub(crate) fn bottleneck(nodes: &Nodes, edges: &[Edge]) -> Option<Bottleneck> {
    let mut downstream: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for edge in edges {
        if let (Some(from), Some(to)) = (&edge.from, &edge.to) {
            downstream.entry(from).or_default().insert(to);
        }
    }
    let busy =
        |id: &str| nodes.get(id).filter(|node| !node.is_silent).and_then(Node::share).map_or(0.0, |share| share.busy);
    let is_blocked = |node: &Node| {
        let is_full = node.kind() == "queue" && node.fill().is_some_and(|fill| fill >= NEARLY_FULL);
        !node.is_silent && (is_full || node.share().is_some_and(|share| share.blocked > BLOCKED))
    };
    let blocked = || nodes.iter().filter(|(_, node)| is_blocked(node)).map(|(id, _)| id.as_str());
    // From each blocked node, downstream, as far as the first busy one.
    let mut found: Option<&str> = None;
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut next: Vec<&str> = blocked().collect();
    while let Some(id) = next.pop() {
        for to in downstream.get(id).into_iter().flatten() {
            if !seen.insert(to) {
                continue;
            }
            let is_held = nodes.get(*to).and_then(Node::share).is_some_and(|share| share.blocked > share.busy);
            if busy(to) > BUSY && !is_held {
                found = found.filter(|best| busy(best) >= busy(to)).or(Some(to));
            } else {
                next.push(to);
            }
        }
    }
    let id = found?;
    let node = nodes.get(id)?;
    let mut text = format!("{} {id} is the bottleneck: busy {:.0} %", node.kind(), busy(id) * 100.0);
    let upstream = edges.iter().filter(|edge| edge.to.as_deref() == Some(id)).filter_map(|edge| edge.from.as_deref());
    let fullest = upstream.filter_map(|queue| Some((queue, nodes.get(queue)?.fill()?)));
    if let Some((queue, fill)) = fullest.max_by(|(_, one), (_, other)| one.total_cmp(other)) {
        text = format!("{text}, its queue {queue} is {:.0} % full", fill * 100.0);
    }
    let waiting = blocked().filter_map(|id| Some((id, nodes.get(id)?, nodes.get(id)?.share()?.blocked)));
    let waiting = waiting.filter(|(_, node, _)| node.kind() != "queue");
    if let Some((id, node, share)) = waiting.max_by(|(.., one), (.., other)| one.total_cmp(other)) {
        text = format!("{text} and {} {id} waits {:.0} % of the time", node.kind(), share * 100.0);
    }
    Some(Bottleneck { node: id.to_owned(), busy: busy(id), text })
}
