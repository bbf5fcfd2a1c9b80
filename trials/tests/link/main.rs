//! What the link promises, tried on real processes: bad weather on every edge, processes that are killed, stopped and
//! replaced, and cycles of full queues.
#![expect(clippy::unwrap_used, reason = "a trial fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a thread writes what a feeder reads")]

mod accounts;
mod cycle;
mod killed;
mod rain;
mod replaced;
mod stopped;

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
};

use trials::{Node, program};

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

/// With leases of a second.
fn worker_command(function: &str, input: SocketAddr, outputs: &[SocketAddr]) -> Command {
    let mut command = program("worker");
    command.args(["--function", function, "--output-type", "queue", "--lease", "1"]);
    command.args(["--input-address", &input.to_string()]);
    for output in outputs {
        command.args(["--output-address", &output.to_string()]);
    }
    command
}

fn worker_of(function: &str, input: SocketAddr, outputs: &[SocketAddr]) -> Node {
    Node::start(&mut worker_command(function, input, outputs))
}

fn worker(function: &str, input: SocketAddr, output: SocketAddr) -> Node {
    worker_of(function, input, &[output])
}

fn feeder(queue: SocketAddr, flags: &[&str]) -> Node {
    Node::start(program("feeder").args(["--quiet", "--address", &queue.to_string()]).args(flags))
}

/// A feeder of these lines, which it reads from its stdin.
fn feeder_of_lines_with(queue: SocketAddr, lines: impl Iterator<Item = String>, flags: &[String]) -> Node {
    let mut command = program("feeder");
    command.args(["--quiet", "--address", &queue.to_string(), "--path", "-", "--format", "lines"]).args(flags);
    let mut feeder = Node::start(command.stdin(Stdio::piped()));
    if let Some(mut stdin) = feeder.stdin() {
        let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
        // It may end before it has read all.
        std::thread::spawn(move || drop(stdin.write_all(text.as_bytes())));
    }
    feeder
}

fn feeder_of_lines(queue: SocketAddr, lines: impl Iterator<Item = String>) -> Node {
    feeder_of_lines_with(queue, lines, &[])
}
