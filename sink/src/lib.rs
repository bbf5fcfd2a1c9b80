//! A sink, as a machine: the end of a stream. Each datagram is a JSON object `{"msg": ..., "feed_time": ...}`; the message
//! becomes a line, and the time since `feed_time` (seconds since the epoch) is the latency of the whole pipeline.
//!
//! Every datagram is accounted for: `received = printed + silenced + not_utf8 + not_json + not_an_object + no_msg +
//! too_deep`. What has a message but no good `feed_time` is among the printed (or silenced) ones, and is counted by what
//! is wrong with it, too. What was never read is in `kernel_drops` and `not_allowed`.

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
    /// Datagrams from addresses that are not allowed.
    pub not_allowed: u64,
    /// Datagrams that came to the port that reports are sent from.
    pub stray: u64,
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
    fn ledger(&self) -> [(&'static str, u64); 14] {
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
            ("not_allowed", counts.not_allowed),
            ("stray", counts.stray),
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
    fn handle_datagram(&mut self, now: Now, port: Port, _from: SocketAddr, datagram: &[u8]) {
        if port != INPUT {
            self.counts.stray += 1;
            return;
        }
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

    fn handle_outsider(&mut self, now: Now, _port: Port, from: SocketAddr) {
        self.counts.not_allowed += 1;
        if let Some(withheld) = self.bad_limit.pass(now) {
            tracing::warn!("Not allowed: a datagram from {from} ({withheld} more unsaid)");
        }
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

#[cfg(test)]
mod tests {
    use metrics::{Identity, LogOrder, Report};

    use super::*;

    const NOW_S: u64 = 1_458_195_068;

    fn at(s: u64) -> Now {
        Now { since_start: Duration::from_secs(s), since_epoch: Duration::from_secs(NOW_S + s) }
    }

    fn sink(messages: Messages) -> Sink {
        let to = Transmit { port: METRICS, to: SocketAddr::from(([127, 0, 0, 1], 5001)) };
        let identity = Identity { vuid: "MARKET_SPREAD".to_owned(), func: "Sink".to_owned(), address: None };
        Sink::new(messages, Reports::new(identity, LogOrder::CountFirst, Duration::from_secs(1), Some(to), at(0)))
    }

    fn handle(sink: &mut Sink, datagram: &[u8]) -> String {
        sink.handle_datagram(at(0), INPUT, SocketAddr::from(([127, 0, 0, 1], 9)), datagram);
        let mut printed = Vec::new();
        while let Some(outlet) = sink.poll_output(&mut printed) {
            assert_eq!(outlet, STDOUT);
        }
        String::from_utf8(printed).unwrap()
    }

    fn report(sink: &mut Sink) -> Report {
        let mut datagram = Vec::new();
        sink.poll_transmit(at(0), &mut datagram).unwrap();
        Report::parse(&datagram).unwrap()
    }

    /// What a fresh sink prints of a datagram, and what it counts beside it.
    fn check(datagram: &[u8], printed: &str, count: impl FnOnce(&mut Counts)) {
        let mut sink = sink(Messages::Printed);
        let shown = datagram.escape_ascii();
        assert_eq!(handle(&mut sink, datagram), printed, "{shown}");
        let mut expected = Counts { received: 1, printed: u64::from(!printed.is_empty()), ..Counts::default() };
        count(&mut expected);
        assert_eq!(sink.counts(), expected, "{shown}");
        let again = handle(&mut sink, br#"{"msg": "still here", "feed_time": 1458195067}"#);
        assert_eq!(again, "still here\n", "{shown}");
    }

    #[test]
    fn good_datagrams_are_printed() {
        check(
            br#"{"msg": "New Order: (A, B, Accepted, 4000.0)", "feed_time": 1458195067.5}"#,
            "New Order: (A, B, Accepted, 4000.0)\n",
            |_| {},
        );
        check(br#"{"feed_time": 0, "msg": {"a": [1, "b c"]}, "more": null}"#, "{\"a\":[1,\"b c\"]}\n", |_| {});
        check(br#"{"msg": null, "feed_time": -5e3}"#, "null\n", |_| {});
        check(br#"{"msg": "", "feed_time": 1}"#, "\n", |_| {});
        check(br#"{"msg": "a", "feed_time": "x", "msg": "b", "feed_time": 1}"#, "b\n", |_| {});
    }

    #[test]
    fn what_has_no_message_is_counted_by_name() {
        check(b"", "", |counts| counts.not_json = 1);
        check(b"not json", "", |counts| counts.not_json = 1);
        check(br#"{"msg": NaN, "feed_time": 1}"#, "", |counts| counts.not_json = 1);
        check(br#"{"msg": "x", "feed_time": NaN}"#, "", |counts| counts.not_json = 1);
        check(br#"{"msg": "x", "feed_time": 1} {}"#, "", |counts| counts.not_json = 1);
        check(br#"{"msg": "x", "feed_time": 1"#, "", |counts| counts.not_json = 1);
        check(b"{\"msg\": \"x\0\", \"feed_time\": 1}", "", |counts| counts.not_json = 1);
        check(br#"{"msg": "\ud835", "feed_time": 1}"#, "", |counts| counts.not_json = 1);
        check("\u{feff}{\"msg\": 1, \"feed_time\": 1}".as_bytes(), "", |counts| counts.not_json = 1);
        check(b"\xff\xfe", "", |counts| counts.not_utf8 = 1);
        check(b"{\"x\": \"\xff\", \"msg\": 1, \"feed_time\": 1}", "", |counts| counts.not_utf8 = 1);
        check(b"18PUT:ping", "", |counts| counts.not_json = 1);
        for no_object in [&b"[]"[..], b"\"msg\"", b"1", b"null"] {
            check(no_object, "", |counts| counts.not_an_object = 1);
        }
        check(b"{}", "", |counts| counts.no_msg = 1);
        check(br#"{"feed_time": 1}"#, "", |counts| counts.no_msg = 1);
        check(br#"{"Msg": "x", "feed_time": 1}"#, "", |counts| counts.no_msg = 1);
    }

    #[test]
    fn a_message_without_a_good_time_is_printed_and_counted() {
        check(br#"{"msg":"x"}"#, "x\n", |counts| counts.no_feed_time = 1);
        for bad in ["\"1458195068\"", "null", "true", "[1]", "{}", "1e400", "-1e300"] {
            let datagram = format!("{{\"msg\": \"x\", \"feed_time\": {bad}}}");
            check(datagram.as_bytes(), "x\n", |counts| counts.bad_feed_time = 1);
        }
        for future in ["1458195068.001", "4e9", "1e308"] {
            let datagram = format!("{{\"msg\": \"x\", \"feed_time\": {future}}}");
            check(datagram.as_bytes(), "x\n", |counts| counts.future_feed_time = 1);
        }
    }

    #[test]
    fn depth_and_length_are_survived() {
        let nested = "[".repeat(10_000) + &"]".repeat(10_000);
        let message = format!("{{\"msg\": {nested}, \"feed_time\": 1}}");
        check(message.as_bytes(), "", |counts| counts.too_deep = 1);
        let elsewhere = format!("{{\"x\": {nested}, \"msg\": \"x\", \"feed_time\": 1}}");
        check(elsewhere.as_bytes(), "x\n", |_| {});
        check("[".repeat(65_507).as_bytes(), "", |counts| counts.not_json = 1);
        check("{\"a\":".repeat(13_000).as_bytes(), "", |counts| counts.not_json = 1);
        let long = "x".repeat(10_000_000);
        check(format!("{{\"msg\": \"{long}\", \"feed_time\": 1}}").as_bytes(), &(long + "\n"), |_| {});
    }

    #[test]
    fn only_measured_messages_are_in_the_report() {
        let mut sink = sink(Messages::Printed);
        for datagram in [
            r#"{"msg": "a", "feed_time": 1458195067.5}"#,
            r#"{"msg": "b", "feed_time": 1458195069}"#,
            r#"{"msg": "c"}"#,
            "not json",
        ] {
            handle(&mut sink, datagram.as_bytes());
        }
        assert_eq!(sink.poll_timeout(), Some(Duration::from_secs(1)));
        sink.handle_timeout(at(1));
        let report = report(&mut sink);
        let bins: Vec<(String, u64)> =
            report.latency_count.unwrap().into_iter().map(|(bin, count)| (bin.to_string(), count)).collect();
        assert_eq!(bins, [("0.000001000 s".to_owned(), 1), ("1.000000000 s".to_owned(), 1)]);
        assert_eq!(report.throughput_in.unwrap()[&NOW_S], 2);
        assert_eq!(report.throughput_out.unwrap()[&NOW_S], 2);
        let ledger = report.weir.unwrap().ledger;
        let counts = ["received", "printed", "not_json", "no_feed_time", "future_feed_time"].map(|name| ledger[name]);
        assert_eq!(counts, [4, 3, 1, 1, 1]);
    }

    #[test]
    fn a_silenced_sink_counts_all_the_same() {
        let mut sink = sink(Messages::Silenced);
        assert_eq!(handle(&mut sink, br#"{"msg": "x", "feed_time": 1}"#), "");
        assert_eq!(sink.counts(), Counts { received: 1, silenced: 1, ..Counts::default() });
        sink.handle_kernel_drops(METRICS, 9);
        sink.handle_kernel_drops(INPUT, 7);
        sink.handle_outsider(at(0), INPUT, SocketAddr::from(([10, 0, 0, 1], 9)));
        sink.handle_stop(at(0));
        let ledger = report(&mut sink).weir.unwrap().ledger;
        assert_eq!((ledger["silenced"], ledger["kernel_drops"], ledger["not_allowed"]), (1, 7, 1));
    }

    #[test]
    fn a_datagram_is_cut_in_the_log() {
        assert_eq!(shown(b"it's \xff"), "\"it's \u{fffd}\"");
        assert_eq!(shown(&[b'x'; 201]), format!("'{}'...", "x".repeat(200)));
    }
}
