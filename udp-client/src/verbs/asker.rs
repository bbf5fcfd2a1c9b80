//! A machine that asks a server one thing, on the verbs of the link, until it is answered or the time is over.
//!
//! Every request may be sent again: a server does once what comes twice. Beside a request that stays unanswered goes the
//! question who the server is, so that the end says what is wrong: nobody there, a queue of 2016, or a server without
//! that verb.

use std::{net::SocketAddr, time::Duration};

use machine::{LogLimit, Machine, Now, Outlet, Port, STDOUT, Transmit};
use protocol::{
    frame,
    link::{Answer, LinkError, Welcome, push_discovery},
};
use serde_json::json;

use super::{
    told::Told,
    verb::{Next, Talk, Verb},
};
use crate::{QUEUE, tell::shown_cut};

/// How long to wait for an answer before the request is sent again, at first and at the most.
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// So many plain sizes without a word of the link make a queue of 2016.
const SIZES_OF_AN_OLD_SERVER: u32 = 3;

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is answered.
    Done,
    /// It is not, or not as it was meant: why, and what to do.
    Failed(String),
    /// Nobody listens there.
    Refused,
    /// The operator wanted it so.
    Interrupted,
}

/// The request at hand.
#[derive(Debug)]
struct Request {
    token: u64,
    /// When it may leave, for the first time or again.
    at: Duration,
    rest: Duration,
    /// When it is given up; known once it has left.
    until: Option<Duration>,
    /// Whether the question who the server is goes with it.
    probes: bool,
}

/// Asks one thing.
#[derive(Debug)]
pub struct Asker {
    queue: SocketAddr,
    timeout: Duration,
    talk: Talk,
    request: Request,
    /// How many plain sizes have come, and whether the server has said that it speaks the link.
    sizes: u32,
    speaks_link: bool,
    told: Told,
    end: Option<End>,
    bad_limit: LogLimit,
}

impl Asker {
    /// Asks `queue`, and gives it so long for each answer. `random` differs from process to process.
    pub fn new(queue: SocketAddr, verb: Verb, timeout: Duration, json: bool, random: u64) -> Self {
        Self {
            queue,
            timeout,
            talk: Talk::new(verb, random),
            request: Request::first(random >> 16),
            sizes: 0,
            speaks_link: false,
            told: Told { json, ..Told::default() },
            end: None,
            bad_limit: LogLimit::default(),
        }
    }

    /// How it ended; nothing before that.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What a person wants to know beside the data.
    pub fn notes(&self) -> &[String] {
        &self.told.notes
    }

    fn take(&mut self, now: Now, token: u64, answer: &Answer<'_>) {
        if token != self.request.token {
            return; // to an earlier request, late or doubled
        }
        match self.talk.take(now.since_start, &self.queue.to_string(), answer, &mut self.told) {
            Next::Ask(rest) => {
                self.request = Request { at: now.since_start + rest, ..Request::first(token + 1) };
            }
            Next::Done => self.end = Some(End::Done),
            Next::Failed(why) => self.end = Some(End::Failed(why)),
            Next::Stray => self.complain(now, "an answer to something else"),
        }
    }

    /// What is no call: who the server is, or its size alone.
    fn take_old(&mut self, now: Now, text: &[u8]) {
        if let Some((token, welcome)) = Welcome::parse(text) {
            self.speaks_link = true;
            if self.talk.is_discovery() && token == self.request.token {
                self.told.welcome(&welcome);
                self.end = Some(End::Done);
            }
            return;
        }
        let size = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(size) = size.and_then(|text| text.parse::<u64>().ok()) else {
            return self.complain(now, &format!("no answer of the link: {}", shown_cut(text)));
        };
        self.sizes += 1;
        if self.sizes < SIZES_OF_AN_OLD_SERVER {
            self.request.at = self.request.at.min(now.since_start); // a garbled question is answered so, too
        } else if self.talk.is_discovery() {
            self.told.line(&json!({ "size": size, "link": false }));
            self.end = Some(End::Done);
        } else if !self.speaks_link {
            self.end = Some(End::Failed(format!(
                "{} speaks the verbs of 2016 only, and {} is none of them: it answers PUT, GET and SIZE",
                self.queue,
                self.talk.name()
            )));
        }
    }

    fn complain(&mut self, now: Now, what: &str) {
        if let Some(withheld) = self.bad_limit.pass(now) {
            tracing::warn!("Bad answer from {}: {what} ({withheld} more unsaid)", self.queue);
        }
    }

    fn give_up(&mut self) {
        let Self { queue, timeout, .. } = self;
        let (name, timeout_s) = (self.talk.name(), timeout.as_secs_f64());
        let why = if self.speaks_link {
            format!(
                "{queue} is there, but did not answer {name} within {timeout_s} s: is it a sink, which has OPEN, ENQ, END \
                 and STAT only? If not, its answers get lost: a longer --timeout asks more often"
            )
        } else {
            format!(
                "no answer to {name} within {timeout_s} s from {queue}: is a queue there, and does the network let its \
                 answers through? A longer --timeout asks more often"
            )
        };
        self.end = Some(End::Failed(why));
    }
}

impl Request {
    fn first(token: u64) -> Self {
        Self { token, at: Duration::ZERO, rest: REST.0, until: None, probes: false }
    }
}

impl Machine for Asker {
    fn handle_datagram(&mut self, now: Now, _port: Port, _from: SocketAddr, datagram: &[u8]) {
        if self.end.is_some() {
            return;
        }
        let text = match frame::only(datagram) {
            Ok(text) => text,
            Err(error) => return self.complain(now, &format!("{}: {error}", shown_cut(datagram))),
        };
        match Answer::parse(text) {
            Ok((token, answer)) => self.take(now, token, &answer),
            Err(LinkError::Call(protocol::call::CallError::Shape)) => self.take_old(now, text),
            Err(error) => self.complain(now, &error.to_string()),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.end.is_none() && self.request.until.is_some_and(|until| now.since_start >= until) {
            self.give_up();
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        if self.end.is_some() {
            return None;
        }
        Some(self.request.until.map_or(self.request.at, |until| until.min(self.request.at)))
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        if self.end.is_some() {
            return None;
        }
        let to = Transmit { port: QUEUE, to: self.queue };
        let request = &mut self.request;
        if std::mem::take(&mut request.probes) {
            push_discovery(request.token, bytes);
            return Some(to);
        }
        if now.since_start < request.at {
            return None;
        }
        let wait = self.talk.wait(now.since_start);
        self.talk.push(request.token, wait, bytes);
        request.probes = request.until.is_some() && !self.talk.is_discovery();
        request.until.get_or_insert(now.since_start.saturating_add(self.timeout).saturating_add(wait));
        request.at = now.since_start + wait + request.rest;
        request.rest = (request.rest * 2).min(REST.1);
        Some(to)
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        if self.told.out.is_empty() {
            return None;
        }
        bytes.append(&mut self.told.out);
        Some(STDOUT)
    }

    /// The socket is connected, so the queue's own host says it.
    fn handle_refused(&mut self, _now: Now, _port: Port) {
        self.end.get_or_insert(End::Refused);
    }

    fn handle_unsent(&mut self, _port: Port, _to: SocketAddr) {
        self.end.get_or_insert(End::Failed("the request could not be sent".into()));
    }

    fn handle_stop(&mut self, _now: Now) {
        self.end.get_or_insert(End::Interrupted);
    }

    fn is_done(&self) -> bool {
        self.end.is_some()
    }
}
