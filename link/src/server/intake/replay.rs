//! What is known of producers, on its way into the log's snapshots and back.

use std::collections::VecDeque;

use machine::Now;
use protocol::link::Derived;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        derived::{WindowState, read_ids},
        records::{BadRecord, DerivedRecord, Record, SourceRecord},
    },
    Ended, EndedProducer, Fault, Intake, Producer,
};

/// The intake's part of a snapshot.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct IntakeState {
    producers: Vec<ProducerState>,
    /// Those that ended first come first.
    ended: Vec<ProducerState>,
    windows: Vec<WindowState>,
    duplicate_ids: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ProducerState {
    producer: u128,
    epoch: u64,
    next: u64,
    nonces: Vec<u64>,
}

impl Intake {
    /// The state for a snapshot.
    pub(crate) fn state(&self) -> IntakeState {
        let producers = self.producers.iter().map(|(producer, known)| ProducerState {
            producer: *producer,
            epoch: 0,
            next: known.next,
            nonces: known.nonces.iter().copied().collect(),
        });
        let ended = self.ended.ages.values().filter_map(|producer| {
            let EndedProducer { epoch, next, nonces, .. } = self.ended.by_producer.get(producer)?;
            let nonces = nonces.iter().copied().collect();
            Some(ProducerState { producer: *producer, epoch: *epoch, next: *next, nonces })
        });
        IntakeState {
            producers: producers.collect(),
            ended: ended.collect(),
            windows: self.door.windows.state(),
            duplicate_ids: self.door.counts.duplicate_ids,
        }
    }

    /// Takes a snapshot's place.
    pub(crate) fn restore(&mut self, state: &IntakeState) {
        self.producers.clear();
        self.door.counts.duplicate_ids = state.duplicate_ids;
        self.ended = Ended::default();
        if self.door.fault != Some(Fault::ForgetsProducers) {
            for ProducerState { producer, next, nonces, .. } in &state.producers {
                self.producers.insert(*producer, Producer::known(*next, nonces.iter().copied().collect()));
            }
        }
        for ProducerState { producer, epoch, next, nonces } in &state.ended {
            let known = Producer { epoch: *epoch, ..Producer::known(*next, nonces.iter().copied().collect()) };
            self.ended.note(*producer, known);
        }
        if self.door.fault != Some(Fault::ForgetsIds) {
            self.door.windows.restore(&state.windows);
        }
    }

    /// Plays a record that concerns a producer; so many messages it brought.
    pub(crate) fn replay(&mut self, messages: u64, record: &Record<'_>, tail: &[u8]) -> Result<(), BadRecord> {
        if self.door.fault == Some(Fault::ForgetsProducers) {
            return Ok(());
        }
        match *record {
            Record::Messages { source: Some(SourceRecord { producer, next, derived }), .. } => {
                if let Some(known) = self.producers.get_mut(&producer)
                    && known.next < next
                {
                    // What is not there had been there before, by its id.
                    self.door.counts.duplicate_ids += (next - known.next).saturating_sub(messages);
                    known.next = next;
                }
                if let Some(derived) = derived
                    && self.door.fault != Some(Fault::ForgetsIds)
                {
                    self.replay_ids(messages, derived, tail)?;
                }
            }
            Record::Opened { producer, nonce, next } => {
                let ended = self.ended.take(producer);
                let known = self.producers.entry(producer).or_insert_with(|| Producer::known(next, ended));
                known.next = known.next.max(next);
                known.note_nonce(nonce);
            }
            Record::Ended { producer, epoch, next } => {
                if let Some(known) = self.producers.remove(&producer) {
                    self.ended.note(producer, Producer { epoch, next, ..known });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn replay_ids(&mut self, messages: u64, derived: DerivedRecord<'_>, tail: &[u8]) -> Result<(), BadRecord> {
        let DerivedRecord { node, generation, stage, low_water, ids_bytes } = derived;
        let ids = tail.get(..ids_bytes).filter(|ids| read_ids(ids, messages, &mut self.door.ids));
        let Some(ids) = ids else { return Err(BadRecord(format!("no {messages} ids"))) };
        let of = Derived { node, generation, stage, low_water, ids };
        // What found room before finds it again.
        let start = Now { since_start: std::time::Duration::ZERO, since_epoch: std::time::Duration::ZERO };
        let known = self.door.windows.judge(start, &of, &self.door.ids, &mut self.door.new);
        if known.is_ok() {
            self.door.windows.apply(&of, &self.door.ids);
        }
        Ok(())
    }

    /// All that is in the log is known: every producer has to begin an epoch of this boot.
    pub(crate) fn end_replay(&mut self, boot: u64) {
        self.epoch = super::first_epoch(boot);
    }
}

impl Producer {
    /// One that the log knows of; its epoch is over.
    fn known(next: u64, nonces: VecDeque<u64>) -> Self {
        Self { epoch: 0, next, nonces, held: std::collections::BTreeMap::new(), held_bytes: 0 }
    }
}
