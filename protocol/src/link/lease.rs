//! Leases, and lists of what is finished.

use std::fmt;

use super::LinkError;
use crate::call::{Draft, decimal, push_decimal};

/// Names one attempt at one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// The server's boot: a token from before a restart names nothing.
    pub boot: u64,
    /// The first message.
    pub first: u64,
    /// How many messages.
    pub count: u64,
    /// Which attempt at them, from 1.
    pub attempt: u64,
}

impl Lease {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b'.');
        let mut number = || decimal(parts.next()?);
        let lease = Self { boot: number()?, first: number()?, count: number()?, attempt: number()? };
        (parts.next().is_none() && lease.first.checked_add(lease.count).is_some()).then_some(lease)
    }

    fn push(self, out: &mut Vec<u8>) {
        for (n, number) in [self.boot, self.first, self.count, self.attempt].into_iter().enumerate() {
            if n > 0 {
                out.push(b'.');
            }
            push_decimal(number, out);
        }
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { boot, first, count, attempt } = self;
        write!(f, "{boot}.{first}.{count}.{attempt}")
    }
}

impl std::str::FromStr for Lease {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        Self::parse(text.as_bytes()).ok_or(LinkError::Field("l"))
    }
}

/// One entry of a finish list: a lease, and which of its messages (all, or ranges counted from 0, both ends in).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish<'a> {
    /// The lease.
    pub lease: Lease,
    ranges: Option<&'a [u8]>,
}

impl<'a> Finish<'a> {
    /// The offsets that are finished, as ranges with both ends in, within the lease.
    pub fn offsets(self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let Lease { first, count, .. } = self.lease;
        let whole = self.ranges.is_none().then_some((0, count.saturating_sub(1)));
        let parts = self.ranges.unwrap_or_default().split(|byte| *byte == b'+').filter_map(|range| {
            let mut ends = range.split(|byte| *byte == b'-');
            Some((decimal(ends.next()?)?, decimal(ends.next()?)?))
        });
        let inside = move |(from, to): (u64, u64)| (from <= to && to < count).then(|| (first + from, first + to));
        whole.into_iter().chain(parts).filter_map(inside)
    }
}

/// Reads a finish list.
///
/// # Errors
/// [`LinkError::Field`] where an entry is no lease.
pub fn finishes(list: &[u8]) -> impl Iterator<Item = Result<Finish<'_>, LinkError>> {
    list.split(|byte| *byte == b',').filter(|entry| !entry.is_empty()).map(|entry| {
        let (token, ranges) = match entry.iter().position(|byte| *byte == b'+') {
            Some(at) => entry.split_at_checked(at).map_or((entry, None), |(token, rest)| (token, rest.get(1..))),
            None => (entry, None),
        };
        Ok(Finish { lease: Lease::parse(token).ok_or(LinkError::Field("f"))?, ranges })
    })
}

/// A finish list being written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Finishes(Vec<u8>);

impl Finishes {
    /// Adds a lease whose messages are all finished.
    pub fn push(&mut self, lease: Lease) {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        lease.push(&mut self.0);
    }

    /// The list as it travels.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Adds a lease to an answer.
pub(super) fn with_lease(draft: Draft<'_>, lease: Lease) -> Draft<'_> {
    draft.with("l", |out| lease.push(out))
}
