//! A spike on every edge of a small topology, in a seeded network with a virtual clock:
//! client -> spike -> mq <- spike <- worker -> spike -> mq.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{net::SocketAddr, time::Duration};

use machine::{Now, Port};
use metrics::{Identity, LogOrder, Reports};
use mq::Queue;
use protocol::{frame, verb::Request};
use simnet::{Mailbox, Net, NodeId};
use spike::{Answers, Counts, Delays, Direction, Each, Garbling, Limits, Mode, Plan, Prints, Shares, Spike, Trouble};
use worker::{LinkPlan, OnError, OutputKind, Route, Worker};

/// The ports of a spike: its clients', and four towards the server.
const SPIKE_PORTS: u8 = 5;

fn address(host: u8, port: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 10_000 + u16::from(port)))
}

fn sockets(host: u8, count: u8) -> Vec<(Port, SocketAddr)> {
    (0..count).map(|port| (Port(port), address(host, port))).collect()
}

fn reports() -> Reports {
    let identity = Identity { vuid: "trial".to_owned(), func: "trial".to_owned(), address: None };
    let start = Now { since_start: Duration::ZERO, since_epoch: Duration::ZERO };
    Reports::new(identity, LogOrder::TimeFirst, Duration::from_hours(1), None, start)
}

fn plan(host: u8, server: u8, mode: Mode) -> Plan {
    Plan {
        listening: address(host, 0),
        server: address(server, 0),
        clients: usize::from(SPIKE_PORTS) - 1,
        mode,
        suffers: Each { inward: true, outward: true },
        seed: 7,
        delays: Delays { min_ms: 1, max_ms: 100 },
        garbling: Garbling::Bytes,
        partitions: None,
        frames_only: false,
        answers: Answers::Relayed,
        prints: Prints::Nothing,
        limits: Limits::USUAL,
    }
}

const CLIENT: u8 = 1;
const FIRST_SPIKE: u8 = 2;
const FIRST_QUEUE: u8 = 3;
const GET_SPIKE: u8 = 4;
const WORKER: u8 = 5;
const PUT_SPIKE: u8 = 6;
const LAST_QUEUE: u8 = 7;

struct Stage {
    net: Net,
    spikes: [NodeId; 3],
    queues: [NodeId; 2],
    worker: NodeId,
}

impl Stage {
    fn new(seed: u64, mode: Mode) -> Self {
        let mut net = Net::new(seed);
        net.add(Mailbox::default(), &sockets(CLIENT, 1));
        let spikes = [(FIRST_SPIKE, FIRST_QUEUE), (GET_SPIKE, FIRST_QUEUE), (PUT_SPIKE, LAST_QUEUE)];
        let spikes = spikes.map(|(host, server)| {
            let plan = Plan { seed: seed + u64::from(host), ..plan(host, server, mode) };
            net.add(Spike::new(plan), &sockets(host, SPIKE_PORTS))
        });
        let queues = [FIRST_QUEUE, LAST_QUEUE].map(|host| {
            let limits = mq::Limits { messages_max: 1 << 20, bytes_max: 1 << 30 };
            net.add(Queue::new(1, limits, reports()).speaking_2016(), &sockets(host, 2))
        });
        let plan = worker::Plan {
            inputs: vec![address(GET_SPIKE, 0)],
            outputs: vec![address(PUT_SPIKE, 0)],
            output_kind: OutputKind::Queue,
            route: Route::Choice,
            under_way_max: 16,
            rest_min: Duration::from_millis(1),
            on_error: OnError::Continue,
            link: LinkPlan {
                identity: 1,
                stage: "Passthrough".to_owned(),
                floor: None,
                lease: Duration::from_secs(5),
                datagram_bytes_max: 65_507,
            },
        };
        let function = functions::find("passthrough").unwrap().start();
        let worker = net.add(Worker::new(plan, function, reports()), &sockets(WORKER, 3));
        Self { net, spikes, queues, worker }
    }

    fn put(&mut self, name: &str, messages: u32) {
        for number in 0..messages {
            let mut datagram = Vec::new();
            Request::Put(format!("{name} {number}").as_bytes()).push(&mut datagram).unwrap();
            self.net.send(address(CLIENT, 0), address(FIRST_SPIKE, 0), &datagram);
        }
    }

    fn queue(&self, which: usize) -> &Queue {
        self.net.node(self.queues[which])
    }

    fn counts(&self, spike: usize, direction: Direction) -> Counts {
        let counts = self.net.node::<Spike>(self.spikes[spike]).counts(direction);
        assert!(counts.add_up(), "{counts}");
        counts
    }

    fn say(&mut self, command: &str) {
        for spike in self.spikes {
            self.net.feed(spike, [command.as_bytes().to_vec()]);
        }
    }

    /// Whether all that is in the first queue has been processed and is confirmed to be in the last one, or lost.
    fn is_done(&self) -> bool {
        let worker = self.net.node::<Worker>(self.worker).counts();
        self.queue(0).is_empty() && worker.sent == worker.outputs
    }

    /// The messages of the last queue.
    fn drain(&mut self) -> Vec<String> {
        let reader = self.net.add(Mailbox::default(), &sockets(99, 1));
        let count = self.queue(1).len();
        for _ in 0..count {
            self.net.send(address(99, 0), address(LAST_QUEUE, 0), b"13GET");
        }
        self.net.run_until(self.net.now() + Duration::from_secs(1));
        let received = &self.net.node::<Mailbox>(reader).received;
        assert_eq!(received.len(), count);
        received.iter().map(|it| String::from_utf8_lossy(frame::only(&it.bytes).unwrap()).into_owned()).collect()
    }
}

/// Longer than any wait of a node.
const CALM: Duration = Duration::from_secs(10);

fn bad_mix() -> Mode {
    let shares = [
        (Trouble::Drop, 20),
        (Trouble::Duplicate, 10),
        (Trouble::Garble, 5),
        (Trouble::Delay, 10),
        (Trouble::Reorder, 15),
    ];
    let mix = shares.into_iter().try_fold(Shares::default(), |mix, (trouble, percent)| mix.with(trouble, percent));
    Mode::Mix(mix.unwrap())
}

#[test]
fn at_no_percent_nothing_changes() {
    for mode in [Mode::Pass, Mode::One(Trouble::Drop, 0), Mode::Random(0), Mode::Mix(Shares::default())] {
        let mut stage = Stage::new(7, mode);
        stage.put("message", 300);
        stage.net.run_until(CALM);
        assert!(stage.is_done());
        let expected: Vec<String> = (0..300).map(|number| format!("message {number}")).collect();
        assert_eq!(stage.drain(), expected, "{mode:?}");
        for spike in 0..3 {
            for direction in Direction::BOTH {
                let counts = stage.counts(spike, direction);
                assert!(counts.received > 0 && counts.received == counts.passed && counts.passed == counts.sent);
            }
        }
    }
}

#[test]
fn a_bad_spike_on_every_edge_stops_nobody_and_its_ledger_adds_up() {
    for seed in 0..25 {
        let mut stage = Stage::new(seed, bad_mix());
        stage.put("message", 300);
        stage.net.run_until(Duration::from_secs(5));
        stage.say("partition");
        stage.net.run_until(Duration::from_secs(7));
        stage.say("heal");
        stage.net.run_until(Duration::from_secs(10));
        stage.say("pause");
        stage.net.run_until(Duration::from_secs(11));
        for command in ["resume", "pass"] {
            stage.say(command);
            stage.net.run_until(stage.net.now() + Duration::from_millis(10));
        }
        // Calm now: all goes on, and what is there arrives.
        stage.put("fresh", 50);
        stage.net.run_until(stage.net.now() + CALM);
        assert!(stage.is_done(), "seed {seed}");
        let last: Vec<String> = stage.drain();
        let fresh = (0..50).filter(|number| last.contains(&format!("fresh {number}"))).count();
        assert_eq!(fresh, 50, "seed {seed}");

        for spike in 0..3 {
            let [asked, answered] = Direction::BOTH.map(|direction| stage.counts(spike, direction));
            assert!(asked.dropped > 0 && asked.doubled > 0 && asked.delayed > 0 && asked.reordered > 0, "seed {seed}");
            assert_eq!((asked.held, answered.held), (0, 0), "seed {seed}");
        }
        assert!(stage.counts(1, Direction::In).partitioned > 0, "seed {seed}");
        assert_eq!(stage.net.counts().to_nobody, 0, "seed {seed}");
    }
}

#[test]
fn what_is_counted_as_sent_arrives_and_nothing_else() {
    for seed in 0..100 {
        let mut net = Net::new(seed);
        let plan = Plan { seed, ..plan(FIRST_SPIKE, FIRST_QUEUE, bad_mix()) };
        let spike = net.add(Spike::new(plan), &sockets(FIRST_SPIKE, SPIKE_PORTS));
        let server = net.add(Mailbox::default(), &sockets(FIRST_QUEUE, 1));
        for number in 0..500_u32 {
            net.send(address(CLIENT, 0), address(FIRST_SPIKE, 0), number.to_string().as_bytes());
        }
        net.run_until(CALM);
        let counts = net.node::<Spike>(spike).counts(Direction::In);
        let arrived = net.node::<Mailbox>(server).received.len() as u64;
        assert!(counts.add_up() && counts.held == 0 && counts.received == 500, "seed {seed}: {counts}");
        assert_eq!(arrived, counts.sent, "seed {seed}");
        assert_eq!(counts.sent, 500 + counts.copies - counts.dropped, "seed {seed}");
    }
}

#[test]
fn a_seed_gives_the_same_run() {
    let run = |seed| {
        let mut stage = Stage::new(seed, bad_mix());
        stage.put("message", 200);
        stage.net.run_until(Duration::from_secs(20));
        stage.net.trace_hash()
    };
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn held_datagrams_leave_when_it_ends() {
    let mut stage = Stage::new(7, Mode::One(Trouble::Reorder, 100));
    stage.say("pause");
    stage.net.run_until(Duration::from_millis(1));
    stage.put("message", 100);
    stage.net.run_until(Duration::from_millis(10));
    assert_eq!(stage.counts(0, Direction::In).held, 100);
    stage.net.stop(stage.spikes[0]);
    stage.net.run_until(Duration::from_millis(20));
    assert_eq!((stage.counts(0, Direction::In).sent, stage.queue(0).counts().accepted), (100, 100));
    let said = stage.net.written(stage.spikes[0], spike::STDERR);
    let said = String::from_utf8_lossy(said);
    assert!(said.contains("in: received 100 reordered 100 sent 100; out:"), "{said}");
}
