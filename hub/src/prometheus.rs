//! The state as the text that Prometheus scrapes.

use std::fmt::{Display, Write as _};

use crate::{Hub, Window};

/// A figure of a node.
type Gauge = fn(&crate::NodeState) -> Option<f64>;

/// The text of all metrics; `streams` is how many pages are open.
pub fn prometheus(hub: &Hub, now: f64, streams: usize) -> String {
    let state = hub.state(now, Window::FiveMinutes, streams);
    let mut text = Text::default();
    text.family("hub_reports_total", "counter", "Reports taken.");
    text.sample("hub_reports_total", &[], state.hub.reports);
    text.family("hub_refused_total", "counter", "Reports that could not be read.");
    text.sample("hub_refused_total", &[], state.hub.refused);
    text.family("hub_nodes_refused_total", "counter", "Reports of nodes beyond the most that are kept.");
    text.sample("hub_nodes_refused_total", &[], state.hub.nodes_refused);
    text.family("hub_streams", "gauge", "Event streams that are open.");
    text.sample("hub_streams", &[], streams);
    text.family("weir_unaccounted", "gauge", "Messages that nobody can account for, all nodes.");
    text.sample("weir_unaccounted", &[], state.health.unaccounted);
    let gauges: [(&str, &str, Gauge); 8] = [
        ("weir_up", "1 if the node is heard, 0 if it is silent.", |node| {
            Some(if node.state == "live" { 1.0 } else { 0.0 })
        }),
        ("weir_uptime_seconds", "How long the node has run.", |node| node.uptime_s),
        ("weir_in_rate", "Messages in per second.", |node| node.rate_in),
        ("weir_out_rate", "Messages out per second.", |node| node.rate_out),
        ("weir_busy_ratio", "Share of time at work.", |node| node.share.map(|share| share.busy)),
        ("weir_blocked_ratio", "Share of time held back.", |node| node.share.map(|share| share.blocked)),
        ("weir_node_unaccounted", "Messages that are missing at the node.", |node| Some(node.unaccounted as f64)),
        ("weir_restarts", "How often the node began anew.", |node| Some(node.restarts as f64)),
    ];
    for (name, help, value) in gauges {
        text.family(name, "gauge", help);
        for node in &state.nodes {
            if let Some(value) = value(node) {
                text.sample(name, &node.labels(), value);
            }
        }
    }
    text.family("weir_latency_seconds", "gauge", "Percentiles of the latencies of the last five minutes.");
    for node in &state.nodes {
        let Some(latency) = &node.latency else { continue };
        for (quantile, value) in
            [("0.5", latency.p50), ("0.9", latency.p90), ("0.99", latency.p99), ("0.999", latency.p999)]
        {
            if let Some(value) = value {
                let mut labels = node.labels();
                labels.push(("quantile", quantile));
                text.sample("weir_latency_seconds", &labels, value);
            }
        }
    }
    text.family("weir_ledger_total", "counter", "What became of messages and datagrams, by reason.");
    for node in &state.nodes {
        for (reason, count) in &node.ledger {
            let mut labels = node.labels();
            labels.push(("reason", reason));
            text.sample("weir_ledger_total", &labels, count);
        }
    }
    text.family("weir_gauge", "gauge", "How things stand at a node, by name.");
    for node in &state.nodes {
        for (name, value) in &node.gauges {
            let mut labels = node.labels();
            labels.push(("name", name));
            text.sample("weir_gauge", &labels, value);
        }
    }
    text.family("weir_edge_messages_total", "counter", "Messages over an edge, by what became of them.");
    for edge in &state.edges {
        let stages =
            [("sent", edge.sent), ("confirmed", edge.confirmed), ("taken", edge.taken), ("finished", edge.finished)];
        for (stage, count) in stages {
            if let Some(count) = count {
                text.sample("weir_edge_messages_total", &[("edge", &edge.id), ("stage", stage)], count);
            }
        }
    }
    text.out
}

#[derive(Default)]
struct Text {
    out: String,
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let written = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        debug_assert!(written.is_ok(), "a String takes all");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.out.push_str(if index == 0 { "{" } else { "," });
            self.out.push_str(label);
            self.out.push_str("=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    other => self.out.push(other),
                }
            }
            self.out.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let written = writeln!(self.out, "{end} {value}");
        debug_assert!(written.is_ok(), "a String takes all");
    }
}
