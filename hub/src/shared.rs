//! What requests share: the hub behind a lock, the clock, and the pages that listen.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http_body::Frame;
use hub::{Hub, Window, changes, slim};
use runtime::Clock;
use serde_json::Value;
use tokio::sync::mpsc;

/// How many pages may listen at once.
pub(crate) const STREAMS_MAX: usize = 256;
/// How many ticks may wait for a reader; one that is slower is dropped, and its browser comes back by itself.
const WAITING_MAX: usize = 8;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) hub: Hub,
    streams: Vec<(Window, mpsc::Sender<Bytes>)>,
    /// What the streams of a window have been told so far.
    told: BTreeMap<Window, Value>,
    ticks: u64,
    is_ending: bool,
}

impl Shared {
    pub(crate) fn new(clock: Clock, hub: Hub) -> Self {
        let inner = Inner { hub, streams: Vec::new(), told: BTreeMap::new(), ticks: 0, is_ending: false };
        Self { clock, inner: Mutex::new(inner) }
    }

    /// Seconds since the epoch.
    pub(crate) fn now(&self) -> f64 {
        self.clock.now().since_epoch.as_secs_f64()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// How many pages listen.
    pub(crate) fn streams(&mut self) -> usize {
        self.streams.retain(|(_, stream)| !stream.is_closed());
        self.streams.len()
    }

    /// A stream of events that begins with the whole state; `None` if there are too many.
    pub(crate) fn listen(&mut self, now: f64, window: Window) -> Option<Body> {
        if self.is_ending || self.streams() >= STREAMS_MAX {
            return None;
        }
        let (hub, streams) = (&self.hub, self.streams.len() + 1);
        let state = self.told.entry(window).or_insert_with(|| slim(&hub.state(now, window, streams)));
        let (stream, events) = mpsc::channel(WAITING_MAX);
        // The channel is new, so there is room.
        let _ = stream.try_send(event("state", self.ticks, state));
        self.streams.push((window, stream));
        Some(Body::new(Events(events)))
    }

    /// Tells all streams what changed.
    pub(crate) fn tick(&mut self, now: f64) {
        self.ticks += 1;
        let count = self.streams();
        let is_heard = |window: Window| self.streams.iter().any(|(of, _)| *of == window);
        self.told.retain(|window, _| is_heard(*window));
        let mut ticks = BTreeMap::new();
        for (window, told) in &mut self.told {
            let state = slim(&self.hub.state(now, *window, count));
            ticks.insert(*window, event("tick", self.ticks, &changes(told, &state)));
            *told = state;
        }
        self.streams
            .retain(|(window, stream)| ticks.get(window).is_some_and(|tick| stream.try_send(tick.clone()).is_ok()));
    }

    /// Ends all streams, and opens no more.
    pub(crate) fn end(&mut self) {
        self.is_ending = true;
        self.streams.clear();
    }
}

fn event(kind: &str, id: u64, data: &Value) -> Bytes {
    format!("event: {kind}\nid: {id}\ndata: {data}\n\n").into()
}

/// The body of an answer that goes on.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
