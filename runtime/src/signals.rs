//! SIGINT and SIGTERM, heard from a program's first moment on.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll},
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The operator's wish that the program end.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

tokio::task_local! {
    /// Until the driver takes them: what came before that is not lost.
    static HEARD: RefCell<Option<Signals>>;
}

impl Signals {
    pub(crate) fn hear() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Those that have been heard since the program's start, if [`with`] was used; else from now on.
    pub(crate) fn take() -> io::Result<Self> {
        let heard = HEARD.try_with(|heard| heard.borrow_mut().take()).ok().flatten();
        heard.map_or_else(Self::hear, Ok)
    }

    /// Whether one has come.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> bool {
        self.interrupt.poll_recv(context).is_ready() || self.terminate.poll_recv(context).is_ready()
    }
}

/// Runs a program with signals that are heard already. If they cannot be heard, the driver will say so.
pub(crate) async fn with<T>(signals: io::Result<Signals>, program: impl Future<Output = T>) -> T {
    HEARD.scope(RefCell::new(signals.ok()), program).await
}

/// Waits for SIGINT or SIGTERM, for a program that serves without the driver. If they cannot be heard, it waits forever,
/// and they end the program as they end any other.
pub async fn stopped() {
    match Signals::take() {
        Ok(mut signals) => {
            std::future::poll_fn(|context| if signals.poll(context) { Poll::Ready(()) } else { Poll::Pending }).await;
        }
        Err(error) => {
            tracing::warn!("Signals are not heard: {error}");
            std::future::pending::<()>().await;
        }
    }
}
