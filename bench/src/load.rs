//! The client that both queues are asked by: plain sockets, a fixed number of requests in flight.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use crate::{
    MESSAGE_BYTES,
    processes::{Failed, Node},
    table::Rate,
};

const PUT_WINDOW: u64 = 128;
const GETS_IN_FLIGHT: u64 = 64;

/// A way to ask a queue for a number of messages.
pub(crate) type Way = fn(&mut Node, u64) -> Result<Rate, Failed>;

/// PUTs with a window: messages a second.
pub(crate) fn put(queue: &mut Node, messages: u64) -> Result<Rate, Failed> {
    let start = Instant::now();
    put_all(queue.address, messages)?;
    Ok(rate(messages, start))
}

/// GETs in flight from a queue that was filled before: messages a second.
pub(crate) fn get(queue: &mut Node, messages: u64) -> Result<Rate, Failed> {
    put_all(queue.address, messages)?;
    let start = Instant::now();
    get_all(queue.address, messages)?;
    Ok(rate(messages, start))
}

/// Both at once: messages a second through the queue.
pub(crate) fn through(queue: &mut Node, messages: u64) -> Result<Rate, Failed> {
    let address = queue.address;
    let start = Instant::now();
    let producer = thread::spawn(move || put_all(address, messages));
    get_all(address, messages)?;
    let rate = rate(messages, start);
    producer.join().map_err(|_| Failed::Program("the producer panicked".to_owned()))??;
    Ok(rate)
}

#[expect(clippy::cast_precision_loss, reason = "a rate is read by people")]
pub(crate) fn rate(messages: u64, start: Instant) -> Rate {
    messages as f64 / start.elapsed().as_secs_f64()
}

fn client(queue: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(queue)?;
    Ok(socket)
}

/// The length of a PUT's answer does not matter here: one answer, one PUT.
fn put_all(queue: SocketAddr, messages: u64) -> Result<(), Failed> {
    let socket = client(queue)?;
    let mut request = Vec::new();
    let message = [b'x'; MESSAGE_BYTES];
    protocol::verb::Request::Put(&message).push(&mut request).map_err(|error| Failed::Program(error.to_string()))?;
    let mut answer = [0; 2_048];
    let (mut sent, mut answered) = (0, 0);
    while answered < messages {
        while sent < messages && sent - answered < PUT_WINDOW {
            socket.send(&request)?;
            sent += 1;
        }
        socket.recv(&mut answer).map_err(|_| Failed::Lost { sent, arrived: answered })?;
        answered += 1;
    }
    Ok(())
}

/// Takes messages until there were so many; an empty answer is asked again.
pub(crate) fn get_all(queue: SocketAddr, messages: u64) -> Result<(), Failed> {
    let socket = client(queue)?;
    let mut answer = [0; 2_048];
    let (mut in_flight, mut got) = (0, 0);
    while got < messages {
        while in_flight < GETS_IN_FLIGHT.min(messages - got) {
            socket.send(b"13GET")?;
            in_flight += 1;
        }
        let len = socket.recv(&mut answer).map_err(|_| Failed::Lost { sent: messages, arrived: got })?;
        in_flight -= 1;
        got += u64::from(len > 2);
    }
    Ok(())
}
