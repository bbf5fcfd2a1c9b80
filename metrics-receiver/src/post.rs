//! Posts bodies to the hub, one at a time and beside the sockets, so that a hub that is down, slow or broken costs its
//! bodies and nothing else.

use std::{error::Error as _, fmt::Write as _, time::Duration};

use reqwest::{Client, StatusCode, Url, header, redirect};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// How many bodies may wait for the hub; one more is dropped and counted.
const WAITING_MAX: usize = 1_024;

/// How long one POST may take, its connection and the answer included.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the bodies that wait at the program's end may take together.
const LAST_POSTS: Duration = Duration::from_millis(300);

/// How much of an answer is read, so that its connection serves the next POST too. Nothing in it matters.
const ANSWER_BYTES_MAX: usize = 4_096;

/// While the hub fails, one line says so this often.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// What became of the bodies that were posted. The others were dropped: there was no room to wait, or no time at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Posted {
    /// Answered with a status of success.
    pub(crate) accepted: u64,
    /// Answered otherwise, or not at all.
    pub(crate) failed: u64,
}

/// The way to one hub.
#[derive(Debug)]
pub(crate) struct Poster {
    client: Client,
    uri: Url,
    patience: Duration,
    posted: Posted,
    outage: Outage,
}

/// What the log has been told of a hub that fails.
#[derive(Debug, Default)]
struct Outage {
    failed: u64,
    is_said: bool,
    last_said: Option<Instant>,
}

/// Why a body is lost.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("{}", with_causes(.0))]
    Unanswered(#[from] reqwest::Error),
    #[error("it answered {0}")]
    Refused(StatusCode),
}

impl Poster {
    /// The proxies of the environment are not asked: a hub is near.
    pub(crate) fn new(uri: Url) -> Result<Self, reqwest::Error> {
        let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().build()?;
        Ok(Self { client, uri, patience: PATIENCE, posted: Posted::default(), outage: Outage::default() })
    }

    /// Posts the lines of all chunks, each as a body of its own, until there are no more chunks; then what waits has a
    /// last moment.
    pub(crate) async fn post_all(mut self, mut chunks: mpsc::Receiver<Vec<u8>>) -> Posted {
        let (waiting, mut bodies) = mpsc::channel::<Vec<u8>>(WAITING_MAX);
        let (ended, end) = oneshot::channel::<()>();
        let take_in = async move {
            while let Some(chunk) = chunks.recv().await {
                for body in chunk.split(|&byte| byte == b'\n').filter(|body| !body.is_empty()) {
                    // Without room it is dropped, which the difference between given and posted tells.
                    let _ = waiting.try_send(body.to_vec());
                }
            }
            drop(ended);
        };
        let give_out = async {
            while let Some(body) = bodies.recv().await {
                let outcome = self.post(body).await;
                self.record(&outcome);
            }
        };
        let last_moment = async {
            // An error is what is waited for: the other end was dropped.
            let _ = end.await;
            tokio::time::sleep(LAST_POSTS).await;
        };
        let give_out = async {
            tokio::select! { () = give_out => {}, () = last_moment => {} }
        };
        tokio::join!(take_in, give_out);
        self.posted
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), PostError> {
        let request = self.client.post(self.uri.clone()).header(header::CONTENT_TYPE, "application/json");
        let mut answer = request.timeout(self.patience).body(body).send().await?;
        let status = answer.status();
        let mut read = 0;
        while read <= ANSWER_BYTES_MAX
            && let Ok(Some(part)) = answer.chunk().await
        {
            read += part.len();
        }
        if status.is_success() { Ok(()) } else { Err(PostError::Refused(status)) }
    }

    fn record(&mut self, outcome: &Result<(), PostError>) {
        match outcome {
            Ok(()) => {
                self.posted.accepted += 1;
                self.outage.end();
            }
            Err(error) => {
                self.posted.failed += 1;
                self.outage.go_on(&self.uri, error);
            }
        }
    }
}

impl Outage {
    fn go_on(&mut self, uri: &Url, error: &PostError) {
        self.failed += 1;
        let now = Instant::now();
        if self.last_said.is_none_or(|last| now >= last + SAY_EVERY) {
            self.last_said = Some(now);
            self.is_said = true;
            tracing::warn!("Cannot post to {uri}: {error}; reports lost in a row: {}", self.failed);
        }
    }

    fn end(&mut self) {
        if self.is_said {
            tracing::info!("The hub takes reports again; {} were lost", self.failed);
        }
        self.is_said = false;
        self.failed = 0;
    }
}

/// What the library says is "error sending request"; why stands in the causes.
fn with_causes(error: &reqwest::Error) -> String {
    let mut out = if error.is_timeout() { "no answer in time".to_owned() } else { "no answer".to_owned() };
    let mut cause = error.source();
    while let Some(error) = cause {
        let written = write!(out, ": {error}");
        debug_assert!(written.is_ok(), "a String takes all");
        cause = error.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn hub() -> (TcpListener, Poster) {
        let hub = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/post", hub.local_addr().unwrap());
        (hub, Poster::new(uri.parse().unwrap()).unwrap())
    }

    fn chunks(chunks: &[&[u8]]) -> mpsc::Receiver<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(chunks.len().max(1));
        for chunk in chunks {
            sender.try_send(chunk.to_vec()).unwrap();
        }
        receiver
    }

    /// One request: its head in lower case, and its body.
    async fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let length: usize = length.parse().unwrap();
                if bytes.len() >= end + 4 + length {
                    return (head, bytes.split_off(end + 4));
                }
            }
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request ends early");
        }
    }

    async fn answer(stream: &mut TcpStream, status: &str, body: &str) {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn bodies_arrive_exactly_and_on_one_connection() {
        let (hub, poster) = hub().await;
        let served = async {
            let (mut stream, _) = hub.accept().await.unwrap();
            let mut bodies = Vec::new();
            for _ in 0..3 {
                let (head, body) = request(&mut stream).await;
                assert!(head.starts_with("post /post http/1.1\r\n"), "{head}");
                assert!(head.contains("content-type: application/json"), "{head}");
                bodies.push(String::from_utf8(body).unwrap());
                answer(&mut stream, "202 Accepted", "{}").await;
            }
            bodies
        };
        // Two bodies came in one turn.
        let (posted, bodies) = tokio::join!(poster.post_all(chunks(&[b"{\"a\": 1}\n{\"b\": 2}\n", b"{}\n"])), served);
        assert_eq!(bodies, ["{\"a\": 1}", "{\"b\": 2}", "{}"]);
        assert_eq!(posted, Posted { accepted: 3, failed: 0 });
    }

    #[tokio::test]
    async fn a_dead_hub_loses_its_bodies_at_once() {
        let (hub, poster) = hub().await;
        drop(hub);
        let posted = poster.post_all(chunks(&[b"{}\n{}\n{}\n"])).await;
        assert_eq!(posted, Posted { accepted: 0, failed: 3 });
    }

    #[tokio::test]
    async fn a_bad_status_is_a_failure_and_a_redirect_is_not_followed() {
        let (hub, poster) = hub().await;
        let served = async {
            let (mut stream, _) = hub.accept().await.unwrap();
            for status in ["500 Internal Server Error", "404 Not Found", "301 Moved\r\nLocation: /other", "200 OK"] {
                request(&mut stream).await;
                answer(&mut stream, status, "x").await;
            }
        };
        let (posted, ()) = tokio::join!(poster.post_all(chunks(&[b"{}\n{}\n{}\n{}\n"])), served);
        assert_eq!(posted, Posted { accepted: 1, failed: 3 });
    }

    #[tokio::test]
    async fn a_huge_answer_is_not_read_to_its_end() {
        let (hub, poster) = hub().await;
        let served = async {
            for _ in 0..2 {
                let (mut stream, _) = hub.accept().await.unwrap();
                request(&mut stream).await;
                // Written until the reader has gone, which is well before the end.
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n";
                let _ = stream.write_all(head.as_bytes()).await;
                while stream.write_all(&[b'x'; 8_192]).await.is_ok() {}
            }
        };
        let (posted, ()) = tokio::join!(poster.post_all(chunks(&[b"{}\n{}\n"])), served);
        assert_eq!(posted, Posted { accepted: 2, failed: 0 });
    }

    #[tokio::test]
    async fn a_hub_that_hangs_fills_no_memory_and_holds_nobody_up() {
        let (hub, poster) = hub().await;
        let (sender, receiver) = mpsc::channel(1);
        let given = async move {
            // Each chunk is taken although the hub answers none.
            for _ in 0..100 {
                sender.send(b"{}\n".repeat(100)).await.unwrap();
            }
        };
        let ended = async {
            let posted = poster.post_all(receiver).await;
            assert_eq!(posted, Posted::default());
        };
        let started = Instant::now();
        tokio::join!(ended, given);
        assert!(started.elapsed() < PATIENCE, "the end does not wait for the hub");
        drop(hub);
    }

    #[tokio::test]
    async fn a_post_that_takes_too_long_gives_way_to_the_next() {
        let (hub, mut poster) = hub().await;
        poster.patience = Duration::from_millis(50);
        let served = async {
            let hanging = hub.accept().await.unwrap();
            let (mut stream, _) = hub.accept().await.unwrap();
            assert_eq!(request(&mut stream).await.1, b"second");
            answer(&mut stream, "200 OK", "").await;
            drop(hanging);
        };
        let (posted, ()) = tokio::join!(poster.post_all(chunks(&[b"first\nsecond\n"])), served);
        assert_eq!(posted, Posted { accepted: 1, failed: 1 });
    }

    #[tokio::test]
    async fn a_failure_says_why() {
        let (hub, poster) = hub().await;
        drop(hub);
        let error = poster.post(b"{}".to_vec()).await.unwrap_err().to_string();
        assert!(error.starts_with("no answer: ") && error.contains("refused"), "{error}");
    }
}
