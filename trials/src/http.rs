//! As much of HTTP as the trials need: one request on a connection, and its answer.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::PATIENCE;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The first line and the headers, in lower case.
    pub head: String,
    /// The rest.
    pub body: Vec<u8>,
}

impl Answer {
    /// Its body as a text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.head, self.text()))
    }

    /// `None` if the stream ends before the head does.
    fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        // A server that has refused may reset what it does not read any more; what it said before counts.
        if let Err(error) = stream.read_to_end(&mut bytes) {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "no answer in time");
        }
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).unwrap();
        let status = head.split(' ').nth(1)?.parse().unwrap();
        Some(Self { status, head: head.to_ascii_lowercase(), body })
    }
}

/// A connection on which nothing waits for ever.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a request that ends its connection.
#[track_caller]
pub fn request(server: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut stream = connect(server);
    let head = format!("{head} HTTP/1.0\r\nHost: {server}\r\nContent-Length: {}\r\n\r\n", body.len());
    // A server may refuse, and close, before it has read all.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    Answer::read(&mut stream).unwrap_or_else(|| panic!("no answer to {head}"))
}

/// Asks for a path.
#[track_caller]
pub fn get(server: SocketAddr, path: &str) -> Answer {
    request(server, &format!("GET {path}"), b"")
}
