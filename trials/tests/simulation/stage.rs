//! A topology on its net: its nodes, and a witness at each.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use feeder::Pace;
use link::{ProducerPlan, SendLimits};
use machine::{Machine as _, Now, Port, Transmit};
use metrics::{Identity, LogOrder, Reports};
use rand::{SeedableRng as _, rngs::SmallRng};
use simnet::{Garbled, Mailbox, Net, NodeId, State};
use udp_client::{Client, Style};
use worker::{LinkPlan, OnError, Plan, Route};

use crate::{
    findings::{Check, Finding, Tally},
    flaw::{Defect, Flaw},
    laws::Work,
    witness::{Books, Member, Passed, Witness},
};

/// How long a topology may take, in calm weather, to come to what it is asked for. The longest wait of a node is the rest
/// of one second between two questions to a silent queue.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a client waits for each answer: not longer than some networks take.
const ANSWERED_WITHIN: Duration = Duration::from_millis(50);

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    Queue {
        messages_max: usize,
    },
    Worker(Work),
    Sink,
    /// Feeds this queue, at this pace.
    Feeder(SocketAddr, Pace),
    /// Asks this queue.
    Client(SocketAddr),
    /// Takes everybody's reports.
    Reports,
}

/// A node's place in the topology: it stays when the node dies.
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    host: u8,
}

impl Place {
    pub(crate) fn address(&self, port: Port) -> SocketAddr {
        address(self.host, port)
    }
}

/// What a node leaves behind at its death, or at the end of the run.
pub(crate) struct Life {
    pub(crate) node: NodeId,
    pub(crate) passed: Vec<Passed>,
    pub(crate) books: Books,
}

/// A topology on its net.
pub(crate) struct Stage {
    pub(crate) net: Net,
    pub(crate) seed: u64,
    /// Another stream than the net's.
    pub(crate) chance: SmallRng,
    pub(crate) places: BTreeMap<NodeId, Place>,
    pub(crate) lives: Vec<Life>,
    /// As far as it was asked for.
    pub(crate) garbled: Vec<Garbled>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) tally: Tally,
    defect: Option<Defect>,
}

/// The first node takes the reports.
const REPORTS: u8 = 1;

impl Stage {
    pub(crate) fn new(seed: u64, defect: Option<Defect>) -> Self {
        let mut stage = Self {
            net: Net::new(seed),
            seed,
            chance: SmallRng::seed_from_u64(!seed),
            places: BTreeMap::new(),
            lives: Vec::new(),
            garbled: Vec::new(),
            findings: Vec::new(),
            tally: Tally { seeds: 1, ..Tally::default() },
            defect,
        };
        stage.add("reports", Role::Reports);
        stage
    }

    pub(crate) fn add(&mut self, name: &'static str, role: Role) -> NodeId {
        let host = REPORTS + u8::try_from(self.places.len()).unwrap();
        let place = Place { name, role, host };
        let id = self.net.add(self.cast(&place), &[0, 1, 2].map(|port| (Port(port), address(host, Port(port)))));
        self.places.insert(id, place);
        id
    }

    /// A queue; in one seed of four it is a small one, which has to refuse messages while it storms.
    pub(crate) fn add_queue(&mut self, name: &'static str) -> NodeId {
        let messages_max = if self.seed % 4 == 3 { 16 } else { 1 << 20 };
        self.add(name, Role::Queue { messages_max })
    }

    /// Where a node listens.
    pub(crate) fn address(&self, id: NodeId) -> SocketAddr {
        self.places[&id].address(Port(0))
    }

    /// Puts a new process in the place of a node.
    pub(crate) fn restart(&mut self, id: NodeId) {
        self.bury(id);
        let witness = self.cast(&self.places[&id]);
        self.net.restart(id, witness);
    }

    /// Ends nodes as an operator does: what is under way comes to its end, then they say their last words.
    pub(crate) fn stop(&mut self, nodes: &[NodeId]) {
        let up: Vec<NodeId> = nodes.iter().copied().filter(|&id| self.net.state(id) == State::Up).collect();
        for &id in &up {
            self.net.act(id, |witness: &mut Witness, now| witness.handle_stopping(now));
        }
        self.expect(Check::Stalled, "nodes settle", |stage| up.iter().all(|&id| stage.witness(id).is_settled()));
        for &id in &up {
            self.net.stop(id);
        }
    }

    /// Keeps what a node leaves behind.
    pub(crate) fn bury(&mut self, node: NodeId) {
        let witness = self.witness(node);
        let life = Life { node, passed: witness.passed.clone(), books: witness.books() };
        self.lives.push(life);
    }

    pub(crate) fn witness(&self, id: NodeId) -> &Witness {
        self.net.node(id)
    }

    /// Whether all lines are fed and no message is on its way, whoever has it.
    pub(crate) fn is_quiet(&self) -> bool {
        let rests = |(&id, place): (&NodeId, &Place)| match place.role {
            Role::Feeder(..) => self.net.state(id) == State::Done,
            _ => self.witness(id).books().is_clear(),
        };
        self.net.under_way() == 0 && self.places.iter().all(rests)
    }

    /// Keeps what has come garbled so far.
    pub(crate) fn keep_garbled(&mut self) {
        self.garbled.extend(self.net.take_garbled());
    }

    /// Runs until `is_reached`, but no longer than `within`; whether it came to that.
    pub(crate) fn runs_until(&mut self, within: Duration, is_reached: impl Fn(&Self) -> bool) -> bool {
        /// How often to look. No divisor of a worker's rests, or it might always be looked at while it asks.
        const STRIDE: Duration = Duration::from_micros(3_700);
        let limit = self.net.now() + within;
        while !is_reached(self) {
            if self.net.now() >= limit {
                return false;
            }
            self.net.run_until(self.net.now() + STRIDE);
        }
        true
    }

    /// Runs until `is_reached`, and notes if that takes too long.
    pub(crate) fn expect(&mut self, check: Check, what: &str, is_reached: impl Fn(&Self) -> bool) {
        let begun = self.net.now();
        if !self.runs_until(PATIENCE, is_reached) {
            self.find(check, format!("not within {PATIENCE:?} in calm weather: {what}"));
        }
        self.tally.longest_wait = self.tally.longest_wait.max(self.net.now().saturating_sub(begun));
    }

    pub(crate) fn find(&mut self, check: Check, what: String) {
        self.findings.push(Finding { check, what });
    }

    /// The machine for a place, at the beginning of its life.
    fn cast(&self, place: &Place) -> Witness {
        let member: Box<dyn Member> = match &place.role {
            Role::Queue { messages_max } => {
                let limits = mq::Limits { messages_max: *messages_max as u64, bytes_max: 1 << 30 };
                Box::new(mq::Queue::new(1, limits, self.reports(place, "Messagequeue", mq::METRICS)).speaking_2016())
            }
            Role::Worker(work) => {
                let function = functions::find(work.function).unwrap();
                let reports = self.reports(place, function.name(), worker::METRICS);
                Box::new(worker::Worker::new(self.plan(work), function.start(), reports))
            }
            Role::Sink => {
                Box::new(sink::Sink::new(1, sink::Messages::Printed, self.reports(place, "Sink", sink::METRICS)))
            }
            Role::Feeder(queue, pace) => {
                let delivery = feeder::Delivery::Link(ProducerPlan {
                    producer: u128::from(place.host),
                    nonce: (self.lives.len() as u64) << 32,
                    stage: String::new(),
                    floor: None,
                    datagram_bytes_max: 65_507,
                    limits: SendLimits::default(),
                    puts_max: 128,
                });
                let plan = feeder::Plan {
                    queue: *queue,
                    delivery,
                    format: feeder::Format::Fix,
                    pace: *pace,
                    messages_max: u64::MAX,
                    shows_progress: false,
                    writes_summary: false,
                };
                Box::new(feeder::Feeder::new(plan, self.reports(place, "Feeder", feeder::METRICS)))
            }
            Role::Client(queue) => Box::new(Client::new(*queue, ANSWERED_WITHIN, Style::Json)),
            Role::Reports => Box::new(Mailbox::default()),
        };
        let defect = self.defect.filter(|defect| defect.befalls(&place.role));
        Witness::of(member, defect.map(Flaw::new))
    }

    fn reports(&self, place: &Place, func: &str, port: Port) -> Reports {
        /// Longer than a run: the last words are enough.
        const PERIOD: Duration = Duration::from_mins(10);
        let identity = Identity { vuid: place.name.to_owned(), func: func.to_owned(), address: None };
        let to = Transmit { port, to: address(REPORTS, Port(0)) };
        // The new node's wall clock shows what that of the first one shows.
        let first = *self.places.keys().next().unwrap();
        let now = Now { since_start: Duration::ZERO, ..self.net.clock(first) };
        Reports::new(identity, LogOrder::TimeFirst, PERIOD, Some(to), now)
    }

    fn plan(&self, work: &Work) -> Plan {
        Plan {
            inputs: work.inputs.clone(),
            outputs: work.outputs.clone(),
            output_kind: work.output_kind,
            route: Route::Choice,
            under_way_max: if self.seed.is_multiple_of(2) { 64 } else { 3 },
            rest_min: Duration::from_micros(1),
            on_error: OnError::Continue,
            link: LinkPlan {
                identity: self.seed << 16 | (self.lives.len() + self.places.len()) as u64,
                stage: work.function.to_owned(),
                floor: None,
                lease: Duration::from_secs(5),
                datagram_bytes_max: protocol::DATAGRAM_BYTES_MAX,
            },
        }
    }
}

fn address(host: u8, port: Port) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 10_000 + u16::from(port.0)))
}
