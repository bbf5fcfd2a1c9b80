//! The processes that are measured, and the clients beside them: started, awaited, ended.

use std::{
    fmt, fs,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
};

/// Why a figure could not be measured.
#[derive(Debug)]
pub(crate) enum Failed {
    Io(io::Error),
    /// A program is not there, or ended before it listened.
    Program(String),
    /// Messages were lost.
    Lost {
        sent: u64,
        arrived: u64,
    },
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Program(what) => f.write_str(what),
            Self::Lost { sent, arrived } => write!(f, "{sent} messages were sent, {arrived} arrived"),
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A program that runs until this goes.
pub(crate) struct Node {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _stderr: BufReader<ChildStderr>,
}

impl Node {
    /// Starts a program that announces where it listens.
    pub(crate) fn listening(mut command: Command) -> Result<Self, Failed> {
        let name = format!("{command:?}");
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| Failed::Program(format!("{name}: {error}")))?;
        let mut stderr = child.stderr.take().map(BufReader::new).ok_or_else(|| Failed::Program(name.clone()))?;
        let mut line = String::new();
        loop {
            line.clear();
            if stderr.read_line(&mut line)? == 0 {
                return Err(Failed::Program(format!("{name} ended before it listened")));
            }
            if let Some(address) = line.trim().strip_prefix("listening on ") {
                let address = address.parse().map_err(|_| Failed::Program(format!("{name}: {line}")))?;
                return Ok(Self { child, address, _stderr: stderr });
            }
        }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as an operator would, and waits for that.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        end(&mut self.child)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends SIGTERM and waits.
pub(crate) fn end(child: &mut Child) -> io::Result<()> {
    if let Some(id) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
    }
    child.wait().map(drop)
}

/// A program that was built beside this one.
pub(crate) fn program(name: &str) -> Result<Command, Failed> {
    let path: PathBuf = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        return Err(Failed::Program(format!("{} is not built: run cargo build --release first", path.display())));
    }
    Ok(Command::new(path))
}

/// A fresh queue of ours.
pub(crate) fn mq() -> Result<Node, Failed> {
    let mut command = program("mq")?;
    command.args(["--address", "127.0.0.1:0"]);
    Node::listening(command)
}

/// A fresh yardstick queue.
pub(crate) fn yardstick() -> Result<Node, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--yardstick");
    Node::listening(command)
}

/// User and system time of a process so far, in hundredths of a second.
pub(crate) fn cpu_ticks(process: u32) -> Result<u64, Failed> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let columns: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks = |index: usize| columns.get(index).and_then(|column| column.parse::<u64>().ok()).unwrap_or(0);
    Ok(ticks(11) + ticks(12))
}

/// A size in MiB from a process's status: `VmRSS` is what it holds, `VmHWM` the most that it has held.
#[expect(clippy::cast_precision_loss, reason = "a size is read by people")]
pub(crate) fn memory_mib(process: u32, what: &str) -> Result<f64, Failed> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let size = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).unwrap_or_default();
    let kib: u64 = size.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    Ok(kib as f64 / 1024.0)
}

/// Waits for a client's thread.
pub(crate) fn joined(client: thread::JoinHandle<io::Result<()>>) -> Result<(), Failed> {
    client.join().map_err(|_| Failed::Program("a client panicked".to_owned()))?.map_err(Failed::from)
}
