//! The worker's flags.

use link::Guarantee;
use runtime::{
    Address,
    flags::{Bytes, Logging, Period, Reporting, Seconds},
};

/// Takes messages from a queue, applies a function, and sends each output where it belongs.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Take messages from this queue (several times: from all of them)
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10000")]
    pub(crate) input_address: Vec<Address>,
    /// Send outputs here (several times: output 0, 1, 2, ... in this order)
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10000")]
    pub(crate) output_address: Vec<Address>,
    /// Send outputs as PUTs to queues, or as bare datagrams to sockets such as a sink [default: socket]
    #[arg(long, value_name = "KIND")]
    pub(crate) output_type: Option<OutputType>,
    /// The function to apply, in any case; an unknown one lists those there are
    #[arg(long, value_name = "NAME", default_value = "passthrough")]
    pub(crate) function: String,
    /// Let a function that keeps state remember so much (64MiB, 2GB), each thing with 64 bytes of overhead; it refuses what it
    /// would have to remember beyond that, as `state_full`
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    pub(crate) state_bytes_max: Bytes,
    /// Let the function's choice decide which output a message takes (modulo the outputs), or chance
    #[arg(long, value_name = "WHO", default_value = "choice")]
    pub(crate) route: RouteBy,
    /// Seed the chance of --route random, so that a run can be repeated; workers of one queue need the same one
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Rest so long after finding a queue empty; longer and longer, up to 0.05, while it stays empty
    #[arg(long, value_name = "SECONDS", default_value = "0.000001")]
    pub(crate) delay: Seconds,
    /// Have so many messages on their way here at once from queues of 2016, where so many are lost if this node dies; from
    /// others, so many batches at the most, which are not
    #[arg(long, value_name = "COUNT", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) in_flight: u32,
    /// Go on after a message that the function refuses, or stop with exit code 1 as in 2016
    #[arg(long, value_name = "WHAT", default_value = "continue")]
    pub(crate) on_error: OnErrorDo,
    /// End with exit code 1 if a queue cannot promise this much [default: the best that each can]
    #[arg(long, value_name = "PROMISE")]
    pub(crate) guarantee: Option<Guarantee>,
    /// Have what this node has taken go to another one when it has been silent for so long
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    pub(crate) lease: Period,
    /// The largest datagram to send or take [default: 65507 if all queues are on this machine, else 1200]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..=65_507))]
    pub(crate) mtu: Option<u16>,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// What outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputType {
    /// PUTs, paced by the queue's answers
    Queue,
    /// Bare datagrams, sent and forgotten
    Socket,
}

/// Who routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RouteBy {
    /// The function's choice
    Choice,
    /// Chance
    Random,
}

/// What a refusal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnErrorDo {
    /// Count it, log it, go on
    Continue,
    /// End
    Stop,
}

const EXAMPLES: &str = "\
Examples:
  worker --function pong --output-type queue              pong on the queue at 127.0.0.1:10000
  worker --function marketspread --input-address 127.0.0.1:10000 \\
         --output-address 127.0.0.1:5000 --output-type queue       from a queue to a sink
  worker --function fixrouter --output-type queue \\
         --output-address 127.0.0.1:10001 --output-address 127.0.0.1:10002   one symbol, one queue

A queue that is not there yet is asked until it is; a message that the function refuses is counted
and logged, and goes to the queue's dead letters where it has any. Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 bad command line.";
