//! Faults that a test plants, to see that it would notice them.

/// One rule taken away. Never set outside tests.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The set of applied ids is emptied every 100 ms.
    DedupForgets,
    /// A lease token of another boot passes for one of this boot.
    LeaseWithoutBoot,
    /// A late ACK of what another attempt finished counts again.
    LateFinishCountsAgain,
    /// A batch that waits for a gap is confirmed when it comes again.
    EarlyAnswer,
    /// Whatever comes is new, in the order in which it comes.
    NoProducerWindow,
    /// A batch that comes again is applied again.
    AppliesRetries,
    /// What is not durable is leased.
    DeliversEarly,
    /// An answer does not wait until what it says is durable.
    AnswersEarly,
    /// A duplicate of what is not durable yet is confirmed at once.
    ConfirmsDuplicatesEarly,
    /// A restarted queue has forgotten which derived ids it has.
    ForgetsIds,
    /// A restarted queue has forgotten what its producers sent.
    ForgetsProducers,
    /// A restarted queue goes by the boot of its former self.
    SameBoot,
    /// A rewound queue, or one that may have lost messages, keeps its generation.
    SameGeneration,
    /// What is handed out takes room from what workers put in.
    LeasesTakeRoom,
}
