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
mod waiting;

use std::{collections::BTreeMap, net::SocketAddr, ops::Range, time::Duration};

use functions::{Function, Outputs, Refusal};
use link::{Batch, ConsumerCounts, GetLimits, OutputId, ProducerCounts, PutCounts};
use machine::{LogLimit, Machine, Now, Port, Transmit, Work, WorkResult};
use metrics::{Doing, Reports};
use protocol::text;

use apply::{Applied, Fate, Task, apply_one};
pub use edges::LinkPlan;
use edges::{Input, Output};
pub use faults::Faults;
pub use route::Route;
use waiting::{EndOfBatch, Waiting, WaitingOutputs};

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

/// What came of the messages since the node started. `received = processed + errors + panics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that the function was applied to.
    pub received: u64,
    /// Messages that the function took.
    pub processed: u64,
    /// Messages that the function refused.
    pub errors: u64,
    /// Messages at which the function panicked.
    pub panics: u64,
    /// Messages that came again, and were not applied again.
    pub skipped: u64,
    /// Outputs that the function gave.
    pub outputs: u64,
    /// Outputs sent.
    pub sent: u64,
    /// Outputs that fit in no datagram.
    pub too_long: u64,
    /// Answers that are not exactly one frame, or that no queue gives.
    pub malformed: u64,
    /// Datagrams from strangers, and answers to nothing that was asked.
    pub stray: u64,
    /// Datagrams that the kernel dropped for want of room.
    pub kernel_drops: u64,
    /// Datagrams that could not be sent.
    pub unsent: u64,
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

/// A batch whose outputs are on their way.
struct Unfinished {
    input: usize,
    batch: u64,
    /// The numbers of its messages at each output.
    marks: BTreeMap<usize, Range<u64>>,
}

impl Unfinished {
    /// The outputs, with its messages' numbers, that have not confirmed all of them.
    fn open<'a>(&'a self, outputs: &'a [Output]) -> impl Iterator<Item = (&'a Output, &'a Range<u64>)> {
        let marked = self.marks.iter().filter_map(|(edge, marks)| Some((outputs.get(*edge)?, marks)));
        marked.filter(|(output, marks)| output.producer.confirmed() < marks.end)
    }

    /// Below which offset all that became of its messages is confirmed, if that is known.
    fn confirmed_below(&self, outputs: &[Output]) -> Option<u64> {
        let below = |(Output { producer, .. }, marks): (&Output, &Range<u64>)| {
            // What is not confirmed there may be of a batch before it.
            producer.unconfirmed_from().filter(|_| producer.confirmed() >= marks.start).unwrap_or(0)
        };
        self.open(outputs).map(below).min()
    }
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

    /// What came of the messages so far.
    pub fn counts(&self) -> Counts {
        let Counts { sent, malformed, stray, .. } = self.counts;
        let edges = self.edge_counts();
        Counts {
            sent: sent + edges.sent.sent,
            malformed: malformed + edges.taken.malformed + edges.sent.malformed,
            stray: stray + edges.taken.stray + edges.sent.stray,
            ..self.counts
        }
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

/// Messages come in.
impl Worker {
    fn handle_input(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) {
        let Some(input) = self.inputs.iter_mut().find(|input| input.peer == from) else {
            self.counts.stray += 1;
            return self.log_bad(now, from, "a stranger's datagram");
        };
        let malformed = input.consumer.counts().malformed;
        input.consumer.handle_datagram(now, datagram);
        input.tell();
        if input.consumer.counts().malformed > malformed {
            self.log_bad(now, from, "no answer of a queue");
        }
        self.take_batches(now);
    }

    /// Begins as many batches as it may. A message of an old queue is gone from there, so it does not wait.
    fn take_batches(&mut self, now: Now) {
        while self.function.is_some() && self.task.is_none() && self.stopped_by.is_none() {
            let may_begin = self.batches_waiting < BATCHES_WAITING_MAX;
            let count = self.inputs.len();
            let turns = (0..count).map(|turn| (self.next_input + turn) % count);
            let mut begun = None;
            for place in turns {
                let Some(input) = self.inputs.get_mut(place) else { continue };
                if may_begin || input.is_old() {
                    begun = input.next_batch().map(|batch| (place, batch));
                }
                if begun.is_some() {
                    break;
                }
            }
            let Some((place, batch)) = begun else { return };
            self.next_input = place + 1;
            if batch.lease.is_some() {
                self.begin(now, place, batch);
            } else {
                self.process_at_once(now, place, batch);
            }
        }
    }

    fn begin(&mut self, now: Now, place: usize, batch: Batch) {
        let Some(input) = self.inputs.get_mut(place) else { return };
        input.applied.begin(&batch);
        let mut skipped = Vec::new();
        for number in 0..batch.count {
            let offset = batch.first_offset + number;
            if input.applied.contains(offset) && !self.faults.applies_again {
                skipped.push(number);
            } else {
                input.applied.insert(offset);
            }
        }
        let Some(function) = self.function.take() else { return };
        self.batches_waiting += 1;
        self.task_started = now.since_start;
        let outputs = std::mem::take(&mut self.given);
        let stops_at_refusal = self.on_error == OnError::Stop;
        self.task = Some(Task { input: place, batch, skipped, stops_at_refusal, function, outputs });
    }

    fn keep_applied(&mut self, now: Now, Applied { task, fates }: Applied) {
        let Task { input: place, batch, function, mut outputs, .. } = task;
        self.function = Some(function);
        self.waiting.begin(batch.input());
        let (mut processed, mut came_again) = (0, false);
        let mut given = outputs.iter();
        for ((offset, message), fate) in (batch.first_offset..).zip(batch.messages()).zip(fates) {
            match fate {
                Fate::Skipped => {
                    came_again = true;
                    self.skip(now, place, &batch, offset);
                    continue;
                }
                Fate::Gave(count) => {
                    processed += 1;
                    for (index, (choice, output)) in (0..).zip(given.by_ref().take(count)) {
                        self.counts.outputs += 1;
                        let id = OutputId { offset, index };
                        let target = self.route.pick_for(choice, self.targets.len(), batch.node, id);
                        self.waiting.push(target, output, Some(id));
                    }
                }
                Fate::Refused(refusal) => {
                    self.refuse(now, message, &refusal);
                    if let Some(input) = self.inputs.get_mut(place) {
                        let reason = reason(&refusal);
                        if input.consumer.bury(now, batch.id, offset, &reason) {
                            input.account.give_back_one(batch.id);
                        }
                        input.applied.refuse(offset, reason);
                    }
                }
                Fate::Panicked(count) => {
                    given.by_ref().take(count).for_each(drop);
                    self.note_panic(message);
                    if let Some(input) = self.inputs.get_mut(place) {
                        if input.consumer.fail_one(now, batch.id, offset, "the function panicked") {
                            input.account.give_back_one(batch.id);
                        }
                        input.applied.remove(offset);
                    }
                }
            }
            self.counts.received += 1;
            self.reports.reporter.count_in(now);
        }
        drop(given);
        outputs.clear();
        self.given = outputs;
        self.counts.processed += processed;
        let started = self.task_started;
        self.waiting.end_batch(EndOfBatch { input: place, batch: batch.id, processed, came_again, started });
        if let Some(input) = self.inputs.get_mut(place) {
            input.consumer.recycle(batch.frames);
        }
    }

    /// A message came again. If it was refused, the queue has not heard of that.
    fn skip(&mut self, now: Now, place: usize, batch: &Batch, offset: u64) {
        self.counts.skipped += 1;
        let Some(Input { consumer, applied, account, .. }) = self.inputs.get_mut(place) else { return };
        if let Some(reason) = applied.refusal(offset)
            && consumer.bury(now, batch.id, offset, reason)
        {
            account.give_back_one(batch.id);
        }
    }

    /// What an old queue gave cannot wait for the function's thread: nobody else has it.
    fn process_at_once(&mut self, now: Now, place: usize, batch: Batch) {
        if let Some(message) = batch.messages().next() {
            self.process(now, message);
        }
        if let Some(input) = self.inputs.get_mut(place) {
            input.consumer.finish(now, batch.id);
            input.take_notices();
            input.consumer.recycle(batch.frames);
        }
    }

    fn process(&mut self, now: Now, message: &[u8]) {
        self.counts.received += 1;
        self.reports.reporter.count_in(now);
        // Until the outputs are taken out, when the time is looked at again.
        self.reports.reporter.go_on(now, Doing::Busy);
        self.given.clear();
        let Self { function: Some(function), given, .. } = self else { return };
        match apply_one(function, message, given) {
            Fate::Gave(_) => {
                self.counts.processed += 1;
                self.keep_outputs(now);
            }
            Fate::Refused(refusal) => self.refuse(now, message, &refusal),
            Fate::Panicked(_) => self.note_panic(message),
            Fate::Skipped => {}
        }
        self.given.clear();
    }

    fn keep_outputs(&mut self, now: Now) {
        let count = self.targets.len();
        for (choice, message) in self.given.iter() {
            self.counts.outputs += 1;
            let output = self.route.pick(choice, count);
            self.waiting.push(output, message, None);
        }
        self.waiting.end_input(now.since_start);
    }

    fn refuse(&mut self, now: Now, message: &[u8], refusal: &Refusal) {
        self.counts.errors += 1;
        *self.errors_by_name.entry(refusal.name()).or_default() += 1;
        if let Some(withheld) = self.error_limit.pass(now) {
            let message = text::shown(message);
            tracing::error!("Error encountered when processing: {message}: {refusal} ({withheld} more unsaid)");
        }
        if self.on_error == OnError::Stop {
            self.stopped_by = Some(refusal.to_string());
        }
    }

    fn note_panic(&mut self, message: &[u8]) {
        self.counts.panics += 1;
        tracing::error!("The function panicked at {}", text::shown(message));
    }

    fn ask(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<SocketAddr> {
        let count = self.inputs.len();
        for turn in 0..count {
            let index = (self.next_input + turn) % count;
            let wants = self.inputs.get(index).is_some_and(|input| self.wants_more(input));
            let Some(input) = self.inputs.get_mut(index) else { continue };
            if input.consumer.poll_transmit(now, wants, bytes) {
                self.next_input = index + 1;
                return Some(input.peer);
            }
        }
        None
    }

    fn wants_more(&self, input: &Input) -> bool {
        let may_wait = self.waiting.len() < self.waiting_max;
        let has_room = if input.is_old() {
            may_wait
        } else {
            self.batches_waiting < BATCHES_WAITING_MAX && (self.batches_waiting > 0 || may_wait)
        };
        has_room && !self.stopping && self.stopped_by.is_none()
    }
}

/// Outputs go out.
impl Worker {
    fn handle_output(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) {
        let Some(output) = self.outputs.iter_mut().find(|output| output.peer == from) else {
            self.counts.stray += 1;
            return self.log_bad(now, from, "a stranger's datagram");
        };
        let before = output.producer.counts();
        output.producer.handle_datagram(now, datagram);
        output.tell();
        let after = output.producer.counts();
        if after.refused_producers > before.refused_producers && output.silence_limit.pass(now).is_some() {
            tracing::warn!("The queue at {from} has as many producers as it may: outputs wait until one of them ends");
        }
        if after.malformed > before.malformed {
            self.log_bad(now, from, "no answer to an output");
        }
    }

    /// Hands outputs over in order: one that waits holds the others back. The address of a bare datagram, if one leaves.
    fn hand_over(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<SocketAddr> {
        loop {
            match self.waiting.front()? {
                Waiting::Message { output, message, id } => {
                    let Some(&(edge, peer)) = self.targets.get(output) else {
                        self.waiting.pop_front();
                        continue;
                    };
                    let is_sent = match self.output_kind {
                        OutputKind::Socket => {
                            let fits = message.len() <= protocol::DATAGRAM_BYTES_MAX;
                            bytes.extend_from_slice(if fits { message } else { b"" });
                            fits
                        }
                        OutputKind::Queue => {
                            if self.outputs.iter().any(Output::holds_back) {
                                return None;
                            }
                            let Output { producer, .. } = self.outputs.get_mut(edge)?;
                            if !producer.room() {
                                return None;
                            }
                            let pushed = producer.push(now, message, id);
                            if let Ok(number) = pushed {
                                self.marks.entry(edge).or_insert(number..number).end = number + 1;
                            }
                            pushed.is_ok()
                        }
                    };
                    if !is_sent {
                        self.counts.too_long += 1;
                        tracing::error!("An output of {} bytes fits in no datagram: dropped", message.len());
                    }
                    self.waiting.pop_front();
                    if is_sent && self.output_kind == OutputKind::Socket {
                        self.counts.sent += 1;
                        self.sent_bare.get_mut(edge).into_iter().for_each(|sent| *sent += 1);
                        return Some(peer);
                    }
                }
                Waiting::EndOfInput { started } => {
                    if self.outputs.iter().any(Output::holds_back) {
                        return None;
                    }
                    self.reports.reporter.count_out(now);
                    self.reports.reporter.record_latency(now.since_start.saturating_sub(started));
                    self.waiting.pop_front();
                    self.marks.clear();
                }
                Waiting::Begin(input) => {
                    self.outputs.iter_mut().for_each(|output| output.producer.derive_from(input));
                    self.waiting.pop_front();
                    self.marks.clear();
                }
                Waiting::EndOfBatch(end) => {
                    self.waiting.pop_front();
                    self.end_batch(now, end);
                }
            }
        }
    }

    /// All outputs of a batch are handed over.
    fn end_batch(&mut self, now: Now, end: EndOfBatch) {
        let mut marks = std::mem::take(&mut self.marks);
        if end.came_again {
            // Nobody remembers where the outputs of the time before went; all of them are in front of these.
            let next = |output: &Output| output.producer.next_sequence();
            marks = (0..).zip(self.outputs.iter().map(next)).map(|(edge, next)| (edge, next..next)).collect();
        }
        self.batches_waiting -= 1;
        self.reports.reporter.count_all_out(now, end.processed);
        self.reports.reporter.record_latencies(now.since_start.saturating_sub(end.started), end.processed);
        self.unfinished.push(Unfinished { input: end.input, batch: end.batch, marks });
        self.take_batches(now);
    }

    /// Finishes the batches whose outputs are all confirmed. Where a queue has no room for some of them, the messages are
    /// finished whose outputs it has: around a ring of queues that may be the room that is waited for.
    fn finish_confirmed(&mut self, now: Now) {
        let Self { unfinished, outputs, inputs, faults, .. } = self;
        let is_held_back = outputs.iter().any(|output| output.producer.is_held_back());
        unfinished.retain(|batch| {
            let is_done = batch.open(outputs).next().is_none() || faults.finishes_early;
            let Some(input) = inputs.get_mut(batch.input) else { return !is_done };
            if is_done {
                input.consumer.finish(now, batch.batch);
            } else if is_held_back && let Some(offset) = batch.confirmed_below(outputs) {
                input.consumer.finish_below(now, batch.batch, offset);
            }
            !is_done
        });
        inputs.iter_mut().for_each(Input::take_notices);
    }

    fn send(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<SocketAddr> {
        let has_waiting = self.waiting.len() > 0;
        for Output { peer, producer, silence_limit, .. } in &mut self.outputs {
            if !producer.poll_transmit(now, bytes) {
                continue;
            }
            let asked = producer.unanswered_probes();
            if asked > 3 && (has_waiting || producer.unconfirmed() > 0) && silence_limit.pass(now).is_some() {
                tracing::warn!("No answer from the queue at {peer}: outputs wait (asked {asked} times)");
            }
            return Some(*peer);
        }
        None
    }

    /// Tells the queues that no more will come, once that is so.
    fn end_outputs(&mut self) {
        if self.stopping && self.is_drained() {
            self.outputs.iter_mut().filter(|output| output.is_new()).for_each(|output| output.producer.end());
        }
    }

    /// Whether all that was taken is processed, sent and finished.
    fn is_drained(&self) -> bool {
        let rests = |input: &Input| input.consumer.is_settled() && input.consumer.old_gets().2 == 0;
        self.function.is_some()
            && self.task.is_none()
            && self.waiting.len() == 0
            && self.unfinished.is_empty()
            && self.inputs.iter().all(rests)
            && self.outputs.iter().all(|output| output.producer.unconfirmed() == 0)
    }
}

/// What all edges of a kind have counted.
#[derive(Default)]
struct EdgeCounts {
    taken: ConsumerCounts,
    gets: u64,
    repeated_gets: u64,
    sent: ProducerCounts,
    put: PutCounts,
}

/// What is told.
impl Worker {
    fn edge_counts(&self) -> EdgeCounts {
        let mut sums = EdgeCounts::default();
        for input in &self.inputs {
            let (counts, (gets, repeats, _)) = (input.consumer.counts(), input.consumer.old_gets());
            let taken = &mut sums.taken;
            sums.gets += gets;
            sums.repeated_gets += repeats;
            for (sum, count) in [
                (&mut taken.batches, counts.batches),
                (&mut taken.finished, counts.finished),
                (&mut taken.finished_late, counts.finished_late),
                (&mut taken.finished_by_another, counts.finished_by_another),
                (&mut taken.given_back, counts.given_back),
                (&mut taken.unknown, counts.unknown),
                (&mut taken.leases_lost, counts.leases_lost),
                (&mut taken.parts_given_back, counts.parts_given_back),
                (&mut taken.parts_lost, counts.parts_lost),
                (&mut taken.duplicates, counts.duplicates),
                (&mut taken.asked_again, counts.asked_again),
                (&mut taken.malformed, counts.malformed),
                (&mut taken.bad_checksum, counts.bad_checksum),
                (&mut taken.requests, counts.requests),
                (&mut taken.stray, counts.stray),
            ] {
                *sum += count;
            }
        }
        for output in &self.outputs {
            let (counts, put) = (output.producer.counts(), output.producer.old_counts());
            let sent = &mut sums.sent;
            for (sum, count) in [
                (&mut sent.sent, counts.sent),
                (&mut sent.confirmed, counts.confirmed),
                (&mut sent.resent_batches, counts.resent_batches),
                (&mut sent.refused_full, counts.refused_full),
                (&mut sent.refused_producers, counts.refused_producers),
                (&mut sent.malformed, counts.malformed),
                (&mut sent.bad_checksum, counts.bad_checksum),
                (&mut sent.requests, counts.requests),
                (&mut sent.stray, counts.stray),
                (&mut sums.put.refused, put.refused),
                (&mut sums.put.unconfirmed, put.unconfirmed),
            ] {
                *sum += count;
            }
        }
        sums
    }

    /// Whether outputs wait that could not be handed over, or a queue has no room for those that were.
    fn is_held_back(&self) -> bool {
        self.waiting.len() > 0 || self.outputs.iter().any(|output| output.producer.is_held_back())
    }

    /// Once all that may leave has left.
    fn doing(&self) -> Doing {
        if self.function.is_none() || self.task.is_some() {
            Doing::Busy
        } else if self.is_held_back() {
            Doing::Blocked
        } else {
            Doing::Idle
        }
    }

    /// The counters by name, cumulative since the node started.
    fn ledger(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts();
        let EdgeCounts { taken, gets, repeated_gets, sent, put } = self.edge_counts();
        let mut ledger = vec![
            ("received", counts.received),
            ("processed", counts.processed),
            ("function_errors", counts.errors),
            ("function_panics", counts.panics),
            ("skipped_again", counts.skipped),
            ("outputs", counts.outputs),
            ("outputs_sent", counts.sent),
            ("outputs_too_long", counts.too_long),
            ("malformed", counts.malformed),
            ("bad_checksum", taken.bad_checksum + sent.bad_checksum),
            ("requests", taken.requests + sent.requests),
            ("stray", counts.stray),
            ("kernel_drops", counts.kernel_drops),
            ("unsent", counts.unsent),
            ("gets", gets),
            ("repeated_gets", repeated_gets),
            ("batches", taken.batches),
            ("batches_again", taken.duplicates),
            ("batches_finished", taken.finished),
            ("batches_finished_late", taken.finished_late),
            ("batches_finished_by_another", taken.finished_by_another),
            ("batches_given_back", taken.given_back),
            ("batches_outcome_unknown", taken.unknown),
            ("leases_lost", taken.leases_lost),
            ("asked_again", taken.asked_again),
            ("returned", taken.parts_given_back),
            ("returned_in_vain", taken.parts_lost),
        ];
        if self.output_kind == OutputKind::Queue {
            let ended = sent.confirmed + put.refused + put.unconfirmed;
            ledger.extend([
                ("outputs_confirmed", sent.confirmed),
                ("outputs_refused_full", put.refused),
                ("outputs_unconfirmed", put.unconfirmed),
                ("outputs_under_way", sent.sent.saturating_sub(ended)),
                ("batches_held_back_full", sent.refused_full),
                ("refused_producers", sent.refused_producers),
                ("batches_resent", sent.resent_batches),
            ]);
        }
        ledger.extend(self.errors_by_name.iter().map(|(name, count)| (*name, *count)));
        ledger
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
    fn gauges(&self) -> [(&'static str, f64); 2] {
        [("waiting", self.waiting.len() as f64), ("batches_unfinished", self.unfinished.len() as f64)]
    }
}

/// Why a message is among the dead letters: a refusal may quote the whole message, which is beside it there.
fn reason(refusal: &Refusal) -> String {
    const REASON_CHARS_MAX: usize = 200;
    refusal.to_string().chars().take(REASON_CHARS_MAX).collect()
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
