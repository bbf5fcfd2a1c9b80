//! Starts a queue node.

mod args;

use std::process::ExitCode;

use machine::Transmit;
use metrics::{Identity, LogOrder, Reports};
use mq::{Limits, METRICS, Queue};
use runtime::{Clock, Failure, Runs, UdpPort, World};

fn main() -> ExitCode {
    runtime::run(serve)
}

async fn serve(args: args::Args) -> Result<(), Failure> {
    let _log = args.logging.start(&format!("MQ.{}-{}", args.address.host(), args.address.port()))?;
    let clients = UdpPort::listen(&args.address, Runs::Joined, &args.allow).await?;
    let (metrics, metrics_to) = args.reporting.port().await?;
    tracing::info!("Starting Message Queue...");
    tracing::info!("Address: ('{}', {})", args.address.host(), clients.address().port());
    runtime::announce("listening on", clients.address());

    let clock = Clock::start();
    let identity =
        Identity { vuid: args.reporting.vuid(), func: "Messagequeue".to_owned(), address: Some(clients.address()) };
    let metrics_to = metrics_to.map(|to| Transmit { port: METRICS, to });
    let reports = Reports::new(identity, LogOrder::TimeFirst, args.reporting.stats_period.0, metrics_to, clock.now());
    let limits = Limits { messages_max: args.messages_max.0, bytes_max: args.bytes_max.0 };
    let mut queue = Queue::new(runtime::random_seed(), limits, reports);
    runtime::drive(&mut queue, World::new(vec![clients, metrics]).clock(clock)).await
}
