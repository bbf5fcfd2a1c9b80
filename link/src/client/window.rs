//! How much may be under way: grows while answers come, halves when one does not (RFC 8085, section 3.1; RFC 5681).

/// What a producer has under way at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendLimits {
    /// Batches that wait for their answer. A server keeps no more than 1,024 of a producer in waiting.
    pub batches_max: usize,
    /// Bytes of messages in them. A server keeps no more than 8 MiB.
    pub bytes_max: usize,
}

impl Default for SendLimits {
    /// A megabyte: 16 of the largest datagrams, which is what fills the pipe on one machine.
    fn default() -> Self {
        Self { batches_max: 512, bytes_max: 1 << 20 }
    }
}

/// How many datagrams may be under way at the start, and after any loss: with less than a few, each loss is a silence.
const DATAGRAMS_MIN: usize = 4;

/// A window in bytes and batches.
#[derive(Debug)]
pub(super) struct SendWindow {
    limits: SendLimits,
    datagram_bytes: usize,
    bytes: usize,
    bytes_min: usize,
    /// Below it the window doubles each round trip, above it grows by a datagram.
    threshold: usize,
}

impl SendWindow {
    pub(super) fn new(limits: SendLimits, datagram_bytes: usize) -> Self {
        let bytes = (DATAGRAMS_MIN * datagram_bytes).min(limits.bytes_max);
        Self { limits, datagram_bytes, bytes, bytes_min: bytes, threshold: limits.bytes_max }
    }

    /// Whether a batch of `next` bytes may join those under way. A lone one always may.
    pub(super) fn has_room(&self, batches: usize, bytes: usize, next: usize) -> bool {
        batches == 0 || (batches < self.limits.batches_max && bytes + next <= self.bytes)
    }

    /// So many bytes have arrived.
    pub(super) fn grow(&mut self, bytes: usize) {
        let growth =
            if self.bytes < self.threshold { bytes } else { (self.datagram_bytes * bytes / self.bytes.max(1)).max(1) };
        self.bytes = (self.bytes + growth).min(self.limits.bytes_max.max(self.datagram_bytes));
    }

    /// Something was lost.
    pub(super) fn halve(&mut self) {
        self.bytes = (self.bytes / 2).max(self.bytes_min);
        self.threshold = self.bytes;
    }

    /// The peer is full: one batch asks whether it still is.
    pub(super) fn collapse(&mut self) {
        self.threshold = (self.bytes / 2).max(self.bytes_min);
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SendLimits = SendLimits { batches_max: 10, bytes_max: 100_000 };

    /// How many bytes in batches of a thousand the window lets out.
    fn room(window: &SendWindow) -> usize {
        (0..100).find(|&batches| !window.has_room(batches, batches * 1_000, 1_000)).unwrap()
    }

    #[test]
    fn grows_fast_then_slowly_and_halves() {
        let mut window = SendWindow::new(LIMITS, 1_000);
        assert_eq!(room(&window), 4);
        window.grow(4_000);
        assert_eq!(room(&window), 8, "one round trip doubles it");
        window.halve();
        window.halve();
        assert_eq!(room(&window), 4, "no less than at the start");
        window.grow(4_000);
        assert_eq!(room(&window), 5, "from then on it grows by a datagram");
        window.collapse();
        assert_eq!(room(&window), 1);
    }

    #[test]
    fn has_two_limits_and_always_lets_one_batch_out() {
        let mut window = SendWindow::new(LIMITS, 1_000);
        window.grow(1 << 30);
        assert_eq!(room(&window), 10, "batches");
        assert!(!window.has_room(2, 60_000, 60_000), "bytes");
        assert!(window.has_room(0, 0, 1 << 20));
    }
}
