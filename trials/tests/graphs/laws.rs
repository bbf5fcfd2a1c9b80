//! What must hold: at every step, and at the end.

use std::sync::atomic::Ordering;

use protocol::{
    frame,
    link::{Answer, Ask, DeadDo},
};
use simnet::Mailbox;

use crate::{
    graph::{Graph, Role},
    messages::{Keys, Text},
    options::Promise,
};

impl Graph {
    /// Every message that a queue has taken in is somewhere.
    pub(crate) fn check_books(&self) -> Result<(), String> {
        for place in self.queues() {
            let ledger = self.queue(place).message_ledger();
            if !ledger.balances() {
                return Err(format!("the ledger of {:?} does not balance: {ledger:?}", self.places[place].role));
            }
        }
        Ok(())
    }

    /// All laws, once all is over.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        self.check_books()?;
        let letters = self.dead_letters()?;
        let keys = Keys::new(&self.options);
        let (mut out, mut dead) = (vec![0_u32; keys.count()], vec![false; keys.count()]);
        for (stage, letter) in &letters {
            let text = Text::of_message(letter);
            let range = text.and_then(|text| keys.of_queued(*stage, &text));
            let range = range.ok_or_else(|| format!("a dead letter that nobody put in: {}", letter.escape_ascii()))?;
            dead[range].fill(true);
        }
        for printed in self.printed() {
            let mut last = vec![None; self.options.feeders];
            for line in printed {
                let text = line.map_err(|line| format!("came out and never went in: {}", line.escape_ascii()))?;
                let key = keys.of_output(&text).ok_or_else(|| format!("came out and never went in: {text:?}"))?;
                out[key] += 1;
                let last = &mut last[text.feeder];
                if self.options.promise == Promise::InOrder && last.is_some_and(|last| last >= key) {
                    return Err(format!("out of order: {text:?}"));
                }
                *last = Some(key);
            }
        }
        self.check_counts(&keys, &out, &dead)?;
        if !matches!(self.options.promise, Promise::AtMostOnce | Promise::QueuesForget) {
            self.check_feeders()?;
            let again = self.applied_again.load(Ordering::Relaxed);
            if again > 0 {
                return Err(format!("applied again by a worker that had applied them: {again}"));
            }
        }
        if !matches!(self.options.promise, Promise::AtMostOnce | Promise::QueuesForget) {
            self.check_sums(&keys, letters.len() as u64)?;
        }
        Ok(())
    }

    fn check_counts(&self, keys: &Keys<'_>, out: &[u32], dead: &[bool]) -> Result<(), String> {
        let (mut lost, mut doubled) = (Vec::new(), Vec::new());
        for (key, (&out, &dead)) in out.iter().zip(dead).enumerate() {
            let (feeder, number) = keys.source(key);
            let may_be_lost = match self.options.promise {
                Promise::AtMostOnce => true,
                Promise::QueuesForget => number < self.fed_before[feeder],
                Promise::ExactlyOnce | Promise::InOrder | Promise::QueuesRemember | Promise::AtLeastOnce => false,
            };
            let may_be_doubled = match self.options.promise {
                Promise::AtLeastOnce => true,
                Promise::QueuesForget => number < self.fed_before[feeder],
                Promise::ExactlyOnce | Promise::InOrder | Promise::QueuesRemember | Promise::AtMostOnce => false,
            };
            if out == 0 && !dead && !may_be_lost {
                lost.push((feeder, number));
            }
            if out > 1 && !may_be_doubled {
                doubled.push((feeder, number));
            }
            if out > 0 && keys.is_refused(key) {
                return Err(format!("came out though it was refused: {:?}", (feeder, number)));
            }
        }
        if lost.is_empty() && doubled.is_empty() {
            return Ok(());
        }
        Err(format!("lost: {lost:?}; came out more than once: {doubled:?}"))
    }

    fn check_feeders(&self) -> Result<(), String> {
        for place in self.feeders() {
            let feeder = self.feeder(place);
            if feeder.missing() > 0 || feeder.failure().is_some() {
                return Err(format!("a feeder has failed: {:?}, {}", feeder.failure(), feeder.summary()));
            }
        }
        Ok(())
    }

    /// No queue has taken in a message twice, or one too few. What dies because its lease has ended again and again may
    /// have been sent on, or not.
    fn check_sums(&self, keys: &Keys<'_>, letters: u64) -> Result<(), String> {
        let due = keys.due();
        if letters != due.iter().map(|(_, refused)| refused).sum::<u64>() {
            return Ok(());
        }
        for (stage, (accepted_due, refused_due)) in due.into_iter().enumerate() {
            let ledgers = self.queues().into_iter().filter(|place| self.places[*place].role == Role::Queue(stage));
            let ledgers: Vec<_> = ledgers.map(|place| self.queue(place).message_ledger()).collect();
            let accepted: u64 = ledgers.iter().map(|ledger| ledger.accepted).sum();
            let dead: u64 = ledgers.iter().map(|ledger| ledger.dead).sum();
            if (accepted, dead) != (accepted_due, refused_due) {
                return Err(format!(
                    "stage {stage} has accepted {accepted} and buried {dead}, due were {accepted_due} and {refused_due}"
                ));
            }
        }
        Ok(())
    }

    /// The dead letters of all queues, each with its queue's stage, as the queues tell them.
    fn dead_letters(&mut self) -> Result<Vec<(usize, Vec<u8>)>, String> {
        let mut letters = Vec::new();
        for place in self.queues() {
            let Role::Queue(stage) = self.places[place].role else { continue };
            let dead = self.queue(place).message_ledger().dead;
            if dead == 0 {
                continue;
            }
            let mut request = Vec::new();
            Ask::Dead { what: DeadDo::List, from: 0, max: u64::MAX }.push(1, &mut request);
            let (clerk, clerks) = (self.clerk().address(), self.clerk().id);
            self.net.send(clerk, self.places[place].address(), &request);
            let heard = |graph: &Self| graph.net.node::<Mailbox>(clerks).received.len();
            let before = heard(self);
            while heard(self) == before {
                self.net.run_until(self.net.now() + std::time::Duration::from_millis(2));
            }
            let answer = &self.net.node::<Mailbox>(clerks).received[before].bytes;
            let text = frame::only(answer).map_err(|error| error.to_string())?;
            let (_, answer) = Answer::parse(text).map_err(|error| error.to_string())?;
            let Answer::Done { body, count, .. } = answer else { return Err(format!("to a DEAD: {answer:?}")) };
            if count != dead {
                return Err(format!("{dead} dead letters, {count} told"));
            }
            let mut rest = body;
            while !rest.is_empty() {
                let (_, after) = frame::split(rest).map_err(|error| error.to_string())?;
                let (message, after) = frame::split(after).map_err(|error| error.to_string())?;
                letters.push((stage, message.to_vec()));
                rest = after;
            }
        }
        Ok(letters)
    }
}
