//! The man in the middle, as a machine: it stands on an edge, relays datagrams both ways, and drops, doubles, garbles,
//! delays or reorders some of them as its seed says.
//!
//! To a server it looks like its clients: each has a port towards the server of its own. To a client it looks like the
//! server. It reads no message; what it does is done to datagrams, be they frames or not. Every datagram is accounted
//! for, see [`Counts`].

mod clients;
mod command;
mod counts;
mod dice;
mod direction;
mod garble;
mod mode;
mod shown;
mod stores;

#[cfg(test)]
mod tests;

use std::{fmt, net::SocketAddr, time::Duration};

use machine::{LogLimit, Machine, Now, Outlet, Port, STDOUT, Transmit};
use protocol::frame;

pub use counts::{Counts, Others};
pub use direction::{Direction, Each};
pub use garble::Garbling;
pub use mode::{AboveHundred, Delays, MODE_NAMES, Mode, Shares, Trouble};
pub use stores::Limits;

use clients::{Clients, Replaced};
use command::Command;
use dice::Dice;
use mode::Fate;
use stores::{Full, Held, Stores};

/// Where clients are heard and answered. The ports after it, one for each client, lead to the server.
pub const CLIENTS: Port = Port(0);

/// Where statistics and answers to commands go; data is on [`STDOUT`].
pub const STDERR: Outlet = Outlet(1);

/// How many clients there may be at once: a driver watches 64 sockets.
pub const CLIENTS_MAX: usize = 60;

/// What the sender of a datagram is told by a spike that acknowledges, without a frame around it.
const ACKNOWLEDGEMENT: &[u8] = b"spike: got it";

/// A client that gives its port up after less than this may still have asked for something.
const SILENT_MIN: Duration = Duration::from_secs(1);

/// How a spike works.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it listens.
    pub listening: SocketAddr,
    /// Where datagrams go.
    pub server: SocketAddr,
    /// How many clients it tells apart, 1 to [`CLIENTS_MAX`].
    pub clients: usize,
    /// What befalls datagrams.
    pub mode: Mode,
    /// Which directions suffer it, and partitions.
    pub suffers: Each<bool>,
    /// All chance follows from it.
    pub seed: u64,
    /// How long delays are.
    pub delays: Delays,
    /// How datagrams are garbled.
    pub garbling: Garbling,
    /// Partitions that come by themselves.
    pub partitions: Option<Partitions>,
    /// Whether only frames may pass, as in 2016.
    pub frames_only: bool,
    /// What a sender is told.
    pub answers: Answers,
    /// What is printed on stdout.
    pub prints: Prints,
    /// How much may be held.
    pub limits: Limits,
}

/// What a sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// What the server answers.
    Relayed,
    /// `spike: got it` for each datagram, and nothing that the server answers, as in 2016.
    GotIt,
}

/// What is printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prints {
    /// Each datagram, as in 2016.
    Datagrams,
    /// The statistics at the end, as JSON.
    Statistics,
    /// Nothing.
    Nothing,
}

/// Partitions that come again and again. The first one begins after `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions {
    /// From the beginning of one to that of the next; more than 0.
    pub every: Duration,
    /// How long each lasts.
    pub lasts: Duration,
}

impl Partitions {
    fn is_on(self, since_start: Duration) -> bool {
        let into = since_start.as_nanos() % self.every.as_nanos().max(1);
        since_start >= self.every && into < self.lasts.as_nanos()
    }
}

/// The man in the middle.
#[derive(Debug)]
pub struct Spike {
    plan: Plan,
    mode: Mode,
    partitioned: bool,
    stopping: bool,
    clients: Clients,
    stores: Stores,
    /// Clients that are to be told that their datagram came.
    acknowledge: Vec<SocketAddr>,
    /// `held` is left to the stores, `kernel_drops` to the ports.
    counts: Each<Counts>,
    others: Others,
    /// By port.
    kernel_drops: Vec<u64>,
    printed: String,
    said: String,
    stray_limit: LogLimit,
    full_limit: LogLimit,
    refused_limit: LogLimit,
    replaced_limit: LogLimit,
}

impl Spike {
    /// A spike that has heard nothing yet.
    pub fn new(plan: Plan) -> Self {
        let mut spike = Self {
            mode: plan.mode,
            partitioned: false,
            stopping: false,
            clients: Clients::new(plan.clients),
            stores: Stores::new(plan.limits),
            acknowledge: Vec::new(),
            counts: Each::default(),
            others: Others::default(),
            kernel_drops: vec![0; plan.clients + 1],
            printed: String::new(),
            said: String::new(),
            stray_limit: LogLimit::default(),
            full_limit: LogLimit::default(),
            refused_limit: LogLimit::default(),
            replaced_limit: LogLimit::default(),
            plan,
        };
        let listening = spike.plan.listening;
        spike.print(format_args!("spike: listening on {listening}"));
        spike
    }

    /// What became of the datagrams of one direction.
    pub fn counts(&self, direction: Direction) -> Counts {
        let towards_server = |port: &usize| *port > usize::from(CLIENTS.0);
        let drops = self.kernel_drops.iter().enumerate();
        let of_direction = drops.filter(|(port, _)| towards_server(port) == (direction == Direction::Out));
        Counts {
            held: self.stores.held(direction),
            kernel_drops: of_direction.map(|(_, drops)| drops).sum(),
            ..*self.counts.of(direction)
        }
    }

    /// What else was counted.
    pub fn others(&self) -> Others {
        self.others
    }

    /// Takes a datagram in, whose way is known but for the port towards the server.
    fn take(&mut self, now: Now, direction: Direction, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let counts = self.counts.of_mut(direction);
        counts.received += 1;
        let number = counts.received;
        if direction == Direction::Out && self.plan.answers == Answers::GotIt {
            counts.kept_back += 1;
        } else if self.is_partitioned(now, direction) {
            self.counts.of_mut(direction).partitioned += 1;
        } else if self.plan.frames_only && frame::only(datagram).is_err() {
            self.counts.of_mut(direction).not_frames += 1;
            self.print(format_args!("spike: couldn't process message received."));
        } else {
            self.print_received(from, datagram);
            let mut dice = Dice::new(self.plan.seed, direction, number);
            let fate = self.fate(direction, &mut dice);
            let port = if direction == Direction::In { self.port_of(now, from) } else { CLIENTS };
            let held = Held { direction, transmit: Transmit { port, to }, bytes: datagram.into() };
            self.meet(now, fate, held, &mut dice);
            let mode = self.mode.name();
            self.print(format_args!("spike: Sent message to {to} in {mode} mode"));
            if self.plan.answers == Answers::GotIt {
                self.acknowledge.push(from);
            }
        }
    }

    fn is_partitioned(&self, now: Now, direction: Direction) -> bool {
        let scheduled = || self.plan.partitions.is_some_and(|partitions| partitions.is_on(now.since_start));
        *self.plan.suffers.of(direction) && (self.partitioned || scheduled())
    }

    fn fate(&mut self, direction: Direction, dice: &mut Dice) -> Fate {
        if !*self.plan.suffers.of(direction) {
            return Fate::Pass;
        }
        let fate = self.mode.fate(self.plan.delays, dice);
        if matches!(self.mode, Mode::Random(_)) {
            self.print(format_args!("spike: random: {}", fate.name()));
        }
        fate
    }

    fn port_of(&mut self, now: Now, client: SocketAddr) -> Port {
        let (port, replaced) = self.clients.port_of(now.since_start, client);
        if let Some(Replaced { client: before, silent }) = replaced {
            self.others.replaced += 1;
            if silent < SILENT_MIN
                && let Some(withheld) = self.replaced_limit.pass(now)
            {
                tracing::warn!(
                    "Too many clients: {client} takes the place of {before}, whose answers may go astray; raise --clients \
                     ({withheld} more unsaid)"
                );
            }
        }
        port
    }

    /// Does to a datagram what befalls it.
    fn meet(&mut self, now: Now, fate: Fate, mut held: Held, dice: &mut Dice) {
        let counts = self.counts.of_mut(held.direction);
        match fate {
            Fate::Pass => {
                counts.passed += 1;
                self.send(now, held);
            }
            Fate::Drop => counts.dropped += 1,
            Fate::Duplicate { copies } => {
                counts.doubled += 1;
                counts.copies += u64::from(copies.saturating_sub(1));
                for _ in 1..copies {
                    self.send(now, held.clone());
                }
                self.send(now, held);
            }
            Fate::Garble => {
                counts.garbled += 1;
                held.bytes = self.plan.garbling.garble(&held.bytes, dice).into();
                self.send(now, held);
            }
            Fate::Delay(delay) => {
                counts.delayed += 1;
                let direction = held.direction;
                let kept = self.stores.delay(now.since_start + delay, held);
                self.count_full(now, direction, kept);
            }
            Fate::Reorder { held_max } => {
                counts.reordered += 1;
                let direction = held.direction;
                let kept = self.stores.reorder(now.since_start, held_max, held);
                self.count_full(now, direction, kept);
            }
        }
    }

    fn send(&mut self, now: Now, held: Held) {
        let direction = held.direction;
        let kept = self.stores.send(held);
        self.count_full(now, direction, kept);
    }

    fn count_full(&mut self, now: Now, direction: Direction, kept: Result<(), Full>) {
        let Err(Full) = kept else { return };
        self.counts.of_mut(direction).overflowed += 1;
        if let Some(withheld) = self.full_limit.pass(now) {
            tracing::warn!("Too much is held: a datagram is dropped ({withheld} more unsaid)");
        }
    }

    fn print_received(&mut self, from: SocketAddr, datagram: &[u8]) {
        if self.plan.prints == Prints::Datagrams {
            self.print(format_args!("spike: RECEIVING"));
            self.print(format_args!("spike: from {from}"));
            let payload = frame::only(datagram).unwrap_or(datagram);
            self.print(format_args!("{}", shown::line(payload)));
        }
    }

    fn print(&mut self, line: fmt::Arguments<'_>) {
        if self.plan.prints == Prints::Datagrams {
            push_line(&mut self.printed, line);
        }
    }

    fn say(&mut self, line: fmt::Arguments<'_>) {
        push_line(&mut self.said, line);
    }

    fn obey(&mut self, command: Command) {
        let confirmed = match command {
            Command::Partition => {
                self.partitioned = true;
                "partition"
            }
            Command::Heal => {
                self.partitioned = false;
                "heal"
            }
            Command::Pause => {
                self.stores.set_paused(true);
                "pause"
            }
            Command::Resume => {
                self.stores.set_paused(false);
                "resume"
            }
            Command::Pass => {
                self.mode = Mode::Pass;
                "pass"
            }
            Command::Share(trouble, percent) => return self.set_share(trouble, percent),
            Command::Stats => return self.say_statistics(),
        };
        self.say(format_args!("spike: {confirmed}"));
    }

    fn set_share(&mut self, trouble: Trouble, percent: u8) {
        match self.mode.shares().with(trouble, percent) {
            Ok(shares) => {
                self.mode = Mode::Mix(shares);
                self.say(format_args!("spike: mix: {shares}"));
            }
            Err(error) => self.say(format_args!("spike: {error}; nothing is changed")),
        }
    }

    /// One line of what became of all datagrams.
    fn say_statistics(&mut self) {
        let [inward, outward] = Direction::BOTH.map(|direction| self.counts(direction));
        let mut line = format!("spike: seed {}; in: {inward}; out: {outward}", self.plan.seed);
        for (name, count) in self.others.named().into_iter().filter(|(_, count)| *count > 0) {
            line.push_str("; ");
            line.push_str(name);
            line.push(' ');
            line.push_str(&count.to_string());
        }
        self.say(format_args!("{line}"));
    }

    /// The same as JSON, zeros and all.
    fn json(&self) -> serde_json::Value {
        let object = |named: &[(&'static str, u64)]| -> serde_json::Map<String, serde_json::Value> {
            named.iter().map(|(name, count)| ((*name).to_owned(), (*count).into())).collect()
        };
        let mut json = object(&self.others.named());
        json.insert("seed".to_owned(), self.plan.seed.into());
        json.insert("mode".to_owned(), self.mode.name().into());
        for direction in Direction::BOTH {
            json.insert(direction.name().to_owned(), object(&self.counts(direction).named()).into());
        }
        json.into()
    }

    fn say_last_words(&mut self) {
        self.say_statistics();
        if self.plan.prints == Prints::Statistics {
            let json = self.json();
            push_line(&mut self.printed, format_args!("{json}"));
        }
    }
}

fn push_line(lines: &mut String, line: fmt::Arguments<'_>) {
    let written = fmt::write(lines, line);
    debug_assert!(written.is_ok(), "a String takes all");
    lines.push('\n');
}

/// Addresses without what only a host knows of them.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

impl Machine for Spike {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        if port == CLIENTS {
            self.take(now, Direction::In, from, self.plan.server, datagram);
        } else if is_same(from, self.plan.server)
            && let Some(client) = self.clients.client_at(now.since_start, port)
        {
            self.take(now, Direction::Out, from, client, datagram);
        } else {
            self.others.stray += 1;
            if let Some(withheld) = self.stray_limit.pass(now) {
                tracing::warn!("Stray datagram from {from} ({withheld} more unsaid)");
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.stores.release_due(now.since_start);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.stores.poll_timeout()
    }

    fn poll_transmit(&mut self, _now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(to) = self.acknowledge.pop() {
            self.others.acknowledged += 1;
            bytes.extend_from_slice(ACKNOWLEDGEMENT);
            return Some(Transmit { port: CLIENTS, to });
        }
        let held = self.stores.pop()?;
        self.counts.of_mut(held.direction).sent += 1;
        bytes.extend_from_slice(&held.bytes);
        Some(held.transmit)
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        // The last words count what the last turn has sent.
        if self.stopping && Direction::BOTH.iter().all(|direction| self.stores.held(*direction) == 0) {
            self.stopping = false;
            self.say_last_words();
        }
        for (outlet, lines) in [(STDOUT, &mut self.printed), (STDERR, &mut self.said)] {
            if !lines.is_empty() {
                bytes.extend_from_slice(lines.as_bytes());
                lines.clear();
                return Some(outlet);
            }
        }
        None
    }

    fn wants_input(&self) -> bool {
        true
    }

    fn handle_input(&mut self, _now: Now, line: Option<&[u8]>) {
        let Some(line) = line.filter(|line| !line.trim_ascii().is_empty()) else { return };
        match Command::parse(line) {
            Ok(command) => self.obey(command),
            Err(error) => self.say(format_args!("spike: {error}")),
        }
    }

    fn handle_outsider(&mut self, now: Now, _port: Port, from: SocketAddr) {
        self.others.not_allowed += 1;
        if let Some(withheld) = self.stray_limit.pass(now) {
            tracing::warn!("Not allowed: a datagram from {from} ({withheld} more unsaid)");
        }
    }

    fn handle_refused(&mut self, now: Now, port: Port) {
        self.others.refused += 1;
        if port != CLIENTS
            && let Some(withheld) = self.refused_limit.pass(now)
        {
            tracing::warn!("Nobody listens at {} ({withheld} more unsaid)", self.plan.server);
        }
    }

    fn handle_unsent(&mut self, port: Port, _to: SocketAddr) {
        if port == CLIENTS && self.plan.answers == Answers::GotIt {
            return; // an acknowledgement
        }
        let counts = self.counts.of_mut(if port == CLIENTS { Direction::Out } else { Direction::In });
        counts.sent = counts.sent.saturating_sub(1);
        counts.unsent += 1;
    }

    fn handle_kernel_drops(&mut self, port: Port, total: u64) {
        if let Some(drops) = self.kernel_drops.get_mut(usize::from(port.0)) {
            *drops = total;
        }
    }

    fn handle_stop(&mut self, _now: Now) {
        self.stores.release_all();
        self.stopping = true;
    }
}
