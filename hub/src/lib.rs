//! The monitoring hub, without its server: reports go in, the state of the whole comes out. No socket, no clock: the time
//! comes in as seconds since the epoch.
#![expect(clippy::cast_precision_loss, reason = "rates, shares and percentiles are read by people")]

mod events;
mod graph;
mod hub;
mod latency;
mod node;
mod post;
mod prometheus;
mod rings;
mod samples;
mod series;
mod state;

pub use events::{EVENTS_MAX, Event, Events};
pub use graph::{Bottleneck, Edge};
pub use hub::{Hub, Kept, KeptNode, Refused, Taken};
pub use latency::{Bin, Latencies, Percentiles};
pub use post::{EDGES_MAX, NAMES_MAX, PostError, REPORTS_MAX};
pub use prometheus::prometheus;
pub use rings::Slot;
pub use series::{NAMES, Series};
pub use state::{Health, NodeState, State, Totals, changes, slim};

/// How far back a question looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// The last minute.
    Minute,
    /// The last five minutes.
    #[default]
    FiveMinutes,
    /// The last hour.
    Hour,
    /// The last day.
    Day,
}

impl Window {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Minute, Self::FiveMinutes, Self::Hour, Self::Day];

    /// Its length in seconds.
    pub fn seconds(self) -> u32 {
        match self {
            Self::Minute => 60,
            Self::FiveMinutes => 300,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// A window has one of four names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a window is 1m, 5m, 1h or 1d")]
pub struct WindowError;

impl std::str::FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        match text {
            "1m" => Ok(Self::Minute),
            "5m" => Ok(Self::FiveMinutes),
            "1h" => Ok(Self::Hour),
            "1d" => Ok(Self::Day),
            _ => Err(WindowError),
        }
    }
}
