//! A log on disk: opaque records in segments, checksummed, synced in groups, checked whole when it is opened.
//!
//! The log knows no message. A record is bytes that its writer understands, and how many *message offsets* it brings; so the
//! log can say at which offset a place stands, and find the place of an offset. `docs/log.md` describes the files byte by
//! byte, what is done after a crash and what is damage.
//!
//! All that the log does to the world goes through [`Disk`]: [`Directory`] is the real one, and `simnet` has one that
//! loses power.
//!
//! ```
//! use wal::{Commit, Directory, Entry, Log, Options};
//!
//! let path = std::env::temp_dir().join(format!("wal-doc-{}", std::process::id()));
//! let mut records = Vec::new();
//! wal::frame(&mut records, 1, b"hello");
//! {
//!     let disk = Box::new(Directory::open(&path)?);
//!     let (mut log, opened) = Log::open(disk, Options::default(), 0, &mut |_| Ok(()), &mut |_, _| {})?;
//!     assert!(opened.is_new);
//!     log.commit(Commit { records, for_good: true, ..Commit::default() })?;
//! }
//! let mut seen = Vec::new();
//! let disk = Box::new(Directory::open(&path)?);
//! let (log, _) = Log::open(disk, Options::default(), 0, &mut |entry| {
//!     if let Entry::Record { bytes, .. } = entry {
//!         seen.extend_from_slice(bytes);
//!     }
//!     Ok(())
//! }, &mut |_, _| {})?;
//! assert_eq!(seen, b"hello");
//! # drop(log);
//! # std::fs::remove_dir_all(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod blocks;
mod directory;
mod disk;
mod draft;
mod error;
mod files;
mod frames;
mod log;
mod open;
mod read;
mod retention;
mod salvage;
mod scan;
mod verify;

pub use directory::{Directory, DirectoryError};
pub use disk::Disk;
pub use error::{CommitError, Damage, Flaw, OpenError};
pub use files::VERSION;
pub use frames::{Frame, Frames, frame};
pub use log::{Commit, Committed, Log};
pub use open::{Entry, Keep, Level, Opened, Options};
pub use read::{Chunk, Found, From, Read};
pub use scan::Hole;
pub use verify::{Verified, verify};
