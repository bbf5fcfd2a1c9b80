//! What is finished and old goes.

use crate::{
    Log,
    files::SPARE,
    log::{Failure, tried},
};

/// How often it is looked for what may go, besides at each new segment, in microseconds.
const TRIM_EVERY_US: u64 = 60_000_000;

impl Log {
    /// Removes the oldest segments that nobody needs, when it is time to look.
    pub(crate) fn trim(&mut self, now_us: u64, low_water: u64, at_once: bool) -> Result<(), Failure> {
        if !at_once && now_us.abs_diff(self.trimmed_us) < TRIM_EVERY_US {
            return Ok(());
        }
        self.trimmed_us = now_us;
        while self.oldest_may_go(now_us, low_water) {
            let Some(oldest) = self.segments.pop_front() else { break };
            let name = oldest.name();
            let is_spare = self.spare.is_none();
            if is_spare {
                // Its blocks are on the disk already, which makes the next segment's first writes quick.
                tried("rename", &name, self.disk.rename(&name, SPARE))?;
                self.spare_written = oldest.end - oldest.base;
                self.spare = Some(self.spare_written);
            } else {
                tried("remove", &name, self.disk.remove(&name))?;
            }
            // Before anything is written to a file that had a place in the log, and before the next one goes: a disk may
            // forget either of two that it was not made to keep, and a log without its middle is damaged.
            tried("sync the directory without", &name, self.disk.sync_dir())?;
            if is_spare && let Err(failure @ Failure::Disk { .. }) = self.make_spare(self.options.segment_bytes) {
                return Err(failure);
            }
        }
        Ok(())
    }

    fn oldest_may_go(&self, now_us: u64, low_water: u64) -> bool {
        let (Some(oldest), Some(next)) = (self.segments.front(), self.segments.get(1)) else { return false };
        let keep = &self.options.keep;
        let age = keep.age.map(|age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        let is_old = age.is_some_and(|age| now_us.saturating_sub(oldest.newest_us) > age);
        next.offset <= low_water && (is_old || self.kept_bytes() > keep.bytes)
    }
}
