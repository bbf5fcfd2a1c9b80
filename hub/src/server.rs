//! The listening socket and its connections.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use runtime::{Address, Allow, Failure};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::shared::Shared;

/// How many connections may be open; one more is closed at once.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a request's head may take to arrive, and how long a connection may rest between two requests.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long answers that are under way may take at the program's end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Binds where nodes and browsers will find it.
pub(crate) async fn bind(address: &Address, allow: &Allow) -> Result<TcpListener, Failure> {
    let bind_to = address.resolve().await?;
    allow.check(address, bind_to, "could read every figure and post invented ones")?;
    TcpListener::bind(bind_to).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another hub is there: end it, or choose another --address",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose another --address",
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
            _ => "",
        };
        Failure::new(format!("cannot listen on {address}: {error}{hint}"))
    })
}

/// Serves connections until the program is told to stop.
pub(crate) async fn serve(listener: TcpListener, routes: Router, shared: Arc<Shared>, allow: Allow) {
    let (ending, end) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut stopped = std::pin::pin!(runtime::stopped());
    loop {
        tokio::select! {
            () = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) if allow.hears(from) && connections.len() < CONNECTIONS_MAX => {
                    connections.spawn(connection(stream, routes.clone(), end.clone()));
                }
                Ok((_, from)) => tracing::debug!("Not heard: {from}"),
                Err(error) => {
                    tracing::warn!("Cannot accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    tracing::info!("Shutting down");
    shared.lock().end();
    drop(ending);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_ANSWERS, all).await.is_err() {
        tracing::warn!("{} connections did not end in time", connections.len());
    }
}

async fn connection(stream: TcpStream, routes: Router, mut end: watch::Receiver<()>) {
    // Events are small and wanted at once.
    let _ = stream.set_nodelay(true);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(64 << 10);
    let service = TowerToHyperService::new(routes);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = end.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("A connection broke: {error}");
    }
}
