//! The two ways through a spike.

/// Which way a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a client to the server.
    In,
    /// From the server back to the client that asked.
    Out,
}

impl Direction {
    /// The two of them.
    pub const BOTH: [Self; 2] = [Self::In, Self::Out];

    /// Its name on the command line and in the statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

/// Something for each direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Each<T> {
    /// From clients to the server.
    pub inward: T,
    /// From the server to clients.
    pub outward: T,
}

impl<T> Each<T> {
    /// That of one direction.
    pub fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::In => &self.inward,
            Direction::Out => &self.outward,
        }
    }

    /// That of one direction, to be changed.
    pub fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::In => &mut self.inward,
            Direction::Out => &mut self.outward,
        }
    }
}
