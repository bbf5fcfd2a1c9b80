//! Processes: started, read line by line, and ended with the trial.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait_for;

/// Where the workspace's programs lie: beside the trial's own executable.
pub fn programs_folder() -> PathBuf {
    let trial = std::env::current_exe().unwrap();
    let folder = trial.parent().filter(|folder| folder.ends_with("deps")).and_then(|deps| deps.parent());
    folder.unwrap_or_else(|| panic!("{} is not where cargo puts tests", trial.display())).to_owned()
}

/// A command that runs one of the workspace's programs, without a stdin and with both outputs read by the trial.
pub fn program(name: &str) -> Command {
    let path = programs_folder().join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace` first", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a program of the workspace to its end.
pub fn run<Arg: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = Arg>) -> Ended {
    Node::start(program(name).args(args)).wait()
}

/// A process of the trial. It is killed when this is dropped, and says then, if the trial fails, what it wrote to stderr.
#[derive(Debug)]
pub struct Node {
    name: String,
    child: Child,
    /// The lines of its standard output so far.
    pub stdout: Lines,
    /// The lines of its standard error so far.
    pub stderr: Lines,
    address: Option<SocketAddr>,
    readers: Vec<JoinHandle<()>>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, if it was not killed by a signal.
    pub code: Option<i32>,
    /// How long it took from the moment when it was told to end, or waited for.
    pub took: Duration,
    /// All lines of its standard output.
    pub stdout: Vec<String>,
    /// All lines of its standard error.
    pub stderr: Vec<String>,
}

impl Ended {
    /// Its standard error as one text.
    pub fn log(&self) -> String {
        self.stderr.join("\n")
    }
}

impl Node {
    /// Starts a process.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|pipe| stdout.follow(pipe)));
        readers.extend(child.stderr.take().map(|pipe| stderr.follow(pipe)));
        Self { name, child, stdout, stderr, address: None, readers }
    }

    /// Starts a process and waits until it says where it listens.
    pub fn listening(command: &mut Command) -> Self {
        let mut node = Self::start(command);
        let address = node.address_announced();
        node.address = Some(address);
        node
    }

    fn address_announced(&mut self) -> SocketAddr {
        wait_for("the line `listening on`", || {
            let announced = self.stderr.first("listening on ");
            assert!(announced.is_some() || self.is_running(), "{} ended before it listened", self.name);
            announced.and_then(|line| line.strip_prefix("listening on ")?.parse().ok())
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.unwrap_or_else(|| panic!("{} does not listen", self.name))
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, if it was started with one and nobody took it yet.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal that is to end it, and waits for that.
    pub fn stop(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.wait()
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Ended {
        let asked = Instant::now();
        let name = self.name.clone();
        let status = wait_for(&format!("the end of {name}"), || self.child.try_wait().unwrap());
        let took = asked.elapsed();
        for reader in self.readers.drain(..) {
            wait_for(&format!("the end of what {name} writes"), || reader.is_finished().then_some(()));
            reader.join().unwrap();
        }
        Ended { code: status.code(), took, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Most have ended by now, and then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the trial has failed, and this may say why")]
            for line in self.stderr.all() {
                eprintln!("[{} {}] {line}", self.name, self.child.id());
            }
        }
    }
}

/// The lines that a process has written so far, collected by a thread of their own.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn follow(&self, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = line.strip_suffix(b"\n").unwrap_or(&line);
                lines.lock().push(String::from_utf8_lossy(text).into_owned());
                line.clear();
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The first one that contains `text`.
    pub fn first(&self, text: &str) -> Option<String> {
        self.lock().iter().find(|line| line.contains(text)).cloned()
    }

    /// Waits for a line that contains `text`, and gives it.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        wait_for(&format!("a line with {text:?}"), || self.first(text))
    }

    /// Waits until there are at least so many, and gives all there are.
    #[track_caller]
    pub fn wait_for_count(&self, count: usize) -> Vec<String> {
        wait_for(&format!("{count} lines"), || (self.count() >= count).then(|| self.all()))
    }
}
