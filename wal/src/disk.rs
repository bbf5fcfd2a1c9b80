//! What the log asks of a disk.

use std::{fmt, io, io::IoSlice};

/// One directory of plain files: everything the log does to the world.
///
/// Nothing is durable before [`sync`](Disk::sync) has returned for its file, and no name before
/// [`sync_dir`](Disk::sync_dir) has. A place is counted in bytes from the begin of its file.
pub trait Disk: Send + fmt::Debug {
    /// The plain files in the directory, with their lengths, in any order.
    fn list(&mut self) -> io::Result<Vec<(String, u64)>>;

    /// Reads from `at` on until `into` is full or the file ends; returns how many bytes were read.
    fn read_at(&mut self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Makes an empty file. One of that name is an error.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Writes all parts, one behind the other, from `at` on; the file grows if it must.
    fn write_at(&mut self, name: &str, at: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Makes the file at least `len` bytes long and has the disk set aside the room for all of them; what was there stays,
    /// what is new reads as zeros.
    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()>;

    /// Cuts the file to `len` bytes, or lengthens it with a hole of zeros.
    fn set_len(&mut self, name: &str, len: u64) -> io::Result<()>;

    /// Returns when the file's content and length will survive a loss of power.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Returns when the names in the directory will survive a loss of power.
    fn sync_dir(&mut self) -> io::Result<()>;

    /// Gives a file another name, at once and for good or not at all; a file that had that name is gone.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// Whether an error says that the disk, or the user's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
