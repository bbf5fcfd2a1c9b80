//! Files as sources, and the thread that reads them.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStrExt as _, fs::FileTypeExt as _},
    path::{Path, PathBuf},
};

use feeder::{Entry, Feed, Format, Source, Sources};
use runtime::{Closed, Failure, Input, LineSender};

use crate::args::is_stdin;

/// Which files to read, and how.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) format: Format,
    /// Whether to start over at the end.
    pub(crate) again: bool,
}

/// Sources that have been opened.
pub(crate) struct Opened {
    sources: Sources,
    /// How many bytes each holds, if all of them are files.
    pub(crate) sizes: Option<Vec<u64>>,
}

impl Files {
    /// Opens all, so that one that is missing is known before anything is sent.
    pub(crate) fn open(&self) -> Result<Opened, Failure> {
        let mut sources = Vec::with_capacity(self.paths.len());
        let mut sizes = Some(Vec::with_capacity(self.paths.len()));
        for path in &self.paths {
            let name = path.display().to_string();
            let (source, len) = if is_stdin(path.as_os_str()) {
                (Source::new(name, io::stdin(), self.format), None)
            } else {
                open(path, self.format).map_err(|error| Failure::new(format!("cannot read {name}: {error}")))?
            };
            sources.push(source);
            sizes = sizes.zip(len).map(|(mut sizes, len)| {
                sizes.push(len);
                sizes
            });
        }
        Ok(Opened { sources: Sources::new(sources), sizes })
    }

    /// Who feeds them, if that can be said: a pipe, or what never ends, is never the same again.
    pub(crate) fn producer(&self, opened: &Opened, messages_max: Option<u64>) -> Option<u128> {
        let sizes = opened.sizes.as_ref().filter(|sizes| !self.again && !sizes.is_empty())?;
        let paths = self.paths.iter().map(|path| path.as_os_str().as_bytes());
        let sources: Vec<_> = paths.zip(sizes.iter().copied()).collect();
        Some(Feed { sources: &sources, format: self.format, messages_max }.producer())
    }

    /// Starts the thread that reads what was opened.
    pub(crate) fn read(self, opened: Opened) -> Input {
        Input::spawn(move |lines| {
            let mut sources = opened.sources;
            loop {
                push_all(&mut sources, lines)?;
                // Without a single message, starting over would never end.
                if !self.again || sources.messages() == 0 {
                    return Ok(());
                }
                match self.open() {
                    Ok(opened) => sources = opened.sources,
                    Err(error) => {
                        tracing::error!("Cannot start over: {error}");
                        return lines.push(&Entry::Unreadable.line());
                    }
                }
            }
        })
    }
}

fn push_all(sources: &mut Sources, lines: &mut LineSender) -> Result<(), Closed> {
    let mut entry = Vec::new();
    loop {
        // A person who types sees each line leave at once.
        if sources.may_wait() {
            lines.flush()?;
        }
        if !sources.read(&mut entry) {
            return Ok(());
        }
        if !entry.is_empty() {
            lines.push(&entry)?;
        }
    }
}

fn open(path: &Path, format: Format) -> io::Result<(Source, Option<u64>)> {
    let about = fs::metadata(path)?;
    if about.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    let name = path.display().to_string();
    if about.file_type().is_fifo() {
        return Ok((Source::new(name, Fifo::Closed(path.to_owned()), format), None));
    }
    let file = File::open(path)?;
    Ok((Source::new(name, file, format), about.is_file().then_some(about.len())))
}

/// A FIFO, opened when it is first read from: that waits for somebody who writes, and Ctrl-C must be heard meanwhile.
enum Fifo {
    Closed(PathBuf),
    Open(File),
}

impl Read for Fifo {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Open(file) => return file.read(bytes),
                Self::Closed(path) => *self = Self::Open(File::open(path)?),
            }
        }
    }
}
