//! What can be wrong with a log, in words an operator can act on.

use std::{fmt, io};

use crate::Commit;

/// Why a block is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The file ends before the log does: it was cut short, or a segment is missing.
    EndsEarly,
    /// No block begins here.
    NoBlock,
    /// The block's checksum does not match.
    Checksum,
    /// The block says that it belongs to another place.
    Misplaced,
    /// The block does not follow the one before it.
    OutOfTurn,
    /// The checksum matches, and yet what the block says makes no sense.
    Nonsense,
    /// The segment is another queue's.
    OtherNode,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndsEarly => "the file ends before the log does (cut short, or a segment is missing)",
            Self::NoBlock => "no block begins here",
            Self::Checksum => "the checksum does not match",
            Self::Misplaced => "the block belongs to another place",
            Self::OutOfTurn => "the block does not follow the one before it",
            Self::Nonsense => "the block makes no sense",
            Self::OtherNode => "the segment is another queue's",
        })
    }
}

/// A range of the log that was synced and does not check any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment file.
    pub file: String,
    /// Where in the file, in bytes.
    pub place: u64,
    /// What is wrong there.
    pub flaw: Flaw,
    /// The position in the log.
    pub position: u64,
    /// The position at which the log can be read again.
    pub until: u64,
    /// The first message offset that may be in the range.
    pub first_offset: u64,
    /// The first message offset behind the range; equal to `first_offset` if the range holds no message, or if nobody knows.
    pub next_offset: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.until.saturating_sub(self.position);
        write!(f, "{} at byte {}: {}; {bytes} bytes are lost", self.file, self.place, self.flaw)?;
        match self.next_offset.saturating_sub(self.first_offset) {
            0 => Ok(()),
            count => {
                let last = self.next_offset.saturating_sub(1);
                write!(f, ", with {count} messages (offsets {} to {last})", self.first_offset)
            }
        }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory holds other files and no log.
    #[error("it holds something else ({file}) and no log: choose an empty directory")]
    Foreign {
        /// One of the other files.
        file: String,
    },
    /// The log is of a version that this program does not know.
    #[error("its log is of version {found}, and this program reads version {known}", known = crate::VERSION)]
    Version {
        /// The version found.
        found: u64,
    },
    /// The file that says what the directory is cannot be understood.
    #[error("its file weir-log is damaged: put back the four lines that were there, or move the directory away")]
    Label,
    /// Segments are there and the label is not.
    #[error("its segments are there and its file weir-log is not: put it back")]
    NoLabel,
    /// The label is there and no segment is.
    #[error("its file weir-log is there and no segment is: if they were removed on purpose, remove weir-log as well")]
    Empty,
    /// What was synced does not check any more.
    #[error("{}", damage_text(.0))]
    Damaged(Vec<Damage>),
    /// Whoever was to take the records could not.
    #[error("the log's records cannot be taken: {0}")]
    Replay(String),
    /// The disk failed.
    #[error("{what}: {error}")]
    Disk {
        /// What was tried.
        what: String,
        /// How it failed.
        error: io::Error,
    },
}

fn damage_text(damage: &[Damage]) -> String {
    let first = damage.first().map_or_else(String::new, ToString::to_string);
    let more = match damage.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more such places)", count - 1),
    };
    format!(
        "the log is damaged: {first}{more}. Nothing was changed. Put back a copy of the file, or start once with --salvage, \
         which sets the range aside in a file damaged-*.bin and goes on without it"
    )
}

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// There is no room on the disk. Nothing was lost, and the log is as it was before; here is the commit, to be tried again
    /// later, or another one.
    #[error("the disk is full")]
    Full(Box<Commit>),
    /// The records were not framed as [`frame`](crate::frame) does it; nothing was written.
    #[error("the records are not framed")]
    Frames,
    /// The disk failed, and what it holds is not known. The log takes no further commit.
    #[error("{what}: {error}")]
    Disk {
        /// What was tried.
        what: String,
        /// How it failed.
        error: io::Error,
    },
}
