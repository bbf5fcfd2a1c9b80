//! A graph of real machines on its net: who is where, and how each begins its life.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use feeder::{Delivery, Entry, Feeder, Format, Pace};
use link::{ProducerPlan, SendLimits};
use machine::{Now, Port, STDOUT};
use metrics::{Identity, LogOrder, Reports};
use mq::Queue;
use simnet::{Mailbox, Net, NodeId, State};
use sink::Sink;
use worker::{LinkPlan, OnError, OutputKind, Route, Worker};

use crate::{
    disks::Disks,
    messages::{self, Text},
    options::{Options, Promise, Work},
    plant::Plant,
};

/// What a node is, and which of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Feeder(usize),
    /// By stage.
    Queue(usize),
    /// By stage and number.
    Worker(usize, usize),
    Sink,
    /// Asks the queues for their dead letters.
    Clerk,
}

pub(crate) struct Place {
    pub(crate) role: Role,
    pub(crate) id: NodeId,
    host: u8,
}

impl Place {
    pub(crate) fn address(&self) -> SocketAddr {
        address(self.host, Port(0))
    }
}

/// A graph on its net.
pub(crate) struct Graph {
    pub(crate) net: Net,
    pub(crate) options: Options,
    pub(crate) places: Vec<Place>,
    /// Who talks with whom, by their places.
    pub(crate) paths: Vec<(usize, usize)>,
    /// How often a living worker has applied a message that it had applied.
    pub(crate) applied_again: Arc<AtomicU64>,
    /// For each feeder, how many messages may have left before the last death of a queue.
    pub(crate) fed_before: Vec<u64>,
    /// How many processes have begun.
    lives: u64,
    pub(crate) plant: Option<Plant>,
    pub(crate) disks: Disks,
}

fn address(host: u8, port: Port) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 10_000 + u16::from(port.0)))
}

/// As if drawn at random.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

pub(crate) fn reports() -> Reports {
    let identity = Identity { vuid: String::new(), func: String::new(), address: None };
    let start = Now { since_start: Duration::ZERO, since_epoch: Duration::from_hours(1) };
    Reports::new(identity, LogOrder::TimeFirst, Duration::from_mins(10), None, start)
}

impl Graph {
    pub(crate) fn new(options: Options, plant: Option<Plant>, reader: Option<fn(&str)>) -> Self {
        let mut net = Net::new(options.seed);
        if let Some(reader) = reader {
            net.trace_to(reader);
        }
        let fed_before = vec![0; options.feeders];
        let applied_again = Arc::new(AtomicU64::new(0));
        let (places, paths, disks) = (Vec::new(), Vec::new(), Disks::default());
        let mut graph = Self { net, options, places, paths, applied_again, fed_before, lives: 0, plant, disks };
        graph.settle_all();
        graph.lay_paths();
        graph.net.set_weather(graph.options.weather);
        graph
    }

    fn settle_all(&mut self) {
        let mut roles = vec![Role::Sink; self.options.sinks];
        for (number, stage) in self.options.stages.iter().enumerate() {
            roles.extend((0..stage.queues).map(|_| Role::Queue(number)));
        }
        for (number, stage) in self.options.stages.iter().enumerate() {
            roles.extend((0..stage.workers).map(|worker| Role::Worker(number, worker)));
        }
        roles.extend((0..self.options.feeders).map(Role::Feeder));
        roles.push(Role::Clerk);
        // All have their address before the first begins.
        let hosts = (1..=u8::MAX).zip(roles);
        let hosts: Vec<(u8, Role)> = hosts.collect();
        for &(host, role) in &hosts {
            let id = self.net.add(Mailbox::default(), &[0, 1, 2].map(|port| (Port(port), address(host, Port(port)))));
            self.places.push(Place { role, id, host });
        }
        for place in 0..self.places.len() {
            if self.places[place].role != Role::Clerk {
                self.begin(place);
            }
        }
    }

    /// Paths lead from each client to its queues and sinks.
    fn lay_paths(&mut self) {
        for place in 0..self.places.len() {
            let peers = match self.places[place].role {
                Role::Feeder(number) => vec![self.queue_of_feeder(number)],
                Role::Worker(stage, number) => {
                    let mut peers = self.inputs(stage, number);
                    peers.extend(self.outputs(stage, number));
                    peers
                }
                _ => Vec::new(),
            };
            self.paths.extend(peers.into_iter().map(|peer| (place, peer)));
        }
        self.paths.sort_unstable();
        self.paths.dedup();
    }

    fn all(&self, fits: impl Fn(Role) -> bool) -> Vec<usize> {
        (0..self.places.len()).filter(|place| fits(self.places[*place].role)).collect()
    }

    pub(crate) fn queues(&self) -> Vec<usize> {
        self.all(|role| matches!(role, Role::Queue(_)))
    }

    pub(crate) fn sinks(&self) -> Vec<usize> {
        self.all(|role| role == Role::Sink)
    }

    pub(crate) fn feeders(&self) -> Vec<usize> {
        self.all(|role| matches!(role, Role::Feeder(_)))
    }

    pub(crate) fn clerk(&self) -> &Place {
        &self.places[self.places.len() - 1]
    }

    fn queue_of_feeder(&self, number: usize) -> usize {
        let queues = self.all(|role| role == Role::Queue(0));
        queues[number % queues.len()]
    }

    fn inputs(&self, stage: usize, number: usize) -> Vec<usize> {
        let queues = self.all(|role| role == Role::Queue(stage));
        if self.options.stages[stage].takes_from_all { queues } else { vec![queues[number % queues.len()]] }
    }

    fn outputs(&self, stage: usize, number: usize) -> Vec<usize> {
        let is_last = stage + 1 == self.options.stages.len();
        let next = if is_last { self.sinks() } else { self.all(|role| role == Role::Queue(stage + 1)) };
        match self.options.stages[stage].work {
            Work::Cycle(_) => {
                let ring = self.all(|role| role == Role::Queue(stage));
                messages::outputs_of_cycle(ring[(number + 1) % ring.len()], &next)
            }
            Work::Pass | Work::Double => next,
        }
    }

    /// A new process in a place, instead of the one that was there.
    pub(crate) fn begin(&mut self, place: usize) {
        self.lives += 1;
        let id = self.places[place].id;
        match self.places[place].role {
            Role::Sink => {
                let fault = self.plant.and_then(Plant::of_servers);
                let sink = Sink::with_fault(self.drawn(), sink::Messages::Printed, reports(), fault);
                self.net.restart(id, sink);
            }
            Role::Queue(stage) => {
                let queue = match self.options.logs {
                    Some(logs) => self.recover_queue(place, stage, logs),
                    None => self.new_queue(stage),
                };
                self.net.restart(id, queue);
            }
            Role::Worker(stage, number) => self.net.restart(id, self.new_worker(stage, number)),
            Role::Feeder(number) => {
                self.net.restart(id, self.new_feeder(number));
                let messages = self.options.messages_each;
                let lines = (0..messages).map(move |line| Entry::Message(&messages::line(number, line)).line());
                self.net.feed(id, lines);
            }
            Role::Clerk => {}
        }
    }

    /// Another number for each process.
    pub(crate) fn drawn(&self) -> u64 {
        mix(self.options.seed << 20 | self.lives << 4)
    }

    fn new_queue(&self, stage: usize) -> Queue {
        let limits = mq::Limits { messages_max: self.options.stages[stage].room, bytes_max: 1 << 24 };
        let fault = self.plant.and_then(Plant::of_servers);
        let queue = Queue::with_fault(self.drawn(), limits, reports(), fault);
        let is_old = self.options.promise == Promise::AtMostOnce && stage == 0;
        if is_old { queue.speaking_2016() } else { queue }
    }

    fn new_worker(&self, place: usize, number: usize) -> Worker {
        let stage = &self.options.stages[place];
        let addresses = |places: Vec<usize>| places.into_iter().map(|place| self.places[place].address()).collect();
        let route = if stage.by_chance { Route::random(self.drawn(), place as u64) } else { Route::Choice };
        let plan = worker::Plan {
            inputs: addresses(self.inputs(place, number)),
            outputs: addresses(self.outputs(place, number)),
            output_kind: OutputKind::Queue,
            route,
            under_way_max: self.options.deliveries_max,
            rest_min: Duration::from_micros(100),
            on_error: OnError::Continue,
            link: LinkPlan {
                identity: self.drawn(),
                stage: format!("stage{place}"),
                floor: None,
                lease: self.options.lease,
                datagram_bytes_max: self.options.datagram_bytes_max,
            },
        };
        let function = messages::function(place, stage, Arc::clone(&self.applied_again));
        let mut worker = Worker::new(plan, function, reports());
        if let Some(plant) = self.plant {
            worker.plant(plant.of_workers());
        }
        worker
    }

    fn new_feeder(&self, number: usize) -> Feeder {
        let batches_max = self.options.batches_under_way_max;
        let producer = ProducerPlan {
            producer: u128::from(mix(self.options.seed)) << 64 | number as u128,
            nonce: self.drawn(),
            stage: String::new(),
            floor: None,
            datagram_bytes_max: self.options.datagram_bytes_max,
            limits: SendLimits { batches_max, ..SendLimits::default() },
            puts_max: 16,
        };
        let plan = feeder::Plan {
            queue: self.places[self.queue_of_feeder(number)].address(),
            delivery: Delivery::Link(producer),
            format: Format::Lines,
            pace: Pace::Free,
            messages_max: u64::MAX,
            shows_progress: false,
            writes_summary: false,
        };
        Feeder::new(plan, reports())
    }

    pub(crate) fn feeder(&self, place: usize) -> &Feeder {
        self.net.node(self.places[place].id)
    }

    pub(crate) fn queue(&self, place: usize) -> &Queue {
        self.net.node(self.places[place].id)
    }

    /// How many messages the feeder of a place has fed or found fed, as it knows.
    pub(crate) fn fed(&self, place: usize) -> u64 {
        let summary = self.feeder(place).summary();
        summary.resumed + summary.confirmed
    }

    /// All that the sinks of the graph have printed, over all their lives; each sink's in order.
    pub(crate) fn printed(&self) -> impl Iterator<Item = impl Iterator<Item = Result<Text<'_>, &[u8]>>> {
        self.sinks().into_iter().map(|sink| {
            let written = self.net.written(self.places[sink].id, STDOUT);
            let lines = written.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.map(|line| Text::parse(line).ok_or(line))
        })
    }

    /// How many bytes have come out.
    pub(crate) fn printed_bytes(&self) -> usize {
        self.sinks().into_iter().map(|sink| self.net.written(self.places[sink].id, STDOUT).len()).sum()
    }

    /// Whether all lines are fed and no queue has anything left.
    pub(crate) fn is_over(&self) -> bool {
        let is_empty = |place: usize| {
            let ledger = self.queue(place).message_ledger();
            ledger.ready + ledger.leased == 0
        };
        self.feeders().into_iter().all(|place| self.net.state(self.places[place].id) == State::Done)
            && self.queues().into_iter().all(is_empty)
    }
}
