//! The machine's own limit: a producer and a consumer on loopback with no queue between.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

use crate::{
    MESSAGE_BYTES,
    latency::{Clock, Paced, Seen},
    processes::{Failed, joined},
    table::Rate,
};

fn pair() -> io::Result<(UdpSocket, UdpSocket, SocketAddr)> {
    let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    socket2::SockRef::from(&receiver).set_recv_buffer_size(4 << 20)?;
    receiver.set_read_timeout(Some(Duration::from_millis(500)))?;
    let address = receiver.local_addr()?;
    Ok((sender, receiver, address))
}

/// What reaches the consumer of all that the producer sends: datagrams without an answer are lost where it is slower.
fn received(messages: u64, each: u64, mut receive: impl FnMut() -> io::Result<u64>) -> Rate {
    let (mut arrived, start) = (0, Instant::now());
    let mut last = start;
    while arrived < messages {
        match receive() {
            Ok(count) => arrived += count * each,
            Err(_) => break,
        }
        last = Instant::now();
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate is read by people")]
    let arrived = arrived as f64;
    arrived / (last - start).as_secs_f64()
}

/// One message a datagram, `sendto` and `recvfrom`.
pub(crate) fn one_a_datagram(messages: u64) -> Result<Rate, Failed> {
    let (sender, receiver, to) = pair()?;
    let producer =
        thread::spawn(move || (0..messages).try_for_each(|_| sender.send_to(&[b'x'; MESSAGE_BYTES], to).map(drop)));
    let mut datagram = [0; 2_048];
    let rate = received(messages, 1, || receiver.recv_from(&mut datagram).map(|_| 1));
    joined(producer)?;
    Ok(rate)
}

/// 65 kB datagrams, each with as many frames as fit.
pub(crate) fn packed(messages: u64) -> Result<Rate, Failed> {
    let (sender, receiver, to) = pair()?;
    let mut frames = Vec::new();
    let mut count = 0;
    while frames.len() + MESSAGE_BYTES + 3 <= protocol::DATAGRAM_BYTES_MAX {
        protocol::frame::push(&[b'x'; MESSAGE_BYTES], &mut frames)
            .map_err(|error| Failed::Program(error.to_string()))?;
        count += 1;
    }
    let producer = thread::spawn(move || (0..messages / count).try_for_each(|_| sender.send_to(&frames, to).map(drop)));
    let mut datagram = vec![0; 65_536];
    let rate = received(messages, count, || receiver.recv_from(&mut datagram).map(|_| 1));
    joined(producer)?;
    Ok(rate)
}

/// One message a datagram, but sent and taken as runs of segments.
pub(crate) fn runs(messages: u64) -> Result<Rate, Failed> {
    const SEGMENTS: u64 = 64;
    let (sender, receiver, destination) = pair()?;
    let sending = UdpSocketState::new((&sender).into())?;
    let receiving = UdpSocketState::new((&receiver).into())?;
    receiver.set_nonblocking(false)?;
    sender.set_nonblocking(false)?;
    let producer = thread::spawn(move || {
        let contents = vec![b'x'; MESSAGE_BYTES * 64];
        let run =
            Transmit { destination, ecn: None, contents: &contents, segment_size: Some(MESSAGE_BYTES), src_ip: None };
        (0..messages / SEGMENTS).try_for_each(|_| sending.try_send((&sender).into(), &run))
    });
    let mut place = vec![0; 65_536];
    let rate = received(messages, 1, || {
        let mut metas = [RecvMeta::default()];
        receiving.recv((&receiver).into(), &mut [IoSliceMut::new(&mut place)], &mut metas)?;
        Ok((metas[0].len / metas[0].stride.max(1)) as u64)
    });
    joined(producer)?;
    Ok(rate)
}

/// One datagram a message at its time: what of every latency is the machine's.
pub(crate) fn at_a_pace(clock: Clock, paced: Paced) -> Result<Seen, Failed> {
    let (sender, receiver, to) = pair()?;
    let producing = thread::spawn(move || {
        paced.run(clock, |due| due.iter().try_for_each(|message| sender.send_to(message, to).map(drop)))
    });
    let (mut seen, mut message) = (Seen::new(paced), [0; MESSAGE_BYTES]);
    // What has not come when nothing more comes is lost.
    while seen.count() < paced.messages && receiver.recv(&mut message).is_ok() {
        seen.record(clock.now_ns(), Clock::stamp_of(&message));
    }
    joined(producing)?;
    Ok(seen)
}
