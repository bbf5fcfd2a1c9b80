//! A queue node, as a machine. On the verbs of 2016, PUT appends a message, GET takes the oldest one away, SIZE tells how
//! many there are; on the link, producers' batches come in and consumers lease and finish them.
//!
//! Messages are kept by a [`link::Server`], in the order of their arrival, up to a bound; a message too many is refused with
//! a counted reason. In memory they end with the process; with a log an answer waits until it is true for good.
//! Every message is accounted for: `accepted = ready + leased + done + dead + discarded + popped`.

mod disk;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use link::{Fault, Ledger, Server, ServerLimits};
use machine::{LogLimit, Machine, Now, Port, Transmit, Work, WorkResult};
use metrics::{Doing, Reports};
use protocol::{
    call::{Call, CallError},
    frame,
    link::{Answer as LinkAnswer, Ask, Durability, LinkError, discovery, is_garbled_discovery},
    verb::{PutAnswer, Request, message_len},
};

use self::disk::OnDisk;
pub use self::disk::{Recovered, StartError, Stored};

/// Where clients are heard and answered.
pub const CLIENTS: Port = Port(0);

/// Where reports are sent from.
pub const METRICS: Port = Port(1);

/// What a queue holds at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many messages.
    pub messages_max: u64,
    /// How many bytes, each message as a frame with 64 bytes of overhead.
    pub bytes_max: u64,
}

/// The least [`bytes_max`](Limits::bytes_max) with which every message finds room in an empty queue.
pub const BYTES_MAX_LEAST: u64 = ServerLimits::BYTES_MAX_LEAST;

/// What came of the requests and messages since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages taken in.
    pub accepted: u64,
    /// Messages taken away by a GET.
    pub popped: u64,
    /// Messages finished by consumers of the link.
    pub done: u64,
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
    /// Calls of the link that were garbled on their way.
    pub bad_checksum: u64,
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
    node: u64,
    limits: Limits,
    speaks_link: bool,
    server: Server,
    /// Its log, if it has one.
    disk: Option<OnDisk>,
    /// When it was last told the time.
    now: Now,
    /// Which boot the reports name.
    introduced: u64,
    /// What happens to datagrams; what happens to messages, the server counts.
    counts: Counts,
    /// Each with its place in the server's journal, and whom it is for.
    answers: VecDeque<(u64, SocketAddr, Answer)>,
    reports: Reports,
    fullness: Fullness,
    bad_limit: LogLimit,
    full_limit: LogLimit,
}

/// Full is a queue that has refused messages, until it takes one or one leaves it.
#[derive(Debug, Default)]
struct Fullness {
    is_full: bool,
    /// How many had been refused, and how many had been taken or had left, when it was last looked at.
    refused: u64,
    moved: u64,
}

impl Fullness {
    fn look(&mut self, ledger: &Ledger) {
        let refused = ledger.refused_messages_max + ledger.refused_bytes_max;
        // What is in the queue has come and not gone.
        let moved = (2 * ledger.accepted).saturating_sub(ledger.ready + ledger.leased);
        if refused > self.refused {
            self.is_full = true;
        } else if moved > self.moved {
            self.is_full = false;
        }
        (self.refused, self.moved) = (refused, self.moved.max(moved));
    }
}

/// To a request of 2016, or for what the node knows. The link's other answers wait in the server.
#[derive(Debug)]
enum Answer {
    Put(PutAnswer),
    Get,
    /// The message that a GET took away, as a frame, as soon as that is written down.
    Got(Vec<u8>),
    Size,
    Welcome {
        token: u64,
    },
    Stat {
        token: u64,
    },
}

impl Limits {
    fn for_server(self) -> ServerLimits {
        let Self { messages_max, bytes_max } = self;
        ServerLimits { messages_max, bytes_max, ..ServerLimits::default() }
    }
}

impl Queue {
    /// An empty queue in memory. `node` is drawn at random by each process.
    pub fn new(node: u64, limits: Limits, reports: Reports) -> Self {
        Self::with_fault(node, limits, reports, None)
    }

    /// With a planted fault, for tests.
    #[doc(hidden)]
    pub fn with_fault(node: u64, limits: Limits, reports: Reports, fault: Option<Fault>) -> Self {
        let server = Server::with_fault(node, link::boot_in_memory(node), limits.for_server(), fault);
        Self::over(server, None, limits, reports)
    }

    fn over(server: Server, disk: Option<OnDisk>, limits: Limits, mut reports: Reports) -> Self {
        let (node, boot) = (server.node(), server.boot());
        reports.reporter.introduce("queue", Some((node, boot)));
        Self {
            node,
            limits,
            speaks_link: true,
            server,
            disk,
            now: Now { since_start: Duration::ZERO, since_epoch: Duration::ZERO },
            introduced: boot,
            counts: Counts::default(),
            answers: VecDeque::new(),
            reports,
            fullness: Fullness::default(),
            bad_limit: LogLimit::default(),
            full_limit: LogLimit::default(),
        }
    }

    /// Takes the link for an unknown verb, as a queue of 2016 does: for trying how others get on with one.
    #[must_use]
    pub fn speaking_2016(mut self) -> Self {
        self.speaks_link = false;
        self
    }

    /// How many messages are ready.
    pub fn len(&self) -> usize {
        usize::try_from(self.server.ready()).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What came of the requests so far.
    pub fn counts(&self) -> Counts {
        let Ledger { accepted, popped, done, refused_messages_max, refused_bytes_max, malformed, .. } =
            self.server.ledger();
        Counts {
            accepted,
            popped,
            done,
            refused_messages_max,
            refused_bytes_max,
            malformed: self.counts.malformed + malformed,
            ..self.counts
        }
    }

    /// What became of every message.
    pub fn message_ledger(&self) -> Ledger {
        self.server.ledger()
    }

    /// Takes one frame's text in; why it is no request, if so.
    fn handle_text(&mut self, now: Now, from: SocketAddr, text: &[u8]) -> Result<(), LinkError> {
        if self.speaks_link && Call::is_one(text) {
            let (token, ask) = Ask::parse(text)?;
            if ask == Ask::Stat {
                self.answer(0, from, Answer::Stat { token });
            } else {
                self.server.handle(now, from, token, &ask);
            }
            return Ok(());
        }
        let answer = match Request::parse_text(text) {
            Some(Request::Put(message)) => Answer::Put(self.put(now, from, message)),
            Some(Request::Get) if self.disk.is_some() => Answer::Got(self.get(now)),
            Some(Request::Get) => Answer::Get,
            Some(Request::Size) => match discovery(text) {
                Some(token) if self.speaks_link => Answer::Welcome { token },
                None if self.speaks_link && is_garbled_discovery(text) => return Err(CallError::Checksum.into()),
                _ => Answer::Size,
            },
            None => return Err(LinkError::UnknownVerb),
        };
        let gate = if matches!(answer, Answer::Put(_) | Answer::Got(_)) { self.server.made() } else { 0 };
        self.answer(gate, from, answer);
        Ok(())
    }

    fn answer(&mut self, gate: u64, to: SocketAddr, answer: Answer) {
        self.answers.push_back((gate, to, answer));
    }

    /// Takes a message away, as a frame; that of an empty message if there is none.
    fn get(&mut self, now: Now) -> Vec<u8> {
        let mut frame = Vec::new();
        if self.server.pop(now, &mut frame).is_none() {
            self.counts.empty_gets += 1;
            frame.extend_from_slice(b"10");
        }
        frame
    }

    fn put(&mut self, now: Now, from: SocketAddr, message: &[u8]) -> PutAnswer {
        let Err(refused) = self.server.put(now, message) else {
            return PutAnswer::Stored { len: message_len(message) };
        };
        if let Some(withheld) = self.full_limit.pass(now) {
            let why = refused.why(self.limits.messages_max, self.limits.bytes_max);
            tracing::warn!("Full: refused a message from {from} ({why}; {withheld} more unsaid)");
        }
        PutAnswer::Full
    }

    fn push_answer(&mut self, now: Now, answer: &Answer, bytes: &mut Vec<u8>) {
        match answer {
            Answer::Put(answer) => answer.push(bytes),
            Answer::Got(frame) => bytes.extend_from_slice(frame),
            Answer::Get if self.server.pop(now, bytes).is_some() => {}
            Answer::Get => {
                self.counts.empty_gets += 1;
                bytes.extend_from_slice(b"10");
            }
            Answer::Size => {
                let pushed = frame::push(self.server.ready().to_string().as_bytes(), bytes);
                debug_assert!(pushed.is_ok(), "a number is short");
            }
            Answer::Welcome { token } => self.server.welcome().push(*token, bytes),
            Answer::Stat { token } => {
                let body = link::stat(self.node, self.server.boot(), &self.ledger(), &self.gauges(now));
                LinkAnswer::Done { finished: b"", count: 0, level: Durability::Memory, body: body.as_bytes() }
                    .push(*token, bytes);
            }
        }
    }

    /// Counts what has gone through since this was last done.
    fn note_flow(&mut self, now: Now) {
        let flow = self.server.take_flow();
        self.fullness.look(&self.server.ledger());
        let reporter = &mut self.reports.reporter;
        if self.introduced != self.server.boot() {
            self.introduced = self.server.boot();
            reporter.introduce("queue", Some((self.node, self.introduced)));
        }
        reporter.go_on(now, if self.fullness.is_full { Doing::Blocked } else { Doing::Idle });
        reporter.count_all_in(now, flow.accepted);
        reporter.count_all_out(now, flow.delivered);
        for (waited, messages) in flow.waited {
            reporter.record_latencies(waited, messages);
        }
    }

    fn reject(&mut self, now: Now, from: SocketAddr, error: &LinkError) {
        match error {
            LinkError::UnknownVerb => self.counts.unknown_verb += 1,
            LinkError::Call(CallError::Checksum) => self.counts.bad_checksum += 1,
            LinkError::Call(CallError::Shape) | LinkError::Field(_) => self.counts.malformed += 1,
        }
        self.log_bad(now, from, error);
    }

    fn log_bad(&mut self, now: Now, from: SocketAddr, error: &dyn std::fmt::Display) {
        if let Some(withheld) = self.bad_limit.pass(now) {
            tracing::warn!("Bad datagram from {from}: {error} ({withheld} more unsaid)");
        }
    }

    /// The counters by name, cumulative since the node started.
    fn ledger(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts();
        let messages = self.server.ledger().named().into_iter().filter(|(name, _)| *name != "malformed");
        let datagrams = [
            ("empty_gets", counts.empty_gets),
            ("malformed", counts.malformed),
            ("unknown_verb", counts.unknown_verb),
            ("bad_checksum", counts.bad_checksum),
            ("stray", counts.stray),
            ("not_allowed", counts.not_allowed),
            ("kernel_drops", counts.kernel_drops),
            ("unsent", counts.unsent),
        ];
        messages.chain(datagrams).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
    fn gauges(&self, now: Now) -> Vec<(&'static str, f64)> {
        let own = [
            ("depth", self.len() as f64),
            ("depth_max", self.limits.messages_max as f64),
            ("bytes_max", self.limits.bytes_max as f64),
        ];
        own.into_iter().chain(self.server.gauges(now).named()).collect()
    }
}

impl Machine for Queue {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        self.now = now;
        if port != CLIENTS {
            self.counts.stray += 1;
            return;
        }
        match frame::only(datagram) {
            Ok(text) => {
                if let Err(error) = self.handle_text(now, from, text) {
                    self.reject(now, from, &error); // counted, never answered
                }
            }
            Err(error) => {
                self.counts.malformed += 1;
                self.log_bad(now, from, &error);
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        self.server.handle_timeout(now);
        if self.reports.is_due(now) {
            self.note_flow(now);
            self.reports.close(now, &self.ledger(), &self.gauges(now));
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let retry_at = self.disk.as_ref().and_then(OnDisk::retry_at);
        [Some(self.reports.poll_timeout()), self.server.poll_timeout(), retry_at].into_iter().flatten().min()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        self.now = now;
        if self.failure().is_none() {
            let durable = self.server.durable();
            if let Some((_, to, answer)) = self.answers.pop_front_if(|(gate, ..)| *gate <= durable) {
                self.push_answer(now, &answer, bytes);
                return Some(Transmit { port: CLIENTS, to });
            }
            if let Some(to) = self.server.poll_answer(now, bytes) {
                return Some(Transmit { port: CLIENTS, to });
            }
        }
        self.note_flow(now);
        self.reports.poll_transmit(bytes)
    }

    fn poll_work(&mut self) -> Option<Work> {
        let Self { disk, server, now, .. } = self;
        disk.as_mut()?.poll_work(*now, server)
    }

    fn handle_result(&mut self, now: Now, result: WorkResult) {
        self.now = now;
        if let Some(disk) = &mut self.disk {
            disk.handle_result(now, &mut self.server, result);
        }
    }

    fn handle_stopping(&mut self, now: Now) {
        self.now = now;
        self.server.close();
    }

    fn is_settled(&self) -> bool {
        self.server.is_closed() || self.failure().is_some()
    }

    fn is_done(&self) -> bool {
        self.failure().is_some()
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
        tracing::info!("Queue size: {}", self.len());
        self.note_flow(now);
        self.reports.close_last(now, &self.ledger(), &self.gauges(now));
    }
}

#[cfg(test)]
mod tests {
    use metrics::{Identity, LogOrder, Report, Share};

    use super::*;

    const NOW: Now = Now { since_start: Duration::ZERO, since_epoch: Duration::ZERO };

    fn queue(limits: Limits) -> Queue {
        let identity = Identity { vuid: "Q".into(), func: "Messagequeue".into(), address: None };
        Queue::new(7, limits, Reports::new(identity, LogOrder::TimeFirst, Duration::from_secs(1), None, NOW))
    }

    /// One datagram in, the answer's text out.
    fn ask(queue: &mut Queue, datagram: &[u8]) -> Option<Vec<u8>> {
        let client = SocketAddr::from(([127, 0, 0, 1], 9));
        queue.handle_datagram(NOW, CLIENTS, client, datagram);
        let mut answer = Vec::new();
        queue.poll_transmit(NOW, &mut answer).map(|transmit| {
            assert_eq!(transmit, Transmit { port: CLIENTS, to: client });
            frame::only(&answer).unwrap().to_vec()
        })
    }

    fn check(limits: Limits, steps: &[(&str, Option<&str>)]) -> Queue {
        let mut queue = queue(limits);
        for (request, expected) in steps {
            let mut datagram = Vec::new();
            frame::push(request.as_bytes(), &mut datagram).unwrap();
            let answer = ask(&mut queue, &datagram).map(|answer| String::from_utf8(answer).unwrap());
            assert_eq!(answer.as_deref(), *expected, "{request}");
        }
        assert!(queue.message_ledger().balances());
        queue
    }

    const ROOMY: Limits = Limits { messages_max: 1_000, bytes_max: 1 << 20 };

    #[test]
    fn first_in_first_out() {
        check(
            ROOMY,
            &[
                ("GET", Some("")),
                ("PUT:a:b:c", Some("PUT 5 bytes")),
                ("PUT:", Some("PUT 0 bytes")),
                ("PUT:héllo 𝐇", Some("PUT 7 bytes")),
                ("SIZE", Some("3")),
                ("GET", Some("a:b:c")),
                ("GET:x", Some("")),
                ("SIZE:?", Some("1")),
                ("GET", Some("héllo 𝐇")),
                ("get", None),
                ("PUT 4 bytes", None),
            ],
        );
    }

    #[test]
    fn full_queue_refuses_with_a_reason() {
        let two = Limits { messages_max: 2, ..ROOMY };
        let stored = Some("PUT 1 bytes");
        let steps =
            [("PUT:a", stored), ("PUT:b", stored), ("PUT:c", Some("FULL")), ("GET", Some("a")), ("PUT:d", stored)];
        assert_eq!(check(two, &steps).counts().refused_messages_max, 1);
        let small = Limits { bytes_max: 150, ..ROOMY };
        assert_eq!(
            check(small, &[("PUT:a", stored), ("PUT:b", stored), ("PUT:c", Some("FULL"))]).counts().refused_bytes_max,
            1
        );
    }

    #[test]
    fn its_report_says_who_it_is_and_how_long_it_was_full() {
        let to = Transmit { port: METRICS, to: SocketAddr::from(([127, 0, 0, 1], 5001)) };
        let identity = Identity { vuid: "Q".into(), func: "Messagequeue".into(), address: None };
        let reports = Reports::new(identity, LogOrder::TimeFirst, Duration::from_secs(1), Some(to), NOW);
        let mut queue = Queue::new(7 << 32, Limits { messages_max: 1, ..ROOMY }, reports);
        let mut datagram = Vec::new();
        for (ms, request) in [(0, "SIZE"), (100, "PUT:a"), (200, "PUT:b"), (300, "PUT:b"), (700, "GET"), (800, "PUT:b")]
        {
            let now = Now { since_start: Duration::from_millis(ms), ..NOW };
            frame::push(request.as_bytes(), &mut datagram).unwrap();
            queue.handle_datagram(now, CLIENTS, SocketAddr::from(([127, 0, 0, 1], 9)), &datagram);
            datagram.clear();
            while queue.poll_transmit(now, &mut datagram).is_some() {
                datagram.clear();
            }
        }
        let end = Now { since_start: Duration::from_secs(1), ..NOW };
        queue.handle_timeout(end);
        assert_eq!(queue.poll_transmit(end, &mut datagram), Some(to));
        let weir = Report::parse(&datagram).unwrap().weir.unwrap();
        assert_eq!(
            (weir.kind.as_deref(), weir.node.as_deref(), weir.boot),
            (Some("queue"), Some("700000000"), Some(7))
        );
        assert_eq!(weir.share, Some(Share { busy: 0.0, blocked: 0.5, idle: 0.5 }));
        assert_eq!(
            (weir.gauges["depth"].to_bits(), weir.gauges["depth_max"].to_bits()),
            (1_f64.to_bits(), 1_f64.to_bits())
        );
    }

    #[test]
    fn garbage_is_counted_and_never_answered() {
        let mut queue = queue(ROOMY);
        for datagram in [&b""[..], b"x", b"14GET", b"13GETx", b"\xff\xfe"] {
            assert_eq!(ask(&mut queue, datagram), None);
        }
        assert_eq!((queue.counts().malformed, ask(&mut queue, b"13GET")), (5, Some(vec![])));
    }

    #[test]
    fn it_tells_all_that_it_counts() {
        let mut queue = queue(ROOMY);
        for datagram in [&b"x"[..], b"14XYZW", b"17PUT:abc", b"13GET"] {
            ask(&mut queue, datagram);
        }
        queue.handle_kernel_drops(CLIENTS, 5);
        let mut datagram = Vec::new();
        Ask::Stat.push(42, &mut datagram);
        let answer = ask(&mut queue, &datagram).unwrap();
        let Ok((42, LinkAnswer::Done { body, .. })) = LinkAnswer::parse(&answer) else { panic!("{answer:?}") };
        let told = String::from_utf8(body.to_vec()).unwrap();
        assert!(told.starts_with(r#"{"node":"7","boot":1,"ledger":{"accepted":1,"ready":0,"#), "{told}");
        for part in
            [r#""popped":1,"#, r#""malformed":1,"#, r#""unknown_verb":1,"#, r#""kernel_drops":5,"#, r#""depth":0,"#]
        {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn a_node_says_that_it_speaks_the_link() {
        let mut queue = queue(ROOMY);
        let mut datagram = Vec::new();
        protocol::link::push_discovery(42, &mut datagram);
        let answer = ask(&mut queue, &datagram).unwrap();
        let (token, welcome) = protocol::link::Welcome::parse(&answer).unwrap();
        assert_eq!((token, welcome.node, welcome.size, welcome.batch_messages_max), (42, 7, 0, 1_000));
        let garbled = b"218SIZE:?v2 c=f23aa2ae r=42";
        assert_eq!((ask(&mut queue, garbled), queue.counts().bad_checksum), (None, 1));
    }
}
