//! A sink, as a machine: the end of a stream. Each datagram is a JSON object `{"msg": ..., "feed_time": ...}`; the message
//! becomes a line, and the time since `feed_time` (seconds since the epoch) is the latency of the whole pipeline.
//!
//! Every datagram is accounted for: `received = printed + silenced + not_utf8 + not_json + not_an_object + no_msg +
//! too_deep`. What has a message but no good `feed_time` is among the printed (or silenced) ones, and is counted by what
//! is wrong with it, too. What never came in is in `kernel_drops`.

mod fault;
mod line;
mod record;

use std::{net::SocketAddr, time::Duration};

use machine::{LogLimit, Machine, Now, Outlet, Port, STDOUT, Transmit};
use metrics::Reports;
use protocol::text;
use serde_json::value::RawValue;

pub use fault::Fault;
use record::Record;

/// Where datagrams come in.
pub const INPUT: Port = Port(0);

/// Where reports are sent from.
pub const METRICS: Port = Port(1);

/// Whether messages go to stdout. The log has them either way, at level info.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Messages {
    /// One a line.
    Printed,
    /// None.
    Silenced,
}

/// What came of the datagrams since the sink started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that came in.
    pub received: u64,
    /// Messages given out as lines.
    pub printed: u64,
    /// Messages that would have been, had the operator wanted them.
    pub silenced: u64,
    /// Datagrams that are not text.
    pub not_utf8: u64,
    /// Datagrams that are not JSON.
    pub not_json: u64,
    /// JSON that is not an object.
    pub not_an_object: u64,
    /// Objects without a `msg`.
    pub no_msg: u64,
    /// Messages that nest too deep.
    pub too_deep: u64,
    /// Messages without a `feed_time`.
    pub no_feed_time: u64,
    /// Messages whose `feed_time` is no number.
    pub bad_feed_time: u64,
    /// Messages whose `feed_time` is later than now; their latency counts as none.
    pub future_feed_time: u64,
    /// Datagrams that the kernel dropped for want of room.
    pub kernel_drops: u64,
}

/// The sink.
#[derive(Debug)]
pub struct Sink {
    messages: Messages,
    lines: String,
    counts: Counts,
    reports: Reports,
    bad_limit: LogLimit,
}

impl Sink {
    /// A sink that has received nothing.
    pub fn new(messages: Messages, reports: Reports) -> Self {
        Self { messages, lines: String::new(), counts: Counts::default(), reports, bad_limit: LogLimit::default() }
    }

    /// What came of the datagrams so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn take(&mut self, now: Now, datagram: &[u8]) -> Result<(), Fault> {
        let record = Record::parse(datagram)?;
        self.show(record.msg.ok_or(Fault::NoMsg)?)?;
        self.measure(now, record.feed_time.ok_or(Fault::NoFeedTime)?)
    }

    fn show(&mut self, msg: &RawValue) -> Result<(), Fault> {
        let start = self.lines.len();
        let pushed = line::push(msg, &mut self.lines);
        if pushed.is_ok() {
            tracing::info!("{}", self.lines.get(start..).unwrap_or_default().trim_end_matches('\n'));
        }
        if pushed.is_err() || self.messages == Messages::Silenced {
            self.lines.truncate(start);
        }
        pushed?;
        match self.messages {
            Messages::Printed => self.counts.printed += 1,
            Messages::Silenced => self.counts.silenced += 1,
        }
        Ok(())
    }

    fn measure(&mut self, now: Now, feed_time: &RawValue) -> Result<(), Fault> {
        let latency_s = now.epoch_seconds() - record::seconds(feed_time).ok_or(Fault::BadFeedTime)?;
        let latency = Duration::try_from_secs_f64(latency_s.max(0.0)).map_err(|_| Fault::BadFeedTime)?;
        self.reports.reporter.count_in(now);
        self.reports.reporter.count_out(now);
        self.reports.reporter.record_latency(latency);
        if latency_s < 0.0 {
            return Err(Fault::FutureFeedTime { ahead_s: -latency_s });
        }
        Ok(())
    }

    fn complain(&mut self, now: Now, datagram: &[u8], fault: &Fault) {
        *match fault {
            Fault::NotUtf8(_) => &mut self.counts.not_utf8,
            Fault::NotJson(_) => &mut self.counts.not_json,
            Fault::NotAnObject => &mut self.counts.not_an_object,
            Fault::NoMsg => &mut self.counts.no_msg,
            Fault::TooDeep => &mut self.counts.too_deep,
            Fault::NoFeedTime => &mut self.counts.no_feed_time,
            Fault::BadFeedTime => &mut self.counts.bad_feed_time,
            Fault::FutureFeedTime { .. } => &mut self.counts.future_feed_time,
        } += 1;
        if let Some(withheld) = self.bad_limit.pass(now) {
            let datagram = shown(datagram);
            tracing::error!("Error encountered when processing: {datagram}: {fault} ({withheld} more unsaid)");
        }
    }

    fn close_report(&mut self, now: Now) {
        self.reports.close(now, &self.ledger(), &[]);
    }

    /// The counters by name, cumulative since the node started.
    fn ledger(&self) -> [(&'static str, u64); 12] {
        let counts = self.counts;
        [
            ("received", counts.received),
            ("printed", counts.printed),
            ("silenced", counts.silenced),
            ("not_utf8", counts.not_utf8),
            ("not_json", counts.not_json),
            ("not_an_object", counts.not_an_object),
            ("no_msg", counts.no_msg),
            ("too_deep", counts.too_deep),
            ("no_feed_time", counts.no_feed_time),
            ("bad_feed_time", counts.bad_feed_time),
            ("future_feed_time", counts.future_feed_time),
            ("kernel_drops", counts.kernel_drops),
        ]
    }
}

/// A datagram for the log, cut where it grows long.
fn shown(datagram: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 200;
    let cut = datagram.get(..SHOWN_BYTES_MAX).unwrap_or(datagram);
    let more = if cut.len() < datagram.len() { "..." } else { "" };
    format!("{}{more}", text::literal(&String::from_utf8_lossy(cut)))
}

impl Machine for Sink {
    fn handle_datagram(&mut self, now: Now, _port: Port, _from: SocketAddr, datagram: &[u8]) {
        self.counts.received += 1;
        if let Err(fault) = self.take(now, datagram) {
            self.complain(now, datagram, &fault);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.reports.is_due(now) {
            self.close_report(now);
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Some(self.reports.poll_timeout())
    }

    fn poll_transmit(&mut self, _now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        self.reports.poll_transmit(bytes)
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        if self.lines.is_empty() {
            return None;
        }
        bytes.extend_from_slice(self.lines.as_bytes());
        self.lines.clear();
        Some(STDOUT)
    }

    fn handle_kernel_drops(&mut self, port: Port, total: u64) {
        if port == INPUT {
            self.counts.kernel_drops = total;
        }
    }

    fn handle_stop(&mut self, now: Now) {
        tracing::info!("Shutting down");
        self.close_report(now);
    }
}
