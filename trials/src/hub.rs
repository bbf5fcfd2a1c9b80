//! A hub that only keeps what is posted to it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use crate::{PATIENCE, wait_for};

/// A web server that takes one request after another.
#[derive(Debug)]
pub struct Hub {
    listener: TcpListener,
}

impl Hub {
    /// A hub that has heard nothing.
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener }
    }

    /// Where reports are posted to. Nobody listens there any more once the hub is dropped.
    pub fn uri(&self) -> String {
        format!("http://{}/post", self.listener.local_addr().unwrap())
    }

    /// Waits for a request, answers that all is well, and gives its first line, its headers and its body.
    #[track_caller]
    pub fn next_request(&self) -> (String, String) {
        let (stream, _) = wait_for("a request", || self.listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        take(stream)
    }
}

fn take(stream: TcpStream) -> (String, String) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "the request ends early: {head}");
    }
    let lower = head.to_ascii_lowercase();
    let len = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; len.unwrap_or_default()];
    stream.read_exact(&mut body).unwrap();
    stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    (head, String::from_utf8(body).unwrap())
}
