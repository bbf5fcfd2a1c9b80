//! Starts the monitoring hub.

mod args;
mod assets;
mod routes;
mod server;
mod shared;
mod store;

use std::{process::ExitCode, sync::Arc, time::Duration};

use hub::Hub;
use runtime::{Clock, Failure};
use shared::Shared;
use store::{Batch, Store};
use tokio::time::{MissedTickBehavior, interval};

/// How much of the history a crash may cost.
const SAVE_EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    runtime::run(serve)
}

async fn serve(args: args::Args) -> Result<(), Failure> {
    let _log = args.logging.start(&format!("hub.{}-{}", args.address.host(), args.address.port()))?;
    let clock = Clock::start();
    let mut hub = Hub::new(args.nodes_max as usize, clock.now().since_epoch.as_secs_f64());
    let listener = server::bind(&args.address, &args.allow).await?;
    let address = listener.local_addr().map_err(|error| Failure::new(format!("no address: {error}")))?;
    let store = args.data.as_deref().map(Store::open).transpose()?.map(Arc::new);
    store.as_ref().map_or(Ok(()), |store| store.load(&mut hub))?;
    runtime::announce("listening on", address);
    tracing::info!("The page is at http://{address}/");

    let shared = Arc::new(Shared::new(clock, hub));
    let routes = routes::routes(Arc::clone(&shared), vec![args.address.host().to_owned()]);
    let ticking = tick(Arc::clone(&shared));
    tokio::select! {
        () = server::serve(listener, routes, Arc::clone(&shared), args.allow) => {}
        () = ticking => {}
        () = keep(Arc::clone(&shared), store.clone()) => {}
    }
    match store {
        Some(store) => {
            let saved = store.save(&batch(&shared, &mut 0));
            saved.map_err(|error| Failure::new(format!("cannot write the last of the history: {error}")))
        }
        None => Ok(()),
    }
}

/// Every few seconds what is new is written down, beside the connections.
async fn keep(shared: Arc<Shared>, store: Option<Arc<Store>>) {
    let Some(store) = store else { return std::future::pending().await };
    let mut turns = interval(SAVE_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut events_from = 0;
    loop {
        turns.tick().await;
        let batch = batch(&shared, &mut events_from);
        let store = Arc::clone(&store);
        match tokio::task::spawn_blocking(move || store.save(&batch)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("Cannot write down the last ten seconds: {error}"),
            Err(error) => tracing::error!("Cannot write down the last ten seconds: {error}"),
        }
    }
}

fn batch(shared: &Shared, events_from: &mut u64) -> Batch {
    let mut inner = shared.lock();
    let (nodes, forgotten) = inner.hub.take_new();
    let (events, next) = inner.hub.events_since(*events_from);
    *events_from = next;
    Batch { nodes, forgotten, events }
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
