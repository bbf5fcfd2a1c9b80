//! Starts a sink.

mod args;

use std::process::ExitCode;

use machine::Transmit;
use metrics::{Identity, LogOrder, Reports};
use runtime::{Clock, Failure, Outlet, Runs, UdpPort, World};
use sink::{METRICS, Messages, Sink};

fn main() -> ExitCode {
    runtime::run(serve)
}

async fn serve(args: args::Args) -> Result<(), Failure> {
    let _log = args.logging.start(&format!("sink.{}-{}", args.address.host(), args.address.port()))?;
    // Apart, because nothing but the kernel's count tells of a bare message that it drops.
    let input = UdpPort::listen(&args.address, Runs::Apart, &args.allow).await?;
    let (metrics, metrics_to) = args.reporting.port().await?;
    tracing::info!("Starting Sink...");
    tracing::info!("Address: ('{}', {})", args.address.host(), input.address().port());
    runtime::announce("listening on", input.address());

    let clock = Clock::start();
    let identity = Identity { vuid: args.reporting.vuid(), func: "Sink".to_owned(), address: Some(input.address()) };
    let metrics_to = metrics_to.map(|to| Transmit { port: METRICS, to });
    let reports = Reports::new(identity, LogOrder::CountFirst, args.reporting.stats_period.0, metrics_to, clock.now());
    let messages = if args.quiet { Messages::Silenced } else { Messages::Printed };
    let mut sink = Sink::new(runtime::random_seed(), messages, reports);
    let world = World::new(vec![input, metrics]).clock(clock);
    let world = if args.quiet { world } else { world.outlet(Outlet::stdout()) };
    runtime::drive(&mut sink, world).await
}
