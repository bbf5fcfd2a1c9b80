//! What a node counts, and the report in which it says so once a period.
//!
//! A [`Reporter`] counts one node's period; closing the period gives a [`Report`], which travels as one datagram of JSON
//! in the form of 2016, with one member more. No clock, no socket: time comes in as [`machine::Now`].
//!
//! ```
//! use std::time::Duration;
//! use metrics::{Identity, Report, Reporter};
//! # let at = |s| machine::Now { since_start: Duration::from_secs(s), since_epoch: Duration::from_secs(1_458_195_068 + s) };
//!
//! let identity = Identity { vuid: "NTg2ODIx".into(), func: "Sink".into(), address: None };
//! let mut reporter = Reporter::new(identity, Duration::from_secs(1), at(0));
//! reporter.count_in(at(0));
//! reporter.record_latency(Duration::from_micros(53));
//! assert!(reporter.is_due(at(1)));
//!
//! let report = reporter.close(at(1), &[("accepted", 1)], &[("depth", 0.0)]);
//! assert_eq!(Report::parse(&report.to_datagram()).unwrap(), report);
//! ```

mod bins;
mod histogram;
mod members;
pub mod python;
mod report;
mod reporter;
mod reports;
mod standing;

pub use bins::{Bins, Bound};
pub use hdrhistogram::Histogram;
pub use histogram::{HistogramError, LATENCY_MAX, LATENCY_MIN, empty_histogram};
pub use members::{NAME_BYTES_MAX, SECOND_MAX};
pub use report::{Report, ReportError, Weir};
pub use reporter::{Identity, PERIOD_MAX, PERIOD_MIN, Reporter};
pub use reports::{LogOrder, Reports};
pub use standing::{Doing, EDGES_MAX, Edge, EdgeFlow, Share};
