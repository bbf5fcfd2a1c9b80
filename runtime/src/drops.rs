//! What the kernel dropped for want of room, read from its socket table.
//!
//! The last column of `/proc/net/udp` is exact at once. The count that rides on received datagrams (`SO_RXQ_OVFL`)
//! comes only with the next datagram, so an idle socket would hide its drops.

/// How many datagrams were dropped at each of these sockets since it was opened, in the order given.
pub(crate) fn read(inodes: &[u64]) -> Vec<u64> {
    let mut drops = vec![0; inodes.len()];
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        let Ok(text) = std::fs::read_to_string(table) else { continue };
        for (inode, count) in text.lines().skip(1).filter_map(parse) {
            for (sum, _) in drops.iter_mut().zip(inodes).filter(|(_, wanted)| **wanted == inode) {
                *sum += count;
            }
        }
    }
    drops
}

/// A line of the table: its inode and its drops.
fn parse(line: &str) -> Option<(u64, u64)> {
    let mut columns = line.split_ascii_whitespace();
    let inode = columns.nth(9)?.parse().ok()?;
    let drops = columns.next_back()?.parse().ok()?;
    Some((inode, drops))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_table() {
        let line = "  123: 0100007F:2710 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 46871 2 \
                    0000000000000000 6254";
        assert_eq!(parse(line), Some((46_871, 6_254)));
        assert_eq!(parse("short line"), None);
    }

    #[test]
    fn a_flooded_socket_shows_its_drops() {
        use std::os::{fd::AsRawFd as _, unix::fs::MetadataExt as _};
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap().ino();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1_000 {
            sender.send_to(&[0; 200], socket.local_addr().unwrap()).unwrap();
        }
        socket.set_nonblocking(true).unwrap();
        let kept = std::iter::from_fn(|| socket.recv(&mut [0; 300]).ok()).count() as u64;
        assert_eq!(read(&[inode]), [1_000 - kept]);
    }
}
