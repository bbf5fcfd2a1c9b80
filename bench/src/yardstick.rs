//! The yardstick: a queue that does nothing but `recvfrom` and `sendto`, as plain as it can be written.

use std::{collections::VecDeque, io, net::UdpSocket};

#[expect(clippy::print_stderr, reason = "announced as the programs announce themselves")]
pub(crate) fn serve() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    eprintln!("listening on {}", socket.local_addr()?);
    let mut messages: VecDeque<Box<[u8]>> = VecDeque::new();
    let mut datagram = vec![0; 65_536];
    let mut answer = Vec::new();
    loop {
        let (len, from) = socket.recv_from(&mut datagram)?;
        answer.clear();
        // Headers are not checked here: the yardstick measures the machine, not a parser.
        let text = datagram.get(..len).unwrap_or_default();
        if let Some(at) = text.windows(4).take(12).position(|window| window == b"PUT:") {
            messages.push_back(text.get(at + 4..).unwrap_or_default().into());
            answer.extend_from_slice(b"1dPUT 128 bytes");
        } else if let Some(message) = messages.pop_front() {
            let _ = protocol::frame::push(&message, &mut answer);
        } else {
            answer.extend_from_slice(b"10");
        }
        socket.send_to(&answer, from)?;
    }
}
