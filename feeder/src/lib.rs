//! A feeder, as a machine: lines go in, each leaves as a PUT to one queue, and at the end every line is accounted for.
//!
//! Lines come in as [`Entry`]s, which a reader makes with [`Sources`]; so this machine opens no file. It takes lines as it
//! can send them: the queue's answers, a pace or both hold it back, and nothing piles up.

mod entry;
mod fix;
mod held;
mod pace;
mod progress;
mod rows;
mod sources;
mod summary;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Duration};

use link::{PutEdge, Window};
use machine::{LogLimit, Machine, Now, Outlet, Port, STDOUT, Transmit};
use metrics::{Reports, python};
use protocol::{frame, verb::Request};

pub use entry::{BadRow, Entry};
pub use pace::Pace;
pub use progress::{Progress, State};
pub use sources::{Source, Sources};
pub use summary::Summary;

use fix::Stamp;
use held::Held;
use pace::Pacer;
use progress::Meter;

/// Where PUTs leave from and are answered.
pub const QUEUE: Port = Port(0);

/// Where reports are sent from.
pub const METRICS: Port = Port(1);

/// Where snapshots of the [`Progress`] go.
pub const PROGRESS: Outlet = Outlet(1);

/// How many lines, and how many bytes of them, are taken ahead of sending: one turn's.
const HELD_MAX: u64 = 256;
const HELD_BYTES_MAX: usize = 256 << 10;

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
    /// How many messages may wait for their answers.
    pub window: Window,
    /// What the lines are.
    pub format: Format,
    /// How fast they may leave.
    pub pace: Pace,
    /// After how many messages it is done, be there more lines or not.
    pub messages_max: u64,
    /// Whether somebody watches the progress.
    pub shows_progress: bool,
    /// Whether to write the summary to stdout, as JSON.
    pub writes_summary: bool,
}

/// What was read, and what is odd about the answers, since the node started. What became of the messages is in
/// [`link::PutCounts`].
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
    malformed: u64,
    stray: u64,
    kernel_drops: u64,
    unsent: u64,
}

impl Counts {
    fn bad_rows(&self) -> u64 {
        self.ragged + self.bad_quoting + self.not_utf8
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There may be more lines.
    Reading,
    /// There are no more: what is held leaves, and the last answers come.
    Ending,
    /// The operator wants it to end: no more is sent, the last answers may come.
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
    Full,
}

/// The feeder.
#[derive(Debug)]
pub struct Feeder {
    plan: Plan,
    edge: PutEdge,
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
    pub fn new(plan: Plan, reports: Reports) -> Self {
        Self {
            edge: PutEdge::new(plan.window),
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
        let Counts { read, blank, too_long, unreadable, .. } = self.counts;
        let put = self.edge.counts();
        let summary = Summary {
            read,
            blank,
            sent: put.sent,
            confirmed: put.confirmed,
            refused: put.refused,
            unconfirmed: put.unconfirmed + self.edge.under_way(),
            too_long,
            bad_rows: self.counts.bad_rows(),
            unreadable,
            ..Summary::default()
        };
        summary.lasting(self.last_at.saturating_sub(self.first_at.unwrap_or(self.last_at)))
    }

    /// How many lines should have been confirmed and are not: 0 if all went well. Of a feeder that was told to stop, only
    /// what it had sent should have.
    pub fn missing(&self) -> u64 {
        let Summary { read, blank, sent, confirmed, .. } = self.summary();
        let due = if self.phase.is_stop() { sent } else { read - blank };
        due.saturating_sub(confirmed)
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
        let refused = self.edge.counts().refused;
        match frame::only(datagram) {
            Ok(answer) if self.edge.handle_answer(now.since_start, answer) => {}
            Ok(_) => return self.count_malformed(now, from, "no answer to a PUT"),
            Err(error) => return self.count_malformed(now, from, &error.to_string()),
        }
        self.last_at = now.since_start;
        if self.silence_said_at.take().is_some() {
            tracing::warn!("The queue at {from} answers");
        }
        self.heard = Heard::Answer;
        if self.edge.counts().refused > refused {
            self.heard = Heard::Full;
            if is_to_say(&mut self.full_said_at, now) {
                tracing::warn!("The queue at {from} is full; messages refused so far: {}", refused + 1);
            }
        }
    }

    fn count_malformed(&mut self, now: Now, from: SocketAddr, what: &str) {
        self.counts.malformed += 1;
        if let Some(withheld) = self.bad_limit.pass(now) {
            tracing::warn!("Bad datagram from {from}: {what} ({withheld} more unsaid)");
        }
    }

    /// How many lines may be held: as many as could be sent now, as far as is known. One while the queue takes none, so
    /// that the end of the input is known without it.
    fn room(&self) -> u64 {
        let now = self.now.since_start;
        if self.phase != Phase::Reading {
            return 0;
        }
        if !self.edge.may_put(now) {
            return 1;
        }
        let window = match self.plan.window {
            Window::AtMost(limit) => limit.saturating_sub(self.edge.under_way()),
            Window::None => HELD_MAX_FLAT_OUT,
        };
        let left = self.plan.messages_max.saturating_sub(self.edge.counts().sent);
        HELD_MAX.min(window).min(left).min(self.pacer.room(now))
    }

    fn has_more(&self) -> bool {
        self.phase == Phase::Reading || self.phase == Phase::Ending && self.held.len() > 0
    }

    /// The next message if it may leave, or a question to a queue that is silent.
    fn send(&mut self, now: Now, bytes: &mut Vec<u8>) -> bool {
        while let Some(text) = self.held.front() {
            if !self.edge.may_put(now.since_start) || self.pacer.room(now.since_start) == 0 {
                break;
            }
            let pushed = match self.plan.format {
                Format::Fix => {
                    self.message.clear();
                    fix::push_wrapped(text, self.stamp.at(now), &mut self.message);
                    Request::Put(&self.message).push(bytes)
                }
                Format::Lines | Format::Csv => Request::Put(text).push(bytes),
            };
            self.held.pop_front();
            match pushed {
                Ok(()) => {
                    self.count_sent(now);
                    return true;
                }
                Err(error) => {
                    self.counts.too_long += 1;
                    tracing::warn!("A line is not sent: {error}");
                }
            }
        }
        self.has_more() && self.probe(now, bytes)
    }

    fn count_sent(&mut self, now: Now) {
        self.edge.handle_put(now.since_start);
        self.pacer.handle_sent(now.since_start);
        self.reports.reporter.count_out(now);
        self.first_at.get_or_insert(now.since_start);
        self.last_at = now.since_start;
        if self.edge.counts().sent >= self.plan.messages_max {
            self.phase = Phase::Ending;
        }
    }

    fn probe(&mut self, now: Now, bytes: &mut Vec<u8>) -> bool {
        if !self.edge.poll_probe(now.since_start) {
            return false;
        }
        // A queue that is there answers the first one at once.
        if self.edge.unanswered_probes() > 2 && is_to_say(&mut self.silence_said_at, now) {
            let why = if self.heard == Heard::NobodyListens { "nobody listens there" } else { "no answer" };
            tracing::warn!("Waiting for a queue at {} ({why})", self.plan.queue);
        }
        Request::Size.push(bytes).is_ok()
    }

    /// The end of a feeder whose work is done: its last report, once.
    fn say_last(&mut self, now: Now) {
        if !self.said_last {
            self.said_last = true;
            self.reports.close(now, &self.ledger(), &self.gauges());
        }
    }

    /// The counters by name, cumulative since the node started.
    fn ledger(&self) -> [(&'static str, u64); 17] {
        let (counts, put) = (self.counts, self.edge.counts());
        [
            ("read", counts.read),
            ("blank", counts.blank),
            ("too_long", counts.too_long),
            ("bad_rows", counts.bad_rows()),
            ("rows_ragged", counts.ragged),
            ("rows_bad_quoting", counts.bad_quoting),
            ("rows_not_utf8", counts.not_utf8),
            ("unreadable", counts.unreadable),
            ("sent", put.sent),
            ("confirmed", put.confirmed),
            ("refused_full", put.refused),
            ("unconfirmed", put.unconfirmed),
            ("under_way", self.edge.under_way()),
            ("malformed", counts.malformed),
            ("stray", counts.stray),
            ("kernel_drops", counts.kernel_drops),
            ("unsent", counts.unsent),
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
    fn gauges(&self) -> [(&'static str, f64); 2] {
        [("waiting", self.held.len() as f64), ("read_bytes", self.counts.read_bytes as f64)]
    }

    fn progress(&self, per_second: u64) -> Progress {
        let state = match self.heard {
            _ if self.edge.unanswered_probes() > 1 => State::WaitingForQueue,
            Heard::Full => State::QueueFull,
            Heard::Nothing | Heard::NobodyListens | Heard::Answer => State::Feeding,
        };
        Progress { read_bytes: self.counts.read_bytes, sent: self.edge.counts().sent, per_second, state }
    }

    /// When a feeder that has sent all waits no longer for answers that did not come in time.
    fn last_answers_until(&self) -> Duration {
        if self.edge.counts().unconfirmed == 0 { Duration::ZERO } else { self.last_at + LAST_ANSWERS }
    }

    fn has_ended(&self) -> bool {
        self.phase == Phase::Ending && self.held.len() == 0 && self.edge.under_way() == 0
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
        self.edge.handle_timeout(now.since_start);
        if self.reports.is_due(now) {
            self.reports.close(now, &self.ledger(), &self.gauges());
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let now = self.now.since_start;
        let has_more = self.has_more();
        // An edge that takes a message has no deadline of its own for it, and neither has a pace that does.
        let edge = self.edge.poll_timeout(has_more && !self.edge.may_put(now));
        let pace = Some(self.pacer.next_at()).filter(|at| has_more && *at > now);
        let end = self.has_ended().then(|| self.last_answers_until());
        let progress = self.plan.shows_progress.then(|| self.meter.due());
        [edge, pace, end, progress, Some(self.reports.poll_timeout())].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        self.now = now;
        if !self.phase.is_stop() && self.send(now, bytes) {
            return Some(Transmit { port: QUEUE, to: self.plan.queue });
        }
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
        let per_second = self.meter.poll(self.now.since_start, self.edge.counts().sent)?;
        self.progress(per_second).push(bytes);
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
        self.edge.under_way() == 0
    }

    fn handle_stop(&mut self, _now: Now) {
        tracing::info!("Shutting down");
        self.phase = Phase::Stopped;
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Stopped || self.has_ended() && self.now.since_start >= self.last_answers_until()
    }
}
