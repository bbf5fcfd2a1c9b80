//! Queues that are killed while messages pass: from a feeder through two queues and two workers to a sink.
//!
//! Six kills for each level; `WEIR_QUEUE_KILLS` says how many in a long form.

use std::{fmt::Write as _, net::SocketAddr, path::PathBuf, process::Command};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rustix::process::Signal;
use trials::{Client, Node, TempFolder, program, wait_until};

const LINES_A_KILL: u64 = 400;

fn kills() -> u64 {
    std::env::var_os("WEIR_QUEUE_KILLS").map_or(6, |count| count.to_str().unwrap().parse().unwrap())
}

/// A queue that comes back where it was.
struct Queue {
    data: PathBuf,
    level: &'static str,
    address: SocketAddr,
    node: Node,
}

impl Queue {
    fn start(data: PathBuf, level: &'static str) -> Self {
        let node = Node::listening(&mut Self::command(&data, level, "127.0.0.1:0"));
        Self { data, level, address: node.address(), node }
    }

    fn command(data: &PathBuf, level: &str, address: &str) -> Command {
        let mut command = program("mq");
        command.args(["--address", address, "--durability", level, "--data"]).arg(data);
        command.args(["--segment-bytes", "256KiB", "--keep-bytes", "512KiB"]);
        command
    }

    fn kill(self) -> Self {
        let Self { data, level, address, node } = self;
        node.stop(Signal::KILL);
        let node = Node::listening(&mut Self::command(&data, level, &address.to_string()));
        Self { data, level, address, node }
    }

    fn asked(&self) -> Client {
        Client::to(self.address)
    }
}

fn worker(input: SocketAddr, output: SocketAddr) -> Node {
    let mut command = program("worker");
    command.args(["--function", "passthrough", "--output-type", "queue", "--lease", "1"]);
    command.args(["--input-address", &input.to_string(), "--output-address", &output.to_string()]);
    Node::start(&mut command)
}

#[track_caller]
fn each_line_once_while_queues_are_killed(level: &'static str, seed: u64) {
    let lines = LINES_A_KILL * (kills() + 1);
    let folder = TempFolder::create();
    let mut text = String::new();
    (0..lines).for_each(|n| writeln!(text, "{{\"msg\": {n}, \"feed_time\": 1}}").unwrap());
    let path = folder.write("lines", text);
    let sink = Node::listening(program("sink").args(["--address", "127.0.0.1:0"]));
    let mut queues = ["first", "second"].map(|name| Some(Queue::start(folder.path().join(name), level)));
    let [first, second] = queues.each_ref().map(|queue| queue.as_ref().unwrap().address);
    let workers = [worker(first, second), worker(second, sink.address())];
    let mut feeder = program("feeder");
    feeder.args(["--quiet", "--format", "lines", "--rate", "2k", "--path", &path, "--address", &first.to_string()]);
    let feeder = Node::start(&mut feeder);
    let mut rng = SmallRng::seed_from_u64(seed);
    for kill in 0..kills() {
        let progress = LINES_A_KILL * kill + rng.random_range(1..LINES_A_KILL);
        wait_until("progress", || sink.stdout.count() as u64 >= progress);
        let queue = queues.get_mut(rng.random_range(0..2)).unwrap();
        *queue = queue.take().map(Queue::kill);
    }
    let fed = feeder.wait();
    assert_eq!(fed.code, Some(0), "{}", fed.log());
    wait_until("all lines", || sink.stdout.count() as u64 >= lines);
    for queue in queues.iter().flatten() {
        wait_until("the last finishes", || queue.asked().stat().sum(&["ready", "leased"]) == 0);
    }
    for worker in workers {
        assert_eq!(worker.stop(Signal::TERM).code, Some(0));
    }
    for queue in queues.into_iter().flatten() {
        // Once more, so that the ledger is what the log has.
        let queue = queue.kill();
        let ledger = queue.asked().stat();
        ledger.assert_balanced();
        let counts = ["accepted", "done", "dead", "discarded", "popped"].map(|name| ledger.count(name));
        assert_eq!(counts, [lines, lines, 0, 0, 0], "{ledger:?}");
        assert_eq!(queue.node.stop(Signal::TERM).code, Some(0));
        let verified = trials::run("mq", ["log", "verify", queue.data.to_str().unwrap()]);
        assert_eq!(verified.code, Some(0), "{}", verified.log());
    }
    let counts = Client::to(sink.address()).stat();
    assert_eq!((counts.count("printed"), counts.count("received")), (lines, lines));
    let mut printed: Vec<u64> = sink.stop(Signal::TERM).stdout.iter().map(|line| line.parse().unwrap()).collect();
    printed.sort_unstable();
    assert!(printed.into_iter().eq(0..lines), "a line is missing or came twice");
    tell(level, lines);
}

#[expect(clippy::print_stderr, reason = "how much was tried is to be seen")]
fn tell(level: &str, lines: u64) {
    eprintln!("level {level}: {} kills, {lines} lines, each printed once", kills());
}

#[test]
fn each_line_once_at_the_level_of_the_disk() {
    each_line_once_while_queues_are_killed("disk", 1);
}

#[test]
fn each_line_once_at_the_level_of_the_system() {
    each_line_once_while_queues_are_killed("os", 2);
}
