//! A feeder, as a machine: lines go in, each leaves as a message to one queue, and at the end every line is accounted for.
//!
//! Lines come in as [`Entry`]s, which a reader makes with [`Sources`]; so this machine opens no file. It takes lines as it
//! can send them: the queue's answers, a pace or both hold it back, and nothing piles up.
//!
//! On the link a message's number in the feed is its identity. A feeder that was killed and is started again learns from
//! the queue how many messages that has, and skips as many.

mod edge;
mod entry;
mod fix;
mod held;
mod identity;
mod pace;
mod progress;
mod rows;
mod sources;
mod summary;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Duration};

use link::{Failure, Guarantee};
use machine::{LogLimit, Machine, Now, Outlet, Port, STDOUT, Transmit};
use metrics::{Doing, Reports, python};

pub use edge::Delivery;
pub use entry::{BadRow, Entry};
pub use identity::Feed;
pub use pace::Pace;
pub use progress::{Progress, State};
pub use sources::{Source, Sources};
pub use summary::Summary;

use edge::{Edge, Tally};
use fix::Stamp;
use held::Held;
use pace::Pacer;
use progress::Meter;

/// Where messages leave from and are answered.
pub const QUEUE: Port = Port(0);

/// Where reports are sent from.
pub const METRICS: Port = Port(1);

/// Where snapshots of the [`Progress`] go.
pub const PROGRESS: Outlet = Outlet(1);

/// How many lines, and how many bytes of them, are taken ahead of sending: one turn's.
const HELD_MAX: u64 = 4_096;
const HELD_BYTES_MAX: usize = 256 << 10;

/// One turn's lines where each is a datagram, be it to a queue of 2016 that is heeded.
const HELD_MAX_OLD: u64 = 256;

/// One turn's lines where no answer is waited for: as many as the answers that a turn takes in, so that these do not
/// pile up in the socket until the kernel drops them.
const HELD_MAX_FLAT_OUT: u64 = 32;

/// How long to wait at the end for answers that may still come, after the last that did.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long there is between two lines in the log that say the same of the queue.
const SAID_AGAIN: Duration = Duration::from_secs(5);

/// What a line of a source becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The message of 2016: stripped, in quotes, with the time of its sending in tag 999.
    Fix,
    /// The line as it is, without its end.
    Lines,
    /// A JSON object for each row, its members named by the header.
    Csv,
}

/// How a feeder feeds.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The queue.
    pub queue: SocketAddr,
    /// How messages get there.
    pub delivery: Delivery,
    /// What the lines are.
    pub format: Format,
    /// How fast they may leave.
    pub pace: Pace,
    /// After how many messages it is done, be there more lines or not. Those that the queue has already count.
    pub messages_max: u64,
    /// Whether somebody watches the progress.
    pub shows_progress: bool,
    /// Whether to write the summary to stdout, as JSON.
    pub writes_summary: bool,
}

/// What was read, and what is odd, since the node started. What became of the messages that were pushed is in [`Tally`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    read: u64,
    read_bytes: u64,
    blank: u64,
    too_long: u64,
    ragged: u64,
    bad_quoting: u64,
    not_utf8: u64,
    unreadable: u64,
    /// Messages that the queue had from a process before this one.
    resumed: u64,
    /// Messages that the edge has taken.
    pushed: u64,
    stray: u64,
    kernel_drops: u64,
    unsent: u64,
}

impl Counts {
    fn bad_rows(&self) -> u64 {
        self.ragged + self.bad_quoting + self.not_utf8
    }

    /// Messages of the feed that need not be read any more.
    fn fed(&self) -> u64 {
        self.resumed + self.pushed
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There may be more lines.
    Reading,
    /// There are no more: what is held leaves, and the last answers come.
    Ending,
    /// The operator wants it to end: no more is begun, what was begun may be answered.
    Stopping,
    /// The end has come.
    Stopped,
}

impl Phase {
    fn is_stop(self) -> bool {
        matches!(self, Self::Stopping | Self::Stopped)
    }
}

/// What was last heard of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    NobodyListens,
    Answer,
    /// It has refused a message for good.
    Full,
}

/// The feeder.
#[derive(Debug)]
pub struct Feeder {
    plan: Plan,
    edge: Edge,
    pacer: Pacer,
    held: Held,
    /// Reused from message to message.
    message: Vec<u8>,
    stamp: Stamp,
    phase: Phase,
    heard: Heard,
    /// The time of the last turn.
    now: Now,
    first_at: Option<Duration>,
    /// When a message was last sent or answered.
    last_at: Duration,
    /// When the log last had it that no queue answers, or that it is full.
    silence_said_at: Option<Duration>,
    full_said_at: Option<Duration>,
    counts: Counts,
    meter: Meter,
    said_last: bool,
    wrote_summary: bool,
    reports: Reports,
    bad_limit: LogLimit,
}

impl Feeder {
    /// A feeder that has sent nothing.
    pub fn new(plan: Plan, mut reports: Reports) -> Self {
        reports.reporter.introduce("feeder", None);
        Self {
            edge: Edge::new(&plan.delivery),
            pacer: Pacer::new(plan.pace),
            held: Held::default(),
            message: Vec::new(),
            stamp: Stamp::default(),
            phase: if plan.messages_max == 0 { Phase::Ending } else { Phase::Reading },
            heard: Heard::Nothing,
            now: Now { since_start: Duration::ZERO, since_epoch: Duration::ZERO },
            first_at: None,
            last_at: Duration::ZERO,
            silence_said_at: None,
            full_said_at: None,
            counts: Counts::default(),
            meter: Meter::default(),
            said_last: false,
            wrote_summary: false,
            reports,
            bad_limit: LogLimit::default(),
            plan,
        }
    }

    /// What became of every line so far. A message whose answer is still due counts as unconfirmed.
    pub fn summary(&self) -> Summary {
        let Counts { read, blank, too_long, unreadable, resumed, .. } = self.counts;
        let tally = self.edge.tally();
        let summary = Summary {
            read,
            blank,
            sent: tally.sent,
            confirmed: tally.confirmed,
            refused: tally.refused,
            unconfirmed: tally.unconfirmed + tally.under_way,
            too_long,
            bad_rows: self.counts.bad_rows(),
            unreadable,
            resumed,
            resent_batches: tally.resent_batches,
            guarantee: self.edge.negotiated().map(Guarantee::as_str),
            ..Summary::default()
        };
        summary.lasting(self.last_at.saturating_sub(self.first_at.unwrap_or(self.last_at)))
    }

    /// How many lines should have been confirmed and are not: 0 if all went well. Of a feeder that was told to stop, only
    /// what it had sent should have.
    pub fn missing(&self) -> u64 {
        let Summary { read, blank, sent, confirmed, resumed, .. } = self.summary();
        let due = if self.phase.is_stop() { sent } else { read - blank - resumed };
        due.saturating_sub(confirmed)
    }

    /// Why the edge to the queue has given up, if it has: the feeder is done then.
    pub fn failure(&self) -> Option<Failure> {
        self.edge.failed()
    }

    fn take_entry(&mut self, now: Now, entry: Entry<'_>) {
        if entry == Entry::Unreadable {
            self.counts.unreadable += 1;
            return;
        }
        self.counts.read += 1;
        self.reports.reporter.count_in(now);
        match entry {
            Entry::Message(text) => self.held.push(text),
            Entry::Blank => self.counts.blank += 1,
            Entry::TooLong => self.counts.too_long += 1,
            Entry::BadRow(BadRow::Ragged) => self.counts.ragged += 1,
            Entry::BadRow(BadRow::BadQuoting) => self.counts.bad_quoting += 1,
            Entry::BadRow(BadRow::NotUtf8) => self.counts.not_utf8 += 1,
            Entry::Unreadable => {}
        }
    }

    fn handle_answer(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) {
        let (before, node) = (self.edge.tally(), self.edge.peer_node());
        self.edge.handle_datagram(now, datagram);
        let after = self.edge.tally();
        if node.is_some() && self.edge.peer_node() != node {
            let confirmed = after.confirmed;
            tracing::warn!(
                "The queue at {from} has been started anew: of {confirmed} messages that were confirmed, it has none; going on behind them"
            );
        }
        if after.bad() > before.bad() {
            return self.log_bad(now, from);
        }
        if after.answered() > before.answered() {
            self.last_at = now.since_start;
        }
        if after.negotiations > before.negotiations {
            self.log_negotiated(from);
        }
        if self.edge.unanswered_probes() == 0 && self.silence_said_at.take().is_some() {
            tracing::warn!("The queue at {from} answers");
        }
        self.heard = Heard::Answer;
        if after.refused > before.refused {
            self.heard = Heard::Full;
            if is_to_say(&mut self.full_said_at, now) {
                tracing::warn!("The queue at {from} is full; messages refused so far: {}", after.refused);
            }
        }
        if after.refused_producers > before.refused_producers && is_to_say(&mut self.full_said_at, now) {
            tracing::warn!(
                "The queue at {from} has as many producers as it may: waiting until one of them ends (a feeder that was killed stays one until it is started again and ends)"
            );
        }
        if after.pushed_back > before.pushed_back && is_to_say(&mut self.full_said_at, now) {
            tracing::warn!("The queue at {from} is full: waiting");
        }
    }

    fn log_bad(&mut self, now: Now, from: SocketAddr) {
        if let Some(withheld) = self.bad_limit.pass(now) {
            tracing::warn!("Bad datagram from {from}: it cannot be read as an answer ({withheld} more unsaid)");
        }
    }

    fn log_negotiated(&self, from: SocketAddr) {
        match (self.edge.negotiated(), self.edge.level()) {
            (Some(guarantee), Some(level)) => tracing::info!("Queue at {from}: {guarantee}, {}", level.as_str()),
            (Some(guarantee), None) => tracing::info!("Queue at {from}: {guarantee} (a queue of 2016)"),
            (None, _) => {}
        }
        if let Some(messages @ 1..) = self.edge.resume_at().filter(|_| self.counts.fed() == 0) {
            tracing::info!("Messages of this feed that the queue has already, and that are skipped: {messages}");
        }
    }

    /// How many lines may be held: as many as could be sent now, as far as is known. One while the queue takes none, so
    /// that the end of the input is known without it.
    fn room(&self) -> u64 {
        let now = self.now.since_start;
        if self.phase != Phase::Reading {
            return 0;
        }
        let left = self.plan.messages_max.saturating_sub(self.counts.fed());
        if self.is_resuming() {
            return HELD_MAX.min(left);
        }
        if !self.edge.may_push() {
            return 1.min(left);
        }
        let turn = match (&self.edge, self.edge.negotiated()) {
            (Edge::FlatOut(_), _) => HELD_MAX_FLAT_OUT,
            (Edge::Link(_), Some(Guarantee::AtMostOnce)) => HELD_MAX_OLD,
            (Edge::Link(_), _) => HELD_MAX,
        };
        turn.min(left).min(self.pacer.room(now))
    }

    fn has_more(&self) -> bool {
        self.phase == Phase::Reading || self.phase == Phase::Ending && self.held.len() > 0
    }

    /// Whether the next message is one that the queue has already.
    fn is_resuming(&self) -> bool {
        self.edge.resume_at().is_some_and(|begin| self.counts.resumed < begin)
    }

    /// Whether there was nothing to feed, and no queue that would have to know.
    fn needs_no_queue(&self) -> bool {
        self.phase == Phase::Ending && self.held.len() == 0 && self.edge.negotiated().is_none()
    }

    /// Gives the edge what it takes now.
    fn pump(&mut self, now: Now) {
        while self.phase == Phase::Reading || self.phase == Phase::Ending {
            let Some(text) = self.held.front() else { break };
            let bytes_max = self.edge.text_bytes_max(self.plan.format);
            if text.len() > bytes_max {
                self.counts.too_long += 1;
                tracing::warn!("A line is not sent: it has {} bytes, and {bytes_max} is the limit", text.len());
            } else if self.is_resuming() {
                self.counts.resumed += 1;
            } else if !self.edge.may_push() || self.pacer.room(now.since_start) == 0 {
                break;
            } else {
                let text = match self.plan.format {
                    Format::Fix => {
                        self.message.clear();
                        fix::push_wrapped(text, self.stamp.at(now), &mut self.message);
                        &self.message
                    }
                    Format::Lines | Format::Csv => text,
                };
                if self.edge.push(now, text) {
                    self.counts.pushed += 1;
                    self.pacer.handle_sent(now.since_start);
                } else {
                    self.counts.too_long += 1;
                }
            }
            self.held.pop_front();
            if self.counts.fed() >= self.plan.messages_max {
                self.phase = Phase::Ending;
            }
        }
        if self.phase == Phase::Ending && self.held.len() == 0 {
            self.edge.end();
        }
    }

    /// The next datagram to the queue, if there is one.
    fn send(&mut self, now: Now, bytes: &mut Vec<u8>) -> bool {
        if self.phase == Phase::Stopped {
            return false;
        }
        self.pump(now);
        if self.needs_no_queue() {
            return false;
        }
        let sent = self.edge.tally().sent;
        if !self.edge.poll_transmit(now, bytes) {
            return false;
        }
        self.count_sent(now, self.edge.tally().sent - sent);
        // A queue that is there answers the first one at once.
        if self.edge.unanswered_probes() > 2 && is_to_say(&mut self.silence_said_at, now) {
            let why = if self.heard == Heard::NobodyListens { "nobody listens there" } else { "no answer" };
            tracing::warn!("Waiting for a queue at {} ({why})", self.plan.queue);
        }
        true
    }

    fn count_sent(&mut self, now: Now, messages: u64) {
        if messages > 0 {
            self.reports.reporter.count_all_out(now, messages);
            self.first_at.get_or_insert(now.since_start);
            self.last_at = now.since_start;
        }
    }

    /// The end of a feeder whose work is done: its last report, once.
    fn say_last(&mut self, now: Now) {
        if !self.said_last {
            self.said_last = true;
            let ledger = self.ledger();
            self.reports.reporter.set_edges(vec![self.told_edge()]);
            self.reports.close(now, &ledger, &self.gauges());
            Reports::log_ledger(&ledger);
        }
    }

    fn told_edge(&self) -> metrics::Edge {
        self.edge.told(self.plan.queue, self.is_held_back())
    }

    /// Whether there is something to send that the queue does not take now. The pace holds back, too, but nobody has to
    /// look for that.
    fn is_held_back(&self) -> bool {
        let waits = self.held.len() > 0 && !self.edge.may_push() && !self.is_resuming();
        self.phase != Phase::Stopped && (waits || self.edge.is_waiting())
    }

    /// The counters by name, cumulative since the node started.
    fn ledger(&self) -> [(&'static str, u64); 23] {
        let (counts, tally) = (self.counts, self.edge.tally());
        [
            ("read", counts.read),
            ("blank", counts.blank),
            ("too_long", counts.too_long),
            ("bad_rows", counts.bad_rows()),
            ("rows_ragged", counts.ragged),
            ("rows_bad_quoting", counts.bad_quoting),
            ("rows_not_utf8", counts.not_utf8),
            ("unreadable", counts.unreadable),
            ("resumed", counts.resumed),
            ("sent", tally.sent),
            ("confirmed", tally.confirmed),
            ("refused_full", tally.refused),
            ("unconfirmed", tally.unconfirmed),
            ("under_way", tally.under_way),
            ("pushed_back", tally.pushed_back),
            ("refused_producers", tally.refused_producers),
            ("resent_batches", tally.resent_batches),
            ("negotiations", tally.negotiations),
            ("malformed", tally.malformed),
            ("bad_checksum", tally.bad_checksum),
            ("stray", counts.stray + tally.stray),
            ("kernel_drops", counts.kernel_drops),
            ("unsent", counts.unsent),
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
    fn gauges(&self) -> [(&'static str, f64); 2] {
        [("waiting", self.waiting() as f64), ("read_bytes", self.counts.read_bytes as f64)]
    }

    /// How many messages were read and not sent.
    fn waiting(&self) -> u64 {
        self.held.len() + self.counts.pushed.saturating_sub(self.edge.tally().sent)
    }

    fn progress(&self, per_second: u64, tally: Tally) -> Progress {
        let state = match self.heard {
            _ if self.edge.unanswered_probes() > 1 => State::WaitingForQueue,
            _ if self.edge.is_held_back() => State::QueueFull,
            Heard::Full => State::QueueFull,
            Heard::Nothing | Heard::NobodyListens | Heard::Answer => State::Feeding,
        };
        let Counts { read_bytes, resumed, .. } = self.counts;
        Progress { read_bytes, sent: tally.sent, resumed, per_second, state }
    }

    /// When a feeder that has sent all waits no longer for answers that did not come in time.
    fn last_answers_until(&self) -> Duration {
        if self.edge.tally().unconfirmed == 0 { Duration::ZERO } else { self.last_at + LAST_ANSWERS }
    }

    fn has_ended(&self) -> bool {
        self.phase == Phase::Ending && self.held.len() == 0 && (self.needs_no_queue() || self.edge.has_ended())
    }
}

/// Whether something is to be said now that was last said at `said_at`; if so, that is taken as done.
fn is_to_say(said_at: &mut Option<Duration>, now: Now) -> bool {
    let is_due = said_at.is_none_or(|at| now.since_start >= at + SAID_AGAIN);
    if is_due {
        *said_at = Some(now.since_start);
    }
    is_due
}

impl Machine for Feeder {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        self.now = now;
        if port == QUEUE && from == self.plan.queue {
            self.handle_answer(now, from, datagram);
        } else {
            self.counts.stray += 1;
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        self.edge.handle_timeout(now);
        if self.reports.is_due(now) {
            self.reports.reporter.set_edges(vec![self.told_edge()]);
            self.reports.close(now, &self.ledger(), &self.gauges());
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let now = self.now.since_start;
        let has_more = self.has_more();
        let is_silent = self.phase == Phase::Stopped || self.needs_no_queue();
        let edge = self.edge.poll_timeout().filter(|_| !is_silent);
        let pace = Some(self.pacer.next_at()).filter(|at| has_more && *at > now);
        let end = self.has_ended().then(|| self.last_answers_until());
        let progress = self.plan.shows_progress.then(|| self.meter.due());
        [edge, pace, end, progress, Some(self.reports.poll_timeout())].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        self.now = now;
        if self.send(now, bytes) {
            return Some(Transmit { port: QUEUE, to: self.plan.queue });
        }
        self.reports.reporter.go_on(now, if self.is_held_back() { Doing::Blocked } else { Doing::Idle });
        if self.is_done() {
            self.say_last(now);
        }
        self.reports.poll_transmit(bytes)
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        if self.said_last && self.plan.writes_summary && !self.wrote_summary {
            self.wrote_summary = true;
            // It holds numbers under names: JSON always can.
            bytes.extend(python::to_vec(&self.summary()).unwrap_or_default());
            bytes.push(b'\n');
            return Some(STDOUT);
        }
        if !self.plan.shows_progress {
            return None;
        }
        let tally = self.edge.tally();
        let per_second = self.meter.poll(self.now.since_start, tally.sent)?;
        self.progress(per_second, tally).push(bytes);
        Some(PROGRESS)
    }

    fn wants_input(&self) -> bool {
        self.held.len() < self.room() && self.held.bytes() < HELD_BYTES_MAX
    }

    fn handle_input(&mut self, now: Now, line: Option<&[u8]>) {
        self.now = now;
        match line.map(Entry::parse) {
            Some(Some((entry, source_bytes))) => {
                self.counts.read_bytes += source_bytes;
                self.take_entry(now, entry);
            }
            Some(None) => self.take_entry(now, Entry::Unreadable),
            None if self.phase == Phase::Reading => self.phase = Phase::Ending,
            None => {}
        }
    }

    fn handle_refused(&mut self, _now: Now, port: Port) {
        if port == QUEUE {
            self.heard = Heard::NobodyListens;
        }
    }

    fn handle_unsent(&mut self, port: Port, _to: SocketAddr) {
        if port == QUEUE {
            self.counts.unsent += 1;
        }
    }

    fn handle_kernel_drops(&mut self, port: Port, total: u64) {
        if port == QUEUE {
            self.counts.kernel_drops = total;
        }
    }

    fn handle_stopping(&mut self, _now: Now) {
        self.phase = Phase::Stopping;
    }

    /// Answers under way are waited for, so that what arrived is known to have.
    fn is_settled(&self) -> bool {
        self.edge.failed().is_some() || self.edge.is_answered()
    }

    fn handle_stop(&mut self, _now: Now) {
        tracing::info!("Shutting down");
        self.phase = Phase::Stopped;
    }

    fn is_done(&self) -> bool {
        let is_over = self.has_ended() && self.now.since_start >= self.last_answers_until();
        self.phase == Phase::Stopped || self.edge.failed().is_some() || is_over
    }
}
