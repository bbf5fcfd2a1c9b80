//! A queue node, as a machine: PUT appends a message, GET takes the oldest one away, SIZE tells how many there are.
//!
//! Messages are kept in memory, in the order of their arrival, up to a bound; a message too many is refused with a counted
//! reason. Every message is accounted for: `accepted = ready + popped`.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use machine::{LogLimit, Machine, Now, Port, Transmit};
use metrics::Reports;
use protocol::{
    frame,
    verb::{PutAnswer, Request, RequestError, message_len},
};

/// Where clients are heard and answered.
pub const CLIENTS: Port = Port(0);

/// Where reports are sent from.
pub const METRICS: Port = Port(1);

/// How much a message costs beside its bytes: its place in the queue and the allocator's own record.
const MESSAGE_OVERHEAD_BYTES: u64 = 64;

/// What a queue holds at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many messages.
    pub messages_max: u64,
    /// How many bytes, each message with 64 bytes of overhead.
    pub bytes_max: u64,
}

/// What came of the requests and messages since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages taken in.
    pub accepted: u64,
    /// Messages taken away by a GET.
    pub popped: u64,
    /// GETs that found no message.
    pub empty_gets: u64,
    /// Messages refused because the queue has as many as it may.
    pub refused_messages_max: u64,
    /// Messages refused because the queue has as many bytes as it may.
    pub refused_bytes_max: u64,
    /// Datagrams that are not exactly one frame.
    pub malformed: u64,
    /// Frames whose verb is unknown.
    pub unknown_verb: u64,
    /// Datagrams that came to the port that reports are sent from.
    pub stray: u64,
    /// Datagrams from addresses that are not allowed.
    pub not_allowed: u64,
    /// Datagrams that the kernel dropped for want of room.
    pub kernel_drops: u64,
    /// Answers that could not be sent.
    pub unsent: u64,
}

/// The queue node.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    ready: VecDeque<Stored>,
    bytes: u64,
    counts: Counts,
    answers: VecDeque<(SocketAddr, Answer)>,
    reports: Reports,
    bad_limit: LogLimit,
    full_limit: LogLimit,
}

#[derive(Debug)]
struct Stored {
    message: Box<[u8]>,
    arrived: Duration,
}

#[derive(Debug)]
enum Answer {
    Put(PutAnswer),
    Message(Box<[u8]>),
    Empty,
    Size(usize),
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits, reports: Reports) -> Self {
        Self {
            limits,
            ready: VecDeque::new(),
            bytes: 0,
            counts: Counts::default(),
            answers: VecDeque::new(),
            reports,
            bad_limit: LogLimit::default(),
            full_limit: LogLimit::default(),
        }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// What came of the requests so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn put(&mut self, now: Now, from: SocketAddr, message: &[u8]) -> PutAnswer {
        let cost = message.len() as u64 + MESSAGE_OVERHEAD_BYTES;
        let refused = if self.ready.len() as u64 >= self.limits.messages_max {
            Some((&mut self.counts.refused_messages_max, "--messages-max", self.limits.messages_max))
        } else if self.bytes + cost > self.limits.bytes_max {
            Some((&mut self.counts.refused_bytes_max, "--bytes-max", self.limits.bytes_max))
        } else {
            None
        };
        if let Some((count, flag, limit)) = refused {
            *count += 1;
            if let Some(withheld) = self.full_limit.pass(now) {
                tracing::warn!("Full: refused a message from {from} ({flag} {limit} reached; {withheld} more unsaid)");
            }
            return PutAnswer::Full;
        }
        self.counts.accepted += 1;
        self.bytes += cost;
        self.ready.push_back(Stored { message: message.into(), arrived: now.since_start });
        self.reports.reporter.count_in(now);
        PutAnswer::Stored { len: message_len(message) }
    }

    fn get(&mut self, now: Now) -> Answer {
        let Some(Stored { message, arrived }) = self.ready.pop_front() else {
            self.counts.empty_gets += 1;
            return Answer::Empty;
        };
        self.counts.popped += 1;
        self.bytes -= message.len() as u64 + MESSAGE_OVERHEAD_BYTES;
        self.reports.reporter.count_out(now);
        self.reports.reporter.record_latency(now.since_start.saturating_sub(arrived));
        if self.ready.is_empty() && self.ready.capacity() > 1 << 16 {
            // A burst that is over gives its memory back.
            self.ready = VecDeque::new();
        }
        Answer::Message(message)
    }

    /// The counters by name, cumulative since the node started.
    fn ledger(&self) -> [(&'static str, u64); 12] {
        let counts = self.counts;
        [
            ("accepted", counts.accepted),
            ("ready", self.ready.len() as u64),
            ("popped", counts.popped),
            ("empty_gets", counts.empty_gets),
            ("refused_messages_max", counts.refused_messages_max),
            ("refused_bytes_max", counts.refused_bytes_max),
            ("malformed", counts.malformed),
            ("unknown_verb", counts.unknown_verb),
            ("stray", counts.stray),
            ("not_allowed", counts.not_allowed),
            ("kernel_drops", counts.kernel_drops),
            ("unsent", counts.unsent),
        ]
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
    fn gauges(&self, now: Now) -> [(&'static str, f64); 5] {
        let oldest = self.ready.front().map_or(Duration::ZERO, |stored| now.since_start.saturating_sub(stored.arrived));
        [
            ("depth", self.ready.len() as f64),
            ("bytes", self.bytes as f64),
            ("messages_max", self.limits.messages_max as f64),
            ("bytes_max", self.limits.bytes_max as f64),
            ("oldest_age_s", oldest.as_secs_f64()),
        ]
    }
}

impl Machine for Queue {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        if port != CLIENTS {
            self.counts.stray += 1;
            return;
        }
        let answer = match Request::parse(datagram) {
            Ok(Request::Put(message)) => Answer::Put(self.put(now, from, message)),
            Ok(Request::Get) => self.get(now),
            Ok(Request::Size) => Answer::Size(self.ready.len()),
            Err(error) => {
                match error {
                    RequestError::Malformed(_) => self.counts.malformed += 1,
                    RequestError::UnknownVerb => self.counts.unknown_verb += 1,
                }
                if let Some(withheld) = self.bad_limit.pass(now) {
                    tracing::warn!("Bad datagram from {from}: {error} ({withheld} more unsaid)");
                }
                return; // counted, never answered
            }
        };
        self.answers.push_back((from, answer));
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.reports.is_due(now) {
            self.reports.close(now, &self.ledger(), &self.gauges(now));
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        Some(self.reports.poll_timeout())
    }

    fn poll_transmit(&mut self, _now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        let Some((to, answer)) = self.answers.pop_front() else { return self.reports.poll_transmit(bytes) };
        let pushed = match answer {
            Answer::Put(answer) => {
                answer.push(bytes);
                Ok(())
            }
            Answer::Message(message) => frame::push(&message, bytes),
            Answer::Empty => frame::push(b"", bytes),
            Answer::Size(size) => frame::push(size.to_string().as_bytes(), bytes),
        };
        debug_assert!(pushed.is_ok(), "what came in as PUT:<message> goes out as <message>");
        Some(Transmit { port: CLIENTS, to })
    }

    fn handle_outsider(&mut self, now: Now, _port: Port, from: SocketAddr) {
        self.counts.not_allowed += 1;
        if let Some(withheld) = self.bad_limit.pass(now) {
            tracing::warn!("Not allowed: a datagram from {from} ({withheld} more unsaid)");
        }
    }

    fn handle_unsent(&mut self, port: Port, _to: SocketAddr) {
        if port == CLIENTS {
            self.counts.unsent += 1;
        }
    }

    fn handle_kernel_drops(&mut self, port: Port, total: u64) {
        if port == CLIENTS {
            self.counts.kernel_drops = total;
        }
    }

    fn handle_stop(&mut self, now: Now) {
        tracing::info!("Shutting down");
        tracing::info!("Queue size: {}", self.ready.len());
        self.reports.close_last(now, &self.ledger(), &self.gauges(now));
    }
}
