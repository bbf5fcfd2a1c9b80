//! What the link promises, tried on real processes: bad weather on every edge, and processes that are killed.

use std::{fmt::Write as _, fs, net::SocketAddr};

use rustix::process::Signal;
use trials::{Client, Node, TempFolder, demo_folder, program, wait_until};

const ANY_PORT: &str = "127.0.0.1:0";

fn listening(name: &str, flags: &[&str]) -> Node {
    Node::listening(program(name).args(["--address", ANY_PORT]).args(flags))
}

/// A man in the middle of the way to a node, both ways: a fifth is lost, a tenth doubled, some come out of order.
fn rain(server: SocketAddr, seed: &str) -> Node {
    let mut command = program("spike");
    command.args([ANY_PORT, &server.to_string(), "mix", "--seed", seed, "--quiet"]);
    Node::listening(command.args(["--drop", "20", "--duplicate", "10", "--reorder", "5"]))
}

fn worker(function: &str, input: SocketAddr, output: SocketAddr) -> Node {
    let mut command = program("worker");
    command.args(["--function", function, "--output-type", "queue", "--lease", "1"]);
    command.args(["--input-address", &input.to_string(), "--output-address", &output.to_string()]);
    Node::start(&mut command)
}

fn feeder(queue: SocketAddr, flags: &[&str]) -> Node {
    Node::start(program("feeder").args(["--quiet", "--address", &queue.to_string()]).args(flags))
}

#[test]
fn rain_on_every_edge_changes_no_line() {
    let (sink, queue) = (listening("sink", &[]), listening("mq", &[]));
    let rains = [rain(sink.address(), "1"), rain(queue.address(), "2"), rain(queue.address(), "3")];
    let [to_sink, to_queue, from_queue] = rains.each_ref().map(Node::address);
    let _worker = worker("marketspread", from_queue, to_sink);
    let folder = demo_folder("marketspread");
    for file in ["nbbo.msg", "trades.msg"] {
        let path = folder.join(file);
        let fed = feeder(to_queue, &["--path", path.to_str().unwrap()]).wait();
        assert_eq!(fed.code, Some(0), "{}", fed.log());
    }
    let expected = fs::read_to_string(folder.join("expected.txt")).unwrap();
    let expected: Vec<&str> = expected.lines().collect();
    wait_until("all answers", || sink.stdout.count() >= expected.len());
    let printed = sink.stop(Signal::TERM).stdout;
    assert!(printed == expected, "the printed lines are others, or in another order");
}

#[test]
fn what_is_killed_loses_and_doubles_nothing() {
    const LINES: usize = 20_000;
    let folder = TempFolder::create();
    let mut text = String::new();
    (0..LINES).for_each(|n| writeln!(text, "{n}").unwrap());
    let path = folder.write("lines", text);
    let (first, last) = (listening("mq", &[]), listening("mq", &[]));
    let feed = || feeder(first.address(), &["--format", "lines", "--rate", "20k", "--path", &path]);
    let work = || worker("passthrough", first.address(), last.address());
    let (mut fed, mut worked) = (feed(), work());
    let (asked, drained) = (Client::to(last.address()), Client::to(last.address()));
    // A message whose worker dies five times is taken for the reason: three deaths are bearable.
    for death in 1..=3 {
        wait_until("some messages", || asked.size() >= death * LINES as u64 / 6);
        worked.stop(Signal::KILL);
        worked = work();
        fed.stop(Signal::KILL);
        fed = feed();
    }
    let ended = fed.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    wait_until("all messages", || asked.size() >= LINES as u64);
    assert_eq!(worked.stop(Signal::TERM).code, Some(0));
    assert_eq!((Client::to(first.address()).size(), asked.size()), (0, LINES as u64));
    let mut numbers: Vec<usize> = (0..LINES).map(|_| drained.get().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..LINES), "a line is missing or came twice");
}
