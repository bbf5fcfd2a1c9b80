//! Starts a feeder.

mod args;
mod bar;
mod files;

use std::process::ExitCode;

use args::Args;
use bar::Whole;
use feeder::{Delivery, Feeder, METRICS, Plan};
use files::Files;
use link::{ProducerPlan, SendLimits};
use machine::Transmit;
use metrics::{Identity, LogOrder, Reports};
use runtime::{Clock, Failure, Outlet, Runs, UdpPort, World};

fn main() -> ExitCode {
    runtime::run(feed)
}

async fn feed(args: Args) -> Result<(), Failure> {
    args.check()?;
    let _log = args.logging.start(&format!("feeder.{}.{}", args.address.host(), args.address.port()))?;
    let vuid = args.reporting.vuid();
    tracing::info!("Starting feeder...");
    tracing::info!("VUID: {vuid}");
    tracing::info!("Address: ('{}', {})", args.address.host(), args.address.port());
    args.path.iter().for_each(|path| tracing::info!("Path: {}", path.display()));
    if args.path.is_empty() {
        tracing::warn!("No --path is given: there is nothing to feed");
    }

    let files = Files { paths: args.path.clone(), format: args.format.into(), again: args.again };
    let opened = files.open()?;
    let whole = whole(&args, opened.sizes.as_ref().map(|sizes| sizes.iter().sum()));
    let producer = files.producer(&opened, args.count.map(|count| count.0)).filter(|_| !args.link.fresh);
    let plan = plan(&args, producer).await?;
    // Where answers are not waited for, the kernel's count of what it dropped is all that tells of them.
    let runs = if plan.delivery == Delivery::FlatOut { Runs::Apart } else { Runs::Joined };
    let queue = UdpPort::connected(plan.queue, runs)?;
    let (metrics, metrics_to) = args.reporting.port().await?;
    let clock = Clock::start();
    let identity = Identity { vuid, func: "Feeder".to_owned(), address: None };
    let metrics_to = metrics_to.map(|to| Transmit { port: METRICS, to });
    let reports = Reports::new(identity, LogOrder::TimeFirst, args.reporting.stats_period.0, metrics_to, clock.now());
    let mut feeder = Feeder::new(plan, reports);
    let (progress, snapshots) = Outlet::channel(1);
    let world = World::new(vec![queue, metrics])
        .outlet(Outlet::stdout())
        .outlet(progress)
        .input(files.read(opened))
        .clock(clock);
    let (driven, ()) = tokio::join!(runtime::drive(&mut feeder, world), bar::show(snapshots, whole));
    say(&feeder);
    driven?;
    if let Some(failure) = feeder.failure() {
        return Err(Failure::new(format!("the edge to the queue at {} has ended: {failure}", args.address)));
    }
    if feeder.summary().unreadable > 0 {
        return Err(Failure::new("not every file could be read to its end"));
    }
    match feeder.missing() {
        0 => Ok(()),
        missing => Err(Failure::new(format!("lines that the queue did not confirm: {missing}"))),
    }
}

async fn plan(args: &Args, producer: Option<u128>) -> Result<Plan, Failure> {
    let queue = args.address.resolve_peer().await?;
    let delivery = if args.window == 0 {
        Delivery::FlatOut
    } else {
        Delivery::Link(ProducerPlan {
            producer: producer.unwrap_or_else(random_producer),
            nonce: runtime::random_seed(),
            stage: String::new(),
            floor: args.link.guarantee,
            datagram_bytes_max: args.datagram_bytes_max(queue),
            limits: SendLimits::default(),
            puts_max: args.window,
        })
    };
    Ok(Plan {
        queue,
        delivery,
        format: args.format.into(),
        pace: args.pace(),
        messages_max: args.count.map_or(u64::MAX, |count| count.0),
        // Log lines and a bar do not share a terminal.
        shows_progress: !args.quiet && !args.logging.console_log && bar::is_seen(),
        writes_summary: args.json,
    })
}

/// Of a feed that nobody can go on with.
fn random_producer() -> u128 {
    u128::from(runtime::random_seed()) << 64 | u128::from(runtime::random_seed())
}

fn whole(args: &Args, bytes: Option<u64>) -> Whole {
    match (args.count, bytes) {
        (Some(count), _) => Whole::Messages(count.0),
        (None, Some(bytes)) if !args.again => Whole::Bytes(bytes),
        _ => Whole::Unknown,
    }
}

/// The summary is promised whatever the log flags say.
fn say(feeder: &Feeder) {
    runtime::say(&feeder.summary().to_string());
}
