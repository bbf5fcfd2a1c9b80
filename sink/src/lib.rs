//! A sink, as a machine: the end of a stream. Each message is a JSON object `{"msg": ..., "feed_time": ...}`; its `msg`
//! becomes a line, and the time since `feed_time` (seconds since the epoch) is the latency of the whole pipeline.
//!
//! Messages come as bare datagrams, which are never answered; in PUTs; and in the batches of the link's producers, each
//! of them taken once. What claims that a message is taken is answered once its line is written, as far as the node can
//! tell. While too much is not written yet, batches and PUTs are refused, so that their senders rest.
//!
//! Every message is accounted for: `received = printed + silenced + not_utf8 + not_json + not_an_object + no_msg +
//! too_deep`. What has a message but no good `feed_time` is among the printed (or silenced) ones, and is counted by what
//! is wrong with it, too. A bad message in a batch is taken like the others, so that it holds up none of them. What is
//! beside these is counted by name: `duplicates` and `duplicate_ids` came again, `refused_full` and `refused_ids` were
//! not taken and will come again. What was never read is in `kernel_drops`, `not_allowed`, `malformed`, `bad_checksum`
//! and `unknown_verb`.

mod answers;
mod desk;
mod fault;
mod line;
mod printer;
mod record;

use std::{net::SocketAddr, time::Duration};

use link::{Full, Intake, IntakeCounts, Run};
use machine::{LogLimit, Machine, Now, Outlet, Port, STDOUT, Transmit};
use metrics::Reports;
use protocol::{
    call::{Call, CallError},
    frame,
    link::{Ask, Durability, LinkError, discovery, is_garbled_discovery},
    verb::{PutAnswer, Request, message_len},
};

use answers::{Answers, Asker, Said};
use desk::Desk;
pub use fault::Fault;
use printer::UNWRITTEN_MAX;

/// Where messages come in, and are answered.
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

/// What came of the messages and datagrams since the sink started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that came in: bare, in a PUT, or in a batch and not for the second time.
    pub received: u64,
    /// Messages given out as lines.
    pub printed: u64,
    /// Messages that would have been, had the operator wanted them.
    pub silenced: u64,
    /// Messages that are not text.
    pub not_utf8: u64,
    /// Messages that are not JSON.
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
    /// Batches that came, those that came again among them.
    pub batches: u64,
    /// Messages not taken, because too many are not written yet. Each time that they are sent counts.
    pub refused_full: u64,
    /// Frames whose verb is none for a sink.
    pub unknown_verb: u64,
    /// Calls of the link that were garbled on their way.
    pub bad_checksum: u64,
    /// Calls of the link that cannot be read.
    pub malformed: u64,
    /// Answers that could not be sent, or for which there was no room.
    pub unsent: u64,
    /// Datagrams from addresses that are not allowed.
    pub not_allowed: u64,
    /// Datagrams that came to the port that reports are sent from.
    pub stray: u64,
    /// Datagrams that the kernel dropped for want of room.
    pub kernel_drops: u64,
}

/// It remembers which messages it had as long as it lives, and no longer.
const LEVEL: Durability = Durability::Memory;

/// How many producers may be live.
const PRODUCERS_MAX: u64 = 10_000;

/// The sink.
#[derive(Debug)]
pub struct Sink {
    node: u64,
    desk: Desk,
    intake: Intake,
    answers: Answers,
    /// Where the intake's answers are read.
    answer: Vec<u8>,
    full_limit: LogLimit,
}

impl Sink {
    /// A sink that has received nothing. `node` is drawn at random by each process.
    pub fn new(node: u64, messages: Messages, reports: Reports) -> Self {
        Self::with_fault(node, messages, reports, None)
    }

    /// With a planted fault, for tests.
    #[doc(hidden)]
    pub fn with_fault(node: u64, messages: Messages, mut reports: Reports, fault: Option<link::Fault>) -> Self {
        reports.reporter.introduce("sink", Some((node, link::boot_in_memory(node))));
        Self {
            node,
            desk: Desk::new(messages, reports),
            intake: Intake::with_fault(link::boot_in_memory(node), PRODUCERS_MAX, LEVEL, fault),
            answers: Answers::default(),
            answer: Vec::new(),
            full_limit: LogLimit::default(),
        }
    }

    /// What came of the messages and datagrams so far.
    pub fn counts(&self) -> Counts {
        let IntakeCounts { refused_full, malformed, .. } = self.intake.counts();
        let counts = self.desk.counts;
        Counts { refused_full: counts.refused_full + refused_full, malformed: counts.malformed + malformed, ..counts }
    }

    /// What came of the batches so far.
    pub fn intake_counts(&self) -> IntakeCounts {
        self.intake.counts()
    }

    /// Takes the text of a frame with a verb in; why it is no request to a sink, if so.
    fn handle_text(&mut self, now: Now, from: SocketAddr, text: &[u8]) -> Result<(), LinkError> {
        if Call::is_one(text) {
            let (token, ask) = Ask::parse(text)?;
            if ask == Ask::Stat {
                let body = link::stat(self.node, link::boot_in_memory(self.node), &self.ledger(), &self.gauges(now));
                let has_room = self.answers.say(from, Said::Stat { token, body });
                self.desk.counts.unsent += u64::from(!has_room);
                return Ok(());
            }
            let asker = Asker::of(&ask).ok_or(LinkError::UnknownVerb)?;
            self.handle_producer(now, from, token, asker, &ask);
            return Ok(());
        }
        match Request::parse_text(text) {
            Some(Request::Put(message)) => self.put(now, from, message),
            Some(Request::Size) => {
                let said = match discovery(text) {
                    Some(token) => Said::Welcome { token, node: self.node },
                    None if is_garbled_discovery(text) => return Err(CallError::Checksum.into()),
                    None => Said::Size,
                };
                let has_room = self.answers.say(from, said);
                self.desk.counts.unsent += u64::from(!has_room);
            }
            Some(Request::Get) | None => return Err(LinkError::UnknownVerb),
        }
        Ok(())
    }

    fn handle_producer(&mut self, now: Now, from: SocketAddr, token: u64, asker: Asker, ask: &Ask<'_>) {
        let Self { desk, intake, answers, answer, full_limit, .. } = self;
        desk.counts.batches += u64::from(matches!(ask, Ask::Enq(_)));
        intake.handle(now, from, token, ask, &mut |run: &Run<'_>| {
            // All that one datagram holds finds room once all before it is written.
            if run.count() > desk.printer.room() {
                log_full(now, from, run.count(), full_limit);
                return Err(Full);
            }
            desk.take(now, run.messages());
            Ok(())
        });
        answer.clear();
        while let Some(to) = intake.poll_answer(0, answer) {
            let has_room = answers.pass_on(&desk.printer, to, asker, answer);
            desk.counts.unsent += u64::from(!has_room);
            answer.clear();
        }
    }

    fn put(&mut self, now: Now, from: SocketAddr, message: &[u8]) {
        let Self { desk, answers, full_limit, .. } = self;
        let has_room = if desk.printer.room() > 0 {
            desk.take(now, [message]);
            answers.hold(&desk.printer, from, Said::Put(PutAnswer::Stored { len: message_len(message) }))
        } else {
            log_full(now, from, 1, full_limit);
            desk.counts.refused_full += 1;
            answers.say(from, Said::Put(PutAnswer::Full))
        };
        desk.counts.unsent += u64::from(!has_room);
    }

    fn reject(&mut self, now: Now, from: SocketAddr, error: &LinkError) {
        let counts = &mut self.desk.counts;
        match error {
            LinkError::UnknownVerb => counts.unknown_verb += 1,
            LinkError::Call(CallError::Checksum) => counts.bad_checksum += 1,
            LinkError::Call(CallError::Shape) | LinkError::Field(_) => counts.malformed += 1,
        }
        if let Some(withheld) = self.desk.bad_limit.pass(now) {
            tracing::warn!("Bad datagram from {from}: {error} ({withheld} more unsaid)");
        }
    }

    fn close_report(&mut self, now: Now) {
        let (ledger, gauges) = (self.ledger(), self.gauges(now));
        self.desk.reports.close(now, &ledger, &gauges);
    }

    /// The counters by name, cumulative since the node started.
    fn ledger(&self) -> [(&'static str, u64); 29] {
        let counts = self.counts();
        let intake = self.intake.counts();
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
            ("batches", counts.batches),
            ("batched", intake.accepted),
            ("duplicates", intake.duplicates),
            ("duplicate_ids", intake.duplicate_ids),
            ("refused_full", counts.refused_full),
            ("refused_ids", intake.refused_ids),
            ("refused_producers", intake.refused_producers),
            ("held", intake.held),
            ("held_dropped", intake.held_dropped),
            ("fenced", intake.fenced),
            ("windows_forgotten", intake.windows_forgotten),
            ("malformed", counts.malformed),
            ("unknown_verb", counts.unknown_verb),
            ("bad_checksum", counts.bad_checksum),
            ("unsent", counts.unsent),
            ("not_allowed", counts.not_allowed),
            ("stray", counts.stray),
            ("kernel_drops", counts.kernel_drops),
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
    fn gauges(&self, now: Now) -> [(&'static str, f64); 7] {
        let oldest_age = self.desk.printer.oldest().map(|at| now.since_start.saturating_sub(at));
        [
            ("depth", self.desk.printer.unwritten() as f64),
            ("depth_max", UNWRITTEN_MAX as f64),
            ("oldest_age_s", oldest_age.unwrap_or_default().as_secs_f64()),
            ("answers_held", self.answers.held() as f64),
            ("producers", self.intake.producers() as f64),
            ("held_bytes", self.intake.held_bytes() as f64),
            ("id_windows", self.intake.id_windows() as f64),
        ]
    }
}

fn log_full(now: Now, from: SocketAddr, count: u64, limit: &mut LogLimit) {
    if let Some(withheld) = limit.pass(now) {
        tracing::warn!("Stdout is slow: refused {count} messages from {from} ({withheld} more unsaid)");
    }
}

/// The text of a datagram that is exactly one frame with a verb. All else is the bare JSON of 2016; an object never
/// begins as a frame does.
fn framed(datagram: &[u8]) -> Option<&[u8]> {
    frame::only(datagram).ok().filter(|text| Call::is_one(text) || Request::parse_text(text).is_some())
}

impl Machine for Sink {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        if port != INPUT {
            self.desk.counts.stray += 1;
            return;
        }
        let Some(text) = framed(datagram) else { return self.desk.take(now, [datagram]) };
        if let Err(error) = self.handle_text(now, from, text) {
            self.reject(now, from, &error); // counted, never answered
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.desk.reports.is_due(now) {
            self.close_report(now);
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Some(self.desk.reports.poll_timeout())
    }

    fn poll_transmit(&mut self, _now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        let Self { desk, answers, .. } = self;
        match answers.poll(&desk.printer, bytes) {
            Some(to) => Some(Transmit { port: INPUT, to }),
            None => desk.reports.poll_transmit(bytes),
        }
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        self.desk.printer.give(bytes).then_some(STDOUT)
    }

    fn handle_written(&mut self, _now: Now, outlet: Outlet, bytes: u64) {
        if outlet == STDOUT {
            self.desk.printer.handle_written(bytes);
        }
    }

    fn handle_outsider(&mut self, now: Now, _port: Port, from: SocketAddr) {
        self.desk.counts.not_allowed += 1;
        if let Some(withheld) = self.desk.bad_limit.pass(now) {
            tracing::warn!("Not allowed: a datagram from {from} ({withheld} more unsaid)");
        }
    }

    fn handle_unsent(&mut self, port: Port, _to: SocketAddr) {
        if port == INPUT {
            self.desk.counts.unsent += 1;
        }
    }

    fn handle_kernel_drops(&mut self, port: Port, total: u64) {
        if port == INPUT {
            self.desk.counts.kernel_drops = total;
        }
    }

    /// Confirmations of lines that are being written are waited for.
    fn is_settled(&self) -> bool {
        self.answers.held() == 0
    }

    fn handle_stop(&mut self, now: Now) {
        tracing::info!("Shutting down");
        self.close_report(now);
        Reports::log_ledger(&self.ledger());
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
        Sink::new(7, messages, Reports::new(identity, LogOrder::CountFirst, Duration::from_secs(1), Some(to), at(0)))
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
        let weir = report.weir.unwrap();
        assert_eq!((weir.kind.as_deref(), weir.node.as_deref(), weir.boot), (Some("sink"), Some("7"), Some(1)));
        // What was given out has not been written: three lines, for a second.
        assert_eq!(["depth", "oldest_age_s"].map(|name| weir.gauges[name].to_bits()), [3_f64, 1.0].map(f64::to_bits));
        let ledger = weir.ledger;
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
}
