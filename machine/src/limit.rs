//! A bound on log lines, so that a flood of bad datagrams does not become a flood of lines.

use crate::Now;

/// Lets a few lines a second through and counts the rest.
#[derive(Debug, Default)]
pub struct LogLimit {
    second: u64,
    lines: u32,
    withheld: u64,
}

/// How many lines one limit passes in a second.
const LINES_PER_SECOND: u32 = 5;

impl LogLimit {
    /// Whether a line may be written now; if so, how many were withheld since the last one.
    pub fn pass(&mut self, now: Now) -> Option<u64> {
        let second = now.since_start.as_secs();
        if second != self.second {
            self.second = second;
            self.lines = 0;
        }
        if self.lines >= LINES_PER_SECOND {
            self.withheld += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn five_lines_a_second_then_a_count() {
        let at = |ms| Now { since_start: Duration::from_millis(ms), since_epoch: Duration::ZERO };
        let mut limit = LogLimit::default();
        let passed = (0..20).filter(|&n| limit.pass(at(n)).is_some()).count();
        assert_eq!(passed, 5);
        assert_eq!(limit.pass(at(1_000)), Some(15));
        assert_eq!(limit.pass(at(1_001)), Some(0));
    }
}
