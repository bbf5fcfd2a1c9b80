//! The program as a user meets it: words, stdin, what it tells where, exit codes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what its checks share, too"
)]
#![expect(clippy::disallowed_methods, reason = "a test plays the world around the program")]

use std::{
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Output, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use protocol::frame;
use rustix::process::{Pid, Signal, kill_process};

/// A peer that plays a queue: for each request that it must get, what it answers.
struct Peer {
    address: String,
    play: Option<JoinHandle<()>>,
}

type Script = &'static [(&'static str, &'static [&'static str])];

impl Peer {
    fn at(address: &str, script: Script) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        Self { address, play: Some(std::thread::spawn(move || play(&socket, script))) }
    }

    fn new(script: Script) -> Self {
        Self::at("127.0.0.1:0", script)
    }

    /// It got all that it must get.
    fn check(mut self) {
        self.play.take().unwrap().join().unwrap();
    }
}

fn play(socket: &UdpSocket, script: Script) {
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut datagram = vec![0; 65_536];
    for (request, answers) in script {
        let (len, from) = receive(socket, &mut datagram);
        assert_eq!(frame::only(&datagram[..len]), Ok(request.as_bytes()));
        for answer in *answers {
            socket.send_to(&framed(answer), from).unwrap();
        }
    }
}

/// A wait with a bound is cut short when the process is stopped and goes on: it is begun anew.
fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(datagram) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received.unwrap(),
        }
    }
}

/// The text as a frame; as it is where a `!` leads.
fn framed(answer: &str) -> Vec<u8> {
    let mut datagram = Vec::new();
    match answer.strip_prefix('!') {
        Some(bare) => datagram.extend_from_slice(bare.as_bytes()),
        None => frame::push(answer.as_bytes(), &mut datagram).unwrap(),
    }
    datagram
}

fn client(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_udp-client"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = client(args).stdin(Stdio::piped()).spawn().unwrap();
    // Whoever reads no stdin may have gone.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// A client of the peer: what it prints, its exit code, and a part of what it says on stderr (nothing, if empty).
fn check(script: Script, args: &[&str], stdin: &[u8], (stdout, code, stderr_part): (&str, i32, &str)) {
    let peer = Peer::new(script);
    let args: Vec<&str> = args.iter().map(|arg| if *arg == "PEER" { &peer.address } else { *arg }).collect();
    let output = run(&args, stdin);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), stdout, "{args:?}: {stderr}");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(stderr_part) && stderr.is_empty() == stderr_part.is_empty(), "{args:?}: {stderr}");
    peer.check();
}

/// A socket at whose address nobody listens, as long as it lives: it hears from one peer only, which is none.
fn nobody() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect("127.0.0.1:9").unwrap();
    socket
}

#[test]
fn output_is_that_of_2016() {
    let told = |sent, received| format!("Data sent: {sent}\nData received: {received}\nSocket closed.\n");
    let exact = |script, args, told: String| check(script, args, b"", (&told, 0, ""));
    exact(&[("PUT:ping", &["PUT 4 bytes"])], &["PEER", "PUT:ping"], told("'PUT:ping'", "'PUT 4 bytes'"));
    exact(&[("GET", &[""])], &["PEER", "GET"], told("'GET'", "''"));
    exact(
        &[("PUT:hello world", &["PUT 11 bytes"])],
        &["PEER", "PUT:hello", "world"],
        told("'PUT:hello world'", "'PUT 11 bytes'"),
    );
    exact(
        &[("PUT:it's\n\t ", &["PUT 7 bytes"])],
        &["PEER", "PUT:it's\n\t "],
        told("\"PUT:it's\\n\\t \"", "'PUT 7 bytes'"),
    );
    exact(&[("", &["nothing"])], &["PEER", ""], told("''", "'nothing'"));
    exact(&[("-x", &["?"])], &["PEER", "--", "-x"], told("'-x'", "'?'"));
}

#[test]
fn a_full_queue_fails() {
    let told = "Data sent: 'PUT:a'\nData received: 'FULL'\nSocket closed.\n";
    check(
        &[("PUT:a", &["FULL"])],
        &["PEER", "PUT:a"],
        b"",
        (told, 1, "error: requests: 1, refused by a full queue: 1"),
    );
}

#[test]
fn each_line_of_stdin_is_a_request() {
    let script: Script = &[("PUT:a b", &["PUT 3 bytes"]), ("SIZE", &["1"]), ("GET", &["a b"])];
    let stdin = b"PUT:a b\nSIZE\r\n\nGET";
    let told = "Data sent: 'PUT:a b'\nData received: 'PUT 3 bytes'\nData sent: 'SIZE'\nData received: '1'\nData sent: \
                'GET'\nData received: 'a b'\nSocket closed.\n";
    check(script, &["PEER"], stdin, (told, 0, ""));
    check(script, &["PEER", "-", "--raw"], stdin, ("PUT 3 bytes\n1\na b\n", 0, ""));
    check(&[], &["PEER", "-"], b"", ("Socket closed.\n", 0, ""));
}

#[test]
fn after_a_timeout_the_next_request_follows() {
    let told = "Data sent: 'NOSUCH'\nData sent: 'SIZE'\nData received: '0'\nSocket closed.\n";
    let args = ["--timeout=0.05", "PEER", "-"];
    check(
        &[("NOSUCH", &[]), ("SIZE", &["0"])],
        &args,
        b"NOSUCH\nSIZE\n",
        (told, 1, "No answer within 0.05 s from 127.0.0.1:"),
    );
    check(
        &[("GET", &[])],
        &["--timeout=0.05", "PEER", "GET", "--json"],
        b"",
        ("{\"sent\":\"GET\",\"error\":\"timeout\"}\n", 1, "requests: 1, not answered: 1"),
    );
    // The late answer comes with the next one's.
    check(
        &[("PUT:abc", &[]), ("SIZE", &["PUT 3 bytes", "1"])],
        &["--timeout=0.05", "--raw", "PEER"],
        b"PUT:abc\nSIZE\n",
        ("1\n", 1, "Answer to an earlier request, late or doubled: 'PUT 3 bytes'"),
    );
}

#[test]
fn what_is_no_frame_is_said_and_the_answer_awaited() {
    check(
        &[("GET", &["!spike: got it", "!", "ping"])],
        &["PEER", "GET", "--raw"],
        b"",
        ("ping\n", 0, "Bad answer 'spike: got it': "),
    );
}

#[test]
fn a_strangers_answer_is_not_taken() {
    let queue = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let child = client(&["--raw", &queue.local_addr().unwrap().to_string(), "GET"]).spawn().unwrap();
    let (_, from) = queue.recv_from(&mut [0; 64]).unwrap();
    stranger.send_to(b"15wrong", from).unwrap();
    queue.send_to(b"15right", from).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"right\n");
}

#[test]
fn where_nobody_listens_it_is_refused() {
    let nobody = nobody();
    let address = nobody.local_addr().unwrap().to_string();
    for stdin in [&b""[..], b"GET\nGET\n"] {
        let request = if stdin.is_empty() { "GET" } else { "-" };
        let output = run(&[&address, request], stdin);
        let told = "Data sent: 'GET'\nError received: [Errno 111] Connection refused\nSocket closed.\n";
        assert_eq!(String::from_utf8(output.stdout).unwrap(), told);
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            stderr,
            format!(
                "error: nobody listens at {address}: start a queue there (mq --address {address}), or give another address\n"
            )
        );
    }
}

#[test]
fn names_and_ipv6_are_addresses() {
    let v6 = Peer::at("[::1]:0", &[("SIZE", &["7"])]);
    assert_eq!(run(&["--raw", &v6.address, "SIZE"], b"").stdout, b"7\n");
    v6.check();
    let v4 = Peer::new(&[("SIZE", &["7"])]);
    let named = v4.address.replace("127.0.0.1", "localhost");
    assert_eq!(run(&["--raw", &named, "SIZE"], b"").stdout, b"7\n");
    v4.check();
}

#[test]
fn an_answer_comes_before_the_next_line_is_typed() {
    let peer = Peer::new(&[("SIZE", &["1"]), ("GET", &["a"])]);
    let mut child = client(&["--raw", &peer.address]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for (typed, told) in [("SIZE\nGE", "1\n"), ("T\n", "a\n")] {
        stdin.write_all(typed.as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, told);
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    peer.check();
}

#[test]
fn a_request_that_fits_in_no_datagram() {
    let too_long = "x".repeat(65_503);
    let output = run(&["127.0.0.1:1", &too_long], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("65503 bytes does not fit"));
    check(
        &[("GET", &["a"])],
        &["--raw", "PEER"],
        format!("{too_long}\nGET\n").as_bytes(),
        ("a\n", 1, "requests: 2, too long: 1"),
    );
}

fn interrupt(mut child: Child) -> (Option<i32>, String, String) {
    let asked = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.unwrap().read_to_string(&mut stderr).unwrap();
    (code, stdout, stderr)
}

#[test]
fn an_operator_can_end_it() {
    let queue = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = queue.local_addr().unwrap().to_string();
    let child = client(&[&address, "GET"]).spawn().unwrap();
    queue.recv_from(&mut [0; 64]).unwrap();
    assert_eq!(interrupt(child), (Some(1), "Data sent: 'GET'\nSocket closed.\n".to_owned(), String::new()));
}

#[test]
fn command_lines_and_worlds_that_cannot_be() {
    for (args, code, part) in [
        (&[][..], 2, "Usage: udp-client"),
        (&["127.0.0.1", "GET"], 2, "no port"),
        (&["127.0.0.1:0", "GET"], 2, "port 0"),
        (&["127.0.0.1:1", "GET", "--nosuch"], 2, "--nosuch"),
        (&["127.0.0.1:1", "GET", "--timeout", "0"], 2, "shortest"),
        (&["127.0.0.1:1", "GET", "--timeout", "soon"], 2, "number of seconds"),
        (&["127.0.0.1:1", "GET", "--raw", "--json"], 2, "cannot be used with"),
        (&["no-such-host.invalid:1", "GET"], 1, "cannot look up 'no-such-host.invalid'"),
    ] {
        let output = run(args, b"");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(part) && output.stdout.is_empty(), "{args:?}: {stderr}");
    }
    let directory = client(&["127.0.0.1:1"]).stdin(File::open("/").unwrap()).output().unwrap();
    assert_eq!(directory.status.code(), Some(1));
    assert!(String::from_utf8(directory.stderr).unwrap().contains("cannot read stdin: Is a directory"));
}

#[test]
fn help_teaches() {
    let help = String::from_utf8(run(&["--help"], b"").stdout).unwrap();
    for part in ["Examples:", "PUT:hello world", "[default: 5]", "Exit codes:"] {
        assert!(help.contains(part), "{part} in {help}");
    }
}
