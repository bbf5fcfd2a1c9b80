//! Where a machine's bytes go that are not datagrams.

use std::{io, thread::JoinHandle, time::Duration};

use tokio::sync::mpsc;

/// How many turns' bytes may wait for stdout before the node stops taking datagrams in.
const STDOUT_CHUNKS_MAX: usize = 64;

/// How long the last bytes may take after the node's end.
const LAST_BYTES: Duration = Duration::from_millis(700);

/// One outlet of a machine.
#[derive(Debug)]
pub struct Outlet {
    pub(crate) sender: mpsc::Sender<Vec<u8>>,
    /// Whether the node waits for room; else what finds none is dropped.
    pub(crate) waits: bool,
    /// How many bytes have been written so far, told after each chunk.
    pub(crate) written: Option<mpsc::Receiver<u64>>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl Outlet {
    /// Standard output, written by a thread of its own. A reader that does not read holds the node back; one that has
    /// gone ends it quietly.
    pub fn stdout() -> Self {
        let (sender, receiver) = mpsc::channel(STDOUT_CHUNKS_MAX);
        let (tell, written) = mpsc::channel(STDOUT_CHUNKS_MAX);
        let writer = std::thread::spawn(move || write_all(receiver, io::stdout().lock(), &tell));
        Self { sender, waits: true, written: Some(written), writer: Some(writer) }
    }

    /// Standard error, for what an operator is told whatever the log flags say. What finds no room is dropped, and a
    /// reader that has gone changes nothing.
    pub fn stderr() -> Self {
        let (sender, receiver) = mpsc::channel(STDOUT_CHUNKS_MAX);
        let (tell, _) = mpsc::channel(1);
        // Not locked: log lines and announcements go there, too.
        let writer = std::thread::spawn(move || write_all(receiver, io::stderr(), &tell));
        Self { sender, waits: false, written: None, writer: Some(writer) }
    }

    /// A channel whose other end the program serves; what finds no room is dropped.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { sender, waits: false, written: None, writer: None }, receiver)
    }

    /// Lets the writer finish; its error, if it met one that counts.
    pub(crate) async fn close(self) -> io::Result<()> {
        drop((self.sender, self.written));
        let Some(writer) = self.writer else { return Ok(()) };
        let deadline = tokio::time::Instant::now() + LAST_BYTES;
        while !writer.is_finished() {
            if tokio::time::Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "stdout takes no more; its last bytes are lost"));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match writer.join() {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

fn write_all(
    mut chunks: mpsc::Receiver<Vec<u8>>,
    mut stream: impl io::Write,
    tell: &mpsc::Sender<u64>,
) -> io::Result<()> {
    let mut written = 0;
    while let Some(chunk) = chunks.blocking_recv() {
        stream.write_all(&chunk)?;
        written += chunk.len() as u64;
        if chunks.is_empty() {
            stream.flush()?;
            // Nobody listens any more once the node has ended.
            let _ = tell.blocking_send(written);
        }
    }
    stream.flush()
}
