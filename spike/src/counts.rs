//! What became of all datagrams, by direction. It adds up, twice.

use std::fmt;

/// Datagrams of one direction since the start.
///
/// Each has one fate: `received = passed + dropped + doubled + garbled + delayed + reordered + partitioned + not_frames +
/// kept_back`. And each has one end: `received + copies = sent + unsent + held + dropped + partitioned + not_frames +
/// kept_back + overflowed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken in.
    pub received: u64,
    /// Left alone.
    pub passed: u64,
    /// Dropped by the dice.
    pub dropped: u64,
    /// Sent several times.
    pub doubled: u64,
    /// What was sent of these beyond once.
    pub copies: u64,
    /// Changed.
    pub garbled: u64,
    /// To be sent later.
    pub delayed: u64,
    /// To be sent in another order.
    pub reordered: u64,
    /// Dropped by a partition.
    pub partitioned: u64,
    /// Dropped because they are no frames and only frames may pass.
    pub not_frames: u64,
    /// Answers that are not relayed, because the spike itself acknowledges.
    pub kept_back: u64,
    /// Dropped because too much is held.
    pub overflowed: u64,
    /// Sent on.
    pub sent: u64,
    /// Could not be sent on.
    pub unsent: u64,
    /// Come, and not gone yet.
    pub held: u64,
    /// Dropped by the kernel for want of room, before they were received.
    pub kernel_drops: u64,
}

impl Counts {
    /// All of them by name.
    pub fn named(&self) -> [(&'static str, u64); 16] {
        [
            ("received", self.received),
            ("passed", self.passed),
            ("dropped", self.dropped),
            ("doubled", self.doubled),
            ("copies", self.copies),
            ("garbled", self.garbled),
            ("delayed", self.delayed),
            ("reordered", self.reordered),
            ("partitioned", self.partitioned),
            ("not_frames", self.not_frames),
            ("kept_back", self.kept_back),
            ("overflowed", self.overflowed),
            ("sent", self.sent),
            ("unsent", self.unsent),
            ("held", self.held),
            ("kernel_drops", self.kernel_drops),
        ]
    }

    /// Whether each datagram has one fate and one end.
    pub fn add_up(&self) -> bool {
        let lost = self.dropped + self.partitioned + self.not_frames + self.kept_back;
        let fates = lost + self.passed + self.doubled + self.garbled + self.delayed + self.reordered;
        let ends = lost + self.sent + self.unsent + self.held + self.overflowed;
        self.received == fates && self.received + self.copies == ends
    }
}

/// `received 100 passed 90 dropped 10`: those that are not 0, and always the first.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "received {}", self.received)?;
        for (name, count) in self.named().into_iter().skip(1).filter(|(_, count)| *count > 0) {
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}

/// What a spike counts beside the datagrams of the two directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// Datagrams of strangers at a port towards the server.
    pub stray: u64,
    /// Datagrams from addresses that are not allowed.
    pub not_allowed: u64,
    /// Acknowledgements sent to clients.
    pub acknowledged: u64,
    /// Clients that had to give their port up for another one.
    pub replaced: u64,
    /// How often a host said that nobody listens.
    pub refused: u64,
}

impl Others {
    /// All of them by name.
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("stray", self.stray),
            ("not_allowed", self.not_allowed),
            ("acknowledged", self.acknowledged),
            ("replaced", self.replaced),
            ("refused", self.refused),
        ]
    }
}
