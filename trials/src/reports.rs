//! A receiver of reports that only keeps them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
};

use metrics::Report;

use crate::wait_for;

/// A socket to which nodes report, and what they have said. The socket holds some dozens of reports between two looks.
#[derive(Debug)]
pub struct ReportSocket {
    socket: UdpSocket,
    datagrams: RefCell<Vec<Vec<u8>>>,
}

impl ReportSocket {
    /// A socket that has heard nothing.
    pub fn open() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, datagrams: RefCell::default() }
    }

    /// Where nodes report to.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// The flags of a node that reports here, under this name, once in so many seconds.
    pub fn flags(&self, vuid: &str, period: &str) -> [String; 6] {
        let address = self.address().to_string();
        ["--metrics-address", &address, "--stats-period", period, "--vuid", vuid].map(str::to_owned)
    }

    /// The datagrams that have come, in their order.
    pub fn datagrams(&self) -> Vec<Vec<u8>> {
        let mut datagrams = self.datagrams.borrow_mut();
        let mut datagram = vec![0; 1 << 16];
        loop {
            match self.socket.recv(&mut datagram) {
                Ok(len) => datagrams.push(datagram.iter().take(len).copied().collect()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return datagrams.clone(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The reports of one node, in their order.
    pub fn of(&self, vuid: &str) -> Vec<Report> {
        let reports = self.datagrams();
        let reports = reports.iter().map(|datagram| Report::parse(datagram).unwrap());
        reports.filter(|report| report.vuid == vuid).collect()
    }

    /// Waits until one node has reported so often.
    #[track_caller]
    pub fn wait_for(&self, vuid: &str, count: usize) -> Vec<Report> {
        wait_for(&format!("{count} reports of {vuid}"), || Some(self.of(vuid)).filter(|reports| reports.len() >= count))
    }

    /// The counters of a node's newest report, which are counted from its start.
    #[track_caller]
    pub fn ledger(&self, vuid: &str) -> Ledger {
        let newest = self.of(vuid).pop().unwrap_or_else(|| panic!("{vuid} has not reported"));
        Ledger(newest.weir.unwrap_or_default().ledger)
    }
}

/// A node's counters by name.
#[derive(Debug)]
pub struct Ledger(BTreeMap<String, u64>);

impl Ledger {
    /// From an object whose members are numbers.
    pub(crate) fn from_json(ledger: serde_json::Value) -> Self {
        Self(serde_json::from_value(ledger).unwrap())
    }

    /// Of a queue: fails the trial unless every message is accounted for.
    #[track_caller]
    pub fn assert_balanced(&self) {
        let places = ["ready", "leased", "done", "dead", "discarded", "popped"];
        assert_eq!(self.count("accepted"), self.sum(&places), "{:?}", self.0);
    }

    /// One counter.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no counter {name} among {:?}", self.0))
    }

    /// The sum of several.
    #[track_caller]
    pub fn sum(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.count(name)).sum()
    }
}
