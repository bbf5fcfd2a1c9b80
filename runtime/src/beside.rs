//! The thread beside the sockets, for work that may take long.

use std::task::{Context, Poll};

use machine::{Work, WorkResult};
use tokio::sync::mpsc;

/// Started with the first piece of work; one piece at a time.
#[derive(Default)]
pub(crate) struct Beside {
    thread: Option<(std::sync::mpsc::Sender<Work>, mpsc::UnboundedReceiver<WorkResult>)>,
    busy: bool,
}

impl Beside {
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    pub(crate) fn start(&mut self, work: Work) {
        let (sender, _) = self.thread.get_or_insert_with(|| {
            let (sender, works) = std::sync::mpsc::channel::<Work>();
            let (results, receiver) = mpsc::unbounded_channel();
            std::thread::spawn(move || {
                while let Ok(work) = works.recv() {
                    if results.send(work()).is_err() {
                        return;
                    }
                }
            });
            (sender, receiver)
        });
        // A thread that has gone (its work panicked) gives no result: the machine's work guards itself against that.
        self.busy = sender.send(work).is_ok();
    }

    /// The result, if it is here.
    pub(crate) fn take(&mut self) -> Option<WorkResult> {
        let (_, results) = self.thread.as_mut().filter(|_| self.busy)?;
        let result = results.try_recv().ok()?;
        self.busy = false;
        Some(result)
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<WorkResult> {
        let Some((_, results)) = self.thread.as_mut().filter(|_| self.busy) else { return Poll::Pending };
        match results.poll_recv(context) {
            Poll::Ready(Some(result)) => {
                self.busy = false;
                Poll::Ready(result)
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
