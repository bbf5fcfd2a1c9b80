//! Faults that a test plants, to show that its checks would see them.

/// What a worker does wrong. Nothing, by default, and never anything outside tests.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// What its edges do wrong.
    pub edges: link::Faults,
    /// It finishes a batch before the outputs are confirmed.
    pub finishes_early: bool,
    /// It applies a message again that comes again.
    pub applies_again: bool,
}
