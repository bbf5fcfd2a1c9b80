//! The network itself: who is on it, what passes through it, and how far a run goes.

use std::{any::Any, collections::BTreeMap, net::SocketAddr, ops::Range, time::Duration};

use machine::{Machine, Now, Outlet, Port, Transmit};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    Counts, DATAGRAM_BYTES_MAX, Garbled, NEVER, NodeId, State, Weather, nanos,
    node::{Node, Nodes},
    trace::{Fate, Note, Trace, Way},
    traffic::{Arrival, Flight, Slot, Traffic},
    weather::{garble, happens},
};

/// Machines on a seeded network with a virtual clock.
///
/// Times are since the net's begin, unless a method says otherwise.
pub struct Net {
    pub(crate) seed: u64,
    pub(crate) chance: SmallRng,
    pub(crate) now: u64,
    /// How many steps the clock has stood still.
    still: u32,
    pub(crate) nodes: Nodes,
    /// Who listens at an address.
    homes: BTreeMap<SocketAddr, (NodeId, Port)>,
    pub(crate) traffic: Traffic,
    pub(crate) weather: Weather,
    pub(crate) paths: BTreeMap<(NodeId, NodeId), Path>,
    work_nanos: Range<u64>,
    counts: Counts,
    garbled: Vec<Garbled>,
    pub(crate) trace: Trace,
    /// Where machines write before it is known to which outlet.
    scratch: Vec<u8>,
}

/// One direction between two nodes, where it differs from the rest.
#[derive(Default)]
pub(crate) struct Path {
    pub(crate) weather: Option<Weather>,
    pub(crate) cut: bool,
}

/// More datagrams and writes than this in one turn are a machine that never ends its turn.
const TURN_MAX: u32 = 100_000;

/// More steps than this without time going on are a machine whose deadline never moves.
const STILL_MAX: u32 = 1_000_000;

/// More datagrams than this under way at once are a storm that machines make themselves.
const UNDER_WAY_MAX: usize = 1_000_000;

/// How long work takes, unless the test says otherwise.
const WORK_NANOS: Range<u64> = 1_000..1_000_000;

/// How long the result of work waits before it looks again whether a paused node goes on.
const PAUSED_AGAIN_NANOS: u64 = 1_000_000;

impl Net {
    /// An empty network in calm weather; all that is left to chance follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            chance: SmallRng::seed_from_u64(seed),
            now: 0,
            still: 0,
            nodes: Nodes::default(),
            homes: BTreeMap::new(),
            traffic: Traffic::default(),
            weather: Weather::calm(),
            paths: BTreeMap::new(),
            work_nanos: WORK_NANOS,
            counts: Counts::default(),
            garbled: Vec::new(),
            trace: Trace::default(),
            scratch: Vec::new(),
        }
    }

    /// How long each piece of work takes from now on, in true time: between these two.
    pub fn set_work(&mut self, min: Duration, max: Duration) {
        self.work_nanos = nanos(min)..nanos(max).max(nanos(min) + 1);
    }

    /// Puts a machine on the network, with an address for each of its ports. Its first turn comes with the next run.
    ///
    /// # Panics
    /// If an address is taken.
    pub fn add<M: Machine + 'static>(&mut self, machine: M, sockets: &[(Port, SocketAddr)]) -> NodeId {
        let id = self.nodes.push(Node::new(Box::new(machine), sockets, self.now));
        for &(port, address) in sockets {
            let taken = self.homes.insert(address, (id, port));
            assert!(taken.is_none(), "{address} is taken");
        }
        self.note_added::<M>(id);
        id
    }

    /// The machine of a node, whether it still runs or not.
    ///
    /// # Panics
    /// If the machine is no `M`.
    pub fn node<M: Machine + 'static>(&self, id: NodeId) -> &M {
        let machine: &dyn Any = &*self.nodes[id].machine;
        machine.downcast_ref().unwrap_or_else(|| wrong_type::<M>(id))
    }

    /// A turn of the test's own making: `act` gets the machine, then the machine's datagrams and writes are taken.
    ///
    /// # Panics
    /// If the machine is no `M`, or not up.
    pub fn act<M: Machine + 'static, R>(&mut self, id: NodeId, act: impl FnOnce(&mut M, Now) -> R) -> R {
        let now = self.clock(id);
        let node = &mut self.nodes[id];
        assert_eq!(node.state, State::Up, "seed {}: {id} takes no turn", self.seed);
        let machine: &mut dyn Any = &mut *node.machine;
        let result = act(machine.downcast_mut().unwrap_or_else(|| wrong_type::<M>(id)), now);
        self.settle(id, now);
        result
    }

    /// Whether a node runs.
    pub fn state(&self, id: NodeId) -> State {
        self.nodes[id].state
    }

    /// What a node's clocks show.
    pub fn clock(&self, id: NodeId) -> Now {
        self.nodes[id].clock.read(self.now)
    }

    /// All that a node has written to an outlet, over all its lives.
    pub fn written(&self, id: NodeId, outlet: Outlet) -> &[u8] {
        let written = self.nodes[id].written.iter().find(|(written_to, _)| *written_to == outlet);
        written.map_or(&[], |(_, bytes)| bytes)
    }

    /// Gives a node lines of input, then their end; it takes each when it wants one. Instead of what was left of an
    /// earlier input; [`Net::kill`] takes it away.
    pub fn feed<L>(&mut self, id: NodeId, lines: L)
    where
        L: IntoIterator<Item = Vec<u8>, IntoIter: 'static>,
    {
        self.nodes[id].input = Some(Box::new(lines.into_iter()));
        self.wake_if_up(id);
    }

    /// Sends a datagram from any address, be it somebody's, nobody's or invented; the weather is that of all others.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let slot = self.traffic.take();
        self.traffic[slot].bytes.extend_from_slice(bytes);
        self.post(slot, from, to);
    }

    /// How long the net has run.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Lets everything happen up to a time and at it.
    pub fn run_until(&mut self, time: Duration) {
        let limit = nanos(time);
        while self.step(limit) {}
        self.now = self.now.max(limit);
    }

    /// Runs as long as `holds` is true, but no longer than `within` from now; whether it came to its end in time.
    pub fn run_while(&mut self, within: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let limit = self.now.saturating_add(nanos(within));
        while holds(self) {
            if !self.step(limit) {
                self.now = limit;
                return false;
            }
        }
        true
    }

    /// Runs until nothing is under way and all input is read, but no longer than `within` from now; whether it came to
    /// that. Deadlines may still be set, and paused nodes may have datagrams waiting.
    pub fn run_until_idle(&mut self, within: Duration) -> bool {
        self.run_while(within, Self::is_busy)
    }

    /// What became of all datagrams so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many datagrams have not met their end: on their way, or waiting at a paused node.
    pub fn under_way(&self) -> usize {
        self.traffic.under_way()
    }

    /// The garbled datagrams that machines took since this was last asked.
    pub fn take_garbled(&mut self) -> Vec<Garbled> {
        std::mem::take(&mut self.garbled)
    }

    /// A hash of all that has happened. Equal for equal runs of one build; another build may hash otherwise.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Tells `reader` each event from now on, one a line. Best asked for before the first [`Net::add`].
    pub fn trace_to(&mut self, reader: impl FnMut(&str) + 'static) {
        self.trace.tell(Box::new(reader));
    }

    fn is_busy(&self) -> bool {
        self.traffic.next_at() != NEVER
            || self.nodes.next_turn().0 <= self.now
            || self.nodes.iter().any(|node| node.state == State::Up && node.input.is_some())
    }

    /// Lets the next thing happen, if it does so up to `limit`. At one moment, datagrams come before deadlines.
    fn step(&mut self, limit: u64) -> bool {
        let (turn_at, id) = self.nodes.next_turn();
        let arrival_at = self.traffic.next_at();
        let at = turn_at.min(arrival_at);
        if at > limit || at == NEVER {
            return false;
        }
        self.advance(at);
        if turn_at < arrival_at {
            self.wake(id);
            return true;
        }
        match self.traffic.next() {
            Some(Arrival::Datagram(slot)) => self.arrive(slot),
            Some(Arrival::Refusal(id, port)) => self.refuse(id, port),
            Some(Arrival::Result(id, life)) => self.hand_over_result(id, life),
            None => {}
        }
        true
    }

    fn advance(&mut self, at: u64) {
        self.still = if at > self.now { 0 } else { self.still + 1 };
        self.now = self.now.max(at);
        assert!(self.still < STILL_MAX, "seed {}: time stands still at {:?}", self.seed, self.now());
    }

    /// A turn for a deadline or a line, whichever is due; for nothing, if neither is.
    pub(crate) fn wake(&mut self, id: NodeId) {
        let now = self.clock(id);
        let node = &mut self.nodes[id];
        if node.line_at.is_some_and(|at| at <= self.now) {
            self.hand_over_line(id, now);
        } else if node.machine.poll_timeout().is_some_and(|deadline| deadline <= now.since_start) {
            self.trace.note(self.now, &Note::TimedOut(id));
            node.machine.handle_timeout(now);
        }
        self.settle(id, now);
    }

    fn hand_over_line(&mut self, id: NodeId, now: Now) {
        let node = &mut self.nodes[id];
        let line = node.input.as_mut().and_then(Iterator::next);
        self.trace.note(self.now, &Note::Line(id, line.as_deref()));
        node.line_at = None;
        if line.is_none() {
            node.input = None;
        }
        node.machine.handle_input(now, line.as_deref());
    }

    /// The end of each turn: takes all that wants out, then notes when the node wants its next turn.
    pub(crate) fn settle(&mut self, id: NodeId, now: Now) {
        self.counts.turns += 1;
        let mut taken = 0;
        // Not `||`: a turn has ended once neither gives anything.
        while self.take_datagram(id, now) | self.take_output(id, now) | self.take_work(id) {
            taken += 1;
            assert!(taken < TURN_MAX, "seed {}: {id} never ends its turn at {:?}", self.seed, self.now());
        }
        if self.nodes[id].machine.is_done() {
            self.trace.note(self.now, &Note::Done(id));
            self.close(id, State::Done);
        } else {
            let turn = self.nodes[id].next_turn(self.now);
            self.nodes.set_turn(id, turn);
        }
    }

    fn take_datagram(&mut self, id: NodeId, now: Now) -> bool {
        let slot = self.traffic.take();
        let node = &mut self.nodes[id];
        let Some(Transmit { port, to }) = node.machine.poll_transmit(now, &mut self.traffic[slot].bytes) else {
            self.traffic.give_back(slot);
            return false;
        };
        let from = node.address(port);
        assert!(from.is_some(), "seed {}: {id} sends from {port:?}, which it was not given", self.seed);
        if let Some(from) = from {
            self.post(slot, from, to);
        }
        true
    }

    fn take_output(&mut self, id: NodeId, now: Now) -> bool {
        self.scratch.clear();
        let node = &mut self.nodes[id];
        let Some(outlet) = node.machine.poll_output(&mut self.scratch) else { return false };
        self.trace.note(self.now, &Note::Wrote(id, outlet.0, &self.scratch));
        node.write(outlet, &self.scratch);
        let written = node.written_in_life.entry(outlet).or_default();
        *written += self.scratch.len() as u64;
        let written = *written;
        node.machine.handle_written(now, outlet, written);
        true
    }

    /// Does the work at once; the machine hears of its result a little later.
    fn take_work(&mut self, id: NodeId) -> bool {
        let node = &mut self.nodes[id];
        if node.result.is_some() {
            return false;
        }
        let Some(work) = node.machine.poll_work() else { return false };
        node.result = Some(work());
        let life = node.life;
        let takes = self.chance.random_range(self.work_nanos.clone());
        self.traffic.schedule(self.now.saturating_add(takes), Arrival::Result(id, life));
        true
    }

    /// A paused node hears of it once it goes on; a process that has gone, never.
    fn hand_over_result(&mut self, id: NodeId, life: u64) {
        let node = &mut self.nodes[id];
        if node.life != life {
            return;
        }
        match node.state {
            State::Up => {
                let Some(result) = node.result.take() else { return };
                let now = self.clock(id);
                self.nodes[id].machine.handle_result(now, result);
                self.settle(id, now);
            }
            State::Paused => {
                self.traffic.schedule(self.now.saturating_add(PAUSED_AGAIN_NANOS), Arrival::Result(id, life));
            }
            State::Killed | State::Done => {}
        }
    }

    /// Takes a datagram onto the network, where the weather meets it.
    fn post(&mut self, slot: Slot, from: SocketAddr, to: SocketAddr) {
        self.counts.sent += 1;
        let flight = &mut self.traffic[slot];
        (flight.from, flight.to, flight.sent_at) = (from, to, self.now);
        let too_long = flight.bytes.len() > DATAGRAM_BYTES_MAX;
        let (weather, cut) = self.weather_between(from, to);
        if too_long {
            self.end(slot, Fate::TooLong);
        } else if cut {
            self.end(slot, Fate::Cut);
        } else if happens(&mut self.chance, weather.lost_permille) {
            self.end(slot, Fate::Lost);
        } else {
            if happens(&mut self.chance, weather.doubled_permille) {
                self.counts.doubled += 1;
                self.trace.note(self.now, &Note::Doubled(Way { from, to }));
                let copy = self.traffic.copy(slot);
                self.launch(copy, weather);
            }
            self.launch(slot, weather);
        }
    }

    fn launch(&mut self, slot: Slot, weather: Weather) {
        if happens(&mut self.chance, weather.garbled_permille) {
            self.counts.garbled += 1;
            let Flight { from, to, bytes, original, .. } = &mut self.traffic[slot];
            *original = Some(bytes.clone());
            garble(&mut self.chance, bytes);
            self.trace.note(self.now, &Note::Garbled(Way { from: *from, to: *to }));
        }
        let at = self.now.saturating_add(weather.delay(&mut self.chance));
        self.traffic.schedule(at, Arrival::Datagram(slot));
        let under_way = self.traffic.under_way();
        assert!(under_way < UNDER_WAY_MAX, "seed {}: {under_way} datagrams under way", self.seed);
    }

    fn weather_between(&self, from: SocketAddr, to: SocketAddr) -> (Weather, bool) {
        if self.paths.is_empty() {
            return (self.weather, false);
        }
        let ends = self.homes.get(&from).zip(self.homes.get(&to));
        let path = ends.and_then(|(&(from, _), &(to, _))| self.paths.get(&(from, to)));
        path.map_or((self.weather, false), |path| (path.weather.unwrap_or(self.weather), path.cut))
    }

    fn arrive(&mut self, slot: Slot) {
        let Some(&(id, port)) = self.homes.get(&self.traffic[slot].to) else { return self.miss(slot) };
        match self.nodes[id].state {
            State::Up => self.deliver(slot, id, port),
            State::Paused => self.keep_waiting(slot, id, port),
            State::Killed | State::Done => self.miss(slot),
        }
    }

    fn deliver(&mut self, slot: Slot, id: NodeId, port: Port) {
        self.counts.delivered += 1;
        let now = self.clock(id);
        let Flight { from, to, sent_at, ref bytes, ref mut original } = self.traffic[slot];
        self.trace.note(self.now, &Note::Arrived { way: Way { from, to }, took: self.now - sent_at, bytes });
        if let Some(sent) = original.take() {
            self.garbled.push(Garbled { from, to, sent, arrived: bytes.clone() });
        }
        self.nodes[id].machine.handle_datagram(now, port, from, bytes);
        self.traffic.give_back(slot);
        self.settle(id, now);
    }

    fn keep_waiting(&mut self, slot: Slot, id: NodeId, port: Port) {
        let Some(socket) = self.nodes[id].sockets.iter_mut().find(|socket| socket.port == port) else { return };
        if socket.waiting.len() < socket.waiting_max {
            return socket.waiting.push_back(slot);
        }
        socket.drops += 1;
        self.end(slot, Fate::Dropped);
    }

    /// Nobody listens. The host says so, if the weather on the way back lets it.
    fn miss(&mut self, slot: Slot) {
        let Flight { from, to, .. } = self.traffic[slot];
        self.end(slot, Fate::ToNobody);
        let Some(&(sender, port)) = self.homes.get(&from) else { return };
        let (weather, cut) = self.weather_between(to, from);
        if !cut && happens(&mut self.chance, weather.refused_permille) {
            let at = self.now.saturating_add(weather.delay(&mut self.chance));
            self.traffic.schedule(at, Arrival::Refusal(sender, port));
        }
    }

    fn refuse(&mut self, id: NodeId, port: Port) {
        if self.nodes[id].state == State::Up {
            self.counts.refused += 1;
            let now = self.clock(id);
            self.trace.note(self.now, &Note::Refused(id));
            self.nodes[id].machine.handle_refused(now, port);
            self.settle(id, now);
        }
    }

    /// A datagram's end short of a machine.
    fn end(&mut self, slot: Slot, fate: Fate) {
        *match fate {
            Fate::Lost => &mut self.counts.lost,
            Fate::Cut => &mut self.counts.cut,
            Fate::TooLong => &mut self.counts.too_long,
            Fate::ToNobody => &mut self.counts.to_nobody,
            Fate::Dropped => &mut self.counts.dropped,
        } += 1;
        let Flight { from, to, ref bytes, .. } = self.traffic[slot];
        self.trace.note(self.now, &Note::Ended { way: Way { from, to }, fate, bytes });
        self.traffic.give_back(slot);
    }

    /// A node's process is gone; what waited at its sockets goes with it.
    pub(crate) fn close(&mut self, id: NodeId, state: State) {
        self.nodes[id].close(state);
        self.nodes.set_turn(id, NEVER);
        for slot in self.nodes[id].take_waiting() {
            self.end(slot, Fate::Dropped);
        }
    }

    /// Asks for a turn at once.
    pub(crate) fn wake_if_up(&mut self, id: NodeId) {
        if self.nodes[id].state == State::Up {
            self.nodes.set_turn(id, self.now);
        }
    }

    pub(crate) fn note_added<M>(&mut self, id: NodeId) {
        let addresses: Vec<SocketAddr> = self.nodes[id].sockets.iter().map(|socket| socket.address).collect();
        self.trace.note(self.now, &Note::Added(id, std::any::type_name::<M>(), &addresses));
    }
}

impl Drop for Net {
    /// A test that fails says how to see it again.
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the test's own message cannot know the seed of every net")]
            {
                eprintln!("simnet: seed {} at {:?} after {} turns", self.seed, self.now(), self.counts.turns);
            }
        }
    }
}

#[expect(clippy::panic, reason = "a test that takes one machine for another is a wrong test")]
fn wrong_type<M>(id: NodeId) -> ! {
    panic!("{id} is no {}", std::any::type_name::<M>())
}
