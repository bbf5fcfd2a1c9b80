//! The numbers of requests, which their answers repeat.

/// Gives each request a number of its own.
///
/// They begin at a number that each process draws anew, so that an answer to an earlier process at the same address
/// answers nothing here.
#[derive(Debug)]
pub(super) struct Tokens {
    first: u64,
    next: u64,
}

impl Tokens {
    /// Tokens that follow from a random number. 48 bits of it, so that they never run out.
    pub(super) fn new(random: u64) -> Self {
        let first = random >> 16;
        Self { first, next: first }
    }

    pub(super) fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The one that will be given next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether it was given.
    pub(super) fn knows(&self, token: u64) -> bool {
        (self.first..self.next).contains(&token)
    }
}
