//! Lines on their way in, read by a thread of their own so that a slow file or a person at a keyboard stops nothing.

use tokio::sync::mpsc;

/// A chunk is handed over when it has this many bytes, or when its reader is about to wait.
const CHUNK_BYTES: usize = 64 << 10;

/// How many chunks may wait for the machine before the reader waits.
const CHUNKS_MAX: usize = 8;

/// The machine wants no more lines: the node has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Lines and where each ends.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Where a reader puts its lines.
#[derive(Debug)]
pub struct LineSender {
    chunk: Chunk,
    chunks: mpsc::Sender<Chunk>,
}

impl LineSender {
    /// Hands one line over, in time.
    pub fn push(&mut self, line: &[u8]) -> Result<(), Closed> {
        self.chunk.bytes.extend_from_slice(line);
        self.chunk.ends.push(self.chunk.bytes.len());
        if self.chunk.bytes.len() >= CHUNK_BYTES || self.chunk.ends.len() >= CHUNK_BYTES {
            return self.flush();
        }
        Ok(())
    }

    /// Hands over all that was pushed, now: the next line may be long in coming.
    pub fn flush(&mut self) -> Result<(), Closed> {
        if self.chunk.ends.is_empty() {
            return Ok(());
        }
        self.chunks.blocking_send(std::mem::take(&mut self.chunk)).map_err(|_| Closed)
    }
}

/// A machine's lines.
#[derive(Debug)]
pub struct Input {
    chunks: mpsc::Receiver<Chunk>,
    chunk: Chunk,
    line: usize,
}

impl Input {
    /// Starts the reader. The input ends when it returns.
    pub fn spawn(reader: impl FnOnce(&mut LineSender) -> Result<(), Closed> + Send + 'static) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        std::thread::spawn(move || {
            let mut lines = LineSender { chunk: Chunk::default(), chunks: sender };
            // Closed means that the node has ended: there is nobody to tell.
            let _ = reader(&mut lines).and_then(|()| lines.flush());
        });
        Self { chunks, chunk: Chunk::default(), line: 0 }
    }

    /// The next line that is here already.
    pub(crate) fn line(&mut self) -> Option<&[u8]> {
        let end = *self.chunk.ends.get(self.line)?;
        let start = self.line.checked_sub(1).and_then(|before| self.chunk.ends.get(before)).copied().unwrap_or(0);
        self.line += 1;
        self.chunk.bytes.get(start..end)
    }

    /// Ready once there are more lines (`true`) or there never will be (`false`).
    pub(crate) fn poll_more(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<bool> {
        if self.line < self.chunk.ends.len() {
            return std::task::Poll::Ready(true);
        }
        self.chunks.poll_recv(context).map(|chunk| {
            let more = chunk.is_some();
            self.chunk = chunk.unwrap_or_default();
            self.line = 0;
            more
        })
    }
}
