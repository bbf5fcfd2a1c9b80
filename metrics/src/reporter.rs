//! Counts one node's period and makes its reports.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use machine::Now;

use crate::{
    bins::Tally,
    histogram::{Latencies, Taken},
    members,
    report::{Report, Weir},
    standing::{Doing, EDGES_MAX, Edge, Spent},
};

/// The shortest period. A shorter one would make a node do little else than report.
pub const PERIOD_MIN: Duration = Duration::from_millis(10);

/// The longest period that one report covers; a longer one is reported in pieces of this, so that the seconds of a
/// report always fit in a datagram.
pub const PERIOD_MAX: Duration = Duration::from_mins(10);

/// Who reports: goes into every report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Which node it is. Cut to [`NAME_BYTES_MAX`](crate::NAME_BYTES_MAX), as is `func`.
    pub vuid: String,
    /// What it does: `Messagequeue`, `Sink`, `Feeder` or its function's name.
    pub func: String,
    /// Where it listens, if it does.
    pub address: Option<SocketAddr>,
}

/// Counts one node's period and makes its reports. It always runs, whether or not anything is sent.
#[derive(Debug)]
pub struct Reporter {
    identity: Identity,
    kind: Option<&'static str>,
    /// The node's name for its clients, and its boot.
    server: Option<(u64, u64)>,
    period: Duration,
    opened: Now,
    due: Duration,
    throughput_in: Throughput,
    throughput_out: Throughput,
    bins: Tally,
    latencies: Latencies,
    edges: Vec<Edge>,
    spent: Spent,
}

impl Reporter {
    /// The first period begins at `now`. A period outside [`PERIOD_MIN`] to [`PERIOD_MAX`] is reported as the nearer one.
    pub fn new(identity: Identity, period: Duration, now: Now) -> Self {
        let period = period.clamp(PERIOD_MIN, PERIOD_MAX);
        Self {
            identity: Identity {
                vuid: members::cut(identity.vuid),
                func: members::cut(identity.func),
                address: identity.address,
            },
            kind: None,
            server: None,
            period,
            opened: now,
            due: now.since_start.saturating_add(period),
            throughput_in: Throughput::default(),
            throughput_out: Throughput::default(),
            bins: Tally::default(),
            latencies: Latencies::default(),
            edges: Vec::new(),
            spent: Spent::default(),
        }
    }

    /// What every report says of the node from now on: what kind it is (`queue`, `worker`, `sink`, `feeder`) and, of one
    /// that clients know by a name, that name and the boot.
    pub fn introduce(&mut self, kind: &'static str, server: Option<(u64, u64)>) {
        self.kind = Some(kind);
        self.server = server;
    }

    /// The node's edges for the next report. Those beyond [`EDGES_MAX`] are left out, and counted there.
    pub fn set_edges(&mut self, edges: Vec<Edge>) {
        self.edges = edges;
    }

    /// From `now` on the node does this. A node that never says so has no [`Share`](crate::Share) in its reports.
    pub fn go_on(&mut self, now: Now, doing: Doing) {
        self.spent.go_on(now.since_start, doing);
    }

    /// Which node it is.
    pub fn vuid(&self) -> &str {
        &self.identity.vuid
    }

    /// What the node does.
    pub fn func(&self) -> &str {
        &self.identity.func
    }

    /// One message came in.
    pub fn count_in(&mut self, now: Now) {
        self.count_all_in(now, 1);
    }

    /// So many messages came in.
    pub fn count_all_in(&mut self, now: Now, messages: u64) {
        self.throughput_in.count(now, messages);
    }

    /// One message went out.
    pub fn count_out(&mut self, now: Now) {
        self.count_all_out(now, 1);
    }

    /// So many messages went out.
    pub fn count_all_out(&mut self, now: Now, messages: u64) {
        self.throughput_out.count(now, messages);
    }

    /// One latency, into its bin and the histogram.
    pub fn record_latency(&mut self, latency: Duration) {
        self.record_latencies(latency, 1);
    }

    /// The same latency of so many messages.
    pub fn record_latencies(&mut self, latency: Duration, messages: u64) {
        let nanoseconds =
            latency.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(latency.subsec_nanos()));
        self.bins.record(latency, nanoseconds, messages);
        self.latencies.record(nanoseconds, messages);
    }

    /// When the next report is due, since start.
    pub fn next_report(&self) -> Duration {
        self.due
    }

    /// Whether a report is due.
    pub fn is_due(&self, now: Now) -> bool {
        now.since_start >= self.due
    }

    /// Ends the period at `now`: gives its report, begins the next one and sets its deadline. It may be called before
    /// the report is due, as for a node's last words.
    ///
    /// `ledger` holds cumulative counts since the node's start, `gauges` how things stand; a gauge that is no number is
    /// left out.
    pub fn close(&mut self, now: Now, ledger: &[(&'static str, u64)], gauges: &[(&'static str, f64)]) -> Report {
        let (sums, counts) = self.bins.take();
        let Taken { encoded, below, above } = self.latencies.take();
        let share = self.spent.take(self.opened.since_start, now.since_start);
        let mut edges = std::mem::take(&mut self.edges);
        let edges_left_out = edges.len().saturating_sub(EDGES_MAX) as u64;
        edges.truncate(EDGES_MAX);
        let report = Report {
            t0: self.period_start(now).as_secs_f64(),
            t1: now.epoch_seconds(),
            func: self.identity.func.clone(),
            vuid: self.identity.vuid.clone(),
            latency_time: some(sums),
            latency_count: some(counts),
            throughput_in: some(self.throughput_in.take()),
            throughput_out: some(self.throughput_out.take()),
            weir: Some(Weir {
                version: env!("CARGO_PKG_VERSION").into(),
                uptime_s: now.since_start.as_secs_f64(),
                address: self.identity.address,
                kind: self.kind.map(str::to_owned),
                node: self.server.map(|(node, _)| format!("{node:x}")),
                boot: self.server.map(|(_, boot)| boot),
                edges,
                edges_left_out,
                share,
                latency_hdr: encoded,
                latency_below: below,
                latency_above: above,
                ledger: ledger.iter().map(|&(name, count)| (name.into(), count)).collect(),
                gauges: finite(gauges).map(|(name, value)| (name.into(), value)).collect(),
                ..Weir::default()
            }),
        };
        self.opened = now;
        self.due = self.next_deadline(now);
        report
    }

    /// Where the last period ended, so that periods join without a gap; unless the wall clock was set meanwhile: then
    /// as long ago as the steady clock says, so that a period is never negative and never a day long.
    fn period_start(&self, now: Now) -> Duration {
        let lasted = now.since_start.saturating_sub(self.opened.since_start);
        let steady = now.since_epoch.saturating_sub(lasted);
        let was_set = steady.abs_diff(self.opened.since_epoch) > CLOCK_STEP;
        if was_set { steady } else { self.opened.since_epoch.min(now.since_epoch) }
    }

    /// One period after the last deadline, so that lateness does not add up; after a missed one, a period from now.
    fn next_deadline(&self, now: Now) -> Duration {
        let on_beat = self.due.saturating_add(self.period);
        if self.is_due(now) && on_beat > now.since_start {
            return on_beat;
        }
        now.since_start.saturating_add(self.period)
    }
}

/// By how much the two clocks differ after one was set. Slewing stays below 0.5 ms a second, 0.3 s in the longest period.
const CLOCK_STEP: Duration = Duration::from_secs(1);

fn some<K, V>(measure: BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    if measure.is_empty() { None } else { Some(measure) }
}

fn finite<'a>(gauges: &'a [(&'static str, f64)]) -> impl Iterator<Item = (&'static str, f64)> + 'a {
    gauges.iter().copied().filter(|(_, value)| value.is_finite())
}

/// Messages per epoch second.
#[derive(Debug, Default)]
struct Throughput {
    second: u64,
    count: u64,
    past: BTreeMap<u64, u64>,
}

/// How many seconds one report has: those of the longest period, and some for a clock that was set. What comes after is
/// counted in the last of them.
const SECONDS_MAX: usize = 700;

impl Throughput {
    fn count(&mut self, now: Now, messages: u64) {
        if messages == 0 {
            return;
        }
        let second = now.since_epoch.as_secs();
        if second != self.second {
            self.store();
            self.second = second;
        }
        self.count += messages;
    }

    fn store(&mut self) {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return;
        }
        let is_full = self.past.len() >= SECONDS_MAX && !self.past.contains_key(&self.second);
        let last = self.past.last_key_value().map(|(&second, _)| second);
        let second = last.filter(|_| is_full).unwrap_or(self.second);
        *self.past.entry(second).or_default() += count;
    }

    fn take(&mut self) -> BTreeMap<u64, u64> {
        self.store();
        std::mem::take(&mut self.past)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EdgeFlow, Histogram, Share, empty_histogram};

    const EPOCH_MS: u64 = 1_458_195_068_250;

    fn at(ms: u64) -> Now {
        clock(ms, EPOCH_MS + ms)
    }

    fn clock(since_start_ms: u64, since_epoch_ms: u64) -> Now {
        Now { since_start: Duration::from_millis(since_start_ms), since_epoch: Duration::from_millis(since_epoch_ms) }
    }

    fn reporter(period: Duration) -> Reporter {
        let address = Some("127.0.0.1:10000".parse().unwrap());
        Reporter::new(Identity { vuid: "NODE_1".into(), func: "Messagequeue".into(), address }, period, at(0))
    }

    fn datagram(report: &Report) -> String {
        String::from_utf8(report.to_datagram()).unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_idle_period_is_reported_with_nulls() {
        let mut reporter = reporter(SECOND);
        assert_eq!(
            datagram(&reporter.close(at(1_000), &[("accepted", 0)], &[("depth", 0.0), ("age_s", f64::NAN)])),
            "{\"t0\": 1458195068.25, \"t1\": 1458195069.25, \"func\": \"Messagequeue\", \"VUID\": \"NODE_1\", \
             \"latency_time\": null, \"latency_count\": null, \"throughput_in\": null, \"throughput_out\": null, \
             \"weir\": {\"version\": \"VERSION\", \"uptime_s\": 1.0, \"address\": \"127.0.0.1:10000\", \
             \"ledger\": {\"accepted\": 0}, \"gauges\": {\"depth\": 0.0}}}"
                .replace("VERSION", env!("CARGO_PKG_VERSION"))
        );
    }

    fn edge(index: u64) -> Edge {
        let flow = EdgeFlow::Out { sent: u64::MAX - 1, confirmed: Some(u64::MAX - 1), waits: true };
        let peer = "[2001:db8:2001:db8:2001:db8:2001:db8]:10000".parse().unwrap();
        Edge { flow, index, peer, node: Some("f".repeat(16)), guarantee: Some("exactly-once".to_owned()) }
    }

    #[test]
    fn what_a_node_says_of_itself_is_in_its_report() {
        let mut reporter = reporter(SECOND);
        reporter.introduce("queue", Some((0xab_cdef, 7)));
        reporter.go_on(at(250), Doing::Blocked);
        reporter.go_on(at(750), Doing::Busy);
        reporter.set_edges((0..70).map(edge).collect());
        let sent = reporter.close(at(1_000), &[], &[]).to_datagram();
        let weir = Report::parse(&sent).unwrap().weir.unwrap();
        assert_eq!((weir.kind.as_deref(), weir.node.as_deref(), weir.boot), (Some("queue"), Some("abcdef"), Some(7)));
        assert_eq!(weir.share, Some(Share { busy: 0.25, blocked: 0.5, idle: 0.25 }));
        assert_eq!((weir.edges.len(), weir.edges_left_out), (EDGES_MAX, 6));
        assert_eq!(weir.edges.last(), Some(&edge(63)));
        let next = reporter.close(at(2_000), &[], &[]).weir.unwrap();
        assert_eq!((next.edges.len(), next.edges_left_out), (0, 0));
        assert_eq!(next.share, Some(Share { busy: 1.0, blocked: 0.0, idle: 0.0 }));
    }

    #[test]
    fn a_period_is_taken_and_cleared_at_once() {
        let mut reporter = reporter(SECOND * 2);
        for ms in [0, 100, 749, 750, 1_750] {
            reporter.count_in(at(ms));
        }
        reporter.count_out(at(900));
        // The check of 2016: one latency each side of a bound, and two above.
        for latency in [0.001, 0.001_000_1, 1.0, 3.8] {
            reporter.record_latency(Duration::from_secs_f64(latency));
        }
        let report = reporter.close(at(2_000), &[], &[]);
        assert_eq!(report.throughput_in, Some([(1_458_195_068, 3), (1_458_195_069, 1), (1_458_195_070, 1)].into()));
        assert_eq!(report.throughput_out, Some([(1_458_195_069, 1)].into()));
        let bins: Vec<String> = report.latency_count.iter().flatten().map(|(bin, n)| format!("{bin} {n}")).collect();
        assert_eq!(bins, ["0.001000000 s 1", "0.010000000 s 1", "1.000000000 s 1", "10.000000000 s 1"]);
        assert_eq!(report.latency_time.unwrap().into_values().collect::<Vec<_>>(), [0.001, 0.001_000_1, 1.0, 3.8]);

        let next = reporter.close(at(4_000), &[], &[]);
        assert!(next.latency_count.is_none() && next.throughput_in.is_none() && next.throughput_out.is_none());
        assert_eq!(next.weir.unwrap().latency_hdr, None);
        assert_eq!(next.t0.to_bits(), report.t1.to_bits());
    }

    #[test]
    fn two_reports_give_the_histogram_of_both() {
        let mut all = empty_histogram();
        let mut merged = empty_histogram();
        for node in 0..2_u64 {
            let mut reporter = reporter(SECOND);
            for n in 0..1_000 {
                let latency = Duration::from_nanos(1_000 + n * n * (977 + node));
                reporter.record_latency(latency);
                all.record(u64::try_from(latency.as_nanos()).unwrap()).unwrap();
            }
            let sent = Report::parse(&reporter.close(at(1_000), &[], &[]).to_datagram()).unwrap();
            let histogram: Histogram<u64> = sent.histogram().unwrap().unwrap();
            assert_eq!(histogram.len(), 1_000);
            merged.add(histogram).unwrap();
        }
        assert_eq!(merged, all);
        assert_eq!(merged.value_at_quantile(0.99), all.value_at_quantile(0.99));
    }

    #[test]
    fn deadlines_keep_their_beat() {
        let mut reporter = reporter(SECOND);
        for (closed_ms, next_ms) in [
            (1_000, 2_000),
            (2_300, 3_000),
            // Before the deadline, as for last words.
            (2_500, 3_500),
            // After more than one deadline was missed.
            (9_900, 10_900),
        ] {
            reporter.close(at(closed_ms), &[], &[]);
            assert_eq!(reporter.next_report(), Duration::from_millis(next_ms));
            assert!(!reporter.is_due(at(next_ms - 1)) && reporter.is_due(at(next_ms)));
        }
    }

    #[test]
    fn long_periods_come_in_pieces_and_no_period_is_none() {
        for (period, reported) in [
            (Duration::MAX, PERIOD_MAX),
            (Duration::from_hours(1), PERIOD_MAX),
            (Duration::from_mins(1), Duration::from_mins(1)),
            (Duration::ZERO, PERIOD_MIN),
        ] {
            assert_eq!(reporter(period).next_report(), reported);
        }
    }

    #[test]
    fn a_full_report_of_the_longest_period_fits_with_its_histogram() {
        let mut reporter = reporter(PERIOD_MAX);
        for ms in (0..600_000).step_by(100) {
            for _ in 0..10 {
                reporter.count_in(at(ms));
                reporter.count_out(at(ms));
            }
            reporter.record_latency(Duration::from_nanos(ms * 53_000));
        }
        let ledger = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|name| (name, 1_000_000_000));
        let sent = reporter.close(at(600_000), &ledger, &[]).to_datagram();
        let report = Report::parse(&sent).unwrap();
        assert_eq!(report.throughput_in.as_ref().map(BTreeMap::len), Some(601));
        assert_eq!(report.histogram().unwrap().unwrap().len(), 6_000);
        assert!(sent.len() <= protocol::DATAGRAM_BYTES_MAX);
    }

    #[test]
    fn a_report_of_many_edges_keeps_its_histogram() {
        let mut reporter = reporter(SECOND);
        for n in 0..100_000 {
            reporter.record_latency(Duration::from_micros(n));
        }
        reporter.set_edges((0..100).map(edge).collect());
        let ledger: Vec<String> = (0..40).map(|n| format!("a_counter_of_this_length_{n}")).collect();
        let mut report = reporter.close(at(1_000), &[], &[]);
        let weir = report.weir.as_mut().unwrap();
        weir.ledger = ledger.into_iter().map(|name| (name, u64::MAX)).collect();
        assert!(Report::parse(&report.to_datagram()).unwrap().histogram().unwrap().is_some());
    }

    #[test]
    fn a_clock_that_was_set_makes_no_wrong_period() {
        for (set_to_ms, t0) in [
            // Slewed: periods join.
            (EPOCH_MS + 1_000 + 100, 1_458_195_068.25),
            // Back by an hour, forward by a day, back by less than the period: as long as it lasted.
            (EPOCH_MS + 1_000 - 3_600_000, 1_458_191_468.25),
            (EPOCH_MS + 1_000 + 86_400_000, 1_458_281_468.25),
            (EPOCH_MS - 500, 1_458_195_066.75),
        ] {
            let now = clock(1_000, set_to_ms);
            let report = reporter(SECOND).close(now, &[], &[]);
            assert_eq!(report.t0.to_bits(), f64::to_bits(t0), "{}", report.t0);
            assert!(report.t0 <= report.t1);
        }
    }

    #[test]
    fn a_clock_that_jumps_about_fills_no_memory_and_loses_no_count() {
        let mut reporter = reporter(PERIOD_MAX);
        for n in 0..100_000_u64 {
            reporter.count_in(clock(0, n * 1_000));
        }
        let seconds = reporter.close(at(1_000), &[], &[]).throughput_in.unwrap();
        assert_eq!(seconds.len(), SECONDS_MAX);
        assert_eq!(seconds.values().sum::<u64>(), 100_000);
    }

    #[test]
    fn long_names_are_cut() {
        let identity = Identity { vuid: "é".repeat(4_000), func: "Sink".into(), address: None };
        let reporter = Reporter::new(identity, SECOND, at(0));
        assert_eq!(reporter.vuid(), "é".repeat(500));
        assert_eq!(reporter.func(), "Sink");
    }
}
