//! The real disk: one directory, its files kept open.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, IoSlice},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::{Errno, pwritev},
};

use crate::{Disk, files::LOCK};

/// How many parts one call writes: Linux takes 1,024.
const PARTS_MAX: usize = 1024;
/// How many files are kept open.
const OPEN_MAX: usize = 64;
/// How much is written at once where a filesystem cannot set room aside.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Why a directory cannot hold a log. Each text names the path and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is a file, or something else.
    #[error("{} is not a directory: choose another", .0.display())]
    NotADirectory(PathBuf),
    /// It is not there, and neither is the directory that it would be in.
    #[error("cannot make {}: the directory above it is not there", .0.display())]
    NoParent(PathBuf),
    /// Another process has the log.
    #[error("{} is in use by another process: end that one, or choose another directory", .0.display())]
    InUse(PathBuf),
    /// It may not be written.
    #[error("no permission to write in {}: make it and its files this user's, or choose another directory", .0.display())]
    Permission(PathBuf),
    /// It may not be read.
    #[error("no permission to read {}: do it as the user whose queue this is", .0.display())]
    Unreadable(PathBuf),
    /// Something else.
    #[error("cannot use {}: {error}", path.display())]
    Disk {
        /// The directory, or its lock.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A directory of the file system, as a [`Disk`].
///
/// One that is [opened](Directory::open) is this process's alone until it is dropped: a file `lock` in it is locked.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    files: HashMap<String, Opened>,
    writes: bool,
    _lock: Option<File>,
}

#[derive(Debug)]
struct Opened {
    file: File,
    /// Whether its length or its room changed since the last sync.
    resized: bool,
}

impl Directory {
    /// Takes a directory; it is made if only its last part is missing.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                DirectoryError::Permission(path.to_owned())
            }
            io::ErrorKind::NotADirectory => DirectoryError::NotADirectory(path.to_owned()),
            io::ErrorKind::NotFound => DirectoryError::NoParent(path.to_owned()),
            _ => DirectoryError::Disk { path: path.to_owned(), error },
        };
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
            // The name is to survive a loss of power, like what will be in it.
            Ok(()) => {
                let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
                File::open(above).and_then(|above| above.sync_all()).map_err(failed)?;
            }
        }
        if !path.is_dir() {
            return Err(DirectoryError::NotADirectory(path.to_owned()));
        }
        let lock = path.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(Self { path: path.to_owned(), files: HashMap::new(), writes: true, _lock: Some(lock) })
    }

    /// Looks at a directory that nobody writes to: for [`verify`](crate::verify). Writing fails, and nobody can take the
    /// directory before this is dropped.
    ///
    /// # Errors
    /// See [`DirectoryError`]. That it is not there is one.
    pub fn look_at(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => DirectoryError::Unreadable(path.to_owned()),
            _ => DirectoryError::Disk { path: path.to_owned(), error },
        };
        if !fs::metadata(path).map_err(failed)?.is_dir() {
            return Err(DirectoryError::NotADirectory(path.to_owned()));
        }
        let lock = match File::open(path.join(LOCK)) {
            Ok(lock) => lock,
            // A copy need not have one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), files: HashMap::new(), writes: false, _lock: None });
            }
            Err(error) => return Err(failed(error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(Self { path: path.to_owned(), files: HashMap::new(), writes: false, _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The file of this name, opened.
    fn file(&mut self, name: &str) -> io::Result<&mut Opened> {
        if !self.files.contains_key(name) {
            let path = self.path.join(name);
            let file = OpenOptions::new().read(true).write(self.writes).open(&path);
            let file = file.map_err(|error| with_path(&path, &error))?;
            if self.files.len() >= OPEN_MAX {
                self.files.clear();
            }
            // It may have been changed before it was closed.
            self.files.insert(name.to_owned(), Opened { file, resized: true });
        }
        self.files.get_mut(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Says which file it was, if the system says no more than what happened.
    fn named<T>(&self, name: &str, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| with_path(&self.path.join(name), &error))
    }
}

fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Disk for Directory {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let path = self.path.clone();
        let entries = fs::read_dir(&path).map_err(|error| with_path(&path, &error))?;
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // Somebody else's log goes on while we look at it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_file() {
                files.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
            }
        }
        Ok(files)
    }

    fn read_at(&mut self, name: &str, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        let opened = self.file(name)?;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match opened.file.read_at(rest, at.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.named(name, Err(error)),
            }
        }
        Ok(done)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.path.join(name));
        let file = self.named(name, file)?;
        self.files.insert(name.to_owned(), Opened { file, resized: true });
        Ok(())
    }

    fn write_at(&mut self, name: &str, at: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let opened = self.file(name)?;
        let written = write_all(&opened.file, at, parts);
        self.named(name, written)
    }

    fn allocate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let opened = self.file(name)?;
        opened.resized = true;
        let allocated = match fallocate(&opened.file, FallocateFlags::empty(), 0, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(&opened.file, len),
            allocated => allocated.map_err(io::Error::from),
        };
        self.named(name, allocated)
    }

    fn set_len(&mut self, name: &str, len: u64) -> io::Result<()> {
        let opened = self.file(name)?;
        opened.resized = true;
        let cut = opened.file.set_len(len);
        self.named(name, cut)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let opened = self.file(name)?;
        let synced = if opened.resized { opened.file.sync_all() } else { opened.file.sync_data() };
        opened.resized &= synced.is_err();
        self.named(name, synced)
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let synced = File::open(&self.path).and_then(|directory| directory.sync_all());
        synced.map_err(|error| with_path(&self.path, &error))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let renamed = fs::rename(self.path.join(from), self.path.join(to));
        self.named(from, renamed)?;
        self.files.remove(to);
        if let Some(opened) = self.files.remove(from) {
            self.files.insert(to.to_owned(), opened);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files.remove(name);
        let removed = fs::remove_file(self.path.join(name));
        self.named(name, removed)
    }
}

/// Writes all parts, however few of them one call takes.
fn write_all(file: &File, mut at: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
    let mut parts = parts.to_vec();
    let mut rest = parts.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let now = rest.get(..rest.len().min(PARTS_MAX)).unwrap_or_default();
        match pwritev(file, now, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at = at.saturating_add(written as u64);
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes zeros from the file's end up to `len`.
fn fill(file: &File, len: u64) -> io::Result<()> {
    let mut at = file.metadata()?.len();
    while at < len {
        let length = usize::try_from(len - at).unwrap_or(usize::MAX).min(ZEROS.len());
        let zeros = ZEROS.get(..length).unwrap_or_default();
        file.write_all_at(zeros, at)?;
        at = at.saturating_add(length as u64);
    }
    Ok(())
}
