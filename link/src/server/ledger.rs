//! What came of everything: the ledger that balances, the gauges beside it, and the flow between two looks.

use std::{fmt::Write, time::Duration};

/// Counts by name, in messages where nothing else is said, cumulative since the server started, except `ready`, `leased`
/// and `dead`, which say how many there are now.
///
/// `accepted = ready + leased + done + dead + discarded + popped`, at every moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Taken in, by ENQ or PUT.
    pub accepted: u64,
    /// Waiting to be handed out, for the first time or again.
    pub ready: u64,
    /// With a consumer.
    pub leased: u64,
    /// Finished by a consumer.
    pub done: u64,
    /// Among the dead letters.
    pub dead: u64,
    /// Dropped from the dead letters: for want of room there, or by an operator.
    pub discarded: u64,
    /// Taken away by a GET.
    pub popped: u64,
    /// Not taken, because the producer had sent them before.
    pub duplicates: u64,
    /// Not taken, because a message of the same derived id had been taken before.
    pub duplicate_ids: u64,
    /// Refused, because the queue has as many messages as it may. Each time that they are sent counts.
    pub refused_messages_max: u64,
    /// Refused, because the queue has as many bytes as it may. Each time that they are sent counts.
    pub refused_bytes_max: u64,
    /// Refused, because the log's disk is full. Each time that they are sent counts.
    pub refused_disk_full: u64,
    /// Refused, because their derived ids lie too far above the low water, or there is no room for more ids.
    pub refused_ids: u64,
    /// Producers refused, because as many are live as may be.
    pub refused_producers: u64,
    /// Came before their turn and waited for a gap to fill.
    pub held: u64,
    /// Came before their turn and found no room to wait.
    pub held_dropped: u64,
    /// Handed out again.
    pub redelivered: u64,
    /// Whose lease ended before they were finished.
    pub lease_ended: u64,
    /// Finished after their lease had ended, by the first to do so.
    pub late_finishes: u64,
    /// Leases in finish lists of which another attempt had finished some, or which are forgotten.
    pub other_finishes: u64,
    /// Leases in finish lists that this boot never gave.
    pub unknown_leases: u64,
    /// Dead letters put back into the queue.
    pub requeued: u64,
    /// Made ready again by a SEEK, after they had been done with. They count as accepted again.
    pub replayed: u64,
    /// Discarded, because they were in a part of the log that cannot be read any more.
    pub lost_in_log: u64,
    /// Requests answered FENCED.
    pub fenced: u64,
    /// Requests answered NONE.
    pub nones: u64,
    /// Requests answered NONE at once, because as many wait as may.
    pub refused_parked: u64,
    /// Calls whose body is not what they say.
    pub malformed: u64,
    /// Sets of derived ids given up for room after a long rest.
    pub windows_forgotten: u64,
}

impl Ledger {
    /// The counts with their names.
    pub fn named(&self) -> [(&'static str, u64); 29] {
        [
            ("accepted", self.accepted),
            ("ready", self.ready),
            ("leased", self.leased),
            ("done", self.done),
            ("dead", self.dead),
            ("discarded", self.discarded),
            ("popped", self.popped),
            ("duplicates", self.duplicates),
            ("duplicate_ids", self.duplicate_ids),
            ("refused_messages_max", self.refused_messages_max),
            ("refused_bytes_max", self.refused_bytes_max),
            ("refused_disk_full", self.refused_disk_full),
            ("refused_ids", self.refused_ids),
            ("refused_producers", self.refused_producers),
            ("held", self.held),
            ("held_dropped", self.held_dropped),
            ("redelivered", self.redelivered),
            ("lease_ended", self.lease_ended),
            ("late_finishes", self.late_finishes),
            ("other_finishes", self.other_finishes),
            ("unknown_leases", self.unknown_leases),
            ("requeued", self.requeued),
            ("replayed", self.replayed),
            ("lost_in_log", self.lost_in_log),
            ("fenced", self.fenced),
            ("nones", self.nones),
            ("refused_parked", self.refused_parked),
            ("malformed", self.malformed),
            ("windows_forgotten", self.windows_forgotten),
        ]
    }

    /// Whether every message is accounted for.
    pub fn balances(&self) -> bool {
        let Self { accepted, ready, leased, done, dead, discarded, popped, .. } = *self;
        accepted == ready + leased + done + dead + discarded + popped
    }
}

/// How the server stands now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Bytes of the messages that are ready or leased, each as a frame with 64 bytes of overhead.
    pub bytes: u64,
    /// Bytes of memory that hold messages.
    pub held_in_memory: u64,
    /// How long the oldest message that is ready has been here.
    pub oldest_ready: Duration,
    /// From the lowest offset that is open to the next one to be handed out.
    pub window: u64,
    /// Bytes of the dead letters.
    pub dead_bytes: u64,
    /// Producers that are live.
    pub producers: u64,
    /// Bytes of batches that wait for a gap to fill.
    pub held_bytes: u64,
    /// Sets of derived ids.
    pub id_windows: u64,
    /// Sessions of consumers that are remembered.
    pub sessions: u64,
    /// Requests that wait for a message.
    pub parked: u64,
    /// Bytes of the log on disk.
    pub kept_bytes: u64,
    /// The oldest message that can be read again.
    pub kept_from: u64,
    /// How many bytes of messages the log has room for on disk before it asks for more.
    pub disk_room: u64,
}

impl Gauges {
    /// The gauges with their names; times in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is read by people")]
    pub fn named(&self) -> [(&'static str, f64); 13] {
        [
            ("bytes", self.bytes as f64),
            ("held_in_memory", self.held_in_memory as f64),
            ("oldest_age_s", self.oldest_ready.as_secs_f64()),
            ("window", self.window as f64),
            ("dead_bytes", self.dead_bytes as f64),
            ("producers", self.producers as f64),
            ("held_bytes", self.held_bytes as f64),
            ("id_windows", self.id_windows as f64),
            ("sessions", self.sessions as f64),
            ("parked", self.parked as f64),
            ("kept_bytes", self.kept_bytes as f64),
            ("kept_from", self.kept_from as f64),
            ("disk_room", self.disk_room as f64),
        ]
    }
}

/// The body of the answer to STAT: which process a node is, its counters and its gauges, by name.
pub fn stat(node: u64, boot: u64, ledger: &[(&str, u64)], gauges: &[(&str, f64)]) -> String {
    let mut json = format!("{{\"node\":\"{node:x}\",\"boot\":{boot},\"ledger\":{{");
    push_members(&mut json, ledger);
    json.push_str("},\"gauges\":{");
    push_members(&mut json, gauges);
    json.push_str("}}");
    json
}

fn push_members(json: &mut String, members: &[(&str, impl std::fmt::Display)]) {
    for (n, (name, value)) in members.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        let written = write!(json, "{comma}\"{name}\":{value}");
        debug_assert!(written.is_ok(), "a String takes everything");
    }
}

/// How many entries [`Flow::waited`] has at the most; what comes beyond them joins the last.
const WAITED_MAX: usize = 1_024;

/// What went through since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flow {
    /// Messages taken in.
    pub accepted: u64,
    /// Messages handed out, each time that they were.
    pub delivered: u64,
    /// How long they had been here when they were handed out, and how many of them.
    pub waited: Vec<(Duration, u64)>,
}

impl Flow {
    /// So many messages go out after so long.
    pub(crate) fn deliver(&mut self, waited: Duration, count: u64) {
        self.delivered += count;
        let full = self.waited.len() >= WAITED_MAX;
        match self.waited.last_mut() {
            Some(last) if last.0 == waited || full => last.1 += count,
            _ => self.waited.push((waited, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_is_bounded() {
        let mut flow = Flow::default();
        (0..5_000).for_each(|n| flow.deliver(Duration::from_millis(n / 2), 1));
        assert_eq!((flow.delivered, flow.waited.len()), (5_000, WAITED_MAX));
        assert_eq!(flow.waited.iter().map(|(_, count)| count).sum::<u64>(), 5_000);
    }

    #[test]
    fn stat_is_json() {
        let text = stat(0xabc, 2, &[("accepted", 3), ("ready", 3)], &[("oldest_age_s", 0.5), ("parked", 0.0)]);
        let expected =
            r#"{"node":"abc","boot":2,"ledger":{"accepted":3,"ready":3},"gauges":{"oldest_age_s":0.5,"parked":0}}"#;
        assert_eq!(text, expected);
    }
}
