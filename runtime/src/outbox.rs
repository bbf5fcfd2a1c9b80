//! Datagrams on their way out, joined into runs where they may be.

use std::{io, net::SocketAddr};

use machine::{LogLimit, Machine, Now, Port, Transmit};
use quinn_udp::Transmit as RunTransmit;

use crate::port::{Runs, Socket, UdpPort};

/// Beyond this the outbox is flushed before the machine is asked for more.
const BYTES_MAX: usize = 256 << 10;

/// The kernel takes at most 64 segments and at most one datagram's worth of bytes as one run.
const RUN_SEGMENTS_MAX: usize = 64;
const RUN_BYTES_MAX: usize = protocol::DATAGRAM_BYTES_MAX;

/// A run is sent in pieces that fit any path's usual MTU, unless the peer is on this machine.
const SEGMENT_BYTES_MAX: usize = 1_472;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    log_limit: LogLimit,
}

/// Datagrams of one length (the last may be shorter) from one port to one peer.
#[derive(Debug, Clone, Copy)]
struct Run {
    port: Port,
    to: SocketAddr,
    start: usize,
    end: usize,
    segment: usize,
}

impl Run {
    /// Whether a datagram of `len` bytes may ride along.
    fn takes(&self, transmit: Transmit, len: usize) -> bool {
        let bytes = self.end - self.start;
        self.port == transmit.port
            && self.to == transmit.to
            && (1..=self.segment).contains(&len)
            && (self.segment <= SEGMENT_BYTES_MAX || self.to.ip().is_loopback())
            && bytes.is_multiple_of(self.segment) // a shorter one ends the run
            && bytes / self.segment < RUN_SEGMENTS_MAX
            && bytes + len <= RUN_BYTES_MAX
    }
}

impl Outbox {
    /// Takes datagrams from the machine until it has no more, or the outbox is full: then `true`.
    pub(crate) fn fill(&mut self, machine: &mut impl Machine, now: Now, ports: &[UdpPort]) -> bool {
        while self.bytes.len() < BYTES_MAX {
            let start = self.bytes.len();
            let Some(transmit) = machine.poll_transmit(now, &mut self.bytes) else { return false };
            self.add(transmit, start, ports);
        }
        true
    }

    fn add(&mut self, transmit: Transmit, start: usize, ports: &[UdpPort]) {
        let end = self.bytes.len();
        let joined = ports
            .get(usize::from(transmit.port.0))
            .is_some_and(|port| port.sockets().all(|socket| socket.runs == Runs::Joined));
        match self.runs.last_mut() {
            Some(run) if joined && run.takes(transmit, end - start) => run.end = end,
            _ => {
                let Transmit { port, to } = transmit;
                self.runs.push(Run { port, to, start, end, segment: end - start });
            }
        }
    }

    /// Sends all that is there.
    pub(crate) async fn flush(&mut self, machine: &mut impl Machine, now: Now, ports: &[UdpPort]) {
        for run in &self.runs {
            let bytes = self.bytes.get(run.start..run.end).unwrap_or_default();
            let route = ports.get(usize::from(run.port.0)).and_then(|port| port.route(run.to));
            let Some((socket, to)) = route else {
                tracing::warn!("no socket of this node reaches {}", run.to);
                machine.handle_unsent(run.port, run.to);
                continue;
            };
            if bytes.len() > run.segment && send_run(socket, to, bytes, run.segment).await.is_ok() {
                continue;
            }
            // One datagram, or a run that this path does not take.
            let datagrams = bytes.chunks(run.segment.max(1)).chain(bytes.is_empty().then_some(&[][..]));
            for datagram in datagrams {
                if let Err(error) = send_one(socket, to, datagram).await {
                    machine.handle_unsent(run.port, run.to);
                    if let Some(withheld) = self.log_limit.pass(now) {
                        tracing::warn!(
                            "cannot send {} bytes to {to}: {error} ({withheld} more unsaid)",
                            datagram.len()
                        );
                    }
                }
            }
        }
        self.runs.clear();
        self.bytes.clear();
    }
}

async fn send_run(socket: &Socket, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
    let run = RunTransmit { destination: to, ecn: None, contents: bytes, segment_size: Some(segment), src_ip: None };
    if socket.state.max_gso_segments() < RUN_SEGMENTS_MAX {
        return Err(io::ErrorKind::Unsupported.into());
    }
    retry(socket, || socket.state.try_send((&socket.io).into(), &run)).await
}

async fn send_one(socket: &Socket, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
    let send = || {
        let io = socket2::SockRef::from(&socket.io);
        if socket.connected { io.send(datagram) } else { io.send_to(datagram, &to.into()) }.map(drop)
    };
    retry(socket, send).await
}

/// Waits while the socket is full. A refusal that an earlier datagram met is reported at this one, which has not been
/// sent then: once more.
async fn retry(socket: &Socket, send: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let mut refusals = 0;
    loop {
        match socket.io.try_io(tokio::io::Interest::WRITABLE, &send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.io.writable().await?,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && refusals < 2 => refusals += 1,
            outcome => return outcome,
        }
    }
}
