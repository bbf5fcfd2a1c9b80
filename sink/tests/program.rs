//! The program as a user meets it: messages on stdout, log lines and errors on stderr, an orderly end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what its checks share, too")]
#![expect(clippy::disallowed_methods, reason = "a test plays the world around the program")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::UdpSocket,
    process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use metrics::Report;
use protocol::{
    frame,
    link::{Answer, Ask, Enq, Sending, Welcome, push_discovery},
};
use rustix::process::{Pid, Signal, kill_process};

/// A sink at a free port, and a socket that sends to it.
struct Node {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
    /// All that was read of stderr so far.
    told: String,
    sender: UdpSocket,
}

impl Node {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sink"));
        command.args(["--address", "127.0.0.1:0"]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut node = Self { child, stdout, stderr, told: String::new(), sender };
        let announced = node.wait_for_stderr("listening on ");
        node.sender.connect(announced.trim_start_matches("listening on ")).unwrap();
        node
    }

    /// Reads stderr up to the line that has `part`, and gives it.
    fn wait_for_stderr(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "no {part:?} in {}", self.told);
            self.told += &line;
            if line.contains(part) {
                return line.trim_end().to_owned();
            }
        }
    }

    fn send(&self, datagrams: &[&[u8]]) {
        for datagram in datagrams {
            self.sender.send(datagram).unwrap();
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Ends it as an operator does: its exit code, the rest of stdout, all of stderr.
    fn stop(mut self, signal: Signal) -> (Option<i32>, String, String) {
        let asked = Instant::now();
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let mut stdout = String::new();
        self.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut self.told).unwrap();
        let code = self.child.wait().unwrap().code();
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        (code, stdout, std::mem::take(&mut self.told))
    }
}

impl Drop for Node {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn epoch_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

const GOOD: &[u8] = br#"{"msg": "good", "feed_time": 1458195068.5}"#;

#[test]
fn bad_datagrams_are_errors_that_quote_them_and_the_sink_lives() {
    let mut node = Node::start(&[]);
    let future = format!("{{\"msg\": \"early\", \"feed_time\": {}}}", epoch_seconds() + 1_000.0);
    node.send(&[b"not json", br#"{"msg":"x"}"#, b"\xff\xfe", future.as_bytes(), GOOD]);
    assert_eq!([node.line(), node.line(), node.line()], ["x\n", "early\n", "good\n"]);
    let (code, rest, stderr) = node.stop(Signal::INT);
    assert_eq!((code, rest.as_str()), (Some(0), ""));
    for part in [
        "Error encountered when processing: 'not json': not JSON: ",
        "Error encountered when processing: '{\"msg\":\"x\"}': no feed_time",
        "Error encountered when processing: '\u{fffd}\u{fffd}': not UTF-8: ",
        "Error encountered when processing: '{\"msg\": \"early\", \"feed_time\": ",
        " s in the future",
    ] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    assert!(!stderr.contains("good") && !stderr.contains("Shutting down"), "{stderr}");
}

#[test]
fn a_flood_of_bad_datagrams_is_few_lines() {
    let mut node = Node::start(&[]);
    for _ in 0..10 {
        node.send(&[&b"\0"[..]; 100]);
        node.send(&[GOOD]);
        assert_eq!(node.line(), "good\n");
    }
    let (_, _, stderr) = node.stop(Signal::TERM);
    let lines = stderr.matches("Error encountered").count();
    assert!((5..=50).contains(&lines), "{lines}: {stderr}");
}

#[test]
fn messages_are_in_the_log_and_the_last_report_is_sent() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let metrics_address = receiver.local_addr().unwrap().to_string();
    let mut node = Node::start(&["--console-log", "--metrics-address", &metrics_address, "--vuid", "MARKET_SPREAD"]);
    node.send(&[GOOD]);
    assert_eq!(node.line(), "good\n");
    let (code, _, stderr) = node.stop(Signal::INT);
    assert_eq!(code, Some(0));

    let texts: Vec<&str> = stderr.lines().filter_map(|line| line.get(27..)).collect();
    let shut_down = texts.iter().position(|text| *text == "Shutting down").unwrap();
    assert!(texts[..shut_down].contains(&"Starting Sink..."), "{stderr}");
    assert!(texts[..shut_down].contains(&"good"), "{stderr}");
    let last: Vec<&str> = texts[shut_down + 1..].iter().filter_map(|text| text.split(") ").nth(1)).collect();
    let names: Vec<&str> = last.iter().filter_map(|text| text.split(':').next()).collect();
    assert_eq!(names, ["latency_count", "latency_time", "throughput_in", "throughput_out"], "{stderr}");
    assert!(last[0].ends_with("': 1}"), "{stderr}");

    let mut datagram = vec![0; 65_536];
    let len = receiver.recv(&mut datagram).unwrap();
    let report = Report::parse(&datagram[..len]).unwrap();
    let ledger = report.weir.unwrap().ledger;
    assert_eq!((report.vuid.as_str(), report.func.as_str()), ("MARKET_SPREAD", "Sink"));
    assert_eq!((ledger["received"], ledger["printed"]), (1, 1));
}

/// Sends a request, and gives the text that is answered.
fn ask(node: &Node, request: &[u8]) -> Vec<u8> {
    node.sender.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    node.send(&[request]);
    let mut answer = [0; 1_000];
    let len = node.sender.recv(&mut answer).unwrap();
    frame::only(answer.get(..len).unwrap()).unwrap().to_vec()
}

#[test]
fn batches_are_printed_and_confirmed() {
    for (args, printed) in [(&[][..], "good\ngood\ngood\n"), (&["--quiet"], "")] {
        let node = Node::start(args);
        let mut request = Vec::new();
        push_discovery(5, &mut request);
        let (token, welcome) = Welcome::parse(&ask(&node, &request)).unwrap();
        assert_eq!((token, welcome.size, welcome.credit), (5, 0, 100_000));
        request.clear();
        Ask::Open { producer: 1, nonce: 2, from: 0 }.push(6, &mut request);
        let opened = ask(&node, &request);
        let Ok((6, Answer::Opened { epoch, sequence: 0, .. })) = Answer::parse(&opened) else { panic!("{opened:?}") };
        let mut frames = Vec::new();
        frame::push(GOOD, &mut frames).unwrap();
        frame::push(GOOD, &mut frames).unwrap();
        request.clear();
        let sending = Sending { producer: 1, epoch, sequence: 0 };
        Ask::Enq(Enq { sending, count: 2, origin_us: 1, derived: None, frames: &frames }).push(7, &mut request);
        for _ in 0..2 {
            let stored = ask(&node, &request);
            let Ok((7, Answer::Stored { sequence: 2, .. })) = Answer::parse(&stored) else { panic!("{stored:?}") };
        }
        let mut put = Vec::new();
        frame::push(&[b"PUT:", GOOD].concat(), &mut put).unwrap();
        assert_eq!(ask(&node, &put), b"PUT 42 bytes");
        let (code, stdout, _) = node.stop(Signal::TERM);
        assert_eq!((code, stdout.as_str()), (Some(0), printed));
    }
}

#[test]
fn quiet_prints_nothing_and_logs_all_the_same() {
    let mut node = Node::start(&["--quiet", "--console-log"]);
    node.send(&[GOOD]);
    node.wait_for_stderr("good");
    let (code, stdout, _) = node.stop(Signal::TERM);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let mut node = Node::start(&[]);
    node.send(&[GOOD]);
    assert_eq!(node.line(), "good\n");
    drop(node.stdout.take());
    // Again and again: a child of another test may hold the pipe open for a moment, on its way to its own program.
    while node.child.try_wait().unwrap().is_none() {
        let _ = node.sender.send(GOOD);
    }
    assert_eq!(node.child.wait().unwrap().code(), Some(0));
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sink")).args(args).output().unwrap()
}

#[test]
fn command_lines_that_cannot_be() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, code, part) in [
        (&["--nosuch"][..], 2, "--nosuch"),
        (&["--address", "127.0.0.1"], 2, "no port"),
        (&["--address", "127.0.0.1:99999"], 2, "99999"),
        (&["--stats-period", "0"], 2, "shortest period"),
        (&["--address", &taken], 1, "another node is there"),
        (&["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"], 2, "port 0"),
    ] {
        let output = run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for part in ["[default: 127.0.0.1:5000]", "--quiet", "Examples:", "Exit codes:"] {
        assert!(help.contains(part), "{help}");
    }
}
