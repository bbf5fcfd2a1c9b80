//! A worker, as a machine: it takes messages from queues, applies a function, and sends each output where the function's
//! choice says.
//!
//! On the link it leases messages in batches. The function goes through a batch beside the sockets; each output waits its
//! turn, and leaves with an identity that follows from its input's. Once the queues have confirmed all outputs of a batch,
//! the batch is finished, so that a worker that dies loses nothing; where a queue has no room for all of them, the part is
//! finished whose outputs it has. A message that the function refuses goes to the dead letters.
//!
//! A queue that speaks the verbs of 2016 only gives a message for a GET, and forgets it; the function is applied at once.
//!
//! When an output waits for its queue, no more messages are asked for.

mod account;
mod applied;
mod apply;
mod edges;
mod faults;
mod route;
mod sending;
mod taking;
mod told;
mod waiting;

use std::{collections::BTreeMap, net::SocketAddr, ops::Range, time::Duration};

use functions::{Function, Outputs};
use link::GetLimits;
use machine::{LogLimit, Machine, Now, Port, Transmit, Work, WorkResult};
use metrics::Reports;

use apply::{Applied, Task};
pub use edges::LinkPlan;
use edges::{Input, Output};
pub use faults::Faults;
pub use route::Route;
use sending::Unfinished;
pub use told::Counts;
use waiting::WaitingOutputs;

/// Where messages come in.
pub const INPUT: Port = Port(0);

/// Where outputs leave from, and are confirmed. Not [`INPUT`]: answers to GETs and PUTs cannot be told apart.
pub const OUTPUT: Port = Port(1);

/// Where reports are sent from.
pub const METRICS: Port = Port(2);

/// The longest rest of an idle worker on the verbs of 2016: 50 ms costs 0.3 % of a core with its queue, 10 ms would cost
/// 1.2 %.
const REST_MAX: Duration = Duration::from_millis(50);

/// No batch is begun while the outputs of so many wait.
const BATCHES_WAITING_MAX: usize = 2;

/// What the outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// Queues: each output is confirmed, as far as the queue can.
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
    /// How many messages, on the link batches, may be on their way to the worker at once, over all inputs.
    pub under_way_max: u32,
    /// How long to rest after an empty answer, at first.
    pub rest_min: Duration,
    /// What to do with a message that the function refuses.
    pub on_error: OnError,
    /// For queues that speak the link.
    pub link: LinkPlan,
}

/// The worker.
pub struct Worker {
    /// None while it is at work beside the sockets.
    function: Option<Function>,
    /// What it is to work on next.
    task: Option<Task>,
    /// When the batch that it works on was given to it.
    task_started: Duration,
    inputs: Vec<Input>,
    /// Which input is asked first in the next turn, so that none is starved.
    next_input: usize,
    outputs: Vec<Output>,
    /// Which of them each output of the plan is: several may be one queue.
    targets: Vec<(usize, SocketAddr)>,
    /// How many bare datagrams have left for each of them.
    sent_bare: Vec<u64>,
    output_kind: OutputKind,
    route: Route,
    on_error: OnError,
    faults: Faults,
    /// No more messages are asked for while so many outputs wait.
    waiting_max: usize,
    waiting: WaitingOutputs,
    /// How many batches are not wholly sent.
    batches_waiting: usize,
    /// Which numbers the messages of the batch that is being sent have at each output.
    marks: BTreeMap<usize, Range<u64>>,
    /// Batches that are sent, and not confirmed.
    unfinished: Vec<Unfinished>,
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

impl Worker {
    /// A worker that has not asked yet.
    pub fn new(plan: Plan, function: Function, mut reports: Reports) -> Self {
        reports.reporter.introduce("worker", None);
        let mut peers: Vec<SocketAddr> = Vec::new();
        for peer in &plan.inputs {
            if !peers.contains(peer) {
                peers.push(*peer);
            }
        }
        let share = (plan.under_way_max / u32::try_from(peers.len()).unwrap_or(u32::MAX).max(1)).max(1);
        let limits = GetLimits { under_way_max: share, rest_min: plan.rest_min, rest_max: plan.rest_min.max(REST_MAX) };
        let input = |(number, peer)| Input::new(&plan.link, number, peer, share, limits);
        let inputs = (0..).zip(peers).map(input).collect();
        let mut outputs: Vec<Output> = Vec::new();
        let mut targets = Vec::new();
        for &peer in &plan.outputs {
            let known = outputs.iter().position(|output| output.peer == peer);
            let place = known.unwrap_or_else(|| {
                outputs.push(Output::new(&plan.link, outputs.len() as u64, peer));
                outputs.len() - 1
            });
            targets.push((place, peer));
        }
        let sent_bare = vec![0; outputs.len()];
        if plan.output_kind == OutputKind::Socket {
            outputs.clear();
        }
        Self {
            function: Some(function),
            task: None,
            task_started: Duration::ZERO,
            inputs,
            next_input: 0,
            outputs,
            targets,
            sent_bare,
            output_kind: plan.output_kind,
            route: plan.route,
            on_error: plan.on_error,
            faults: Faults::default(),
            waiting_max: usize::try_from(plan.under_way_max).unwrap_or(usize::MAX),
            waiting: WaitingOutputs::default(),
            batches_waiting: 0,
            marks: BTreeMap::new(),
            unfinished: Vec::new(),
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

    /// Makes it do wrong, to show that a test would see it.
    #[doc(hidden)]
    pub fn plant(&mut self, faults: Faults) {
        self.faults = faults;
        self.inputs.iter_mut().for_each(|input| input.consumer.plant(faults.edges));
        self.outputs.iter_mut().for_each(|output| output.producer.plant(faults.edges));
    }

    /// The refusal that ended the worker, if one did.
    pub fn stopped_by(&self) -> Option<&str> {
        self.stopped_by.as_deref()
    }

    /// Why an edge has given up, with the edge's name, if one has: what it promises is less than was asked for.
    pub fn failure(&self) -> Option<String> {
        let inputs = self.inputs.iter().filter_map(Input::failure);
        inputs.chain(self.outputs.iter().filter_map(Output::failure)).next()
    }

    fn log_bad(&mut self, now: Now, from: SocketAddr, what: &str) {
        if let Some(withheld) = self.bad_limit.pass(now) {
            tracing::warn!("Bad datagram from {from}: {what} ({withheld} more unsaid)");
        }
    }
}

impl Machine for Worker {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        match port {
            INPUT => self.handle_input(now, from, datagram),
            OUTPUT if self.output_kind == OutputKind::Queue => self.handle_output(now, from, datagram),
            _ => self.counts.stray += 1,
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        for input in &mut self.inputs {
            input.consumer.handle_timeout(now);
        }
        for output in &mut self.outputs {
            output.producer.handle_timeout(now);
        }
        if self.reports.is_due(now) {
            self.reports.reporter.set_edges(self.edges());
            self.reports.close(now, &self.ledger(), &self.gauges());
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let inputs = self.inputs.iter().filter_map(|input| input.consumer.poll_timeout(self.wants_more(input)));
        let outputs = self.outputs.iter().filter_map(|output| output.producer.poll_timeout());
        inputs.chain(outputs).chain([self.reports.poll_timeout()]).min()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(to) = self.hand_over(now, bytes) {
            return Some(Transmit { port: OUTPUT, to });
        }
        self.end_outputs();
        if let Some(to) = self.send(now, bytes) {
            return Some(Transmit { port: OUTPUT, to });
        }
        self.finish_confirmed(now);
        if let Some(to) = self.ask(now, bytes) {
            return Some(Transmit { port: INPUT, to });
        }
        self.reports.reporter.go_on(now, self.doing());
        self.reports.poll_transmit(bytes)
    }

    fn poll_work(&mut self) -> Option<Work> {
        let task = self.task.take()?;
        Some(Box::new(move || Box::new(task.run())))
    }

    fn handle_result(&mut self, now: Now, result: WorkResult) {
        if let Ok(applied) = result.downcast::<Applied>() {
            self.keep_applied(now, *applied);
            self.take_batches(now);
        }
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

    fn handle_stopping(&mut self, now: Now) {
        self.stopping = true;
        for input in &mut self.inputs {
            input.consumer.end(now);
        }
        self.end_outputs();
    }

    /// A message that is on its way here from an old queue is lost if the worker does not wait for it.
    fn is_settled(&self) -> bool {
        self.is_drained() && self.outputs.iter().all(|output| output.producer.is_settled())
    }

    fn handle_stop(&mut self, now: Now) {
        tracing::info!("Shutting down");
        self.reports.reporter.set_edges(self.edges());
        self.reports.close_last(now, &self.ledger(), &self.gauges());
    }

    fn is_done(&self) -> bool {
        self.stopped_by.is_some() || self.failure().is_some()
    }
}
