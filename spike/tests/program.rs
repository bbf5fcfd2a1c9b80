//! The program as a user meets it: real sockets, commands on stdin, what it prints where, exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what its checks share, too")]
#![expect(clippy::disallowed_methods, reason = "a test plays the world around the program")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, UdpSocket},
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Long enough for any answer that is to come.
const PATIENCE: Duration = Duration::from_secs(10);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut datagram = [0; 100];
    loop {
        match socket.recv_from(&mut datagram) {
            Ok((len, from)) => {
                let bytes = datagram.get(..len).unwrap();
                return (String::from_utf8_lossy(bytes).into_owned(), from);
            }
            // A wait is cut short when the process is stopped and goes on.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "{error}"),
        }
    }
}

/// A spike before a socket that plays the server.
struct Stand {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: String,
    server: UdpSocket,
}

impl Stand {
    fn start(flags: &[&str]) -> Self {
        let server = socket();
        let server_address = server.local_addr().unwrap().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_spike"));
        command.args(["127.0.0.1:0", &server_address]).args(flags);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut stand = Self { child, stderr, address: String::new(), server };
        let announced = stand.line();
        announced.trim_start_matches("listening on ").clone_into(&mut stand.address);
        stand
    }

    /// The next line of stderr.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn say(&mut self, command: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
        self.line()
    }

    fn client(&self) -> UdpSocket {
        let client = socket();
        client.connect(&self.address).unwrap();
        client
    }

    /// Ends it: its exit code, all of stdout, the rest of stderr.
    fn stop(mut self, signal: Signal) -> (Option<i32>, String, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stdout, stderr)
    }
}

impl Drop for Stand {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_datagram_and_its_answer_pass_and_are_printed() {
    let stand = Stand::start(&["pass", "--seed", "7"]);
    let client = stand.client();
    client.send(b"15PUT:7").unwrap();
    let (asked, spike) = receive(&stand.server);
    assert_eq!(asked, "15PUT:7");
    stand.server.send_to(b"bPUT 1 bytes", spike).unwrap();
    assert_eq!(receive(&client).0, "bPUT 1 bytes");
    let (own, server, address) =
        (client.local_addr().unwrap(), stand.server.local_addr().unwrap(), stand.address.clone());
    let (code, stdout, stderr) = stand.stop(Signal::INT);
    let lines = [
        format!("spike: listening on {address}"),
        "spike: RECEIVING".to_owned(),
        format!("spike: from {own}"),
        "PUT:7".to_owned(),
        format!("spike: Sent message to {server} in pass mode"),
        "spike: RECEIVING".to_owned(),
        format!("spike: from {server}"),
        "bPUT 1 bytes".to_owned(),
        format!("spike: Sent message to {own} in pass mode"),
    ];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), lines);
    let statistics = "spike: seed 7; in: received 1 passed 1 sent 1; out: received 1 passed 1 sent 1\n";
    assert_eq!((code, stderr.as_str()), (Some(0), statistics));
}

#[test]
fn as_many_clients_as_there_may_be_get_their_own_answers() {
    let stand = Stand::start(&["pass", "--quiet", "--clients", "60"]);
    let clients: Vec<UdpSocket> = (0..60).map(|_| stand.client()).collect();
    for round in 0..3 {
        for (number, client) in clients.iter().enumerate() {
            client.send(format!("{round} {number}").as_bytes()).unwrap();
        }
        for _ in &clients {
            let (asked, from) = receive(&stand.server);
            stand.server.send_to(asked.as_bytes(), from).unwrap();
        }
        for (number, client) in clients.iter().enumerate() {
            assert_eq!(receive(client).0, format!("{round} {number}"));
        }
    }
    let (_, stdout, stderr) = stand.stop(Signal::TERM);
    assert_eq!(stdout, "");
    assert!(stderr.contains("in: received 180 passed 180 sent 180; out: received 180 passed 180 sent 180"), "{stderr}");
}

#[test]
fn commands_come_from_stdin_and_are_confirmed() {
    let mut stand = Stand::start(&["pass", "--json", "--commands"]);
    let client = stand.client();
    assert_eq!(stand.say("partition"), "spike: partition");
    client.send(b"lost").unwrap();
    // A datagram and a line come different ways: the statistics tell that it has come.
    while !stand.say("stats").contains("received 1 partitioned 1") {}
    assert_eq!(stand.say("heal"), "spike: heal");
    client.send(b"passed").unwrap();
    assert_eq!(receive(&stand.server).0, "passed");
    assert!(stand.say("nonsense").contains("no command: 'nonsense'"));
    drop(stand.child.stdin.take());
    client.send(b"passed, too").unwrap();
    assert_eq!(receive(&stand.server).0, "passed, too");
    let (code, stdout, _) = stand.stop(Signal::INT);
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let count = |name: &str| json.pointer(&format!("/in/{name}")).and_then(serde_json::Value::as_u64);
    assert_eq!((count("received"), count("partitioned"), count("sent")), (Some(3), Some(1), Some(2)));
    assert_eq!(code, Some(0));
}

#[test]
fn a_bad_command_line_is_exit_code_2() {
    for (flags, part) in [
        (&["127.0.0.1:0", "127.0.0.1:9", "explode"][..], "Invalid mode. Valid options: duplicate, drop"),
        (&["127.0.0.1:0", "127.0.0.1:9"], "<MODE>"),
        (&["127.0.0.1:0", "127.0.0.1:0", "pass"], "port 0"),
        (&["127.0.0.1:0", "127.0.0.1:9", "drop", "-p", "101"], "101"),
        (&["0.0.0.0:0", "127.0.0.1:9", "pass"], "--allow"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_spike")).args(flags).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && stderr.contains(part), "{flags:?}: {stderr}");
    }
}
