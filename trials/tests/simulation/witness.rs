//! A machine that stands between a node of a topology and the net, and writes down what passes between them.

use std::{net::SocketAddr, time::Duration};

use machine::{Machine, Now, Outlet, Port, Transmit, Work, WorkResult};

use crate::flaw::Flaw;

/// What a node's own counters say.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Books {
    Queue {
        counts: mq::Counts,
        ready: u64,
    },
    Worker(worker::Counts),
    Sink(sink::Counts),
    Feeder(feeder::Summary),
    Client(udp_client::Counts),
    /// A node that keeps none.
    None,
}

impl Books {
    /// Whether the node has passed on every message that it has taken.
    pub(crate) fn is_clear(&self) -> bool {
        match self {
            Self::Queue { ready, .. } => *ready == 0,
            Self::Worker(counts) => counts.outputs == counts.sent,
            Self::Sink(_) | Self::Feeder(_) | Self::Client(_) | Self::None => true,
        }
    }
}

/// A machine that can be asked for its counters.
pub(crate) trait Member: Machine {
    fn books(&self) -> Books {
        Books::None
    }
}

impl Member for mq::Queue {
    fn books(&self) -> Books {
        Books::Queue { counts: self.counts(), ready: self.len() as u64 }
    }
}

impl Member for worker::Worker {
    fn books(&self) -> Books {
        Books::Worker(self.counts())
    }
}

impl Member for sink::Sink {
    fn books(&self) -> Books {
        Books::Sink(self.counts())
    }
}

impl Member for feeder::Feeder {
    fn books(&self) -> Books {
        Books::Feeder(self.summary())
    }
}

impl Member for udp_client::Client {
    fn books(&self) -> Books {
        Books::Client(self.counts())
    }
}

impl Member for simnet::Mailbox {}

/// What passed, in the order of its passing.
#[derive(Debug, Clone)]
pub(crate) enum Passed {
    /// A datagram came in.
    Came { port: Port, from: SocketAddr, bytes: Vec<u8> },
    /// A line of input came in.
    Read(Vec<u8>),
    /// A datagram left.
    Left { port: Port, to: SocketAddr, bytes: Vec<u8> },
    /// Bytes were written.
    Wrote(Vec<u8>),
}

/// A node and what passed.
pub(crate) struct Witness {
    member: Box<dyn Member>,
    /// What is wrong with the machine, in the tests that want a wrong one.
    flaw: Option<Flaw>,
    pub(crate) passed: Vec<Passed>,
}

impl Witness {
    pub(crate) fn of(member: Box<dyn Member>, flaw: Option<Flaw>) -> Self {
        Self { member, flaw, passed: Vec::new() }
    }

    pub(crate) fn books(&self) -> Books {
        let books = self.member.books();
        self.flaw.as_ref().map_or(books, |flaw| flaw.cook(books))
    }

    fn waits_for_ever(&self) -> bool {
        self.flaw.as_ref().is_some_and(Flaw::waits_for_ever)
    }
}

impl Machine for Witness {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        self.passed.push(Passed::Came { port, from, bytes: datagram.to_vec() });
        match &mut self.flaw {
            None => self.member.handle_datagram(now, port, from, datagram),
            Some(flaw) => {
                if let Some(heard) = flaw.heard(port, from, datagram) {
                    self.member.handle_datagram(now, port, from, &heard);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        if !self.waits_for_ever() {
            self.member.handle_timeout(now);
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.member.poll_timeout().filter(|_| !self.waits_for_ever())
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        let mut own = Vec::new();
        let transmit = if let Some((transmit, again)) = self.flaw.as_mut().and_then(Flaw::take_again) {
            own = again;
            transmit
        } else {
            let transmit = self.member.poll_transmit(now, &mut own)?;
            if let Some(flaw) = &mut self.flaw {
                flaw.spoil(transmit, &mut own);
            }
            transmit
        };
        bytes.extend_from_slice(&own);
        self.passed.push(Passed::Left { port: transmit.port, to: transmit.to, bytes: own });
        Some(transmit)
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        let mut own = Vec::new();
        let outlet = self.member.poll_output(&mut own)?;
        bytes.extend_from_slice(&own);
        self.passed.push(Passed::Wrote(own));
        Some(outlet)
    }

    fn wants_input(&self) -> bool {
        self.member.wants_input()
    }

    fn handle_input(&mut self, now: Now, line: Option<&[u8]>) {
        self.passed.extend(line.map(|line| Passed::Read(line.to_vec())));
        self.member.handle_input(now, line);
    }

    fn poll_work(&mut self) -> Option<Work> {
        self.member.poll_work()
    }

    fn handle_result(&mut self, now: Now, result: WorkResult) {
        self.member.handle_result(now, result);
    }

    fn handle_written(&mut self, now: Now, outlet: Outlet, bytes: u64) {
        self.member.handle_written(now, outlet, bytes);
    }

    fn handle_refused(&mut self, now: Now, port: Port) {
        self.member.handle_refused(now, port);
    }

    fn handle_outsider(&mut self, now: Now, port: Port, from: SocketAddr) {
        self.member.handle_outsider(now, port, from);
    }

    fn handle_unsent(&mut self, port: Port, to: SocketAddr) {
        self.member.handle_unsent(port, to);
    }

    fn handle_kernel_drops(&mut self, port: Port, total: u64) {
        self.member.handle_kernel_drops(port, total);
    }

    fn handle_stopping(&mut self, now: Now) {
        self.member.handle_stopping(now);
    }

    fn is_settled(&self) -> bool {
        self.member.is_settled()
    }

    fn handle_stop(&mut self, now: Now) {
        self.member.handle_stop(now);
    }

    fn is_done(&self) -> bool {
        self.member.is_done()
    }
}
