//! A disk in memory that loses power.
//!
//! What was synced is safe. What was not is a list of operations, of which a crash keeps any part: each sector of 512 bytes
//! for itself, or a prefix of it, and each change of a name for itself. Everything comes from the seed.

mod image;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    io::{self, IoSlice},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wal::Disk;

use image::Image;

/// A disk in memory. A clone is another handle to the same disk.
#[derive(Clone, Default)]
#[must_use]
pub struct FakeDisk {
    inside: Arc<Mutex<Inside>>,
}

impl fmt::Debug for FakeDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = self.lock();
        f.debug_struct("FakeDisk").field("files", &inside.image.list()).field("counts", &inside.counts).finish()
    }
}

/// What has been done to the disk so far, one of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Calls that change something, or sync.
    pub operations: u64,
    /// Syncs of files and of the directory.
    pub syncs: u64,
    /// Bytes written.
    pub written: u64,
}

/// What a disk says is done, and is not: for faults that a test plants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Files are synced.
    Syncs,
    /// Files whose names end so are synced.
    SyncsOf(&'static str),
    /// Names are synced.
    Names,
}

#[derive(Clone, Default)]
struct Inside {
    image: Image,
    counts: DiskCounts,
    /// Bytes that all files may have together.
    capacity: Option<u64>,
    /// The disk dies before the operation of this number.
    dies_at: Option<u64>,
    /// The sync of this number fails.
    failing_sync: Option<u64>,
    /// Reads of this file fail.
    unreadable: Option<String>,
    lie: Option<Lie>,
    /// The disk as it was when operations began to be kept, how many there were before, and each since.
    history: Option<(Image, u64, Vec<Operation>)>,
}

/// One operation, to be done again on another image.
#[derive(Clone, Debug)]
enum Operation {
    Create(String),
    Write(String, u64, Vec<u8>),
    Allocate(String, u64),
    SetLen(String, u64),
    Sync(String),
    SyncDir,
    Rename(String, String),
    Remove(String),
}

impl FakeDisk {
    /// An empty disk without limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on all files together have at most this many bytes; what needs more fails as on a full disk.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// The power goes before the `operations`-th operation from now (0: before the next): it and every later call fail.
    /// [`crash`](Self::crash) then gives the disk as it may be found.
    pub fn crash_after(&self, operations: u64) {
        let mut inside = self.lock();
        inside.dies_at = Some(inside.counts.operations.saturating_add(operations));
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        let inside = self.lock();
        inside.dies_at.is_some_and(|at| inside.counts.operations >= at)
    }

    /// The `syncs`-th sync from now (0: the next) fails, and what it was to sync stays as it was.
    pub fn fail_sync(&self, syncs: u64) {
        let mut inside = self.lock();
        inside.failing_sync = Some(inside.counts.syncs.saturating_add(syncs));
    }

    /// From now on a file cannot be read, or all can.
    pub fn set_unreadable(&self, name: Option<&str>) {
        self.lock().unreadable = name.map(str::to_owned);
    }

    /// From now on it lies, or is honest again.
    pub fn set_lie(&self, lie: Option<Lie>) {
        self.lock().lie = lie;
    }

    /// What has been done so far.
    pub fn counts(&self) -> DiskCounts {
        self.lock().counts
    }

    /// From now on each operation is kept, for [`crash_at`](Self::crash_at) and [`kill_at`](Self::kill_at).
    pub fn keep_history(&self) {
        let mut inside = self.lock();
        inside.history = Some((inside.image.clone(), inside.counts.operations, Vec::new()));
    }

    /// The disk as it may be after a loss of power now: a new disk, without faults. The same seed gives the same disk; for one
    /// seed in four, bits have flipped where something was written and not synced.
    pub fn crash(&self, seed: u64) -> Self {
        let mut image = self.lock().image.clone();
        image.crash(seed);
        Self::holding(image)
    }

    /// The disk as it may be if the power had gone when [`DiskCounts::operations`] was `operations`. Goes
    /// back to where [`keep_history`](Self::keep_history) was called; without it, to an empty disk.
    pub fn crash_at(&self, operations: u64, seed: u64) -> Self {
        let mut image = self.at(operations);
        image.crash(seed);
        Self::holding(image)
    }

    /// The disk as a process finds it that comes after one that was killed when [`DiskCounts::operations`] was `operations`:
    /// what was not synced is there, and can still be lost.
    pub fn kill_at(&self, operations: u64) -> Self {
        Self::holding(self.at(operations))
    }

    /// The disk as a process finds it that comes after one that was killed now; without faults.
    pub fn kill(&self) -> Self {
        Self::holding(self.lock().image.clone())
    }

    /// Flips one bit of a file, synced or not; `false` if there is none such.
    pub fn flip(&self, name: &str, place: u64, bit: u8) -> bool {
        self.lock().image.flip(name, place, bit)
    }

    /// A file's content, synced or not.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().image.file(name).map(|file| file.content.clone())
    }

    /// Puts a file there, synced, in place of one of that name.
    pub fn put(&self, name: &str, content: &[u8]) {
        self.lock().image.put(name, content);
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        self.lock().image.names.keys().cloned().collect()
    }

    fn holding(image: Image) -> Self {
        Self { inside: Arc::new(Mutex::new(Inside { image, ..Inside::default() })) }
    }

    fn at(&self, operations: u64) -> Image {
        let inside = self.lock();
        let Some((image, before, history)) = &inside.history else { return Image::default() };
        let mut image = image.clone();
        let count = usize::try_from(operations.saturating_sub(*before)).unwrap_or(usize::MAX);
        for operation in history.iter().take(count) {
            // What failed then fails again.
            let _ = image.apply(operation.clone());
        }
        image
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, operation: Operation) -> io::Result<()> {
        let mut inside = self.lock();
        inside.begin(&operation)?;
        let is_lie = match (&inside.lie, &operation) {
            (Some(Lie::Syncs), Operation::Sync(_)) | (Some(Lie::Names), Operation::SyncDir) => true,
            (Some(Lie::SyncsOf(end)), Operation::Sync(name)) => name.ends_with(end),
            _ => false,
        };
        if is_lie {
            return Ok(());
        }
        if let Some((_, _, history)) = &mut inside.history {
            history.push(operation.clone());
        }
        inside.image.apply(operation)
    }
}

impl Inside {
    /// Counts an operation and lets it fail if it is to.
    fn begin(&mut self, operation: &Operation) -> io::Result<()> {
        self.alive()?;
        let growth = match operation {
            Operation::Write(name, at, bytes) => self.image.growth(name, at.saturating_add(bytes.len() as u64)),
            Operation::Allocate(name, len) | Operation::SetLen(name, len) => self.image.growth(name, *len),
            _ => 0,
        };
        if growth > 0 && self.capacity.is_some_and(|capacity| self.image.bytes().saturating_add(growth) > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Operation::Write(_, _, bytes) = operation {
            self.counts.written += bytes.len() as u64;
        }
        self.counts.operations += 1;
        if matches!(operation, Operation::Sync(_) | Operation::SyncDir) {
            self.counts.syncs += 1;
            if self.failing_sync == Some(self.counts.syncs - 1) {
                return Err(io::Error::other("the sync failed, as it was told to"));
            }
        }
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        if self.dies_at.is_some_and(|at| self.counts.operations >= at) {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }
}

impl Disk for FakeDisk {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let inside = self.lock();
        inside.alive()?;
        Ok(inside.image.list())
    }

    fn read_at(&mut self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let inside = self.lock();
        inside.alive()?;
        if inside.unreadable.as_deref() == Some(name) {
            return Err(io::Error::other("the sector cannot be read, as it was told to"));
        }
        let file = inside.image.file(name).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(at).unwrap_or(usize::MAX).min(file.content.len());
        let there = file.content.get(from..).unwrap_or_default();
        let read = there.len().min(into.len());
        if let (Some(into), Some(there)) = (into.get_mut(..read), there.get(..read)) {
            into.copy_from_slice(there);
        }
        Ok(read)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.apply(Operation::Create(name.to_owned()))
    }

    fn write_at(&mut self, name: &str, at: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        let bytes = parts.concat();
        self.apply(Operation::Write(name.to_owned(), at, bytes))
    }

    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.apply(Operation::Allocate(name.to_owned(), len))
    }

    fn set_len(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.apply(Operation::SetLen(name.to_owned(), len))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.apply(Operation::Sync(name.to_owned()))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.apply(Operation::SyncDir)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.apply(Operation::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.apply(Operation::Remove(name.to_owned()))
    }
}
