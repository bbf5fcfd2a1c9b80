//! A node's history as columns, for charts and spreadsheets.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Hub, Latencies, Slot, Window};

/// The columns that there are.
pub const NAMES: [&str; 13] =
    ["in", "out", "p50", "p75", "p90", "p95", "p99", "p999", "depth", "age", "busy", "blocked", "drops"];

/// Columns of equal length; a value that was not reported is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Seconds between two rows.
    pub step: u32,
    /// Each row's beginning, in seconds since the epoch.
    pub t: Vec<u32>,
    /// The columns by name.
    #[serde(flatten)]
    pub columns: Map<String, Value>,
}

impl Hub {
    /// The history of a node; `names` chooses columns, none means all. `None` if there is no such node.
    pub fn series(&self, now: f64, id: &str, window: Window, names: &[&str]) -> Option<Series> {
        let node = self.nodes.get(id)?;
        let ring = node.rings.of(window);
        let until = crate::node::whole_seconds(now).max(ring.newest().unwrap_or(0));
        let from = until.saturating_sub(window.seconds() - ring.step);
        let ticks: Vec<u32> = (from / ring.step..=until / ring.step).collect();
        let mut slots = ring.between(from, until).peekable();
        let rows: Vec<Option<&Slot>> = ticks
            .iter()
            .map(|tick| slots.next_if(|slot| slot.tick <= *tick).filter(|slot| slot.tick == *tick))
            .collect();
        let latencies: Vec<_> = rows
            .iter()
            .map(|slot| {
                let mut latencies = Latencies::default();
                slot.inspect(|slot| slot.add_latencies_to(&mut latencies))?;
                latencies.percentiles()
            })
            .collect();
        let column = |name: &str| -> Vec<Value> {
            let value = |(slot, latency): (Option<&Slot>, Option<crate::Percentiles>)| match name {
                "in" => json!(slot.and_then(Slot::rate_in).filter(|_| node.tells_in)),
                "out" => json!(slot.and_then(Slot::rate_out)),
                "depth" => json!(slot.and_then(Slot::depth)),
                "age" => json!(slot.and_then(Slot::age)),
                "busy" => json!(slot.and_then(Slot::busy)),
                "blocked" => json!(slot.and_then(Slot::blocked)),
                "drops" => json!(slot.and_then(Slot::drops)),
                "p50" => json!(latency.and_then(|latency| latency.p50)),
                "p75" => json!(latency.and_then(|latency| latency.p75)),
                "p90" => json!(latency.and_then(|latency| latency.p90)),
                "p95" => json!(latency.and_then(|latency| latency.p95)),
                "p99" => json!(latency.and_then(|latency| latency.p99)),
                "p999" => json!(latency.and_then(|latency| latency.p999)),
                _ => Value::Null,
            };
            rows.iter().copied().zip(latencies.iter().copied()).map(value).collect()
        };
        let wanted = NAMES.iter().filter(|name| names.is_empty() || names.contains(name));
        let columns = wanted.map(|name| ((*name).to_owned(), Value::Array(column(name)))).collect();
        Some(Series { step: ring.step, t: ticks.iter().map(|tick| tick * ring.step).collect(), columns })
    }
}

impl Series {
    /// As CSV with a header; what was not reported is empty.
    pub fn csv(&self) -> String {
        let mut csv = String::from("t");
        for name in self.columns.keys() {
            csv.push(',');
            csv.push_str(name);
        }
        csv.push_str("\r\n");
        for (row, t) in self.t.iter().enumerate() {
            csv.push_str(&t.to_string());
            for column in self.columns.values() {
                csv.push(',');
                if let Some(number) = column.get(row).filter(|value| !value.is_null()) {
                    csv.push_str(&number.to_string());
                }
            }
            csv.push_str("\r\n");
        }
        csv
    }
}
