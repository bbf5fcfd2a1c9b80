//! The queue's log: how a queue comes back from it, and what is to be done with it beside the sockets.

use std::{fmt, time::Duration};

use link::{BadRecord, Fault, LogDamaged, Recovery, Server};
use machine::{LogLimit, Now, Work, WorkResult};
use metrics::Reports;
use protocol::link::Durability;
use wal::{Commit, CommitError, Committed, Disk, Level, Log, OpenError, Opened, Options};

use super::{Limits, Queue};

/// After so long what a full disk refused is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// What a queue with a log is made of.
#[derive(Debug)]
pub struct Stored {
    /// Where the log lies.
    pub disk: Box<dyn Disk>,
    /// How it is kept.
    pub options: Options,
    /// Names this start of the machine: what an earlier one had not synced may be gone.
    pub machine_boot: u128,
}

/// What was found when a queue was started.
#[derive(Debug)]
pub struct Recovered {
    /// What the log says.
    pub opened: Opened,
    /// How many messages are ready.
    pub ready: u64,
    /// Below this nothing is unfinished.
    pub low_water: u64,
}

/// Why a queue cannot be started with this log.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log cannot be written.
    #[error("{0}")]
    Write(String),
    /// The disk fails: exit code 74.
    #[error("{0}")]
    Disk(String),
}

impl Queue {
    /// A queue as its log tells; `progress` hears how many bytes of the log have been read, of how many.
    ///
    /// # Errors
    /// When the log cannot be read or written.
    pub fn recover(
        stored: Stored,
        now: Now,
        limits: Limits,
        reports: Reports,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Recovered), StartError> {
        Self::recover_with_fault(stored, now, (limits, None), reports, progress)
    }

    /// With a planted fault, for tests.
    ///
    /// # Errors
    /// As [`recover`](Self::recover).
    #[doc(hidden)]
    pub fn recover_with_fault(
        stored: Stored,
        now: Now,
        (limits, fault): (Limits, Option<Fault>),
        reports: Reports,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Recovered), StartError> {
        let Stored { disk, options, machine_boot } = stored;
        let level = match options.level {
            Level::Os => Durability::Os,
            Level::Disk => Durability::Disk,
        };
        let mut recovery = Recovery::new(limits.for_server(), level, fault);
        let now_us = u64::try_from(now.since_epoch.as_micros()).unwrap_or(u64::MAX);
        let mut replay = |entry: wal::Entry<'_>| recovery.replay(&entry).map_err(|error: BadRecord| error.to_string());
        let (mut log, opened) = Log::open(disk, options, now_us, &mut replay, progress)?;
        let mut server = recovery.finish(machine_boot, &opened);
        // Nothing is said before it is known for good that this boot has begun: at any level, or the next one could take its
        // number, and its offsets for new messages, and the next queue them for duplicates.
        if let Some(mut commit) = server.poll_commit(now) {
            commit.for_good = true;
            let committed = log.commit(commit).map_err(|error| match error {
                CommitError::Full(_) => {
                    StartError::Write("the disk is full: make room, nothing has been lost".to_owned())
                }
                error => StartError::Disk(error.to_string()),
            })?;
            server.handle_committed(now, committed).map_err(|error| StartError::Disk(error.to_string()))?;
        }
        let recovered = Recovered { opened, ready: server.ready(), low_water: server.low_water() };
        let disk = OnDisk { log: Some(log), refused: None, failure: None, full_limit: LogLimit::default() };
        Ok((Self::over(server, Some(disk), limits, reports), recovered))
    }

    /// Why the queue cannot go on, if so: its disk fails.
    pub fn failure(&self) -> Option<&str> {
        self.disk.as_ref()?.failure.as_deref()
    }
}

/// The log, beside the sockets.
pub(crate) struct OnDisk {
    /// Away while it works.
    log: Option<Log>,
    /// What a full disk refused, and when to try again.
    refused: Option<(Duration, Commit)>,
    failure: Option<String>,
    full_limit: LogLimit,
}

impl fmt::Debug for OnDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDisk").field("failure", &self.failure).finish_non_exhaustive()
    }
}

/// What comes back from the thread beside the sockets.
struct Done {
    log: Log,
    result: Result<Committed, CommitError>,
}

impl OnDisk {
    /// When to try again what a full disk refused.
    pub(crate) fn retry_at(&self) -> Option<Duration> {
        self.refused.as_ref().map(|(at, _)| *at)
    }

    /// What is to be done with the log now.
    pub(crate) fn poll_work(&mut self, now: Now, server: &mut Server) -> Option<Work> {
        if self.log.is_none() || self.failure.is_some() {
            return None;
        }
        let commit = match self.refused.take() {
            Some((at, commit)) if at > now.since_start => {
                self.refused = Some((at, commit));
                return None;
            }
            Some((_, commit)) => server.poll_commit_again(now, commit),
            None => server.poll_commit(now)?,
        };
        let mut log = self.log.take()?;
        Some(Box::new(move || {
            let result = log.commit(commit);
            Box::new(Done { log, result })
        }))
    }

    /// What came of it.
    pub(crate) fn handle_result(&mut self, now: Now, server: &mut Server, result: WorkResult) {
        let Ok(done) = result.downcast::<Done>() else { return };
        let Done { log, result } = *done;
        self.log = Some(log);
        let failed = match result {
            Ok(committed) => server.handle_committed(now, committed).map_err(|error: LogDamaged| error.to_string()),
            Err(CommitError::Full(commit)) => {
                if let Some(withheld) = self.full_limit.pass(now) {
                    tracing::warn!(
                        "The disk is full: nothing is answered until there is room ({withheld} more unsaid)"
                    );
                }
                self.refused = Some((now.since_start + RETRY_AFTER, *commit));
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(failure) = failed {
            tracing::error!("The disk fails, nothing more is answered: {failure}");
            self.failure = Some(failure);
        }
    }
}
