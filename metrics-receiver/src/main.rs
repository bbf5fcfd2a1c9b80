//! Starts a receiver of reports.

mod args;
mod post;

use std::process::ExitCode;

use chrono::Local;
use metrics_receiver::Receiver;
use post::{Posted, Poster};
use runtime::{Failure, Outlet, Runs, UdpPort, World};

/// How many turns' bodies may be on their way to the poster.
const CHUNKS_MAX: usize = 64;

fn main() -> ExitCode {
    runtime::run(serve)
}

async fn serve(args: args::Args) -> Result<(), Failure> {
    let _log = args.logging.start(&format!("metrics-receiver.{}-{}", args.address.host(), args.address.port()))?;
    let poster = args.uri.0.map(Poster::new).transpose();
    let poster = poster.map_err(|error| Failure::new(format!("cannot post: {error}")))?;
    let port = UdpPort::listen(&args.address, Runs::Apart, &args.allow).await?;
    runtime::announce("listening on", port.address());

    let mut receiver = Receiver::new(Local, poster.is_some());
    let world = World::new(vec![port]).outlet(Outlet::stdout());
    let Some(poster) = poster else {
        return runtime::drive(&mut receiver, world).await;
    };
    let (hub, chunks) = Outlet::channel(CHUNKS_MAX);
    let (driven, posted) = tokio::join!(runtime::drive(&mut receiver, world.outlet(hub)), poster.post_all(chunks));
    let Posted { accepted, failed } = posted;
    let dropped = receiver.counts().bodies - accepted - failed;
    if dropped > 0 {
        tracing::warn!("The hub was too slow for {dropped} reports, which were dropped");
    }
    tracing::info!("Hub: {accepted} reports taken, {failed} failed, {dropped} dropped");
    driven
}
