//! A machine that puts lines into a queue or a sink as one producer's messages, each of them once.

use std::{net::SocketAddr, time::Duration};

use link::{Guarantee, Producer, ProducerPlan, SendLimits};
use machine::{Machine, Now, Outlet, Port, STDOUT, Transmit};
use protocol::link::{Durability, MESSAGE_BYTES_MAX};
use serde::Serialize;

use super::{End, told::Told};
use crate::QUEUE;

/// Which messages the lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feed {
    /// Whose.
    pub producer: u128,
    /// The number of the first line; without it, the lines follow what the server has of this producer.
    pub sequence: Option<u64>,
    /// Whether the producer sends no more after them.
    pub ends: bool,
    /// The largest datagram to send.
    pub datagram_bytes_max: usize,
}

/// Puts lines.
#[derive(Debug)]
pub struct Enqueuer {
    queue: SocketAddr,
    feed: Feed,
    timeout: Duration,
    producer: Producer,
    /// Lines read, those skipped among them.
    lines: u64,
    /// Lines that the server had already.
    skipped: u64,
    /// There are no more lines.
    closed: bool,
    /// What to say once all before it is confirmed.
    bad_line: Option<String>,
    /// What has been confirmed, and when that last grew or there was nothing to wait for.
    progress: (u64, Duration),
    told: Told,
    end: Option<End>,
}

/// What is told at the end.
#[derive(Serialize)]
struct Summary {
    producer: String,
    /// Lines that are in the queue by this.
    stored: u64,
    /// Lines that were there before.
    skipped: u64,
    /// The number of the next message.
    next: u64,
    /// How far the queue's word goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    ended: bool,
}

impl Enqueuer {
    /// Puts lines into `queue`, as long as that goes on within `timeout`. `nonce` differs from process to process.
    pub fn new(queue: SocketAddr, feed: Feed, timeout: Duration, nonce: u64) -> Self {
        let plan = ProducerPlan {
            producer: feed.producer,
            nonce,
            stage: String::new(),
            floor: Some(Guarantee::AtLeastOnce),
            datagram_bytes_max: feed.datagram_bytes_max,
            limits: SendLimits::default(),
            puts_max: 1,
        };
        Self {
            queue,
            feed,
            timeout,
            producer: Producer::new(plan),
            lines: 0,
            skipped: 0,
            closed: false,
            bad_line: None,
            progress: (0, Duration::ZERO),
            told: Told::default(),
            end: None,
        }
    }

    /// How it ended; nothing before that.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    fn stored(&self) -> u64 {
        self.producer.counts().confirmed
    }

    fn take_line(&mut self, now: Now, line: &[u8]) {
        let begin = self.producer.resume_at().unwrap_or_default();
        let first = self.feed.sequence.unwrap_or(begin);
        if first > begin {
            self.fail(format!(
                "the queue has {begin} messages of this producer, and the first line is number {first}: give --sequence \
                 {begin} or less"
            ));
            return;
        }
        let is_known = first + self.lines < begin;
        self.lines += 1;
        if is_known {
            self.skipped += 1;
        } else if line.len() > MESSAGE_BYTES_MAX || self.producer.push(now, line, None).is_err() {
            let lines = self.lines;
            self.bad_line = Some(format!(
                "line {lines} is too long: a message has at most {MESSAGE_BYTES_MAX} bytes; the {} lines before it are in \
                 the queue, it and what follows are not",
                lines - 1
            ));
            self.closed = true;
        }
    }

    fn fail(&mut self, why: String) {
        self.end.get_or_insert(End::Failed(why));
    }

    /// Looks whether all is done, or nothing goes on.
    fn look(&mut self, now: Now) {
        if self.end.is_some() {
            return;
        }
        if let Some(failure) = self.producer.failed() {
            return self.fail(format!("{failure}; lines that are in the queue: {}", self.stored()));
        }
        if self.closed && self.bad_line.is_none() && self.feed.ends {
            self.producer.end();
        }
        let is_open = self.producer.resume_at().is_some();
        if self.closed && is_open && self.producer.is_settled() {
            return self.finish();
        }
        let confirmed = self.stored() + u64::from(is_open);
        let waits_for_lines = is_open && self.producer.unconfirmed() == 0 && !self.closed;
        if waits_for_lines || confirmed > self.progress.0 {
            self.progress = (confirmed, now.since_start);
        } else if now.since_start >= self.deadline() {
            self.give_up();
        }
    }

    fn finish(&mut self) {
        let stored = self.stored();
        let (producer, next) = (format!("{:032x}", self.feed.producer), self.producer.next_sequence());
        let ended = self.feed.ends && self.bad_line.is_none();
        let level = self.producer.level().map(Durability::as_str);
        self.told.line(&Summary { producer, stored, skipped: self.skipped, next, level, ended });
        self.end = Some(self.bad_line.take().map_or(End::Done, End::Failed));
    }

    fn deadline(&self) -> Duration {
        self.progress.1.saturating_add(self.timeout)
    }

    fn give_up(&mut self) {
        let (queue, timeout_s) = (self.queue, self.timeout.as_secs_f64());
        let why = if self.producer.is_held_back() {
            format!("{queue} is full, and took nothing for {timeout_s} s")
        } else {
            format!("no answer within {timeout_s} s from {queue}: is a queue or a sink there?")
        };
        let stored = self.stored();
        let begin = self.feed.sequence.or(self.producer.resume_at()).unwrap_or_default();
        let producer = self.feed.producer;
        self.fail(format!(
            "{why}; lines that are known to be in the queue: {stored}. To go on where it stopped, without a line twice: \
             ENQ --producer {producer:032x} --sequence {begin}, with the same lines"
        ));
    }
}

impl Machine for Enqueuer {
    fn handle_datagram(&mut self, now: Now, _port: Port, _from: SocketAddr, datagram: &[u8]) {
        self.producer.handle_datagram(now, datagram);
        self.look(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.producer.handle_timeout(now);
        self.look(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        if self.end.is_some() {
            return None;
        }
        let deadline = self.deadline();
        Some(self.producer.poll_timeout().map_or(deadline, |at| at.min(deadline)))
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        self.look(now);
        if self.end.is_some() || !self.producer.poll_transmit(now, bytes) {
            return None;
        }
        Some(Transmit { port: QUEUE, to: self.queue })
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        if self.told.out.is_empty() {
            return None;
        }
        bytes.append(&mut self.told.out);
        Some(STDOUT)
    }

    fn wants_input(&self) -> bool {
        self.end.is_none() && !self.closed && self.producer.room()
    }

    fn handle_input(&mut self, now: Now, line: Option<&[u8]>) {
        match line {
            Some(line) => self.take_line(now, line),
            None => self.closed = true,
        }
        self.look(now);
    }

    /// The socket is connected, so the queue's own host says it.
    fn handle_refused(&mut self, _now: Now, _port: Port) {
        if self.producer.resume_at().is_none() {
            self.end.get_or_insert(End::Refused);
        }
    }

    fn handle_stop(&mut self, _now: Now) {
        self.end.get_or_insert(End::Interrupted);
    }

    fn is_done(&self) -> bool {
        self.end.is_some()
    }
}
