//! Starts a queue node.

mod args;
mod look;

use std::{path::Path, process::ExitCode, time::Duration};

use clap::Parser as _;
use machine::Transmit;
use metrics::{Identity, LogOrder, Reports};
use mq::{Limits, METRICS, Queue, Recovered, StartError, Stored};
use runtime::{Clock, Failure, Runs, UdpPort, World};
use wal::{Directory, Keep, Level, Options};

fn main() -> ExitCode {
    let args = args::Args::parse();
    match &args.command {
        Some(args::Command::Log(what)) => {
            look::look(what).map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
        }
        None => runtime::block_on(serve(args)),
    }
}

async fn serve(args: args::Args) -> Result<(), Failure> {
    let _log = args.logging.start(&format!("MQ.{}-{}", args.address.host(), args.address.port()))?;
    let clients = UdpPort::listen(&args.address, Runs::Joined, &args.allow).await?;
    let (metrics, metrics_to) = args.reporting.port().await?;
    tracing::info!("Starting Message Queue...");
    tracing::info!("Address: ('{}', {})", args.address.host(), clients.address().port());
    let clock = Clock::start();
    let identity =
        Identity { vuid: args.reporting.vuid(), func: "Messagequeue".to_owned(), address: Some(clients.address()) };
    let metrics_to = metrics_to.map(|to| Transmit { port: METRICS, to });
    let reports = Reports::new(identity, LogOrder::TimeFirst, args.reporting.stats_period.0, metrics_to, clock.now());
    let limits = Limits { messages_max: args.messages_max.0, bytes_max: args.bytes_max.0 };
    let mut queue = match &args.log.data {
        Some(path) => recover(path, &args.log, clock, limits, reports)?,
        None => Queue::new(runtime::random_seed(), limits, reports),
    };
    runtime::announce("listening on", clients.address());
    runtime::drive(&mut queue, World::new(vec![clients, metrics]).clock(clock)).await?;
    match queue.failure() {
        Some(why) => Err(Failure::disk(format!("the disk fails, what was not answered may be lost: {why}"))),
        None => Ok(()),
    }
}

/// The queue as its log tells.
fn recover(
    path: &Path,
    flags: &args::LogArgs,
    clock: Clock,
    limits: Limits,
    reports: Reports,
) -> Result<Queue, Failure> {
    let disk = Directory::open(path).map_err(|error| Failure::new(format!("--data: {error}")))?;
    let level = match flags.durability {
        args::Level::Os => Level::Os,
        args::Level::Disk => Level::Disk,
    };
    let options = Options {
        level,
        keep: Keep { bytes: flags.keep_bytes.0, age: flags.keep_age },
        salvage: flags.salvage,
        segment_bytes: flags.segment_bytes.0,
        node_if_new: runtime::random_seed(),
    };
    let stored = Stored { disk: Box::new(disk), options, machine_boot: runtime::machine_boot() };
    let mut said = clock.now().since_start;
    let mut progress = |done: u64, of: u64| {
        let now = clock.now().since_start;
        if now >= said + Duration::from_secs(1) {
            said = now;
            tracing::warn!("Reading the log: {} of {} MiB", done >> 20, of >> 20);
        }
    };
    let (queue, recovered) = Queue::recover(stored, clock.now(), limits, reports, &mut progress).map_err(|error| {
        let text = format!("--data {}: {error}", path.display());
        match error {
            StartError::Disk(_) => Failure::disk(text),
            StartError::Open(_) | StartError::Write(_) => Failure::new(text),
        }
    })?;
    tell(path, &recovered);
    Ok(queue)
}

fn tell(path: &Path, recovered: &Recovered) {
    let Recovered { opened, ready, low_water } = recovered;
    let path = path.display();
    if opened.is_new {
        return tracing::info!("Log: {path}, new");
    }
    let (boot, next, kept) = (opened.boot, opened.next_offset, opened.kept_from);
    tracing::info!(
        "Log: {path}, start {boot}; {ready} of {next} messages ready, from {low_water} on; kept from {kept} on"
    );
    if opened.cut_bytes > 0 {
        tracing::warn!(
            "Log: cut {} bytes behind the last whole commit, left by a crash; nobody was told of them",
            opened.cut_bytes
        );
    }
    for damage in &opened.set_aside {
        tracing::error!("Log: set aside: {damage}");
    }
}
