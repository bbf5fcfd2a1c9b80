//! The function at work on a batch. It may take long, so it runs beside the sockets, and knows nothing of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use functions::{Function, Outputs, Refusal};
use link::Batch;

/// A batch that the function is to be applied to.
pub(crate) struct Task {
    /// Which input it came from.
    pub(crate) input: usize,
    pub(crate) batch: Batch,
    /// Which of its messages are applied already, by their place in it; rising.
    pub(crate) skipped: Vec<u64>,
    /// Whether a refusal is the end.
    pub(crate) stops_at_refusal: bool,
    pub(crate) function: Function,
    /// Empty; kept for its room.
    pub(crate) outputs: Outputs,
}

/// What became of a message.
pub(crate) enum Fate {
    /// It was applied before, or never, because a refusal was the end.
    Skipped,
    /// The function gave so many outputs.
    Gave(usize),
    /// The function refused it, and gave nothing.
    Refused(Refusal),
    /// The function panicked after so many outputs, which are not to be sent.
    Panicked(usize),
}

/// A batch that the function has been applied to.
pub(crate) struct Applied {
    pub(crate) task: Task,
    /// One for each message.
    pub(crate) fates: Vec<Fate>,
}

/// Applies the function to one message; its outputs stand behind those of the messages before.
pub(crate) fn apply_one(function: &mut Function, message: &[u8], outputs: &mut Outputs) -> Fate {
    let before = outputs.len();
    // A function that panics fails this message, not the worker.
    let result = catch_unwind(AssertUnwindSafe(|| function(message, outputs)));
    let given = outputs.len() - before;
    match result {
        Ok(Ok(())) => Fate::Gave(given),
        Ok(Err(refusal)) => Fate::Refused(refusal),
        Err(_) => Fate::Panicked(given),
    }
}

impl Task {
    /// Applies the function to all messages, one after another.
    pub(crate) fn run(mut self) -> Applied {
        let Self { batch, skipped, stops_at_refusal, function, outputs, .. } = &mut self;
        let mut skipped = skipped.iter().copied().peekable();
        let mut is_over = false;
        let fates = (0..).zip(batch.messages()).map(|(place, message)| {
            if is_over || skipped.next_if_eq(&place).is_some() {
                return Fate::Skipped;
            }
            let fate = apply_one(function, message, outputs);
            is_over = *stops_at_refusal && matches!(fate, Fate::Refused(_));
            fate
        });
        let fates = fates.collect();
        Applied { task: self, fates }
    }
}
