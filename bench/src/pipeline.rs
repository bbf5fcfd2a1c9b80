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
    processes::{Failed, Node, end, mq, program},
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

/// The whole of market spread, four processes: orders in the feed a second, none lost. The sink writes to a file.
pub(crate) fn market_spread(messages: u64) -> Result<Rate, Failed> {
    const ORDERS_PER_QUOTE: u64 = 10;
    let (feed_file, output) = (TempFile::new("market")?, TempFile::new("answers")?);
    let quotes = messages / (ORDERS_PER_QUOTE + 1);
    let mut generator = program("generate-marketspread")?;
    generator.args(["--mixed-out", &feed_file.path(), "--orders-per-quote", &ORDERS_PER_QUOTE.to_string()]);
    generator.args(["--nbbo", &quotes.to_string()]).stderr(Stdio::null());
    if !generator.status()?.success() {
        return Err(Failed::Program("generate-marketspread failed".to_owned()));
    }

    let mut sink = program("sink")?;
    sink.args(["--address", "127.0.0.1:0"]).stdout(fs::File::create(&output.0)?);
    let sink = Node::listening(sink)?;
    let queue = mq()?;
    let mut worker = program("worker")?;
    worker.args(["--function", "marketspread", "--output-type", "queue"]);
    worker.args(["--input-address", &queue.address.to_string(), "--output-address", &sink.address.to_string()]);
    let mut worker = worker.stderr(Stdio::null()).spawn()?;

    let start = Instant::now();
    let mut feeder = feed(&queue, &feed_file, &[])?;
    let expected = quotes * ORDERS_PER_QUOTE;
    let (printed, last) = wait_for_lines(&output, expected)?;
    feeder.wait()?;
    end(&mut worker)?;
    sink.stop()?;
    if printed < expected {
        return Err(Failed::Lost { sent: expected, arrived: printed });
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate is read by people")]
    let all = (quotes + expected) as f64;
    Ok(all / (last - start).as_secs_f64())
}

/// Follows the file until it has so many lines or has not grown for two seconds: how many, and when the last came.
fn wait_for_lines(output: &TempFile, expected: u64) -> Result<(u64, Instant), Failed> {
    use std::io::Read as _;
    let mut file = fs::File::open(&output.0)?;
    let (mut lines, mut last) = (0, Instant::now());
    let mut bytes = vec![0; 1 << 20];
    while lines < expected && last.elapsed() < Duration::from_secs(2) {
        match file.read(&mut bytes)? {
            0 => thread::sleep(Duration::from_millis(2)),
            len => {
                lines += bytes.iter().take(len).filter(|byte| **byte == b'\n').count() as u64;
                last = Instant::now();
            }
        }
    }
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
    let (mq_mib, worker_mib) = (resident_mib(queue.id())?, resident_mib(worker.id())?);
    end(&mut worker)?;
    #[expect(clippy::cast_precision_loss, reason = "a percentage is read by people")]
    let cpu_percent = ticks as f64 / SECONDS as f64; // a tick is a hundredth of a second
    Ok(Idle { seconds: SECONDS, cpu_percent, mq_mib, worker_mib })
}

/// User and system time of a process so far, in hundredths of a second.
fn cpu_ticks(process: u32) -> Result<u64, Failed> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let columns: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks = |index: usize| columns.get(index).and_then(|column| column.parse::<u64>().ok()).unwrap_or(0);
    Ok(ticks(11) + ticks(12))
}

#[expect(clippy::cast_precision_loss, reason = "a size is read by people")]
fn resident_mib(process: u32) -> Result<f64, Failed> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    Ok(kib as f64 / 1024.0)
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
