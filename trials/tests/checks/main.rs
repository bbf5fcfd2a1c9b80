//! What the programs of 2016 promised, tried on ours with real processes: one test a promise. The numbers in the comments
//! are those of the list of acceptance checks; 26 to 28 are the hub's.
#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a trial fails by panicking")]

mod client;
mod ends;
mod feeder;
mod market;
mod queue;
mod receiver;
mod sink;
mod worker;

use std::net::SocketAddr;

use trials::{Node, program};

const ANY_PORT: &str = "127.0.0.1:0";

/// A queue of its own.
fn start_mq(flags: &[String]) -> Node {
    Node::listening(program("mq").args(["--address", ANY_PORT, "--console-log"]).args(flags))
}

/// A sink of its own, which prints on its stdout.
fn start_sink(flags: &[String]) -> Node {
    Node::listening(program("sink").args(["--address", ANY_PORT]).args(flags))
}

/// What a worker's outputs are.
#[derive(Debug, Clone, Copy)]
enum To<'a> {
    Queues(&'a [SocketAddr]),
    Sockets(&'a [SocketAddr]),
}

/// A worker on this queue.
fn start_worker(function: &str, input: SocketAddr, to: To<'_>, flags: &[String]) -> Node {
    let (kind, outputs) = match to {
        To::Queues(outputs) => ("queue", outputs),
        To::Sockets(outputs) => ("socket", outputs),
    };
    let mut command = program("worker");
    command.args(["--console-log", "--function", function, "--output-type", kind]);
    command.args(["--input-address", &input.to_string()]);
    for output in outputs {
        command.args(["--output-address", &output.to_string()]);
    }
    Node::start(command.args(flags))
}
