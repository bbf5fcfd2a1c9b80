//! The planted faults: one rule taken away at a time, which the laws must miss.

use link::Fault;
use simnet::Lie;

use crate::options::Promise;

/// One rule taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plant {
    FinishesEarly,
    RandomIds,
    NoProducerWindow,
    DedupForgets,
    LeaseWithoutBoot,
    LateFinishCountsAgain,
    EarlyAnswer,
    AsksOnce,
    LowWaterAhead,
    AppliesAgain,
    /// The queue's side of the last one.
    AppliesRetries,
    LeasesTakeRoom,
    DeliversEarly,
    AnswersEarly,
    ConfirmsDuplicatesEarly,
    ForgetsIds,
    ForgetsProducers,
    /// The log's disk says that it has synced, and has not: as if nobody had asked it.
    NoSync,
    /// The same for the names of files.
    NoNames,
    /// A segment has its name before it is whole on the disk.
    NamedEarly,
}

impl Plant {
    pub(crate) const ALL: [Self; 20] = [
        Self::FinishesEarly,
        Self::RandomIds,
        Self::NoProducerWindow,
        Self::DedupForgets,
        Self::LeaseWithoutBoot,
        Self::LateFinishCountsAgain,
        Self::EarlyAnswer,
        Self::AsksOnce,
        Self::LowWaterAhead,
        Self::AppliesAgain,
        Self::AppliesRetries,
        Self::LeasesTakeRoom,
        Self::DeliversEarly,
        Self::AnswersEarly,
        Self::ConfirmsDuplicatesEarly,
        Self::ForgetsIds,
        Self::ForgetsProducers,
        Self::NoSync,
        Self::NoNames,
        Self::NamedEarly,
    ];

    /// What it does to queues and sinks.
    pub(crate) fn of_servers(self) -> Option<Fault> {
        Some(match self {
            Self::NoProducerWindow => Fault::NoProducerWindow,
            Self::DedupForgets => Fault::DedupForgets,
            Self::LeaseWithoutBoot => Fault::LeaseWithoutBoot,
            Self::LateFinishCountsAgain => Fault::LateFinishCountsAgain,
            Self::EarlyAnswer => Fault::EarlyAnswer,
            Self::AppliesRetries => Fault::AppliesRetries,
            Self::LeasesTakeRoom => Fault::LeasesTakeRoom,
            Self::DeliversEarly => Fault::DeliversEarly,
            Self::AnswersEarly => Fault::AnswersEarly,
            Self::ConfirmsDuplicatesEarly => Fault::ConfirmsDuplicatesEarly,
            Self::ForgetsIds => Fault::ForgetsIds,
            Self::ForgetsProducers => Fault::ForgetsProducers,
            _ => return None,
        })
    }

    /// What it does to the disks of logs.
    pub(crate) fn of_disks(self) -> Option<Lie> {
        Some(match self {
            Self::NoSync => Lie::Syncs,
            Self::NoNames => Lie::Names,
            Self::NamedEarly => Lie::SyncsOf(".new"),
            _ => return None,
        })
    }

    /// What it does to workers.
    pub(crate) fn of_workers(self) -> worker::Faults {
        let mut faults = worker::Faults::default();
        match self {
            Self::FinishesEarly => faults.finishes_early = true,
            Self::AppliesAgain => faults.applies_again = true,
            Self::RandomIds => faults.edges.random_ids = true,
            Self::AsksOnce => faults.edges.asks_once = true,
            Self::LowWaterAhead => faults.edges.low_water_ahead = 10,
            _ => {}
        }
        faults
    }

    /// Where it shows.
    pub(crate) fn promise(self) -> Promise {
        match self {
            // Only a queue that began anew hears of a lease of the one before.
            Self::LeaseWithoutBoot => Promise::QueuesForget,
            Self::DeliversEarly
            | Self::AnswersEarly
            | Self::ConfirmsDuplicatesEarly
            | Self::ForgetsIds
            | Self::ForgetsProducers
            | Self::NoSync
            | Self::NoNames
            | Self::NamedEarly => Promise::QueuesRemember,
            _ => Promise::ExactlyOnce,
        }
    }
}
