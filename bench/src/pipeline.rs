//! Whole pipelines of processes, and what they cost when nothing happens.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    MESSAGE_BYTES,
    load::{get_all, rate},
    processes::{Failed, Node, cpu_ticks, end, memory_mib, mq, program},
    table::Rate,
};

/// Our feeder sends a file's lines, the plain client takes them: messages a second.
pub(crate) fn feeder_through(messages: u64) -> Result<Rate, Failed> {
    let lines = TempFile::new("lines")?;
    let mut file = io::BufWriter::new(fs::File::create(&lines.0)?);
    for _ in 0..messages {
        writeln!(file, "{}", "x".repeat(MESSAGE_BYTES))?;
    }
    file.flush()?;
    let queue = mq()?;
    let start = Instant::now();
    let mut feeder = feed(&queue, &lines, &["--format", "lines"])?;
    get_all(queue.address, messages)?;
    let rate = rate(messages, start);
    feeder.wait()?;
    Ok(rate)
}

/// The whole of market spread, four processes; the sink writes to a file.
pub(crate) struct MarketSpread {
    feed: TempFile,
    quotes: u64,
    /// The most that each program has held, in MiB.
    memory: [(&'static str, f64); 4],
}

impl MarketSpread {
    const ORDERS_PER_QUOTE: u64 = 10;

    /// Writes the feed: about so many lines.
    #[expect(clippy::print_stderr, reason = "progress: what follows takes a while")]
    pub(crate) fn generate(lines: u64) -> Result<Self, Failed> {
        let feed = TempFile::new("market")?;
        let quotes = lines.div_ceil(Self::ORDERS_PER_QUOTE + 1).max(1);
        eprintln!("writing {} lines for market spread", quotes * (Self::ORDERS_PER_QUOTE + 1));
        let mut generator = program("generate-marketspread")?;
        generator.args(["--mixed-out", &feed.path(), "--orders-per-quote", &Self::ORDERS_PER_QUOTE.to_string()]);
        generator.args(["--nbbo", &quotes.to_string()]).stderr(Stdio::null());
        if !generator.status()?.success() {
            return Err(Failed::Program("generate-marketspread failed".to_owned()));
        }
        Ok(Self { feed, quotes, memory: [("feeder", 0.0), ("mq", 0.0), ("worker", 0.0), ("sink", 0.0)] })
    }

    /// Messages in the feed a second, from the feeder's start to the last answer in the file, none lost.
    pub(crate) fn run(&mut self) -> Result<Rate, Failed> {
        let output = TempFile::new("answers")?;
        let mut sink = program("sink")?;
        sink.args(["--address", "127.0.0.1:0"]).stdout(fs::File::create(&output.0)?);
        let sink = Node::listening(sink)?;
        let queue = mq()?;
        let mut worker = program("worker")?;
        worker.args(["--function", "marketspread", "--output-type", "queue", "--guarantee", "at-least-once"]);
        worker.args(["--input-address", &queue.address.to_string(), "--output-address", &sink.address.to_string()]);
        let mut worker = worker.stderr(Stdio::null()).spawn()?;

        let start = Instant::now();
        let mut feeder = feed(&queue, &self.feed, &["--guarantee", "at-least-once"])?;
        let expected = self.quotes * Self::ORDERS_PER_QUOTE;
        let processes = [feeder.id(), queue.id(), worker.id(), sink.id()];
        let (printed, last) = wait_for_lines(&output, expected, || {
            for ((_, most), process) in self.memory.iter_mut().zip(processes) {
                // The feeder ends before the others do.
                *most = memory_mib(process, "VmHWM").unwrap_or_default().max(*most);
            }
        })?;
        feeder.wait()?;
        end(&mut worker)?;
        sink.stop()?;
        if printed < expected {
            return Err(Failed::Lost { sent: expected, arrived: printed });
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate is read by people")]
        let all = (self.quotes + expected) as f64;
        Ok(all / (last - start).as_secs_f64())
    }

    /// The most memory that each program has held in any run.
    pub(crate) fn memory(&self) -> String {
        let shown: Vec<String> = self.memory.iter().map(|(name, mib)| format!("{name} {mib:.1} MiB")).collect();
        shown.join(", ")
    }
}

/// Follows the file until it has so many lines or has not grown for two seconds: how many, and when the last came. Now and
/// then it calls `look`.
fn wait_for_lines(output: &TempFile, expected: u64, mut look: impl FnMut()) -> Result<(u64, Instant), Failed> {
    use std::io::Read as _;
    let mut file = fs::File::open(&output.0)?;
    let (mut lines, mut last) = (0, Instant::now());
    let mut looked = last;
    let mut bytes = vec![0; 1 << 20];
    while lines < expected && last.elapsed() < Duration::from_secs(2) {
        match file.read(&mut bytes)? {
            0 => thread::sleep(Duration::from_millis(2)),
            len => {
                lines += memchr::memchr_iter(b'\n', bytes.get(..len).unwrap_or_default()).count() as u64;
                last = Instant::now();
            }
        }
        if looked.elapsed() > Duration::from_millis(50) {
            looked = Instant::now();
            look();
        }
    }
    look();
    Ok((lines, last))
}

fn feed(queue: &Node, file: &TempFile, flags: &[&str]) -> Result<Child, Failed> {
    let mut feeder = program("feeder")?;
    feeder.args(["--address", &queue.address.to_string(), "--path", &file.path()]).args(flags);
    Ok(feeder.stderr(Stdio::null()).spawn()?)
}

/// What nodes cost when nothing happens.
pub(crate) struct Idle {
    pub(crate) seconds: u64,
    pub(crate) cpu_percent: f64,
    pub(crate) mq_mib: f64,
    pub(crate) worker_mib: f64,
}

/// A queue and a worker that asks it, left alone.
pub(crate) fn idle() -> Result<Idle, Failed> {
    const SECONDS: u64 = 5;
    let queue = mq()?;
    let address = queue.address.to_string();
    let mut worker = program("worker")?;
    worker.args(["--input-address", &address, "--output-address", &address, "--output-type", "queue"]);
    let mut worker = worker.stderr(Stdio::null()).spawn()?;
    thread::sleep(Duration::from_secs(2)); // until the worker has backed off
    let before = cpu_ticks(queue.id())? + cpu_ticks(worker.id())?;
    thread::sleep(Duration::from_secs(SECONDS));
    let ticks = cpu_ticks(queue.id())? + cpu_ticks(worker.id())? - before;
    let (mq_mib, worker_mib) = (memory_mib(queue.id(), "VmRSS")?, memory_mib(worker.id(), "VmRSS")?);
    end(&mut worker)?;
    #[expect(clippy::cast_precision_loss, reason = "a percentage is read by people")]
    let cpu_percent = ticks as f64 / SECONDS as f64; // a tick is a hundredth of a second
    Ok(Idle { seconds: SECONDS, cpu_percent, mq_mib, worker_mib })
}

/// A file that goes when this goes.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("weir-bench-{}-{name}", std::process::id()));
        fs::File::create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
