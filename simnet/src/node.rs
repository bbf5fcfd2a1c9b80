//! A machine with its sockets, its clocks, its input and what it has written.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt,
    net::SocketAddr,
    ops::{Index, IndexMut},
};

use machine::{Machine, Outlet, Port, WorkResult};

use crate::{NEVER, clock::Clock, traffic::Slot};

/// A node of one [`crate::Net`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// Whether a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Up,
    /// It takes no turn; its sockets fill.
    Paused,
    /// It was killed; its sockets are closed.
    Killed,
    /// It said that its work is done, or was told to stop; its sockets are closed.
    Done,
}

/// A machine whose type can be asked for.
pub(crate) trait Program: Machine + Any {}

impl<M: Machine + Any> Program for M {}

pub(crate) struct Node {
    pub(crate) machine: Box<dyn Program>,
    pub(crate) state: State,
    pub(crate) clock: Clock,
    pub(crate) sockets: Vec<Socket>,
    /// The lines still to be handed over, then their end; `None` once that is told, or without any input.
    pub(crate) input: Option<Box<dyn Iterator<Item = Vec<u8>>>>,
    /// When the next line is handed over.
    pub(crate) line_at: Option<u64>,
    pub(crate) written: Vec<(Outlet, Vec<u8>)>,
    /// What its work has given and it has not been told yet.
    pub(crate) result: Option<WorkResult>,
    /// Counts its processes.
    pub(crate) life: u64,
    /// How many bytes this process has written to each outlet.
    pub(crate) written_in_life: BTreeMap<Outlet, u64>,
}

pub(crate) struct Socket {
    pub(crate) port: Port,
    pub(crate) address: SocketAddr,
    /// What came during a pause.
    pub(crate) waiting: VecDeque<Slot>,
    pub(crate) waiting_max: usize,
    /// What came during a pause and found no room.
    pub(crate) drops: u64,
}

/// The kernel's largest buffer (4 MiB on most hosts) at the 1.2 kB that it takes for a small datagram.
const WAITING_MAX: usize = 3_500;

/// Reading a line takes a microsecond, so that a machine that always wants the next one does not hold the clock still.
const LINE_NANOS: u64 = 1_000;

impl Socket {
    pub(crate) fn open(port: Port, address: SocketAddr) -> Self {
        Self { port, address, waiting: VecDeque::new(), waiting_max: WAITING_MAX, drops: 0 }
    }
}

impl Node {
    pub(crate) fn new(machine: Box<dyn Program>, sockets: &[(Port, SocketAddr)], now: u64) -> Self {
        Self {
            machine,
            state: State::Up,
            clock: Clock::started(now),
            sockets: sockets.iter().map(|&(port, address)| Socket::open(port, address)).collect(),
            input: None,
            line_at: None,
            written: Vec::new(),
            result: None,
            life: 0,
            written_in_life: BTreeMap::new(),
        }
    }

    pub(crate) fn address(&self, port: Port) -> Option<SocketAddr> {
        self.sockets.iter().find(|socket| socket.port == port).map(|socket| socket.address)
    }

    /// When it wants its next turn, on the net's clock.
    pub(crate) fn next_turn(&mut self, now: u64) -> u64 {
        let wants_line = self.input.is_some() && self.machine.wants_input();
        self.line_at = wants_line.then(|| self.line_at.unwrap_or(now.saturating_add(LINE_NANOS)));
        let timer_at = self.machine.poll_timeout().map_or(NEVER, |deadline| self.clock.due(deadline));
        timer_at.min(self.line_at.unwrap_or(NEVER))
    }

    /// The process is gone, what it has written stays.
    pub(crate) fn close(&mut self, state: State) {
        self.state = state;
        self.input = None;
        self.line_at = None;
    }

    /// It goes on after a pause, and hears what its sockets have dropped.
    pub(crate) fn resume(&mut self) {
        self.state = State::Up;
        for socket in &mut self.sockets {
            if socket.drops > 0 {
                self.machine.handle_kernel_drops(socket.port, socket.drops);
            }
        }
    }

    /// Another process takes its place.
    pub(crate) fn restart(&mut self, machine: Box<dyn Program>, now: u64) {
        self.machine = machine;
        self.state = State::Up;
        self.result = None;
        self.life += 1;
        self.written_in_life.clear();
        self.clock.restart(now);
        for socket in &mut self.sockets {
            socket.drops = 0;
        }
    }

    /// Empties the sockets of what waits there.
    pub(crate) fn take_waiting(&mut self) -> Vec<Slot> {
        self.sockets.iter_mut().flat_map(|socket| socket.waiting.drain(..)).collect()
    }

    pub(crate) fn write(&mut self, outlet: Outlet, bytes: &[u8]) {
        match self.written.iter_mut().find(|(written_to, _)| *written_to == outlet) {
            Some((_, written)) => written.extend_from_slice(bytes),
            None => self.written.push((outlet, bytes.to_vec())),
        }
    }
}

/// All nodes, and when each wants its next turn.
#[derive(Default)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    /// Apart from the nodes, because every step searches all of them for the earliest.
    turns: Vec<u64>,
}

impl Nodes {
    /// The new node's first turn is at once.
    pub(crate) fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.turns.push(0);
        NodeId(self.nodes.len() - 1)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// The earliest turn that a node wants, and which node it is.
    pub(crate) fn next_turn(&self) -> (u64, NodeId) {
        let mut earliest = (NEVER, NodeId(0));
        for (index, &at) in self.turns.iter().enumerate() {
            if at < earliest.0 {
                earliest = (at, NodeId(index));
            }
        }
        earliest
    }

    pub(crate) fn set_turn(&mut self, id: NodeId, at: u64) {
        if let Some(turn) = self.turns.get_mut(id.0) {
            *turn = at;
        }
    }
}

#[expect(clippy::indexing_slicing, reason = "an id comes from `push`, and nodes are never removed")]
impl Index<NodeId> for Nodes {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

#[expect(clippy::indexing_slicing, reason = "an id comes from `push`, and nodes are never removed")]
impl IndexMut<NodeId> for Nodes {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }
}
