//! Faults that a test plants, to show that its checks would see them.

/// What an end of an edge does wrong. Nothing, by default.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A consumer never asks again for what was not answered.
    pub asks_once: bool,
    /// Outputs get an index that differs from process to process, whatever they are derived from.
    pub random_ids: bool,
    /// A producer sends all that it has, whatever is under way.
    pub no_window: bool,
    /// A producer says that its input's low water is so much higher than it is.
    pub low_water_ahead: u64,
}
