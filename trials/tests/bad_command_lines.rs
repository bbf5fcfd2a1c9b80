//! What every program does with a command line that cannot be, with what the machine refuses, and at its end.
#![expect(clippy::unwrap_used, reason = "a trial fails by panicking")]

use std::{
    fs,
    io::{Write as _, pipe},
    net::{SocketAddr, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use trials::{Client, Node, PATIENCE, TempFolder, program, run, wait_for};

const PROGRAMS: [&str; 6] = ["mq", "worker", "feeder", "sink", "metrics-receiver", "udp-client"];

/// The programs that listen.
const LISTENERS: [&str; 3] = ["mq", "sink", "metrics-receiver"];

const ANY_PORT: &str = "127.0.0.1:0";

#[track_caller]
fn check(name: &str, args: &[&str], code: i32, says: &str) {
    let ended = run(name, args);
    let log = ended.log();
    assert_eq!(ended.code, Some(code), "{name} {args:?}: {log}");
    assert!(log.contains(says), "{name} {args:?}: {log}");
    assert!(ended.stdout.is_empty(), "{name} {args:?} writes {:?}", ended.stdout);
}

/// Every flag that takes an address; an empty one stands for a bare argument.
const ADDRESS_FLAGS: [(&str, &str); 11] = [
    ("mq", "--address"),
    ("mq", "--metrics-address"),
    ("worker", "--input-address"),
    ("worker", "--output-address"),
    ("worker", "--metrics-address"),
    ("feeder", "--address"),
    ("feeder", "--metrics-address"),
    ("sink", "--address"),
    ("sink", "--metrics-address"),
    ("metrics-receiver", "--address"),
    ("udp-client", ""),
];

#[test]
fn what_is_no_address_is_refused_with_an_example() {
    for (name, flag) in ADDRESS_FLAGS {
        for (address, says) in [
            (":", "write HOST:PORT, such as 127.0.0.1:10000"),
            ("1.2.3.4", "write HOST:PORT, such as 127.0.0.1:10000"),
            ("[::1", "write HOST:PORT, such as 127.0.0.1:10000"),
            ("", "write HOST:PORT, such as 127.0.0.1:10000"),
            ("1.2.3.4:99999", "'99999' is no port: ports go from 0 to 65535"),
            ("1.2.3.4:-1", "'-1' is no port: ports go from 0 to 65535"),
            ("::1:5000", "an IPv6 host stands in brackets: [::1]:10000"),
        ] {
            let args = [flag, address];
            check(name, args.get(usize::from(flag.is_empty())..).unwrap(), 2, says);
        }
    }
}

#[test]
fn a_name_that_nobody_has_fails() {
    // No server need be asked about a name this long.
    let address = format!("{}:10000", "a".repeat(64));
    for (name, flag) in ADDRESS_FLAGS {
        let args = match flag {
            "" => vec![address.as_str(), "SIZE"],
            "--metrics-address" if LISTENERS.contains(&name) => vec!["--address", ANY_PORT, flag, &address],
            _ => vec![flag, &address],
        };
        check(name, &args, 1, &format!("cannot look up '{}'", "a".repeat(64)));
    }
}

#[test]
fn nobody_is_reached_at_port_0() {
    for (name, flag) in ADDRESS_FLAGS.into_iter().filter(|(name, flag)| *flag != "--address" || *name == "feeder") {
        let args = match flag {
            "" => vec!["127.0.0.1:0", "SIZE"],
            "--metrics-address" if LISTENERS.contains(&name) => vec!["--address", ANY_PORT, flag, "127.0.0.1:0"],
            _ => vec![flag, "127.0.0.1:0"],
        };
        check(name, &args, 2, "nobody can be reached at port 0");
    }
}

#[test]
fn bad_flags_are_refused_with_what_would_be_good() {
    for (name, args, says) in [
        ("mq", &["--messages-max", "many"][..], "give a number, with one of these units or none: k, M, G"),
        ("mq", &["--bytes-max", "1XB"], "B, kB, MB, GB, KiB, MiB, GiB"),
        ("mq", &["--bytes-max", "1kB"], "the longest message takes 65566: give that or more"),
        ("mq", &["--stats-period", "0"], "the shortest period is 0.01 seconds"),
        ("mq", &["--stats-period", "soon"], "give a number of seconds, such as 1 or 0.5"),
        ("mq", &["--stats-period", "-1"], "-1"),
        ("mq", &["--log-level", "loud"], "debug, info, warn, error"),
        ("mq", &["surplus"], "unrecognized subcommand 'surplus'"),
        ("mq", &["log"], "verify"),
        ("mq", &["log", "dump", "x", "--count", "0"], "0 is not in 1.."),
        ("mq", &["--salvage"], "--data"),
        ("worker", &["--function", "nosuch"], "Passthrough, Pong, Double, InputDoubler, Fixrouter, Marketspread"),
        ("worker", &["--output-type", "tcp"], "queue, socket"),
        ("worker", &["--route", "left"], "choice, random"),
        ("worker", &["--seed", "x"], "invalid digit"),
        ("worker", &["--delay", "nan"], "give a number of seconds from 0"),
        ("worker", &["--in-flight", "0"], "0 is not in 1..=4096"),
        ("worker", &["--on-error", "shrug"], "continue, stop"),
        ("feeder", &["--rate", "0"], "give how many messages a second"),
        ("feeder", &["--rate", "1", "--delay", "1"], "cannot be used with"),
        ("feeder", &["--window", "-1"], "-1"),
        ("feeder", &["--count", "x"], "k, M, G"),
        ("feeder", &["--format", "xml"], "fix, lines, csv"),
        ("feeder", &["--path", "-", "--path", "-"], "stdin can be read only once"),
        ("feeder", &["--path", "-", "--loop"], "cannot start stdin over"),
        ("sink", &["--stats-period", "inf"], "give a number of seconds from 0"),
        ("metrics-receiver", &["--uri", "nowhere"], "write http://HOST:PORT/PATH, or '' to post nothing"),
        ("metrics-receiver", &["--uri", "ftp://127.0.0.1/"], "http:// only"),
        ("udp-client", &[], "HOST:PORT"),
        ("udp-client", &["127.0.0.1:1", "--timeout", "never", "SIZE"], "give a number of seconds"),
        ("udp-client", &["127.0.0.1:1", "--json", "--raw", "SIZE"], "cannot be used with"),
    ] {
        check(name, args, 2, says);
    }
    for name in PROGRAMS {
        check(name, &["--no-such-flag"], 2, "unexpected argument '--no-such-flag'");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    for (path, says) in [("/no/such/file", "cannot read /no/such/file"), ("/", "cannot read /: it is a directory")] {
        check("feeder", &["--address", "127.0.0.1:1", "--path", path], 1, says);
    }
}

#[test]
fn help_shows_examples_and_version_the_version() {
    for name in PROGRAMS {
        let help = run(name, ["--help"]);
        let text = help.stdout.join("\n");
        assert_eq!(help.code, Some(0), "{name}");
        for part in ["Usage: ", "Examples:\n", "Exit codes: 0 "] {
            assert!(text.contains(part), "{name} does not say {part:?}: {text}");
        }
        let version = run(name, ["--version"]);
        let expected = vec![format!("{name} {}", env!("CARGO_PKG_VERSION"))];
        assert_eq!((version.code, version.stdout), (Some(0), expected));
    }
}

#[test]
fn a_port_that_is_taken_fails_with_what_to_do() {
    #[expect(clippy::disallowed_methods, reason = "the trial takes the port away")]
    let holder = UdpSocket::bind(ANY_PORT).unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    for name in LISTENERS {
        let says = format!("cannot listen on {taken}: ");
        check(name, &["--address", &taken], 1, &says);
        check(name, &["--address", &taken], 1, "end it, or choose another --address");
    }
}

/// The first datagram of a program whose stderr is a datagram socket: what it wrote in its first call to the system.
fn first_write(name: &str, args: &[&str]) -> String {
    let (end, stderr) = UnixDatagram::pair().unwrap();
    end.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = program(name);
    let node = Node::start(command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(OwnedFd::from(stderr)));
    let mut buffer = [0; 1_024];
    let length = end.recv(&mut buffer).unwrap();
    node.stop(Signal::TERM);
    String::from_utf8_lossy(buffer.get(..length).unwrap()).into_owned()
}

/// A script that follows a node's stderr sees a line whole or not at all.
#[test]
fn a_line_on_stderr_is_one_write() {
    for name in LISTENERS {
        let uri = ["--uri", ""].into_iter().filter(|_| name == "metrics-receiver");
        let args: Vec<_> = ["--address", ANY_PORT].into_iter().chain(uri).collect();
        let said = first_write(name, &args);
        let address = said.strip_prefix("listening on ").and_then(|rest| rest.strip_suffix('\n'));
        assert!(address.is_some_and(|address| address.parse::<SocketAddr>().is_ok()), "{name}: {said:?}");
    }
    let said =
        first_write("mq", &["--address", "127.0.0.1:0", "--messages-max", "1", "--metrics-address", "127.0.0.1:0"]);
    assert!(said.starts_with("error: ") && said.ends_with('\n'), "{said:?}");
}

/// Runs until it is told to end.
fn listening(name: &str, address: &str) -> Node {
    let mut command = program(name);
    command.args(["--address", address, "--console-log"]);
    if name == "metrics-receiver" {
        command.args(["--uri", ""]);
    }
    Node::listening(&mut command)
}

/// A worker that takes from one queue and puts into another.
fn worker_between(input: &Node, output: &Node) -> Node {
    let mut command = program("worker");
    command.args(["--input-address", &input.address().to_string(), "--output-address", &output.address().to_string()]);
    Node::start(command.args(["--function", "pong", "--output-type", "queue"]))
}

#[test]
fn nodes_end_within_a_second_when_they_are_told() {
    for signal in [Signal::INT, Signal::TERM] {
        let [input, output, sink, receiver] =
            ["mq", "mq", "sink", "metrics-receiver"].map(|name| listening(name, ANY_PORT));
        let mut command = program("feeder");
        command.args(["--address", &input.address().to_string(), "--path", "-", "--format", "lines"]);
        let mut feeder = Node::start(command.stdin(Stdio::piped()));
        let mut stdin = feeder.stdin().unwrap();
        let worker = worker_between(&input, &output);

        // All are at work.
        stdin.write_all(b"ping\n").unwrap();
        assert_eq!(Client::to(output.address()).get(), "pong");
        for node in [&sink, &receiver] {
            Client::to(node.address()).send(br#"{"msg": 1, "feed_time": 1}"#);
            node.stdout.wait_for_count(1);
        }
        for node in [feeder, worker, input, output, sink, receiver] {
            let ended = node.stop(signal);
            assert_eq!(ended.code, Some(0), "{}", ended.log());
            assert!(ended.took < Duration::from_secs(1), "{:?}: {}", ended.took, ended.log());
        }
    }
}

/// A reader that has gone ends a program that writes, without a word.
#[test]
fn closed_stdout_ends_a_program_quietly() {
    let goodbye = |mut command: Command| {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        Node::listening(command.stdout(writer))
    };
    for (name, datagram) in [
        ("sink", &br#"{"msg": "to nobody", "feed_time": 1458195068.3}"#[..]),
        ("metrics-receiver", br#"{"t0": 1, "t1": 2, "func": "Sink", "VUID": "V", "latency_count": null}"#),
    ] {
        let mut command = program(name);
        command.args(["--address", ANY_PORT]);
        let node = goodbye(command);
        let client = Client::to(node.address());
        client.send(datagram);
        let ended = node.wait();
        assert_eq!((ended.code, ended.stderr.len()), (Some(0), 1), "{name}: {}", ended.log());
    }

    let mq = listening("mq", ANY_PORT);
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let ended = Node::start(program("udp-client").args([&mq.address().to_string(), "SIZE"]).stdout(writer)).wait();
    assert!(ended.code.is_some() && !ended.log().contains("panic"), "{}", ended.log());
}

/// The log file of a program that was started in this folder, once it says this: its name without the unique part, and
/// its lines.
fn log_file(folder: &Path, says: &str) -> (String, Vec<String>) {
    let path = wait_for("a log file", || fs::read_dir(folder.join("logs")).ok()?.next()?.ok()).path();
    let name = path.file_name().unwrap().to_str().unwrap();
    let (base, unique) = name.strip_suffix(".log").unwrap().rsplit_once('.').unwrap();
    assert_eq!(unique.len(), "00000000-0000-0000-0000-000000000000".len(), "{name}");
    let text = wait_for(says, || fs::read_to_string(&path).ok().filter(|text| text.contains(&format!("{says}\n"))));
    let (whole_lines, _) = text.rsplit_once('\n').unwrap();
    (base.to_owned(), whole_lines.lines().map(str::to_owned).collect())
}

/// Whether a line begins as `2016-03-17 06:11:08.309974 ` does.
fn is_stamped(line: &str) -> bool {
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    line.chars().map(shape).collect::<String>().starts_with("0000-00-00 00:00:00.000000 ")
}

#[test]
fn log_files_are_made_where_the_program_was_started() {
    let mq = listening("mq", ANY_PORT);
    let (port, queue) = (mq.address().port(), mq.address().to_string());
    let pong = ["--function", "pong", "--input-address", &queue, "--output-address", "127.0.0.1:9"];
    for (name, args, base, says) in [
        ("mq", &["--address", ANY_PORT][..], "MQ.127.0.0.1-0", "Starting Message Queue..."),
        ("sink", &["--address", ANY_PORT], "sink.127.0.0.1-0", "Starting Sink..."),
        ("worker", &pong, &format!("Pong.{queue}.('127.0.0.1:9',)"), "FUNC_NAME: Pong"),
        ("feeder", &["--address", &queue], &format!("feeder.127.0.0.1.{port}"), "Starting feeder..."),
    ] {
        let folder = TempFolder::create();
        let node = Node::start(program(name).args(args).arg("--file-log").current_dir(folder.path()));
        let (found, lines) = log_file(folder.path(), says);
        assert_eq!(found, base);
        assert!(lines.iter().all(|line| is_stamped(line)), "{lines:?}");
        assert!(node.stderr.first(says).is_none(), "{name} logs to stderr, too");
    }
}

#[test]
fn a_folder_that_takes_no_log_is_named() {
    let folder = TempFolder::create();
    folder.write("logs", "a file where the folder should be");
    for name in ["mq", "worker", "feeder", "sink", "metrics-receiver"] {
        let ended = Node::start(program(name).arg("--file-log").current_dir(folder.path())).wait();
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.log());
        assert!(ended.log().contains("cannot write the log file logs/"), "{name}: {}", ended.log());
    }
}

/// Puts, pongs and gets over this address.
fn play_at(address: &str) {
    let mq = listening("mq", address);
    let output = listening("mq", address);
    let _worker = worker_between(&mq, &output);
    let ask = |node: &Node, request: &str| {
        let ended = run("udp-client", ["--raw", &node.address().to_string(), request]);
        assert_eq!(ended.code, Some(0), "{}", ended.log());
        ended.stdout.join("\n")
    };
    assert_eq!(ask(&mq, "PUT:ping"), "PUT 4 bytes");
    wait_for("the pong", || (ask(&output, "SIZE") == "1").then_some(()));
    assert_eq!(ask(&output, "GET"), "pong");
}

#[test]
fn names_are_addresses() {
    play_at("localhost:0");
}

/// A machine without IPv6 says so.
#[test]
fn ipv6_is_spoken_where_there_is_any() {
    #[expect(clippy::disallowed_methods, reason = "the trial looks whether the machine has it")]
    match UdpSocket::bind("[::1]:0") {
        Ok(_) => play_at("[::1]:0"),
        Err(_) => check("mq", &["--address", "[::1]:0"], 1, "cannot listen on [::1]:0: "),
    }
}

#[test]
fn the_client_says_that_nobody_is_there() {
    let nobody = format!("127.0.0.1:{}", trials::free_port());
    let ended = run("udp-client", [nobody.as_str(), "SIZE"]);
    assert_eq!(ended.code, Some(1), "{}", ended.log());
    assert!(ended.log().contains(&format!("nobody listens at {nobody}: start a queue there")), "{}", ended.log());
    assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
}

#[test]
fn the_client_gives_up_a_silent_queue() {
    let silent = Client::open();
    let address = silent.address().to_string();
    let ended = run("udp-client", [address.as_str(), "--timeout", "0.2", "SIZE"]);
    assert_eq!(ended.code, Some(1), "{}", ended.log());
    assert!(ended.took < Duration::from_secs(3), "{:?}", ended.took);
}

#[test]
fn the_client_takes_its_requests_from_stdin() {
    let mq = listening("mq", ANY_PORT);
    let mut command = program("udp-client");
    command.args(["--raw", &mq.address().to_string()]).stdin(Stdio::piped());
    let mut client = Node::start(&mut command);
    client.stdin().unwrap().write_all(b"PUT:one\nPUT:two words\n\nSIZE\nGET\n").unwrap();
    let ended = client.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    assert_eq!(ended.stdout, ["PUT 3 bytes", "PUT 9 bytes", "2", "one"]);
}
