//! A node's reports on their way: counted, logged once a period, sent to whoever is to have them.

use std::{collections::VecDeque, time::Duration};

use machine::{Now, Transmit};

use crate::{Identity, Report, Reporter};

/// How many reports may wait to be sent; it is one in practice, because a driver takes them at once.
const WAITING_MAX: usize = 16;

/// In which order a node of 2016 logged its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOrder {
    /// Latency time, latency count, throughput.
    TimeFirst,
    /// Latency count, latency time, throughput: the sink's.
    CountFirst,
}

/// What a machine with metrics holds: the counting of a [`Reporter`], and the way out of its reports.
#[derive(Debug)]
pub struct Reports {
    /// Counts the period.
    pub reporter: Reporter,
    order: LogOrder,
    to: Option<Transmit>,
    waiting: VecDeque<Vec<u8>>,
}

impl Reports {
    /// Reports go to `to`, if anywhere; they are made and logged all the same, once a `period` from `now` on.
    pub fn new(identity: Identity, order: LogOrder, period: Duration, to: Option<Transmit>, now: Now) -> Self {
        Self { reporter: Reporter::new(identity, period, now), order, to, waiting: VecDeque::new() }
    }

    /// When the next report is due, since start.
    pub fn poll_timeout(&self) -> Duration {
        self.reporter.next_report()
    }

    /// Whether the period is over.
    pub fn is_due(&self, now: Now) -> bool {
        self.reporter.is_due(now)
    }

    /// Ends the period: its report is logged and waits to be sent. `ledger` and `gauges` are the node's own, by name.
    pub fn close(&mut self, now: Now, ledger: &[(&'static str, u64)], gauges: &[(&'static str, f64)]) {
        let report = self.reporter.close(now, ledger, gauges);
        match self.order {
            LogOrder::TimeFirst => log(&report.log_lines()),
            LogOrder::CountFirst => log(&report.sink_log_lines()),
        }
        self.send(&report);
    }

    /// Ends the last period, whose log lines are the queue's and the worker's last words of 2016.
    pub fn close_last(&mut self, now: Now, ledger: &[(&'static str, u64)], gauges: &[(&'static str, f64)]) {
        let report = self.reporter.close(now, ledger, gauges);
        log(&report.stop_log_lines());
        Self::log_ledger(ledger);
        self.send(&report);
    }

    /// Logs the node's counters, as its last word: those that are not 0.
    pub fn log_ledger(ledger: &[(&'static str, u64)]) {
        let counts: Vec<String> =
            ledger.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {count}")).collect();
        tracing::info!("Ledger: {}", if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") });
    }

    fn send(&mut self, report: &Report) {
        if self.to.is_some() && self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(report.to_datagram());
        }
    }

    /// The next report out, appended to `bytes`.
    pub fn poll_transmit(&mut self, bytes: &mut Vec<u8>) -> Option<Transmit> {
        let to = self.to?;
        bytes.extend_from_slice(&self.waiting.pop_front()?);
        Some(to)
    }
}

fn log(lines: &[String]) {
    for line in lines {
        tracing::info!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use machine::Port;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now { since_start: Duration::from_secs(seconds), since_epoch: Duration::from_secs(1_458_195_068 + seconds) }
    }

    fn reports(to: Option<Transmit>) -> Reports {
        let identity = Identity { vuid: "NODE_1".into(), func: "Messagequeue".into(), address: None };
        Reports::new(identity, LogOrder::TimeFirst, Duration::from_secs(1), to, at(0))
    }

    /// How many reports come out.
    fn sent(reports: &mut Reports) -> usize {
        let mut datagram = Vec::new();
        std::iter::from_fn(|| {
            datagram.clear();
            let transmit = reports.poll_transmit(&mut datagram)?;
            Report::parse(&datagram).expect("a report");
            Some(transmit)
        })
        .count()
    }

    #[test]
    fn every_period_is_sent_once_and_so_are_the_last_words() {
        let mut reports = reports(Some(Transmit { port: Port(1), to: "127.0.0.1:5001".parse().unwrap() }));
        assert!(!reports.is_due(at(0)) && reports.is_due(at(1)));
        reports.close(at(1), &[], &[]);
        assert_eq!((sent(&mut reports), sent(&mut reports)), (1, 0));
        reports.close_last(at(2), &[], &[]);
        assert_eq!(sent(&mut reports), 1);
        assert_eq!(reports.poll_timeout(), Duration::from_secs(3));
    }

    #[test]
    fn without_a_receiver_periods_end_all_the_same() {
        let mut reports = reports(None);
        reports.close(at(1), &[], &[]);
        assert_eq!(sent(&mut reports), 0);
        assert_eq!(reports.poll_timeout(), Duration::from_secs(2));
    }

    #[test]
    fn reports_that_nobody_fetches_fill_no_memory() {
        let mut reports = reports(Some(Transmit { port: Port(1), to: "127.0.0.1:5001".parse().unwrap() }));
        for second in 1..100 {
            reports.close(at(second), &[], &[]);
        }
        assert_eq!(sent(&mut reports), WAITING_MAX);
    }
}
