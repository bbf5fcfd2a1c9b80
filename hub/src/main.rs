//! Starts the monitoring hub.

mod args;
mod assets;
mod routes;
mod server;
mod shared;

use std::{process::ExitCode, sync::Arc, time::Duration};

use hub::Hub;
use runtime::{Clock, Failure};
use shared::Shared;
use tokio::time::{MissedTickBehavior, interval};

fn main() -> ExitCode {
    runtime::run(serve)
}

async fn serve(args: args::Args) -> Result<(), Failure> {
    let _log = args.logging.start(&format!("hub.{}-{}", args.address.host(), args.address.port()))?;
    let clock = Clock::start();
    let hub = Hub::new(args.nodes_max as usize, clock.now().since_epoch.as_secs_f64());
    let listener = server::bind(&args.address, &args.allow).await?;
    let address = listener.local_addr().map_err(|error| Failure::new(format!("no address: {error}")))?;
    runtime::announce("listening on", address);
    tracing::info!("The page is at http://{address}/");

    let shared = Arc::new(Shared::new(clock, hub));
    let routes = routes::routes(Arc::clone(&shared), vec![args.address.host().to_owned()]);
    let ticking = tick(Arc::clone(&shared));
    tokio::select! {
        () = server::serve(listener, routes, Arc::clone(&shared), args.allow) => {}
        () = ticking => {}
    }
    Ok(())
}

/// Once a second: who fell silent, what changed, and the pages hear of it.
async fn tick(shared: Arc<Shared>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        seconds.tick().await;
        let now = shared.now();
        let mut inner = shared.lock();
        inner.hub.look(now);
        inner.tick(now);
    }
}
