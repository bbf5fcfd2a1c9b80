//! What a run found, and what it went through.

use std::{fmt, ops::AddAssign, time::Duration};

/// Which check found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    /// What passed at one node is not what such a node promises.
    Law,
    /// A datagram came that was not sent, or more often than the net doubles it.
    Post,
    /// What came out is explained by nothing that was put in, nor by a garbled datagram.
    Invented,
    /// The topology stood still after the weather had cleared.
    Stalled,
    /// A message put in calm weather did not come out as it should, once.
    Fresh,
    /// A node's last report does not add up.
    Ledger,
}

/// What a check found.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.check, self.what)
    }
}

/// What one run, or many, went through.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) seeds: u64,
    pub(crate) datagrams: u64,
    /// Of these, sent while it stormed.
    pub(crate) stormy: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) garbled: u64,
    /// Garbled, and yet a frame with another text, or a record for a sink: taken for good.
    pub(crate) garbled_valid: u64,
    /// Lost at a cut path, at a node that was down, or at a socket of a node that was paused and then killed.
    pub(crate) cut_off: u64,
    pub(crate) pauses: u64,
    pub(crate) partitions: u64,
    pub(crate) kills: u64,
    /// Messages put in bad weather.
    pub(crate) put: u64,
    /// How often one came out: of the worker in a loop, of the sink in a stream.
    pub(crate) came_out: u64,
    /// Messages put in calm weather.
    pub(crate) fresh: u64,
    /// How long calm weather had to last for what was expected of it.
    pub(crate) longest_wait: Duration,
}

impl Tally {
    pub(crate) fn has_all_troubles(&self) -> bool {
        let Self { lost, doubled, garbled_valid, cut_off, pauses, partitions, kills, .. } = *self;
        [lost, doubled, garbled_valid, cut_off, pauses, partitions, kills].iter().all(|count| *count > 0)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self {
            seeds,
            datagrams,
            stormy,
            lost,
            doubled,
            garbled,
            garbled_valid,
            cut_off,
            pauses,
            partitions,
            kills,
            put,
            came_out,
            fresh,
            longest_wait,
        } = other;
        self.seeds += seeds;
        self.datagrams += datagrams;
        self.stormy += stormy;
        self.lost += lost;
        self.doubled += doubled;
        self.garbled += garbled;
        self.garbled_valid += garbled_valid;
        self.cut_off += cut_off;
        self.pauses += pauses;
        self.partitions += partitions;
        self.kills += kills;
        self.put += put;
        self.came_out += came_out;
        self.fresh += fresh;
        self.longest_wait = self.longest_wait.max(longest_wait);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, datagrams, stormy, lost, doubled, garbled, garbled_valid, cut_off, .. } = self;
        let Self { pauses, partitions, kills, put, came_out, fresh, longest_wait, .. } = self;
        write!(
            f,
            "{seeds} seeds, {datagrams} datagrams, {stormy} of them in bad weather: {lost} lost, {doubled} doubled, {garbled} garbled ({garbled_valid} of \
             them valid all the same), {cut_off} cut off; {pauses} pauses, {partitions} partitions, {kills} kills; {put} \
             messages put in bad weather, {came_out} came out; {fresh} put in calm weather, all came out; \
             the longest wait for that was {longest_wait:?}"
        )
    }
}

/// How a run ended.
pub(crate) struct Outcome {
    pub(crate) findings: Vec<Finding>,
    pub(crate) tally: Tally,
    /// Equal for equal runs.
    pub(crate) trace_hash: u64,
}
