//! Prints what this machine's loopback can do, and what the programs make of it, in one run.
//!
//! Absolute figures move from machine to machine and from minute to minute; the ratios of one run hold. The programs are
//! measured as processes of their own, built beside this one; the yardstick is a queue of forty lines that does nothing
//! but `recvfrom` and `sendto`, asked by the same client. With `--peers`, brokers that others use are measured in turns with
//! our queue.
#![expect(clippy::disallowed_methods, reason = "a benchmark is about the world: sockets, clocks, processes")]
#![expect(clippy::print_stdout, reason = "the table is the output")]

mod disk;
mod guard;
mod latency;
mod link;
mod load;
mod peers;
mod pipeline;
mod processes;
mod raw;
mod table;
mod yardstick;

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;
use disk::{Filled, Restart};
use latency::Until;
use peers::{nats, redis};
use pipeline::MarketSpread;
use processes::Failed;
use runtime::flags::Count;
use table::{Row, Table};

/// Measures the queue, the pipeline and the machine's own limit, side by side.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// Measure each figure so many times; the median is printed, with the least and the most
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// Send so many messages for each figure; ten, thirty or fifty times as many where they travel packed
    #[arg(long, value_name = "COUNT", default_value = "300000", value_parser = clap::value_parser!(u64).range(1_000..))]
    messages: u64,
    /// Feed so many lines through market spread
    #[arg(long, value_name = "COUNT", default_value = "5M")]
    market_lines: Count,
    /// Measure Redis lists and NATS, too, where redis-server and nats-server are installed
    #[arg(long)]
    peers: bool,
    /// Measure only rows whose name contains this; give it again for more rows
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    #[command(flatten)]
    end: link::End,
    /// Serve as the yardstick queue (the benchmark starts itself so)
    #[arg(long, hide = true)]
    yardstick: bool,
    /// Measure (the benchmark starts itself so, to end with all that it starts)
    #[arg(long, hide = true)]
    guarded: bool,
}

const EXAMPLES: &str = "\
Examples:
  bench                                    everything but the peers, in a few minutes
  bench --peers                            beside redis-server and nats-server
  bench --peers --only latency --runs 3    rows whose name has \"latency\" in it
  bench --only disk: --runs 3              rows of queues that keep a log, beside a plain loop that syncs
  bench --only market --market-lines 500k  the whole pipeline, on a short feed

Build everything first: cargo build --release. What it starts listens on free ports of loopback and ends with it. Logs are
kept beside the program, or in $TMPDIR if that is set, up to 3 GB at a time, and removed: have that on the disk that is meant.
Exit codes: 0 done, 1 failed, 2 bad command line, 130 ended by Ctrl-C or SIGTERM.";

fn main() -> ExitCode {
    let args = Args::parse();
    if args.end.peer.is_some() {
        return link::run(&args.end, args.messages);
    }
    let done = if args.yardstick {
        yardstick::serve().map_err(Failed::from).map(|()| ExitCode::SUCCESS)
    } else if args.guarded {
        measure(&args).map(|()| ExitCode::SUCCESS)
    } else {
        guard::run_again("--guarded")
    };
    done.unwrap_or_else(|failed| {
        println!("failed: {failed}");
        ExitCode::FAILURE
    })
}

/// The length of a message: that of most peers' published figures.
const MESSAGE_BYTES: usize = 128;

fn measure(args: &Args) -> Result<(), Failed> {
    let n = args.messages;
    let has = Installed::look(args.peers);
    let mut table = Table::new(args.runs, &args.only);
    table.head();
    let one = "raw: one message a datagram";
    table.row(one, &[], || raw::one_a_datagram(n))?;
    table.row("raw: runs of segments (GSO, GRO)", &[one], || raw::runs(n * 10))?;
    table.row("raw: 65 kB datagrams of frames", &[one], || raw::packed(n * 30))?;

    let plain = ["plain: PUT, window 128", "plain: GET, 64 in flight", "plain: PUT -> GET"];
    let old = ["mq: PUT, window 128", "mq: GET, 64 in flight", "mq: PUT -> GET"];
    let ways: [load::Way; 3] = [load::put, load::get, load::through];
    for ((plain, old), way) in plain.iter().zip(old).zip(ways) {
        table.turns(vec![
            Row::new(plain, &[], || way(&mut processes::yardstick()?, n)),
            Row::new(old, &[plain], || way(&mut processes::mq()?, n)),
        ])?;
    }
    let [.., plain] = plain;
    let [.., old] = old;
    table.row("feeder -> mq -> consumer", &[plain], || pipeline::feeder_through(n))?;

    let redis = "redis lists: LPUSH x128 -> BLMPOP 500";
    let moved = "redis lists, reliably: -> LMOVE x500, DEL";
    let (core, stream) = ("nats core: nothing confirmed", "nats stream in memory: confirmed, acked");
    let (of_peers, link) = ([old, redis, moved, core, stream], "link: producer -> mq -> consumer");
    let mut rows = Vec::new();
    if has.redis {
        rows.push(Row::new(redis, &[], || redis::plain(n * 10)));
        rows.push(Row::new(moved, &[], || redis::reliable(n)));
    }
    if has.nats {
        rows.push(Row::new(core, &[], || nats::core(n * 10)));
        rows.push(Row::new(stream, &[], || nats::stream(n, nats::Storage::Memory)));
    }
    rows.push(Row::new(link, &of_peers, || link::through(&processes::mq()?, n * 50, 65_507)));
    table.turns(rows)?;
    table
        .row("link: the same, datagrams of 1472", &[old, redis], || link::through(&processes::mq()?, n * 10, 1_472))?;

    disks(&mut table, has, n)?;

    let market = "market spread: feeder -> mq -> worker -> sink";
    if table.wants(market) {
        let mut spread = MarketSpread::generate(args.market_lines.0)?;
        table.row(market, &[plain], || spread.run())?;
        println!("memory at the most: {}", spread.memory());
    }
    latencies(&table, has)?;
    if table.wants("idle") {
        let idle = pipeline::idle()?;
        println!("\nidle mq + worker: {:.2} % of a core over {} s", idle.cpu_percent, idle.seconds);
        println!("memory of an idle node: mq {:.1} MiB, worker {:.1} MiB", idle.mq_mib, idle.worker_mib);
    }
    Ok(())
}

/// A pace that each queue here can take, and how long it is kept up.
const OFFERED: u32 = 50_000;
const LASTING: Duration = Duration::from_secs(4);

/// Queues that keep what they have on a disk.
fn disks(table: &mut Table, has: Installed, n: u64) -> Result<(), Failed> {
    let plain = "disk: a plain loop, write and fdatasync";
    let cached = "disk: nats stream in a file, confirmed unsynced";
    let (os, disk) = ("disk: link, --durability os", "disk: link, --durability disk");
    let of = [plain, cached];
    let mut rows = vec![Row::new(plain, &[], || disk::plain(n * 30))];
    if has.nats {
        rows.push(Row::new(cached, &[], || nats::stream(n, nats::Storage::File)));
    }
    rows.push(Row::new(os, &of, || disk::through(disk::Level::Os, n * 30)));
    rows.push(Row::new(disk, &of, || disk::through(disk::Level::Disk, n * 30)));
    table.turns(rows)?;
    if table.wants("restart") {
        Restart::print_head();
        for (name, filled) in [
            ("restart: batches, nearly all finished", Filled::Finished),
            ("restart: batches, none finished", Filled::Unfinished),
            ("restart: PUT and GET, nearly all taken", Filled::OneByOne),
        ] {
            disk::restart(filled)?.print(name);
        }
    }
    Ok(())
}

fn latencies(table: &Table, has: Installed) -> Result<(), Failed> {
    let mut rows = vec![
        Row::new("latency: no queue, one datagram each", &[], || {
            latency::measure(std::process::id(), OFFERED, LASTING, raw::at_a_pace)
        }),
        Row::new("latency: link, acknowledged", &[], || {
            let queue = processes::mq()?;
            latency::measure(queue.id(), OFFERED, LASTING, |clock, paced| {
                latency::link_at_a_pace(&queue, clock, paced, Until::Consumed)
            })
        }),
    ];
    if has.redis {
        rows.push(Row::new("latency: redis lists, LPUSH -> BLMPOP", &[], || {
            let broker = redis::start()?;
            latency::measure(broker.id(), OFFERED, LASTING, |clock, paced| redis::at_a_pace(&broker, clock, paced))
        }));
    }
    if has.nats {
        rows.push(Row::new("latency: nats core", &[], || {
            let broker = nats::start(false)?;
            latency::measure(broker.id(), OFFERED, LASTING, |clock, paced| nats::at_a_pace(&broker, clock, paced))
        }));
    }
    let head = format!("at {OFFERED} messages/s offered");
    table.latencies(&head, rows)?;
    // Not in turns with the others: the machine writes to its disk for a while after these.
    let queue = |until| {
        let queue = disk::mq(disk::Level::Disk)?;
        let node = &queue.node;
        latency::measure(node.id(), OFFERED, LASTING, |clock, paced| latency::link_at_a_pace(node, clock, paced, until))
    };
    let rows = vec![
        Row::new("latency: link on disk, until answered", &[], || queue(Until::Stored)),
        Row::new("latency: link on disk, until consumed", &[], || queue(Until::Consumed)),
    ];
    table.latencies(&head, rows)
}

/// Which peers are to be measured.
#[derive(Debug, Clone, Copy)]
struct Installed {
    redis: bool,
    nats: bool,
}

impl Installed {
    /// Says what is not there, and how to get it: nothing is installed from here.
    fn look(wanted: bool) -> Self {
        let is_there = |program: &str| {
            let version = wanted.then(|| peers::version(program)).flatten();
            if let Some(version) = &version {
                println!("peer: {version}");
            } else if wanted {
                println!("peer: {program} is not installed, and left out; on Debian: apt-get install {program}");
            }
            version.is_some()
        };
        Self { redis: is_there(redis::PROGRAM), nats: is_there(nats::PROGRAM) }
    }
}
