//! The worker and its functions.

use std::{num::NonZeroUsize, time::Duration};

use functions::Choice;
use metrics::Report;
use rustix::process::Signal;
use trials::{Client, Node, ReportSocket, free_port, program, run, timed, wait_for};

use super::{To, start_mq, start_worker};

fn seconds_out(reports: &[Report]) -> Vec<u64> {
    reports.iter().filter_map(|report| report.throughput_out.as_ref()).flat_map(|out| out.keys().copied()).collect()
}

/// 07
#[test]
fn ping_and_pong_go_round_for_ever() {
    let reports = ReportSocket::open();
    let mq = start_mq(&[]);
    let _worker = start_worker("pong", mq.address(), To::Queues(&[mq.address()]), &reports.flags("PONG", "1"));
    let client = Client::to(mq.address());
    client.put("ping");
    let first = wait_for("a first second", || seconds_out(&reports.of("PONG")).first().copied());
    let counted = wait_for("three full seconds", || {
        let size = client.size();
        assert!(size <= 1, "{size} messages where one was put");
        Some(seconds_out(&reports.of("PONG"))).filter(|seconds| seconds.last() >= Some(&(first + 4)))
    });
    for second in first..=first + 4 {
        assert!(counted.contains(&second), "nothing went round in second {second} of {counted:?}");
    }
}

/// 08
#[test]
fn a_worker_may_start_three_seconds_before_its_queue() {
    let reports = ReportSocket::open();
    let address = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let output = start_mq(&[]);
    let _worker = start_worker("pong", address, To::Queues(&[output.address()]), &reports.flags("EARLY", "1"));
    reports.wait_for("EARLY", 3);
    let input = Node::listening(program("mq").args(["--address", &address.to_string()]));
    Client::to(input.address()).put("ping");
    let (message, took) = timed(|| Client::to(output.address()).get());
    assert!(message == "pong" && took < Duration::from_secs(1), "{message} after {took:?}");
}

/// 09
#[test]
fn an_unknown_input_is_named_and_the_worker_lives() {
    let (input, output) = (start_mq(&[]), start_mq(&[]));
    let mut worker = start_worker("pong", input.address(), To::Queues(&[output.address()]), &[]);
    let (put, got) = (Client::to(input.address()), Client::to(output.address()));
    put.put("hello");
    put.put("ping");
    assert_eq!(got.get(), "pong");
    worker.stderr.wait_for("Unknown input: 'hello'");
    assert!(worker.is_running());
}

/// 10
#[test]
fn defaults_are_used_and_functions_are_found_in_any_case() {
    let input = start_mq(&[]);
    let mut command = program("worker");
    command.args(["--console-log", "--function", "PONG", "--output-type", "queue"]);
    command.args(["--input-address", &input.address().to_string()]);
    let worker = Node::start(&mut command);
    worker.stderr.wait_for("FUNC_NAME: Pong");
    worker.stderr.wait_for("output_addr: ('127.0.0.1:10000',)");

    let ended = run("worker", ["--function", "nosuch"]);
    assert_eq!(ended.code, Some(2));
    for name in functions::names() {
        assert!(ended.log().contains(name), "{name} is not named: {}", ended.log());
    }
}

const DOUBLED: [(&str, Option<&str>); 6] = [
    ("0", Some("0")),
    ("5", Some("10")),
    ("-4", Some("-8")),
    ("999999999999999999999999999999", Some("1999999999999999999999999999998")),
    ("abc", None),
    ("1", Some("2")),
];

fn check_double(worker: &mut Node, input: &Node, mut next: impl FnMut() -> String) {
    let put = Client::to(input.address());
    for (message, _) in DOUBLED {
        put.put(message);
    }
    for expected in DOUBLED.iter().filter_map(|(_, doubled)| *doubled) {
        assert_eq!(next(), expected);
    }
    worker.stderr.wait_for("Not an integer: 'abc'");
    let errors = worker.stderr.all().iter().filter(|line| line.contains("Error encountered")).count();
    assert_eq!((errors, worker.is_running()), (1, true));
}

/// 11
#[test]
fn double_doubles_into_queues() {
    let (input, output) = (start_mq(&[]), start_mq(&[]));
    let mut worker = start_worker("double", input.address(), To::Queues(&[output.address()]), &[]);
    let got = Client::to(output.address());
    check_double(&mut worker, &input, || got.get());
}

/// 11
#[test]
fn double_doubles_into_sockets() {
    let (input, output) = (start_mq(&[]), Client::open());
    let mut worker = start_worker("double", input.address(), To::Sockets(&[output.address()]), &[]);
    check_double(&mut worker, &input, || String::from_utf8(output.receive()).unwrap());
}

/// Puts each message, and gives what each of so many output queues then holds.
fn routed(function: &str, messages: &[String], outputs: usize, expected: u64) -> Vec<Vec<String>> {
    let input = start_mq(&[]);
    let queues: Vec<Node> = (0..outputs).map(|_| start_mq(&[])).collect();
    let addresses: Vec<_> = queues.iter().map(Node::address).collect();
    let _worker = start_worker(function, input.address(), To::Queues(&addresses), &[]);
    let put = Client::to(input.address());
    for message in messages {
        put.put(message);
    }
    let clients: Vec<Client> = addresses.into_iter().map(Client::to).collect();
    wait_for("all messages", || (clients.iter().map(Client::size).sum::<u64>() == expected).then_some(()));
    let drain = |client: &Client| (0..client.size()).map(|_| client.get()).collect();
    clients.iter().map(drain).collect()
}

/// 12
#[test]
fn inputdoubler_copies_to_two_outputs() {
    assert_eq!(routed("inputdoubler", &["x".into()], 2, 2), [["x"], ["x"]]);
    assert_eq!(routed("inputdoubler", &["x".into()], 1, 2), [["x", "x"]]);
    assert_eq!(routed("inputdoubler", &["x".into()], 3, 2), [vec!["x"], vec!["x"], vec![]]);
}

/// 13. Each symbol, and its output where there are two, three, four and five.
#[test]
fn fixrouter_routes_by_the_digest_of_the_symbol() {
    const SYMBOLS: [(&str, [usize; 4]); 9] = [
        ("TSLA", [1, 2, 3, 3]),
        ("BTU", [1, 0, 1, 2]),
        ("LNG", [0, 0, 2, 2]),
        ("VLO", [0, 1, 2, 0]),
        ("WETF", [1, 1, 3, 3]),
        ("TWO", [1, 1, 3, 3]),
        ("MON", [0, 2, 0, 1]),
        ("AAPL", [0, 2, 2, 0]),
        ("", [0, 0, 2, 1]),
    ];
    let message = |symbol: &str| format!("\"8=FIX.4.2\x0135=D\x0155={symbol}\x0110=098\x01\"");
    let messages: Vec<String> = SYMBOLS.iter().map(|(symbol, _)| message(symbol)).collect();
    for outputs in 2..=5 {
        let mut expected = vec![Vec::new(); outputs];
        for (symbol, indexes) in SYMBOLS {
            expected[indexes[outputs - 2]].push(message(symbol));
        }
        assert_eq!(routed("fixrouter", &messages, outputs, SYMBOLS.len() as u64), expected, "{outputs} outputs");
    }
}

/// 14
#[test]
fn a_choice_is_taken_modulo_the_outputs() {
    let three = NonZeroUsize::new(3).unwrap();
    assert_eq!(Choice::from(10_i64).index(three), 1);
    assert_eq!(Choice::from(-1_i64).index(three), 2);
    assert_eq!(Choice::from(1_u128 << 64).index(three), 1);
}

/// 23
#[test]
fn an_idle_worker_counts_nothing() {
    let reports = ReportSocket::open();
    let input = start_mq(&[]);
    let worker =
        start_worker("passthrough", input.address(), To::Queues(&[input.address()]), &reports.flags("IDLE", "0.2"));
    reports.wait_for("IDLE", 3);
    assert_eq!(worker.stop(Signal::TERM).code, Some(0));
    for report in reports.of("IDLE") {
        assert_eq!((report.throughput_in, report.throughput_out, report.latency_count), (None, None, None));
    }
}
