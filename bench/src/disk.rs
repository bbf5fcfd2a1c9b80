//! The queue that keeps a log: messages a second through it, how long an answer takes, how soon it is there again.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::fs::{FallocateFlags, fallocate};

use crate::{
    MESSAGE_BYTES,
    link::{self, Side},
    load::{self, rate},
    processes::{Failed, Node, memory_mib, program},
    table::Rate,
};

/// The largest datagrams that the link takes.
const MTU: usize = 65_507;

/// What the plain loop writes before it syncs: half of what a producer has under way. The other half is on its way then.
const GROUP_BYTES: usize = 512 << 10;

/// The length of a log's file.
const FILE_BYTES: u64 = 64 << 20;

/// How much a log has that is started with, in bytes.
const RESTART_BYTES: u64 = 1 << 30;

/// A folder for one run, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Self, Failed> {
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    Os,
    Disk,
}

/// A queue with a new log, which goes with it.
pub(crate) struct Logged {
    pub(crate) node: Node,
    _folder: Folder,
}

/// Starts one.
pub(crate) fn mq(level: Level) -> Result<Logged, Failed> {
    let folder = Folder::new("log")?;
    let level = match level {
        Level::Os => "os",
        Level::Disk => "disk",
    };
    let node = with_log(&folder, &["--durability", level])?;
    Ok(Logged { node, _folder: folder })
}

fn with_log(folder: &Folder, flags: &[&str]) -> Result<Node, Failed> {
    let mut command = program("mq")?;
    command.args(["--address", "127.0.0.1:0", "--data"]).arg(&folder.0).args(flags);
    Node::listening(command)
}

/// Producer, queue with a log and consumer: messages a second, each durable before it is acknowledged or leased.
pub(crate) fn through(level: Level, messages: u64) -> Result<Rate, Failed> {
    link::through(&mq(level)?.node, messages, MTU)
}

/// The bytes of so many messages, written and synced by a loop that does nothing else.
pub(crate) fn plain(messages: u64) -> Result<Rate, Failed> {
    let folder = Folder::new("plain")?;
    let group = vec![b'x'; GROUP_BYTES];
    let bytes = messages * framed_bytes()?;
    let start = Instant::now();
    let mut written = 0;
    while written < bytes {
        let path = folder.0.join("file");
        let file = File::create(&path)?;
        fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES).map_err(std::io::Error::from)?;
        file.sync_all()?;
        for at in (0..FILE_BYTES).step_by(GROUP_BYTES) {
            file.write_all_at(&group, at)?;
            file.sync_data()?;
            written += GROUP_BYTES as u64;
            if written >= bytes {
                break;
            }
        }
    }
    Ok(rate(messages, start))
}

/// The length of a message as a frame.
fn framed_bytes() -> Result<u64, Failed> {
    let mut frame = Vec::new();
    protocol::frame::push(&[b'x'; MESSAGE_BYTES], &mut frame).map_err(|error| Failed::Program(error.to_string()))?;
    Ok(frame.len() as u64)
}

/// What is in a log that is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Batches of the link, nearly all of them finished.
    Finished,
    /// Batches of the link, none of them handed out.
    Unfinished,
    /// Messages that came by PUT and went by GET, but for the last.
    OneByOne,
}

/// What a start from a log takes. Memory is the most that a process has had.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restart {
    log_mib: f64,
    /// How many messages wait.
    ready: u64,
    /// From the program's start to where it listens.
    took: Duration,
    /// Of the queue that filled the log.
    filling_mib: f64,
    /// Of the queue that was started, when it listens.
    started_mib: f64,
    /// The same when all that waited has been consumed.
    emptied_mib: f64,
}

impl Restart {
    /// The names of the columns.
    pub(crate) fn print_head() {
        let head = ["log MiB", "waiting", "ready in ms", "filling", "started", "emptied MiB"];
        println!("\n{:<48}{}", "a start from a log", head.map(|name| format!("{name:>12}")).concat());
    }

    pub(crate) fn print(&self, name: &str) {
        let Self { log_mib, ready, took, filling_mib, started_mib, emptied_mib } = self;
        let ms = took.as_millis();
        println!(
            "{name:<48}{log_mib:>12.0}{ready:>12}{ms:>12}{filling_mib:>12.0}{started_mib:>12.0}{emptied_mib:>12.0}"
        );
    }
}

/// Fills a log, kills the queue and starts it again; then all that is left is consumed.
pub(crate) fn restart(filled: Filled) -> Result<Restart, Failed> {
    let folder = Folder::new("log")?;
    // All is kept, and all may wait.
    let flags = ["--durability", "os", "--keep-bytes", "4GiB", "--bytes-max", "4GiB"];
    let messages = RESTART_BYTES / framed_bytes()?;
    let mut queue = with_log(&folder, &flags)?;
    let left = if filled == Filled::Unfinished { messages } else { messages / 100 };
    match filled {
        Filled::Unfinished => {}
        Filled::Finished => drop(link::through(&queue, messages - left, MTU)?),
        Filled::OneByOne => drop(load::through(&mut queue, messages - left)?),
    }
    link::alone(Side::Produces, &queue, left, MTU)?;
    let filling_mib = memory_mib(queue.id(), "VmHWM")?;
    // Killed, as a crash would.
    drop(queue);
    let log_mib = mib(&folder)?;
    let start = Instant::now();
    let queue = with_log(&folder, &flags)?;
    let took = start.elapsed();
    let started_mib = memory_mib(queue.id(), "VmHWM")?;
    link::alone(Side::Consumes, &queue, left, MTU)?;
    let emptied_mib = memory_mib(queue.id(), "VmHWM")?;
    Ok(Restart { log_mib, ready: left, took, filling_mib, started_mib, emptied_mib })
}

/// What the folder's files have.
#[expect(clippy::cast_precision_loss, reason = "a size is read by people")]
fn mib(folder: &Folder) -> Result<f64, Failed> {
    let mut bytes = 0;
    for entry in fs::read_dir(&folder.0)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "log") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes as f64 / f64::from(1 << 20))
}
