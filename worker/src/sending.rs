//! Outputs go out, and what they were made of is finished once they are confirmed.

use std::{collections::BTreeMap, net::SocketAddr, ops::Range};

use machine::Now;

use super::{
    OutputKind, Worker,
    edges::{Input, Output},
    waiting::{EndOfBatch, Waiting},
};

/// A batch whose outputs are on their way.
pub(crate) struct Unfinished {
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
    pub(crate) fn handle_output(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) {
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
    pub(crate) fn hand_over(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<SocketAddr> {
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
    pub(crate) fn end_batch(&mut self, now: Now, end: EndOfBatch) {
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
    pub(crate) fn finish_confirmed(&mut self, now: Now) {
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

    pub(crate) fn send(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<SocketAddr> {
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
    pub(crate) fn end_outputs(&mut self) {
        if self.stopping && self.is_drained() {
            self.outputs.iter_mut().filter(|output| output.is_new()).for_each(|output| output.producer.end());
        }
    }

    /// Whether all that was taken is processed, sent and finished.
    pub(crate) fn is_drained(&self) -> bool {
        let rests = |input: &Input| input.consumer.is_settled() && input.consumer.old_gets().2 == 0;
        self.function.is_some()
            && self.task.is_none()
            && self.waiting.len() == 0
            && self.unfinished.is_empty()
            && self.inputs.iter().all(rests)
            && self.outputs.iter().all(|output| output.producer.unconfirmed() == 0)
    }
}
