//! UDP sockets as a machine's ports.

use std::{
    io,
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::UdpSocketState;
use tokio::net::UdpSocket;

use crate::{Address, Failure, allow::Allow};

/// How much room a socket asks of the kernel for datagrams that wait to be read, in bytes. It is Linux's usual limit
/// for processes without privileges; a burst of 128-byte messages costs about 800 bytes each.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Why a node does not listen off loopback for everybody.
const DANGER: &str = "could take messages away, and forged requests would make it send large answers to others";

/// Whether datagrams of one length to one peer may cross the kernel together, as one run of segments (GSO and GRO). On
/// the wire they are datagrams like any other.
///
/// The kernel counts a run that it drops at a full socket as one datagram. So runs are for edges where each message is
/// confirmed; where nothing but the kernel's count tells of a loss, datagrams go alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runs {
    /// Runs are sent and taken.
    Joined,
    /// Each datagram crosses alone.
    Apart,
}

/// One port of a machine: a socket, or one for each address family that its peers have.
#[derive(Debug)]
pub struct UdpPort {
    pub(crate) v4: Option<Socket>,
    pub(crate) v6: Option<Socket>,
    pub(crate) allow: Allow,
}

impl UdpPort {
    /// Binds where peers will find it, and hears those that are allowed.
    ///
    /// # Errors
    /// When the address cannot be had, or is off loopback while nobody in particular is allowed.
    pub async fn listen(address: &Address, runs: Runs, allow: &Allow) -> Result<Self, Failure> {
        let bind_to = address.resolve().await?;
        allow.check(address, bind_to, DANGER)?;
        let socket = Socket::bind(bind_to, runs).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => "; another node is there: end it, or choose another --address",
                io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose another --address",
                io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
                _ => "",
            };
            Failure::new(format!("cannot listen on {address}: {error}{hint}"))
        })?;
        tracing::info!("receive buffer: {RECEIVE_BUFFER_BYTES} bytes asked for, {} granted", socket.granted_bytes);
        if socket.granted_bytes < 1 << 20 {
            tracing::warn!(
                "receive buffer of {} bytes only: bursts will be dropped; raise net.core.rmem_max",
                socket.granted_bytes
            );
        }
        Ok(Self { allow: allow.clone(), ..Self::single(socket, bind_to.is_ipv4()) })
    }

    /// A port of one's own, to reach these peers and hear from them (and from anybody else: the machine tells apart).
    pub fn towards(peers: &[SocketAddr], runs: Runs) -> Result<Self, Failure> {
        let family = |wanted: fn(&SocketAddr) -> bool| -> Result<Option<Socket>, Failure> {
            let peers: Vec<&SocketAddr> = peers.iter().filter(|peer| wanted(peer)).collect();
            let Some(first) = peers.first() else { return Ok(None) };
            let loopback = peers.iter().all(|peer| peer.ip().is_loopback());
            own_socket(first, loopback, runs).map(Some)
        };
        Ok(Self { v4: family(SocketAddr::is_ipv4)?, v6: family(SocketAddr::is_ipv6)?, allow: Allow::default() })
    }

    /// A port that hears from this one peer only, and is told when nobody listens there.
    pub fn connected(peer: SocketAddr, runs: Runs) -> Result<Self, Failure> {
        let mut socket = own_socket(&peer, peer.ip().is_loopback(), runs)?;
        socket2::SockRef::from(&socket.io)
            .connect(&peer.into())
            .map_err(|error| Failure::new(format!("cannot reach {peer}: {error}")))?;
        socket.connected = true;
        Ok(Self::single(socket, peer.is_ipv4()))
    }

    fn single(socket: Socket, is_ipv4: bool) -> Self {
        let (v4, v6) = if is_ipv4 { (Some(socket), None) } else { (None, Some(socket)) };
        Self { v4, v6, allow: Allow::default() }
    }

    /// Where the port is bound.
    pub fn address(&self) -> SocketAddr {
        self.sockets().next().map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |socket| socket.address)
    }

    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.v4.iter().chain(&self.v6)
    }

    /// The socket that reaches `to`, and the address to give it.
    pub(crate) fn route(&self, to: SocketAddr) -> Option<(&Socket, SocketAddr)> {
        match (to, &self.v4, &self.v6) {
            (SocketAddr::V4(_), Some(socket), _) | (SocketAddr::V6(_), _, Some(socket)) => Some((socket, to)),
            // A dual-stack socket knows IPv4 peers by their mapped addresses.
            (SocketAddr::V4(v4), None, Some(socket)) => {
                Some((socket, SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()))))
            }
            _ => None,
        }
    }
}

fn own_socket(peer: &SocketAddr, loopback: bool, runs: Runs) -> Result<Socket, Failure> {
    let ip: IpAddr = match (peer.is_ipv4(), loopback) {
        (true, true) => Ipv4Addr::LOCALHOST.into(),
        (true, false) => Ipv4Addr::UNSPECIFIED.into(),
        (false, true) => Ipv6Addr::LOCALHOST.into(),
        (false, false) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Socket::bind(SocketAddr::new(ip, 0), runs)
        .map_err(|error| Failure::new(format!("cannot open a socket towards {peer}: {error}")))
}

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) io: UdpSocket,
    pub(crate) state: UdpSocketState,
    pub(crate) runs: Runs,
    pub(crate) connected: bool,
    pub(crate) inode: Option<u64>,
    address: SocketAddr,
    granted_bytes: usize,
}

impl Socket {
    fn bind(address: SocketAddr, runs: Runs) -> io::Result<Self> {
        // No SO_REUSEADDR: with it, a second node would steal the first one's datagrams.
        let io = std::net::UdpSocket::bind(address)?;
        let state = UdpSocketState::new((&io).into())?;
        undo_quic_options(&io, runs)?;
        let granted_bytes = enlarge_receive_buffer(&io)?;
        let io = UdpSocket::from_std(io)?;
        let address = io.local_addr()?;
        let inode = inode_of(&io);
        Ok(Self { io, state, runs, connected: false, inode, address, granted_bytes })
    }

    /// Whether a datagram waits to be read.
    pub(crate) fn has_more(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        socket2::SockRef::from(&self.io).peek(&mut byte).is_ok()
    }

    /// The error that the socket has heard of since this was last asked.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        let take = || socket2::SockRef::from(&self.io).take_error()?.ok_or(io::ErrorKind::WouldBlock.into());
        self.io.try_io(tokio::io::Interest::ERROR, take).ok()
    }
}

/// `quinn-udp` sets its sockets up for QUIC. Here a message of 65,498 bytes must be allowed to travel in fragments, and
/// nobody reads TOS bytes, time stamps or the local address.
fn undo_quic_options(io: &std::net::UdpSocket, runs: Runs) -> io::Result<()> {
    let socket = socket2::SockRef::from(io);
    if io.local_addr()?.is_ipv4() {
        rustix::net::sockopt::set_ip_mtu_discover(io, rustix::net::sockopt::Ipv4PathMtuDiscovery::WANT)?;
        socket.set_recv_tos_v4(false)?;
        setsockopt(io, sockopt::Ipv4PacketInfo, &false)?;
    } else {
        rustix::net::sockopt::set_ipv6_mtu_discover(io, rustix::net::sockopt::Ipv6PathMtuDiscovery::WANT)?;
        setsockopt(io, sockopt::Ipv6DontFrag, &false)?;
        setsockopt(io, sockopt::Ipv6RecvPacketInfo, &false)?;
    }
    setsockopt(io, sockopt::ReceiveTimestampns, &false)?;
    if runs == Runs::Apart {
        setsockopt(io, sockopt::UdpGroSegment, &false)?;
    }
    Ok(())
}

/// Asks for the room, past the machine's limit where the process may; answers what was granted, in bytes.
fn enlarge_receive_buffer(io: &std::net::UdpSocket) -> io::Result<usize> {
    let socket = socket2::SockRef::from(io);
    if setsockopt(io, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    // Linux answers twice what was asked for: the half for its own book-keeping.
    socket.recv_buffer_size().map(|bytes| bytes / 2)
}

/// What the kernel's socket table calls this socket.
fn inode_of(io: &UdpSocket) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(format!("/proc/self/fd/{}", io.as_raw_fd())).ok().map(|socket| socket.ino())
}
