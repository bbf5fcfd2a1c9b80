//! How far a feeder is, for whoever draws it. It crosses as bytes, because an outlet takes bytes.

use std::time::Duration;

/// How far a feeder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes of the sources have been read.
    pub read_bytes: u64,
    /// How many messages have been sent.
    pub sent: u64,
    /// How many the queue had before this process began.
    pub resumed: u64,
    /// How many were sent in a second, lately.
    pub per_second: u64,
    /// What it is doing.
    pub state: State,
}

/// What a feeder is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It sends, or waits for lines.
    Feeding,
    /// No queue answers.
    WaitingForQueue,
    /// The queue took no message when it was last asked to.
    QueueFull,
}

/// What one snapshot takes.
const SNAPSHOT_BYTES: usize = 33;

impl Progress {
    /// Appends the snapshot.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        for number in [self.read_bytes, self.sent, self.resumed, self.per_second] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(match self.state {
            State::Feeding => 0,
            State::WaitingForQueue => 1,
            State::QueueFull => 2,
        });
    }

    /// The last snapshot of a chunk of them.
    pub fn last(chunk: &[u8]) -> Option<Self> {
        let (numbers, &[state]) = chunk.last_chunk::<SNAPSHOT_BYTES>()?.split_at_checked(SNAPSHOT_BYTES - 1)? else {
            return None;
        };
        let mut numbers = numbers.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok().map(u64::from_le_bytes));
        let state = match state {
            0 => State::Feeding,
            1 => State::WaitingForQueue,
            _ => State::QueueFull,
        };
        let [read_bytes, sent, resumed, per_second] = [(); 4].map(|()| numbers.next());
        Some(Self { read_bytes: read_bytes?, sent: sent?, resumed: resumed?, per_second: per_second?, state })
    }
}

/// Says when the next snapshot is due, and how fast messages have left lately.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    due: Duration,
    /// Where the second began that is being measured, and how many messages had left then.
    mark: (Duration, u64),
    per_second: u64,
}

/// How long there is between two snapshots.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(100);

const SECOND: Duration = Duration::from_secs(1);

impl Meter {
    pub(crate) fn due(&self) -> Duration {
        self.due
    }

    /// The rate to show if a snapshot is due.
    pub(crate) fn poll(&mut self, now: Duration, sent: u64) -> Option<u64> {
        if now < self.due {
            return None;
        }
        self.due = now + SNAPSHOT_EVERY;
        let (began, before) = self.mark;
        let lasted = now.saturating_sub(began);
        // The first second shows what there is of it.
        if lasted >= SECOND || began.is_zero() {
            let per_second = (u128::from(sent - before) * 1_000).checked_div(lasted.as_millis()).unwrap_or(0);
            self.per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
        }
        if lasted >= SECOND {
            self.mark = (now, sent);
        }
        Some(self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_snapshot_of_a_chunk_is_read() {
        let mut chunk = Vec::new();
        for state in [State::Feeding, State::WaitingForQueue, State::QueueFull] {
            let progress = Progress { read_bytes: u64::MAX, sent: 7, resumed: 1 << 40, per_second: 300_000, state };
            progress.push(&mut chunk);
            assert_eq!(Progress::last(&chunk), Some(progress));
        }
        assert_eq!(Progress::last(&chunk[..SNAPSHOT_BYTES - 1]), None);
    }

    #[test]
    fn ten_snapshots_a_second_and_the_rate_of_the_last_one() {
        let mut meter = Meter::default();
        let rate = |ms: u64| if ms < 2_000 { 5 } else { 1 };
        let mut sent = 0;
        let mut shown = Vec::new();
        for ms in 0..5_000 {
            shown.extend(meter.poll(Duration::from_millis(ms), sent).map(|per_second| (ms, per_second)));
            sent += rate(ms);
        }
        assert_eq!(shown.len(), 50);
        for (at, per_second) in [(0, 0), (500, 5_000), (1_900, 5_000), (3_500, 1_000), (4_900, 1_000)] {
            assert!(shown.contains(&(at, per_second)), "{at} {shown:?}");
        }
    }
}
