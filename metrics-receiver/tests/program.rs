//! The program itself: datagrams in over UDP, text on stdout, JSON to a hub, and an end within a second.
#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const SAMPLE: &str = r#"{"t0": 1458195068.309974, "t1": 1458195070.3131151, "func": "Marketspread", "VUID": "NTg2ODIx",
 "latency_time": {"0.000100000 s": 0.13107776641845703, "0.001000000 s": 0.033399105072021484},
 "latency_count": {"0.000100000 s": 2449, "0.001000000 s": 227},
 "throughput_in": {"1458195069": 1507, "1458195070": 1169},
 "throughput_out": {"1458195069": 1507, "1458195070": 1169}}"#;

const TEXT: &str = "\n    Vertex: NTg2ODIx\n    Function: Marketspread\n    Measurement Period: (2016-03-17 06:11:08.309974, 2016-03-17 06:11:10.313115]\n    Throughput:\n        TIME           IN        OUT\n        06:11:09       1507      1507      \n        06:11:10       1169      1169      \n    Latency:\n        BIN (max)           MEAN            PCT    COUNT    SUM            \n        0.000100000 s       0.000053523     91.52  2449     0.131077766    \n        0.001000000 s       0.000147133      8.48  227      0.033399105    \n\n    \n";

const BODY: &str = r#"{"pipeline_key": "NTg2ODIx", "t1": 1458195070.3131151, "t0": 1458195068.309974, "topics": {"latency_bins": {"0.0001": 2449, "0.001": 227}, "throughput_out": {"1458195069": 1507, "1458195070": 1169}}}"#;

struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    socket: UdpSocket,
}

impl Program {
    #[expect(clippy::disallowed_methods, reason = "the test is the node that reports")]
    fn start(uri: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_metrics-receiver"))
            .args(["--address", "127.0.0.1:0", "--console-log", "--uri", uri])
            .env("TZ", "UTC")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let line = line_with("listening on ", &mut stderr);
        let address: SocketAddr = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        Self { child, stdout, stderr, socket }
    }

    fn send(&self, datagram: &str) {
        self.socket.send(datagram.as_bytes()).unwrap();
    }

    /// So many bytes of stdout as `expected` has.
    fn printed(&mut self, expected: &str) -> String {
        let mut bytes = vec![0; expected.len()];
        self.stdout.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Interrupts it, and gives the rest of its log.
    #[expect(clippy::disallowed_methods, reason = "the end is to come within a second")]
    fn stop(mut self) -> String {
        let asked = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{log}");
        assert!(asked.elapsed() < Duration::from_secs(1), "{log}");
        log
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line_with(text: &str, stderr: &mut BufReader<ChildStderr>) -> String {
    loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "it ends without saying {text:?}");
        if line.contains(text) {
            return line;
        }
    }
}

#[test]
fn a_report_is_printed_and_posted_and_a_bad_datagram_does_no_harm() {
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = Program::start(&format!("http://{}/post", hub.local_addr().unwrap()));
    program.send("14SIZE");
    program.send(SAMPLE);
    let expected = format!("14SIZE\n{TEXT}");
    assert_eq!(program.printed(&expected), expected);
    let (mut stream, _) = hub.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"}}}") {
        let mut part = [0; 1_024];
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "the request ends early");
        request.extend(&part[..length]);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    let request = String::from_utf8(request).unwrap();
    assert_eq!(request.split_once("\r\n\r\n").unwrap().1, BODY);
    let log = program.stop();
    assert!(log.contains("Bad datagram from 127.0.0.1:") && log.contains("not a JSON object (0 more"), "{log}");
    assert!(log.contains("Datagrams: 0 reports, 1 reports of 2016, 1 not an object, 0 not JSON"), "{log}");
}

#[test]
fn a_dead_hub_costs_one_line() {
    let uri = format!("http://{}/post", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let mut program = Program::start(&uri);
    for _ in 0..3 {
        program.send(SAMPLE);
        assert_eq!(program.printed(TEXT), TEXT);
    }
    let first = line_with("Cannot post to ", &mut program.stderr);
    assert!(first.contains("refused") && first.contains(&uri), "{first}");
    let log = program.stop();
    assert!(!log.contains("Cannot post"), "{log}");
    assert!(log.contains("Hub: 0 reports taken, "), "{log}");
}

#[test]
fn a_hub_that_hangs_delays_neither_reports_nor_the_end() {
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = Program::start(&format!("http://{}/post", hub.local_addr().unwrap()));
    for _ in 0..10 {
        program.send(SAMPLE);
        assert_eq!(program.printed(TEXT), TEXT);
    }
    let log = program.stop();
    assert!(log.contains("Hub: 0 reports taken, "), "{log}");
}

#[test]
fn without_a_hub_reports_are_printed() {
    let mut program = Program::start("");
    program.send(SAMPLE);
    assert_eq!(program.printed(TEXT), TEXT);
    assert!(!program.stop().contains("Hub"));
}
