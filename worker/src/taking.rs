//! Messages come in, and the function is applied to them.

use std::net::SocketAddr;

use functions::Refusal;
use link::{Batch, OutputId};
use machine::Now;
use metrics::Doing;
use protocol::text;

use super::{
    BATCHES_WAITING_MAX, OnError, Worker,
    apply::{Applied, Fate, Task, apply_one},
    edges::Input,
    waiting::EndOfBatch,
};

impl Worker {
    pub(crate) fn handle_input(&mut self, now: Now, from: SocketAddr, datagram: &[u8]) {
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
    pub(crate) fn take_batches(&mut self, now: Now) {
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

    pub(crate) fn begin(&mut self, now: Now, place: usize, batch: Batch) {
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

    pub(crate) fn keep_applied(&mut self, now: Now, Applied { task, fates }: Applied) {
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

    pub(crate) fn refuse(&mut self, now: Now, message: &[u8], refusal: &Refusal) {
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

    pub(crate) fn ask(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<SocketAddr> {
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

    pub(crate) fn wants_more(&self, input: &Input) -> bool {
        let may_wait = self.waiting.len() < self.waiting_max;
        let has_room = if input.is_old() {
            may_wait
        } else {
            self.batches_waiting < BATCHES_WAITING_MAX && (self.batches_waiting > 0 || may_wait)
        };
        has_room && !self.stopping && self.stopped_by.is_none()
    }
}

/// Why a message is among the dead letters: a refusal may quote the whole message, which is beside it there.
fn reason(refusal: &Refusal) -> String {
    const REASON_CHARS_MAX: usize = 200;
    refusal.to_string().chars().take(REASON_CHARS_MAX).collect()
}
