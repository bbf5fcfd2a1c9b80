//! A client that knows no more than a datagram: whatever the programs think of bytes, it sends and shows them as they are.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

use protocol::{
    frame,
    link::{Answer, Ask},
};

use crate::{Ledger, PATIENCE, wait_for};

/// A socket that speaks with one peer, or hears anybody.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
}

impl Client {
    /// A client of this peer, on a port of its own.
    pub fn to(peer: SocketAddr) -> Self {
        let host = if peer.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let socket = UdpSocket::bind(host).unwrap();
        socket.connect(peer).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    /// A socket that hears anybody and has no peer to send to.
    pub fn open() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sends one datagram.
    pub fn send(&self, datagram: &[u8]) {
        self.socket.send(datagram).unwrap();
    }

    /// Waits for one datagram.
    #[track_caller]
    pub fn receive(&self) -> Vec<u8> {
        let mut datagram = vec![0; 1 << 16];
        let len = self.socket.recv(&mut datagram).unwrap_or_else(|error| panic!("no answer: {error}"));
        datagram.truncate(len);
        datagram
    }

    /// A datagram that is here already.
    pub fn receive_now(&self) -> Option<Vec<u8>> {
        self.socket.set_nonblocking(true).unwrap();
        let mut datagram = vec![0; 1 << 16];
        let received = self.socket.recv(&mut datagram);
        self.socket.set_nonblocking(false).unwrap();
        match received {
            Ok(len) => {
                datagram.truncate(len);
                Some(datagram)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a text as a frame, and gives the answer's text.
    #[track_caller]
    pub fn ask(&self, text: &str) -> String {
        let mut request = Vec::new();
        frame::push(text.as_bytes(), &mut request).unwrap();
        self.send(&request);
        let answer = self.receive();
        let answer = frame::only(&answer).unwrap_or_else(|error| panic!("{}: {error}", answer.escape_ascii()));
        String::from_utf8(answer.to_vec()).unwrap()
    }

    /// What a server tells of itself: its counters by name.
    #[track_caller]
    pub fn stat(&self) -> Ledger {
        let mut request = Vec::new();
        Ask::Stat.push(1, &mut request);
        self.send(&request);
        let answer = self.receive();
        let parsed = frame::only(&answer).map(Answer::parse);
        let Ok(Ok((1, Answer::Done { body, .. }))) = parsed else {
            panic!("no answer to STAT: {}", answer.escape_ascii())
        };
        let mut stat: serde_json::Value = serde_json::from_slice(body).unwrap();
        Ledger::from_json(stat.get_mut("ledger").unwrap().take())
    }

    /// Puts a message and waits until the queue has it.
    #[track_caller]
    pub fn put(&self, message: &str) {
        let answer = self.ask(&format!("PUT:{message}"));
        assert!(answer.starts_with("PUT ") && answer.ends_with(" bytes"), "{answer}");
    }

    /// Takes one message away, waiting until there is one.
    #[track_caller]
    pub fn get(&self) -> String {
        wait_for("a message", || Some(self.ask("GET")).filter(|message| !message.is_empty()))
    }

    /// How many messages the queue has.
    #[track_caller]
    pub fn size(&self) -> u64 {
        self.ask("SIZE").parse().unwrap()
    }
}

/// A loopback port where nobody listens, and that the system gives to nobody who asks for any port.
pub fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let lowest: u16 = range.split_ascii_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(32_768);
    // Trials that run beside each other begin at different places.
    let start = u16::try_from(std::process::id() % 10_000).unwrap_or_default();
    wait_for("a free port", || {
        let port =
            lowest.checked_sub(1 + start + TRIED.fetch_add(1, Ordering::Relaxed)).filter(|port| *port > 1_024)?;
        UdpSocket::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}
