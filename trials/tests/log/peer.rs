//! A queue that may end at any moment, and who asks it.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    process::Command,
    time::Duration,
};

use protocol::{
    DATAGRAM_BYTES_MAX, frame,
    link::{Answer, Ask},
};
use trials::{Ended, Ledger, Node, wait_for};

/// After so long without an answer it is looked whether the queue is there.
const LOOK_AFTER: Duration = Duration::from_millis(5);

/// A queue, asked one thing after another.
pub(crate) struct Peer {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    socket: UdpSocket,
    token: u64,
}

impl Peer {
    /// Starts it; `None` if it ends before it listens.
    pub(crate) fn start(command: &mut Command) -> Option<Self> {
        let mut node = Node::start(command);
        let announced = wait_for("the line `listening on`, or the end", || {
            let is_running = node.is_running();
            match node.stderr.first("listening on ") {
                Some(line) => Some(Some(line)),
                None => (!is_running).then_some(None),
            }
        });
        // A line that the end cuts short announces nothing.
        let address = announced?.strip_prefix("listening on ")?.parse().ok()?;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(LOOK_AFTER)).unwrap();
        Some(Self { node, address, socket, token: 0 })
    }

    /// Sends a frame and waits for the text of what is answered; `None` if the queue ends first.
    #[track_caller]
    fn exchange(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        if self.socket.send(request).is_err() {
            return None;
        }
        wait_for("an answer, or the end", || {
            let is_running = self.node.is_running();
            match self.receive() {
                Some(answer) => Some(Some(answer)),
                None => (!is_running).then_some(None),
            }
        })
    }

    fn receive(&self) -> Option<Vec<u8>> {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        match self.socket.recv(&mut datagram) {
            Ok(len) => Some(frame::only(datagram.get(..len)?).unwrap().to_vec()),
            Err(error) => {
                let kinds = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut, io::ErrorKind::ConnectionRefused];
                assert!(kinds.contains(&error.kind()), "{error}");
                None
            }
        }
    }

    /// Asks in the words of 2016.
    #[track_caller]
    pub(crate) fn say(&mut self, text: &str) -> Option<String> {
        let mut request = Vec::new();
        frame::push(text.as_bytes(), &mut request).unwrap();
        Some(String::from_utf8(self.exchange(&request)?).unwrap())
    }

    /// Asks on the link, and hands the answer on.
    #[track_caller]
    pub(crate) fn ask<T>(&mut self, ask: &Ask<'_>, take: impl FnOnce(Answer<'_>) -> T) -> Option<T> {
        self.token += 1;
        let mut request = Vec::new();
        ask.push(self.token, &mut request);
        let answer = self.exchange(&request)?;
        let (token, answer) = Answer::parse(&answer).unwrap();
        assert_eq!(token, self.token);
        Some(take(answer))
    }

    /// Its counts, of a queue that does not end now.
    #[track_caller]
    pub(crate) fn stat(&self) -> Ledger {
        trials::Client::to(self.address).stat()
    }

    /// Waits until it has ended.
    pub(crate) fn end(self) -> Ended {
        self.node.wait()
    }
}
