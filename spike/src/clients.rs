//! Who asks: each client has a port towards the server of its own, so that an answer finds its way back. There are so
//! many ports and no more; the client that has been silent longest gives its port up for a new one.

use std::{net::SocketAddr, time::Duration};

use machine::Port;

/// The ports towards the server, by index.
#[derive(Debug)]
pub(crate) struct Clients {
    seats: Vec<Option<Seat>>,
    uses: u64,
}

#[derive(Debug)]
struct Seat {
    client: SocketAddr,
    /// The last use's number, because two uses may fall into one moment.
    use_number: u64,
    used_at: Duration,
}

/// Who gave a port up, and how long it had been silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replaced {
    pub(crate) client: SocketAddr,
    pub(crate) silent: Duration,
}

/// The first port is that of the clients.
fn port(index: usize) -> Port {
    Port(u8::try_from(index + 1).unwrap_or(u8::MAX))
}

impl Clients {
    pub(crate) fn new(count: usize) -> Self {
        Self { seats: (0..count.clamp(1, crate::CLIENTS_MAX)).map(|_| None).collect(), uses: 0 }
    }

    /// The port of a client, and who had it until now.
    pub(crate) fn port_of(&mut self, now: Duration, client: SocketAddr) -> (Port, Option<Replaced>) {
        let index = self.index_of(client);
        self.uses += 1;
        let seat = Seat { client, use_number: self.uses, used_at: now };
        let before = self.seats.get_mut(index).and_then(|place| place.replace(seat));
        let replaced = before
            .filter(|seat| seat.client != client)
            .map(|seat| Replaced { client: seat.client, silent: now.saturating_sub(seat.used_at) });
        (port(index), replaced)
    }

    /// Whose answers come in at a port.
    pub(crate) fn client_at(&mut self, now: Duration, at: Port) -> Option<SocketAddr> {
        let seat = self.seats.get_mut(usize::from(at.0).checked_sub(1)?)?.as_mut()?;
        self.uses += 1;
        (seat.use_number, seat.used_at) = (self.uses, now);
        Some(seat.client)
    }

    fn index_of(&self, client: SocketAddr) -> usize {
        let is_its = |seat: &Option<Seat>| seat.as_ref().is_some_and(|seat| seat.client == client);
        let last_use = |seat: &Option<Seat>| seat.as_ref().map_or(0, |seat| seat.use_number);
        self.seats
            .iter()
            .position(is_its)
            .or_else(|| self.seats.iter().enumerate().min_by_key(|(_, seat)| last_use(seat)).map(|(index, _)| index))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 1))
    }

    #[test]
    fn the_client_silent_longest_gives_its_port_up() {
        let mut clients = Clients::new(2);
        let at = Duration::from_secs;
        assert_eq!(clients.port_of(at(1), client(1)), (Port(1), None));
        assert_eq!(clients.port_of(at(2), client(2)), (Port(2), None));
        assert_eq!(clients.port_of(at(3), client(1)), (Port(1), None));
        let replaced = Replaced { client: client(2), silent: at(2) };
        assert_eq!(clients.port_of(at(4), client(3)), (Port(2), Some(replaced)));
        // An answer is a use, too.
        assert_eq!(clients.client_at(at(5), Port(1)), Some(client(1)));
        let replaced = Replaced { client: client(3), silent: at(2) };
        assert_eq!(clients.port_of(at(6), client(4)), (Port(2), Some(replaced)));
        assert_eq!(clients.client_at(at(7), Port(2)), Some(client(4)));
        assert_eq!(clients.client_at(at(8), Port(0)), None);
        assert_eq!(clients.client_at(at(8), Port(3)), None);
    }
}
