//! What a worker tells of itself.

use link::{ConsumerCounts, ProducerCounts, PutCounts};
use metrics::Doing;

use super::{OutputKind, Worker};

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

/// What all edges of a kind have counted.
#[derive(Default)]
struct EdgeCounts {
    taken: ConsumerCounts,
    gets: u64,
    repeated_gets: u64,
    sent: ProducerCounts,
    put: PutCounts,
}

impl Worker {
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
    pub(crate) fn is_held_back(&self) -> bool {
        self.waiting.len() > 0 || self.outputs.iter().any(|output| output.producer.is_held_back())
    }

    /// Once all that may leave has left.
    pub(crate) fn doing(&self) -> Doing {
        if self.function.is_none() || self.task.is_some() {
            Doing::Busy
        } else if self.is_held_back() {
            Doing::Blocked
        } else {
            Doing::Idle
        }
    }

    /// The counters by name, cumulative since the node started.
    pub(crate) fn ledger(&self) -> Vec<(&'static str, u64)> {
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
    pub(crate) fn gauges(&self) -> [(&'static str, f64); 2] {
        [("waiting", self.waiting.len() as f64), ("batches_unfinished", self.unfinished.len() as f64)]
    }
}
