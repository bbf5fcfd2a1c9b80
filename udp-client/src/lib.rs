//! A queue's client, as a machine: one request at a time goes out, its answer is told, and the next request follows.
//! [`Client`] says the verbs of 2016; [`Asker`] and [`Enqueuer`] say those of the link.
//!
//! Every request comes to one end: `requests = answered + timed_out + refused + too_long + unsent + interrupted`.
//!
//! The verbs of 2016 carry no mark of which request an answer belongs to. After a timeout the answer may still come, and
//! a network may give any answer twice. So an answer that does not fit the request under way, but does fit an earlier
//! one, is not taken for its answer; it is told in the log. What this cannot know: a late answer that fits the request
//! under way, such as any answer while a GET is, is taken for its answer.

mod kind;
mod tell;
mod verbs;

use std::{net::SocketAddr, time::Duration};

use kind::{Earlier, Kind};
use machine::{LogLimit, Machine, Now, Outlet, Port, STDOUT, Transmit};
use protocol::frame;

pub use tell::Style;
use tell::{Outcome, shown, shown_cut};
pub use verbs::{Asker, End, Enqueuer, Feed, Letters, Verb, Want};

/// Where the queue is asked from. Its socket must hear from the queue only.
pub const QUEUE: Port = Port(0);

/// What came of the requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests so far.
    pub requests: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Answered PUTs whose message the queue did not take, because it is full.
    pub full: u64,
    /// Requests that were not answered in time.
    pub timed_out: u64,
    /// Requests that were under way when the queue's host said that nobody listens there.
    pub refused: u64,
    /// Requests that fit in no datagram.
    pub too_long: u64,
    /// Requests that could not be sent.
    pub unsent: u64,
    /// Requests that were under way when the operator ended the client.
    pub interrupted: u64,
    /// Datagrams that are not exactly one frame; no answers, so they end no request.
    pub malformed: u64,
    /// Answers to earlier requests, late or doubled; they end no request.
    pub late: u64,
}

impl Counts {
    /// Whether every request was answered and every message taken.
    pub fn is_success(&self) -> bool {
        self.answered == self.requests && self.full == 0
    }
}

/// The client.
#[derive(Debug)]
pub struct Client {
    queue: SocketAddr,
    timeout: Duration,
    style: Style,
    under_way: Option<Request>,
    earlier: Earlier,
    /// No further requests follow.
    closed: bool,
    counts: Counts,
    told: Vec<u8>,
    bad_limit: LogLimit,
    late_limit: LogLimit,
}

#[derive(Debug)]
struct Request {
    text: Vec<u8>,
    datagram: Vec<u8>,
    kind: Kind,
    /// Since start; `None` as long as it has not left.
    sent_at: Option<Duration>,
}

impl Client {
    /// A client of one queue, which gives each request so long to be answered.
    pub fn new(queue: SocketAddr, timeout: Duration, style: Style) -> Self {
        Self {
            queue,
            timeout,
            style,
            under_way: None,
            earlier: Earlier::default(),
            closed: false,
            counts: Counts::default(),
            told: Vec::new(),
            bad_limit: LogLimit::default(),
            late_limit: LogLimit::default(),
        }
    }

    /// What came of the requests so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn begin(&mut self, text: &[u8]) {
        self.counts.requests += 1;
        let mut datagram = Vec::new();
        let pushed = frame::push(text, &mut datagram);
        let kind = Kind::of(&datagram);
        self.under_way = Some(Request { text: text.to_vec(), datagram, kind, sent_at: None });
        if let Err(error) = pushed {
            tracing::error!("Not sent: {error}");
            self.finish(Outcome::TooLong);
        }
    }

    /// Ends the request under way, if there is one.
    fn finish(&mut self, outcome: Outcome<'_>) {
        let Some(request) = self.under_way.take() else { return };
        *match outcome {
            Outcome::Answered { .. } => &mut self.counts.answered,
            Outcome::TimedOut => &mut self.counts.timed_out,
            Outcome::Refused => &mut self.counts.refused,
            Outcome::TooLong => &mut self.counts.too_long,
            Outcome::Unsent => &mut self.counts.unsent,
            Outcome::Interrupted => &mut self.counts.interrupted,
        } += 1;
        if let Outcome::Answered { answer, .. } = outcome {
            self.counts.full += u64::from(request.kind.is_refusal(answer));
        }
        self.style.tell_outcome(&request.text, outcome, &mut self.told);
        if request.sent_at.is_some() {
            self.earlier.add(request.kind);
        }
    }

    fn close(&mut self) {
        if !self.closed {
            self.closed = true;
            self.style.tell_closed(&mut self.told);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        Some(self.under_way.as_ref()?.sent_at?.saturating_add(self.timeout))
    }

    /// When the request that this answers was sent; `None` if it answers none that is under way.
    fn answered_request(&self, answer: &[u8]) -> Option<Duration> {
        let request = self.under_way.as_ref()?;
        let is_its_own = request.kind.fits(answer) || !self.earlier.fits(answer);
        request.sent_at.filter(|_| is_its_own)
    }

    fn tell_late(&mut self, now: Now, answer: &[u8]) {
        self.counts.late += 1;
        if let Some(withheld) = self.late_limit.pass(now) {
            let answer = shown(answer);
            tracing::warn!("Answer to an earlier request, late or doubled: {answer} ({withheld} more unsaid)");
        }
    }
}

impl Machine for Client {
    fn handle_datagram(&mut self, now: Now, _port: Port, _from: SocketAddr, datagram: &[u8]) {
        let answer = match frame::only(datagram) {
            Ok(answer) => answer,
            Err(error) => {
                self.counts.malformed += 1;
                if let Some(withheld) = self.bad_limit.pass(now) {
                    tracing::warn!("Bad answer {}: {error} ({withheld} more unsaid)", shown_cut(datagram));
                }
                return;
            }
        };
        let Some(sent_at) = self.answered_request(answer) else { return self.tell_late(now, answer) };
        self.finish(Outcome::Answered { answer, took: now.since_start.saturating_sub(sent_at) });
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.deadline().is_none_or(|deadline| now.since_start < deadline) {
            return;
        }
        if let Some(request) = &self.under_way {
            let hint =
                if request.kind == Kind::Unknown { "; see --help for the verbs, which are in capitals" } else { "" };
            let (timeout_s, text) = (self.timeout.as_secs_f64(), shown_cut(&request.text));
            tracing::warn!("No answer within {timeout_s} s from {} to {text}{hint}", self.queue);
        }
        self.finish(Outcome::TimedOut);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.deadline()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        let request = self.under_way.as_mut().filter(|request| request.sent_at.is_none())?;
        request.sent_at = Some(now.since_start);
        bytes.extend_from_slice(&request.datagram);
        self.style.tell_sent(&request.text, &mut self.told);
        Some(Transmit { port: QUEUE, to: self.queue })
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        if self.told.is_empty() {
            return None;
        }
        bytes.append(&mut self.told);
        Some(STDOUT)
    }

    fn wants_input(&self) -> bool {
        !self.closed && self.under_way.is_none()
    }

    fn handle_input(&mut self, _now: Now, line: Option<&[u8]>) {
        match line {
            Some(text) => self.begin(text),
            None => self.close(),
        }
    }

    /// The socket is connected, so the queue's own host says it. Of a request that has ended it tells nothing new.
    fn handle_refused(&mut self, _now: Now, _port: Port) {
        if self.under_way.is_some() {
            self.finish(Outcome::Refused);
            self.close();
        }
    }

    fn handle_unsent(&mut self, _port: Port, _to: SocketAddr) {
        self.finish(Outcome::Unsent);
    }

    fn handle_stop(&mut self, _now: Now) {
        self.finish(Outcome::Interrupted);
        self.close();
    }

    fn is_done(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Step {
        /// A line of input, or the end.
        Line(&'static [u8]),
        End,
        /// A datagram from the queue.
        Answer(&'static [u8]),
        /// Time passes.
        Ms(u64),
        Refused,
        Unsent,
        Stop,
    }
    use Step::{Answer, End, Line, Ms, Refused, Stop, Unsent};

    const TIMEOUT_MS: u64 = 1_000;

    /// What a client does step by step: what it has printed, what it has sent, what it has counted.
    fn run(style: Style, steps: &[Step]) -> (String, Vec<Vec<u8>>, Counts) {
        let queue = SocketAddr::from(([127, 0, 0, 1], 10_000));
        let mut client = Client::new(queue, Duration::from_millis(TIMEOUT_MS), style);
        let (mut printed, mut sent, mut ms) = (Vec::new(), Vec::new(), 0);
        for step in steps {
            let now = Now { since_start: Duration::from_millis(ms), since_epoch: Duration::ZERO };
            match *step {
                Line(line) => {
                    assert!(client.wants_input());
                    client.handle_input(now, Some(line));
                }
                End => client.handle_input(now, None),
                Answer(datagram) => client.handle_datagram(now, QUEUE, queue, datagram),
                Ms(more) => {
                    ms += more;
                    let now = Now { since_start: Duration::from_millis(ms), ..now };
                    client.handle_timeout(now);
                }
                Refused => client.handle_refused(now, QUEUE),
                Unsent => client.handle_unsent(QUEUE, queue),
                Stop => client.handle_stop(now),
            }
            let mut datagram = Vec::new();
            while client.poll_transmit(now, &mut datagram).is_some() {
                sent.push(std::mem::take(&mut datagram));
            }
            while client.poll_output(&mut printed).is_some() {}
        }
        assert!(client.is_done());
        let counts = client.counts();
        let Counts { requests, answered, timed_out, refused, too_long, unsent, interrupted, .. } = counts;
        assert_eq!(requests, answered + timed_out + refused + too_long + unsent + interrupted);
        (String::from_utf8(printed).unwrap(), sent, counts)
    }

    /// The answers that a raw client prints, and what it counts.
    fn check(steps: &[Step], answers: &str, expected: Counts) {
        let (printed, _, counts) = run(Style::Raw, steps);
        assert_eq!(printed, answers);
        assert_eq!(counts, expected);
        assert_eq!(counts.is_success(), expected.requests == expected.answered && expected.full == 0);
    }

    #[test]
    fn requests_leave_one_at_a_time() {
        let steps = [Line(b"PUT:ping"), Answer(b"1bPUT 4 bytes"), Line(b"GET"), Answer(b"14ping"), End];
        let (printed, sent, counts) = run(Style::Text, &steps);
        assert_eq!(
            printed,
            "Data sent: 'PUT:ping'\nData received: 'PUT 4 bytes'\nData sent: 'GET'\nData received: 'ping'\n\
             Socket closed.\n"
        );
        assert_eq!(sent, [&b"18PUT:ping"[..], b"13GET"]);
        assert!(counts.is_success());
        check(&[End], "", Counts::default());
    }

    #[test]
    fn a_request_without_an_answer_ends_in_time() {
        let timed_out = Counts { requests: 2, answered: 1, timed_out: 1, ..Counts::default() };
        check(&[Line(b"NOSUCH"), Ms(999), Ms(1), Line(b"SIZE"), Answer(b"110"), End], "0\n", timed_out);
        let (printed, ..) = run(Style::Json, &[Line(b"GET"), Ms(2), Answer(b"10"), Line(b"GET"), Ms(1_000), End]);
        assert_eq!(
            printed,
            "{\"sent\":\"GET\",\"received\":\"\",\"rtt_us\":2000}\n{\"sent\":\"GET\",\"error\":\"timeout\"}\n"
        );
    }

    #[test]
    fn a_full_queue_is_no_success() {
        let full = Counts { requests: 1, answered: 1, full: 1, ..Counts::default() };
        check(&[Line(b"PUT:a"), Answer(b"14FULL"), End], "FULL\n", full);
        // A message may have this text.
        let taken = Counts { requests: 1, answered: 1, ..Counts::default() };
        check(&[Line(b"GET"), Answer(b"14FULL"), End], "FULL\n", taken);
    }

    #[test]
    fn what_is_no_frame_is_no_answer() {
        let steps = [
            Line(b"GET"),
            Answer(b""),
            Answer(b"spike: got it"),
            Answer(b"14ping "),
            Answer(b"14ping10"),
            Answer(b"14ping"),
            End,
        ];
        check(&steps, "ping\n", Counts { requests: 1, answered: 1, malformed: 4, ..Counts::default() });
    }

    #[test]
    fn a_late_answer_is_not_the_next_ones_where_that_can_be_known() {
        let counts =
            |answered, late| Counts { requests: 2, answered, timed_out: 2 - answered, late, ..Counts::default() };
        let put_3: &[u8] = b"1bPUT 3 bytes";
        let late =
            |first, second, late, own| [Line(first), Ms(TIMEOUT_MS), Line(second), Answer(late), Answer(own), End];
        check(&late(b"PUT:abc", b"SIZE", put_3, b"111"), "1\n", counts(1, 1));
        check(&late(b"PUT:abc", b"PUT:abcd", put_3, b"1bPUT 4 bytes"), "PUT 4 bytes\n", counts(1, 1));
        check(&late(b"SIZE", b"PUT:abc", b"111", put_3), "PUT 3 bytes\n", counts(1, 1));
        check(&late(b"GET", b"PUT:abc", b"13xyz", put_3), "PUT 3 bytes\n", counts(1, 1));
        check(&late(b"NOSUCH", b"SIZE", b"13xyz", b"111"), "1\n", counts(1, 1));
        // The limit: it fits.
        check(&late(b"GET", b"GET", b"11a", b"11b"), "a\n", counts(1, 1));
    }

    #[test]
    fn a_doubled_answer_is_taken_once() {
        let steps = [
            Line(b"PUT:a"),
            Answer(b"1bPUT 1 bytes"),
            Answer(b"1bPUT 1 bytes"),
            Line(b"SIZE"),
            Answer(b"1bPUT 1 bytes"),
            Answer(b"111"),
            End,
        ];
        check(&steps, "PUT 1 bytes\n1\n", Counts { requests: 2, answered: 2, late: 2, ..Counts::default() });
    }

    #[test]
    fn whatever_a_strange_peer_answers_is_told() {
        let steps =
            [Line(b"PUT:a"), Answer(b"12OK"), Line(b"SIZE"), Answer(b"14much"), Line(b"PUT:b"), Answer(b"12OK"), End];
        check(&steps, "OK\nmuch\nOK\n", Counts { requests: 3, answered: 3, ..Counts::default() });
    }

    #[test]
    fn a_refusal_ends_it() {
        let (printed, _, counts) = run(Style::Text, &[Line(b"GET"), Refused]);
        assert_eq!(printed, "Data sent: 'GET'\nError received: [Errno 111] Connection refused\nSocket closed.\n");
        assert_eq!(counts, Counts { requests: 1, refused: 1, ..Counts::default() });
        // One that comes when nothing is asked says nothing of what is.
        check(
            &[Line(b"GET"), Ms(TIMEOUT_MS), Refused, End],
            "",
            Counts { requests: 1, timed_out: 1, ..Counts::default() },
        );
    }

    #[test]
    fn the_rest_of_the_ends() {
        let one = Counts { requests: 1, ..Counts::default() };
        check(&[Line(b"GET"), Stop], "", Counts { interrupted: 1, ..one });
        check(&[Line(b"GET"), Answer(b"10"), Stop, Stop], "\n", Counts { answered: 1, ..one });
        check(&[Line(b"GET"), Unsent, End], "", Counts { unsent: 1, ..one });
        let too_long: &[u8] = vec![b'x'; protocol::TEXT_BYTES_MAX + 1].leak();
        let steps = [Line(too_long), Line(b"PUT:a"), Answer(b"12OK"), End];
        check(&steps, "OK\n", Counts { requests: 2, answered: 1, too_long: 1, ..Counts::default() });
        let longest: &[u8] = vec![b'x'; protocol::TEXT_BYTES_MAX].leak();
        check(&[Line(longest), Answer(b"10"), End], "\n", Counts { answered: 1, ..one });
    }
}
