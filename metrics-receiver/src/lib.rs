//! A receiver of reports, as a machine: each becomes a text report on stdout and a JSON body for the hub.
//!
//! It keeps nothing of a report, so a hundred thousand nodes cost it no more memory than one.

mod hub;
mod table;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use chrono::TimeZone;
use machine::{LogLimit, Machine, Now, Outlet, Port, STDOUT, Transmit};
use metrics::{Report, ReportError};

pub use hub::hub_body;
pub use table::text_report;

/// Where reports arrive.
pub const REPORTS: Port = Port(0);

/// JSON bodies for the hub, each on a line of its own. A body holds no line end, so lines part them again where several
/// leave in one turn.
pub const HUB: Outlet = Outlet(1);

/// What came of the datagrams since the receiver started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reports of nodes of ours.
    pub reports: u64,
    /// Bare reports of 2016.
    pub reports_2016: u64,
    /// Datagrams that do not begin as a JSON object does.
    pub not_an_object: u64,
    /// Datagrams that are not JSON.
    pub not_json: u64,
    /// JSON that is not a report.
    pub not_a_report: u64,
    /// Datagrams from addresses that are not allowed.
    pub not_allowed: u64,
    /// Datagrams that the kernel dropped for want of room.
    pub kernel_drops: u64,
    /// Bodies given out for the hub.
    pub bodies: u64,
}

/// The receiver. Times of day are shown in `zone`.
#[derive(Debug)]
pub struct Receiver<Zone> {
    zone: Zone,
    posts: bool,
    counts: Counts,
    outputs: VecDeque<(Outlet, Vec<u8>)>,
    bad_limit: LogLimit,
}

impl<Zone: TimeZone> Receiver<Zone> {
    /// A receiver; with `posts`, it gives out bodies on [`HUB`].
    pub fn new(zone: Zone, posts: bool) -> Self {
        Self { zone, posts, counts: Counts::default(), outputs: VecDeque::new(), bad_limit: LogLimit::default() }
    }

    /// What came of the datagrams so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn take(&mut self, report: &Report) {
        if report.is_ours() {
            self.counts.reports += 1;
        } else {
            self.counts.reports_2016 += 1;
        }
        // As `print` did, which adds a line end.
        self.outputs.push_back((STDOUT, (text_report(report, &self.zone) + "\n").into_bytes()));
        if let Some(mut body) = hub_body(report).filter(|_| self.posts) {
            body.push(b'\n');
            self.counts.bodies += 1;
            self.outputs.push_back((HUB, body));
        }
    }

    /// As in 2016: the datagram on stdout, the reason in the log.
    fn refuse(&mut self, now: Now, from: SocketAddr, datagram: &[u8], error: &ReportError) {
        match error {
            ReportError::NotAnObject => self.counts.not_an_object += 1,
            ReportError::NotJson(_) => self.counts.not_json += 1,
            ReportError::NotAReport(_) => self.counts.not_a_report += 1,
        }
        let shown = table::on_one_line(&String::from_utf8_lossy(datagram));
        self.outputs.push_back((STDOUT, (shown + "\n").into_bytes()));
        if let Some(withheld) = self.bad_limit.pass(now) {
            let reason: String = table::on_one_line(&error.to_string()).chars().take(REASON_CHARS_MAX).collect();
            tracing::warn!("Bad datagram from {from}: {reason} ({withheld} more unsaid)");
        }
    }
}

/// A reason quotes what the peer sent.
const REASON_CHARS_MAX: usize = 200;

impl<Zone: TimeZone> Machine for Receiver<Zone> {
    fn handle_datagram(&mut self, now: Now, _port: Port, from: SocketAddr, datagram: &[u8]) {
        match Report::parse(datagram) {
            Ok(report) => self.take(&report),
            Err(error) => self.refuse(now, from, datagram, &error),
        }
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    fn poll_transmit(&mut self, _now: Now, _datagram: &mut Vec<u8>) -> Option<Transmit> {
        None
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        let (outlet, output) = self.outputs.pop_front()?;
        bytes.extend(output);
        Some(outlet)
    }

    fn handle_outsider(&mut self, now: Now, _port: Port, from: SocketAddr) {
        self.counts.not_allowed += 1;
        if let Some(withheld) = self.bad_limit.pass(now) {
            tracing::warn!("Not allowed: a datagram from {from} ({withheld} more unsaid)");
        }
    }

    fn handle_kernel_drops(&mut self, _port: Port, total: u64) {
        let dropped = total.saturating_sub(self.counts.kernel_drops);
        if dropped > 0 {
            tracing::warn!("The kernel dropped {dropped} datagrams for want of room; the hub misses their reports");
            self.counts.kernel_drops = total;
        }
    }

    fn handle_stop(&mut self, _now: Now) {
        let Counts { reports, reports_2016, not_an_object, not_json, not_a_report, not_allowed, kernel_drops, bodies } =
            self.counts;
        tracing::info!("Shutting down");
        tracing::info!(
            "Datagrams: {reports} reports, {reports_2016} reports of 2016, {not_an_object} not an object, {not_json} \
             not JSON, {not_a_report} not a report, {not_allowed} not allowed, {kernel_drops} dropped by the kernel; {bodies} bodies for the hub"
        );
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;

    const OURS: &str = r#"{"t0": 1, "t1": 2, "func": "Sink", "VUID": "S", "weir": {}}"#;
    const BARE: &str = r#"{"t0": 1, "t1": 2, "func": "Sink", "VUID": "S"}"#;

    fn now() -> Now {
        Now { since_start: Duration::ZERO, since_epoch: Duration::ZERO }
    }

    fn receive(receiver: &mut Receiver<Utc>, datagram: &[u8]) -> Vec<(Outlet, String)> {
        receiver.handle_datagram(now(), REPORTS, "127.0.0.1:9".parse().unwrap(), datagram);
        let mut outputs = Vec::new();
        let mut bytes = Vec::new();
        while let Some(outlet) = receiver.poll_output(&mut bytes) {
            outputs.push((outlet, String::from_utf8(std::mem::take(&mut bytes)).unwrap()));
        }
        outputs
    }

    #[test]
    fn a_report_is_printed_and_posted() {
        let mut receiver = Receiver::new(Utc, true);
        let outputs = receive(&mut receiver, OURS.as_bytes());
        let text = text_report(&Report::parse(OURS.as_bytes()).unwrap(), &Utc);
        assert_eq!(outputs[0], (STDOUT, text + "\n"));
        let (outlet, body) = &outputs[1];
        assert_eq!((*outlet, body.matches('\n').count(), body.ends_with("}\n")), (HUB, 1, true));
        assert_eq!(receiver.counts(), Counts { reports: 1, bodies: 1, ..Counts::default() });
    }

    #[test]
    fn an_idle_report_of_2016_is_printed_only() {
        let mut receiver = Receiver::new(Utc, true);
        assert_eq!(receive(&mut receiver, BARE.as_bytes()).len(), 1);
        assert_eq!(receiver.counts(), Counts { reports_2016: 1, ..Counts::default() });
    }

    #[test]
    fn without_a_hub_nothing_is_posted() {
        let mut receiver = Receiver::new(Utc, false);
        assert_eq!(receive(&mut receiver, OURS.as_bytes()).len(), 1);
    }

    #[test]
    fn a_bad_datagram_is_printed_counted_and_forgotten() {
        let mut receiver = Receiver::new(Utc, true);
        for (datagram, printed) in [
            (&b""[..], "\n"),
            (b"14SIZE", "14SIZE\n"),
            (b"{\"t0\": \xff}", "{\"t0\": \u{fffd}}\n"),
            (b"{\"t0\":\n\x1b[2J", "{\"t0\":\\n\\x1b[2J\n"),
            (b"{}", "{}\n"),
        ] {
            assert_eq!(receive(&mut receiver, datagram), [(STDOUT, printed.to_owned())]);
        }
        let counts = Counts { not_an_object: 2, not_json: 2, not_a_report: 1, ..Counts::default() };
        assert_eq!(receiver.counts(), counts);
        assert_eq!(receive(&mut receiver, OURS.as_bytes()).len(), 2);
    }

    #[test]
    fn a_hundred_thousand_nodes_leave_nothing_behind() {
        let mut receiver = Receiver::new(Utc, true);
        for node in 0..100_000 {
            let datagram = OURS.replace("\"S\"", &format!("\"{node}\""));
            assert_eq!(receive(&mut receiver, datagram.as_bytes()).len(), 2);
        }
        assert_eq!(receiver.counts().reports, 100_000);
        assert!(receiver.outputs.is_empty() && receiver.outputs.capacity() < 10);
    }

    #[test]
    fn what_the_kernel_drops_is_counted_once() {
        let mut receiver = Receiver::new(Utc, true);
        for total in [0, 3, 3, 7] {
            receiver.handle_kernel_drops(REPORTS, total);
        }
        assert_eq!(receiver.counts().kernel_drops, 7);
    }
}
