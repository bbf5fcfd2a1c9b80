//! Datagrams on their way in: a bounded burst from one socket.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
};

use quinn_udp::{BATCH_SIZE, RecvMeta};

use crate::port::Socket;

/// Room for one burst. Each place holds the largest datagram, or the largest run of segments.
pub(crate) struct Burst {
    places: Vec<Vec<u8>>,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

const PLACE_BYTES: usize = 1 << 16;

impl Burst {
    pub(crate) fn new() -> Self {
        // Zeroed memory costs nothing until it is written.
        Self { places: vec![vec![0; PLACE_BYTES]; BATCH_SIZE], metas: [RecvMeta::default(); BATCH_SIZE], filled: 0 }
    }

    /// Takes what the socket holds, up to the burst's bound. `WouldBlock` when it holds nothing.
    pub(crate) fn receive(&mut self, socket: &Socket) -> io::Result<()> {
        self.filled = 0;
        let mut places = self.places.iter_mut();
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(places.next().map_or(&mut [][..], Vec::as_mut_slice)));
        let mut filled = 0;
        let outcome = socket.io.try_io(tokio::io::Interest::READABLE, || {
            filled = socket.state.recv((&socket.io).into(), &mut slices, &mut self.metas)?;
            // A burst that is not full has emptied the socket: to say so now saves a look that finds nothing. What comes
            // from here on makes it readable anew.
            if filled < BATCH_SIZE { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        self.filled = filled;
        if filled > 0 { Ok(()) } else { outcome }
    }

    /// The datagrams of the burst, in the order in which they came.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.metas.iter().zip(&self.places).take(self.filled).flat_map(|(meta, place)| {
            let bytes = place.get(..meta.len).unwrap_or_default();
            // Addresses are compared, logged and listed: one form for one peer.
            let from = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
            // An empty datagram is one datagram, too.
            let empty = bytes.is_empty().then_some(bytes);
            empty.into_iter().chain(bytes.chunks(meta.stride.max(1))).map(move |datagram| (from, datagram))
        })
    }
}
