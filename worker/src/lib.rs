//! A worker, as a machine: it takes messages from queues, applies a function, and sends each output where the function's
//! choice says.
//!
//! One message's flow: a GET goes out, the answer comes in, the function gives outputs, each waits its turn, and leaves as
//! a PUT to a queue or as a bare datagram. When an output waits for its queue, no more messages are asked for.

mod route;
mod waiting;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use functions::{Function, Outputs, Refusal};
use link::{GetEdge, GetLimits, PutEdge, Window};
use machine::{LogLimit, Machine, Now, Port, Transmit};
use metrics::Reports;
use protocol::{frame, text, verb::Request};

pub use route::Route;
use waiting::{Waiting, WaitingOutputs};

/// Where messages come in.
pub const INPUT: Port = Port(0);

/// Where outputs leave from, and PUTs are answered. Not [`INPUT`]: answers to GETs and PUTs cannot be told apart.
pub const OUTPUT: Port = Port(1);

/// Where reports are sent from.
pub const METRICS: Port = Port(2);

/// How many PUTs may wait for their answers at each output.
const OUTPUT_WINDOW: Window = Window::AtMost(128);

/// The longest rest of an idle worker: 50 ms costs 0.3 % of a core with its queue, 10 ms would cost 1.2 %.
const REST_MAX: Duration = Duration::from_millis(50);

/// What the outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// Queues: each output is a PUT, paced by the answers.
    Queue,
    /// Sockets: each output is a bare datagram, sent and forgotten.
    Socket,
}

/// What to do with a message that the function refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// Count it, log it, go on.
    Continue,
    /// Log it and end, as in 2016.
    Stop,
}

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The queues to take from.
    pub inputs: Vec<SocketAddr>,
    /// Where outputs go: the first is output 0.
    pub outputs: Vec<SocketAddr>,
    /// What the outputs are.
    pub output_kind: OutputKind,
    /// Who decides which output a message takes.
    pub route: Route,
    /// How many messages may be on their way to the worker at once, over all inputs.
    pub under_way_max: u32,
    /// How long to rest after an empty answer, at first.
    pub rest_min: Duration,
    /// What to do with a message that the function refuses.
    pub on_error: OnError,
}

/// What came of the messages since the node started. `received = processed + errors + panics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that came in.
    pub received: u64,
    /// Messages that the function took.
    pub processed: u64,
    /// Messages that the function refused.
    pub errors: u64,
    /// Messages at which the function panicked.
    pub panics: u64,
    /// Outputs that the function gave.
    pub outputs: u64,
    /// Outputs sent.
    pub sent: u64,
    /// Outputs that fit in no datagram.
    pub too_long: u64,
    /// Answers that are not exactly one frame, or that no queue gives.
    pub malformed: u64,
    /// Datagrams from strangers.
    pub stray: u64,
    /// Datagrams that the kernel dropped for want of room.
    pub kernel_drops: u64,
    /// Datagrams that could not be sent.
    pub unsent: u64,
}

/// The worker.
pub struct Worker {
    function: Function,
    inputs: Vec<Input>,
    /// Which input is asked first in the next turn, so that none is starved.
    next_input: usize,
    outputs: Vec<Output>,
    output_kind: OutputKind,
    route: Route,
    on_error: OnError,
    /// No more messages are asked for while so many outputs wait.
    waiting_max: usize,
    waiting: WaitingOutputs,
    /// Reused from call to call.
    given: Outputs,
    counts: Counts,
    errors_by_name: BTreeMap<&'static str, u64>,
    stopped_by: Option<String>,
    /// The operator wants the end: no more messages are asked for.
    stopping: bool,
    /// At each port.
    kernel_drops: [u64; 3],
    reports: Reports,
    error_limit: LogLimit,
    bad_limit: LogLimit,
}

struct Input {
    peer: SocketAddr,
    edge: GetEdge,
}

struct Output {
    peer: SocketAddr,
    edge: PutEdge,
    silence_limit: LogLimit,
}

impl Worker {
    /// A worker that has not asked yet.
    pub fn new(plan: Plan, function: Function, reports: Reports) -> Self {
        let share = plan.under_way_max / u32::try_from(plan.inputs.len()).unwrap_or(u32::MAX).max(1);
        let limits =
            GetLimits { under_way_max: share.max(1), rest_min: plan.rest_min, rest_max: plan.rest_min.max(REST_MAX) };
        let window = match plan.output_kind {
            OutputKind::Queue => OUTPUT_WINDOW,
            OutputKind::Socket => Window::None,
        };
        let output = |peer| Output { peer, edge: PutEdge::new(window), silence_limit: LogLimit::default() };
        Self {
            function,
            inputs: plan.inputs.into_iter().map(|peer| Input { peer, edge: GetEdge::new(limits) }).collect(),
            next_input: 0,
            outputs: plan.outputs.into_iter().map(output).collect(),
            output_kind: plan.output_kind,
            route: plan.route,
            on_error: plan.on_error,
            waiting_max: usize::try_from(plan.under_way_max).unwrap_or(usize::MAX),
            waiting: WaitingOutputs::default(),
            given: Outputs::default(),
            counts: Counts::default(),
            errors_by_name: BTreeMap::new(),
            stopped_by: None,
            stopping: false,
            kernel_drops: [0; 3],
            reports,
            error_limit: LogLimit::default(),
            bad_limit: LogLimit::default(),
        }
    }

    /// What came of the messages so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The refusal that ended the worker, if one did.
    pub fn stopped_by(&self) -> Option<&str> {
        self.stopped_by.as_deref()
    }

    fn handle_answer(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) {
        let Some(input) = self.inputs.iter_mut().find(|input| input.peer == from) else {
            self.counts.stray += 1;
            return self.log_bad(now, from, "a stranger's datagram");
        };
        match frame::only(datagram) {
            // An empty message and an empty queue look alike on the verbs of 2016.
            Ok(b"") => input.edge.handle_empty(now.since_start),
            Ok(message) => {
                input.edge.handle_message(now.since_start);
                self.process(now, message);
            }
            Err(error) => {
                self.counts.malformed += 1;
                self.log_bad(now, from, &error.to_string());
            }
        }
    }

    fn process(&mut self, now: Now, message: &[u8]) {
        self.counts.received += 1;
        self.reports.reporter.count_in(now);
        self.given.clear();
        let Self { function, given, .. } = self;
        // A function that panics loses this message, not the worker.
        match catch_unwind(AssertUnwindSafe(|| function(message, given))) {
            Ok(Ok(())) => {
                self.counts.processed += 1;
                self.keep_outputs(now);
            }
            Ok(Err(refusal)) => self.refuse(now, message, &refusal),
            Err(_) => {
                self.counts.panics += 1;
                tracing::error!("The function panicked at {}", shown(message));
            }
        }
    }

    fn keep_outputs(&mut self, now: Now) {
        let count = self.outputs.len();
        for (choice, message) in self.given.iter() {
            self.counts.outputs += 1;
            let output = self.route.pick(choice, count);
            self.waiting.push(output, message);
        }
        self.waiting.end_input(now.since_start);
    }

    fn refuse(&mut self, now: Now, message: &[u8], refusal: &Refusal) {
        self.counts.errors += 1;
        *self.errors_by_name.entry(refusal.name()).or_default() += 1;
        if let Some(withheld) = self.error_limit.pass(now) {
            let message = shown(message);
            tracing::error!("Error encountered when processing: {message}: {refusal} ({withheld} more unsaid)");
        }
        if self.on_error == OnError::Stop {
            self.stopped_by = Some(refusal.to_string());
        }
    }

    fn handle_put_answer(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) {
        let Some(output) = self.outputs.iter_mut().find(|output| output.peer == from) else {
            self.counts.stray += 1;
            return self.log_bad(now, from, "a stranger's datagram");
        };
        if !frame::only(datagram).is_ok_and(|answer| output.edge.handle_answer(now.since_start, answer)) {
            self.counts.malformed += 1;
            self.log_bad(now, from, "no answer to a PUT");
        }
    }

    /// The output that has waited longest, if it may leave. They leave in order: one that waits holds the others back.
    fn send_waiting(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<SocketAddr> {
        loop {
            let (output, message) = match self.waiting.front()? {
                Waiting::Message { output, message } => (output, message),
                Waiting::EndOfInput { started } => {
                    self.reports.reporter.count_out(now);
                    self.reports.reporter.record_latency(now.since_start.saturating_sub(started));
                    self.waiting.pop_front();
                    continue;
                }
            };
            let Some(Output { peer, edge, silence_limit }) = self.outputs.get_mut(output) else {
                self.waiting.pop_front();
                continue;
            };
            let peer = *peer;
            if !edge.may_put(now.since_start) {
                return probe(edge, silence_limit, now, peer, bytes).then_some(peer);
            }
            let fits = match self.output_kind {
                OutputKind::Queue => Request::Put(message).push(bytes).is_ok(),
                OutputKind::Socket => {
                    let fits = message.len() <= protocol::DATAGRAM_BYTES_MAX;
                    bytes.extend_from_slice(if fits { message } else { b"" });
                    fits
                }
            };
            if fits {
                edge.handle_put(now.since_start);
                self.counts.sent += 1;
            } else {
                self.counts.too_long += 1;
                tracing::error!("An output of {} bytes fits in no datagram: dropped", message.len());
            }
            self.waiting.pop_front();
            if fits {
                return Some(peer);
            }
        }
    }

    fn ask(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<SocketAddr> {
        if self.stopping || self.waiting.len() >= self.waiting_max {
            return None;
        }
        let count = self.inputs.len();
        for turn in 0..count {
            let index = (self.next_input + turn) % count;
            let Some(input) = self.inputs.get_mut(index) else { continue };
            if input.edge.poll_get(now.since_start) {
                let pushed = Request::Get.push(bytes);
                debug_assert!(pushed.is_ok(), "a GET is short");
                self.next_input = index + 1;
                return Some(input.peer);
            }
        }
        None
    }

    fn log_bad(&mut self, now: Now, from: SocketAddr, what: &str) {
        if let Some(withheld) = self.bad_limit.pass(now) {
            tracing::warn!("Bad datagram from {from}: {what} ({withheld} more unsaid)");
        }
    }

    /// The counters by name, cumulative since the node started.
    fn ledger(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts;
        let mut ledger = vec![
            ("received", counts.received),
            ("processed", counts.processed),
            ("function_errors", counts.errors),
            ("function_panics", counts.panics),
            ("outputs", counts.outputs),
            ("outputs_sent", counts.sent),
            ("outputs_too_long", counts.too_long),
            ("malformed", counts.malformed),
            ("stray", counts.stray),
            ("kernel_drops", counts.kernel_drops),
            ("unsent", counts.unsent),
            ("gets", self.inputs.iter().map(|input| input.edge.gets()).sum()),
            ("repeated_gets", self.inputs.iter().map(|input| input.edge.repeats()).sum()),
        ];
        if self.output_kind == OutputKind::Queue {
            let sum = |count: fn(&Output) -> u64| self.outputs.iter().map(count).sum();
            ledger.extend([
                ("outputs_confirmed", sum(|output| output.edge.counts().confirmed)),
                ("outputs_refused_full", sum(|output| output.edge.counts().refused)),
                ("outputs_unconfirmed", sum(|output| output.edge.counts().unconfirmed)),
                ("outputs_under_way", sum(|output| output.edge.under_way())),
            ]);
        }
        ledger.extend(self.errors_by_name.iter().map(|(name, count)| (*name, *count)));
        ledger
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
    fn gauges(&self) -> [(&'static str, f64); 1] {
        [("waiting", self.waiting.len() as f64)]
    }
}

/// Asks a silent queue for its size, and says now and then that it is silent.
fn probe(edge: &mut PutEdge, limit: &mut LogLimit, now: Now, peer: SocketAddr, bytes: &mut Vec<u8>) -> bool {
    if !edge.poll_probe(now.since_start) {
        return false;
    }
    if edge.unanswered_probes() > 3 && limit.pass(now).is_some() {
        tracing::warn!("No answer from the queue at {peer}: outputs wait (asked {} times)", edge.unanswered_probes());
    }
    Request::Size.push(bytes).is_ok()
}

/// A message for the log, cut where it grows long.
fn shown(message: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 200;
    let cut = message.get(..SHOWN_BYTES_MAX).unwrap_or(message);
    let more = if cut.len() < message.len() { "..." } else { "" };
    format!("{}{more}", text::literal(&String::from_utf8_lossy(cut)))
}

impl Machine for Worker {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        match port {
            INPUT => self.handle_answer(now, from, datagram),
            OUTPUT if self.output_kind == OutputKind::Queue => self.handle_put_answer(now, from, datagram),
            _ => self.counts.stray += 1,
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        for input in &mut self.inputs {
            input.edge.handle_timeout(now.since_start);
        }
        if self.output_kind == OutputKind::Queue {
            for output in &mut self.outputs {
                output.edge.handle_timeout(now.since_start);
            }
        }
        if self.reports.is_due(now) {
            self.reports.close(now, &self.ledger(), &self.gauges());
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let blocked_at = match self.waiting.front() {
            Some(Waiting::Message { output, .. }) => Some(output),
            _ => None,
        };
        let mut deadline = self.reports.poll_timeout();
        if self.output_kind == OutputKind::Queue {
            for (index, output) in self.outputs.iter().enumerate() {
                let at = output.edge.poll_timeout(blocked_at == Some(index));
                deadline = deadline.min(at.unwrap_or(deadline));
            }
        }
        let wants = !self.stopping && self.waiting.len() < self.waiting_max;
        for input in &self.inputs {
            deadline = deadline.min(input.edge.poll_timeout(wants).unwrap_or(deadline));
        }
        Some(deadline)
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(to) = self.send_waiting(now, bytes) {
            return Some(Transmit { port: OUTPUT, to });
        }
        if let Some(to) = self.ask(now, bytes) {
            return Some(Transmit { port: INPUT, to });
        }
        self.reports.poll_transmit(bytes)
    }

    fn handle_unsent(&mut self, port: Port, _to: SocketAddr) {
        if port != METRICS {
            self.counts.unsent += 1;
        }
    }

    fn handle_kernel_drops(&mut self, port: Port, total: u64) {
        if let Some(drops) = self.kernel_drops.get_mut(usize::from(port.0)) {
            *drops = total;
        }
        self.counts.kernel_drops = self.kernel_drops.iter().sum();
    }

    fn handle_stopping(&mut self, _now: Now) {
        self.stopping = true;
    }

    /// A message that is on its way here is lost if the worker does not wait for it.
    fn is_settled(&self) -> bool {
        let asked = self.inputs.iter().any(|input| input.edge.under_way() > 0);
        let put =
            self.output_kind == OutputKind::Queue && self.outputs.iter().any(|output| output.edge.under_way() > 0);
        !asked && !put && self.waiting.len() == 0
    }

    fn handle_stop(&mut self, now: Now) {
        tracing::info!("Shutting down");
        self.reports.close_last(now, &self.ledger(), &self.gauges());
    }

    fn is_done(&self) -> bool {
        self.stopped_by.is_some()
    }
}
