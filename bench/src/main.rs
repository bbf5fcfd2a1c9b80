//! Prints what this machine's loopback can do, and what the programs make of it, in one run.
//!
//! Absolute figures move from machine to machine and from minute to minute; the ratios of one run hold. The programs are
//! measured as processes of their own, built beside this one; the yardstick is a queue of forty lines that does nothing
//! but `recvfrom` and `sendto`, asked by the same client.
#![expect(clippy::disallowed_methods, reason = "a benchmark is about the world: sockets, clocks, processes")]
#![expect(clippy::print_stdout, reason = "the table is the output")]

mod link;
mod load;
mod pipeline;
mod processes;
mod raw;
mod table;
mod yardstick;

use std::process::ExitCode;

use clap::Parser as _;
use processes::Failed;
use table::Table;

/// Measures the queue, the pipeline and the machine's own limit, side by side.
#[derive(Debug, clap::Parser)]
#[command(
    version,
    after_help = "Build everything first: cargo build --release. Exit codes: 0 done, 1 failed, 2 bad command line."
)]
struct Args {
    /// Measure each figure so many times; the median is printed, with the least and the most
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Send so many messages for each figure
    #[arg(long, value_name = "COUNT", default_value = "300000", value_parser = clap::value_parser!(u64).range(1_000..))]
    messages: u64,
    /// Measure only rows whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    #[command(flatten)]
    end: link::End,
    /// Serve as the yardstick queue (the benchmark starts itself so)
    #[arg(long, hide = true)]
    yardstick: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.end.peer.is_some() {
        return link::run(&args.end, args.messages);
    }
    let done = if args.yardstick { yardstick::serve().map_err(Failed::from) } else { measure(&args) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            println!("failed: {failed}");
            ExitCode::FAILURE
        }
    }
}

/// The length of a message: that of most peers' published figures.
const MESSAGE_BYTES: usize = 128;

fn measure(args: &Args) -> Result<(), Failed> {
    let n = args.messages;
    let mut table = Table::new(args.runs, &args.only);
    table.head();
    table.row("raw: one message a datagram", None, || raw::one_a_datagram(n))?;
    table.row("raw: runs of segments (GSO, GRO)", Some("raw: one message a datagram"), || raw::runs(n * 10))?;
    table.row("raw: 65 kB datagrams of frames", Some("raw: one message a datagram"), || raw::packed(n * 30))?;

    let yardstick = ["plain: PUT, window 128", "plain: GET, 64 in flight", "plain: PUT -> GET"];
    let ours = ["mq: PUT, window 128", "mq: GET, 64 in flight", "mq: PUT -> GET"];
    // The two queues take turns, so that a slow minute is slow for both.
    table.pairs(
        [yardstick[0], ours[0]],
        [&mut || load::put(&mut processes::yardstick()?, n), &mut || load::put(&mut processes::mq()?, n)],
    )?;
    table.pairs(
        [yardstick[1], ours[1]],
        [&mut || load::get(&mut processes::yardstick()?, n), &mut || load::get(&mut processes::mq()?, n)],
    )?;
    table.pairs(
        [yardstick[2], ours[2]],
        [&mut || load::through(&mut processes::yardstick()?, n), &mut || load::through(&mut processes::mq()?, n)],
    )?;
    table.row("feeder -> mq -> consumer", Some(yardstick[2]), || pipeline::feeder_through(n))?;
    let ours = "mq: PUT -> GET";
    table
        .row("link: producer -> mq -> consumer", Some(ours), || link::through(&mut processes::mq()?, n * 50, 65_507))?;
    table
        .row("link: the same, datagrams of 1472", Some(ours), || link::through(&mut processes::mq()?, n * 10, 1_472))?;
    table.row("market spread: feeder -> mq -> worker -> sink", Some(yardstick[2]), || pipeline::market_spread(n))?;
    if table.wants("idle") {
        let idle = pipeline::idle()?;
        println!("\nidle mq + worker: {:.2} % of a core over {} s", idle.cpu_percent, idle.seconds);
        println!("memory of an idle node: mq {:.1} MiB, worker {:.1} MiB", idle.mq_mib, idle.worker_mib);
    }
    Ok(())
}
