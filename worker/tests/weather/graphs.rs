//! A worker with several queues on either side.

use super::*;

/// The worker between its queues, each output with somebody who takes all that comes out.
struct Graph {
    net: Net,
    seed: u64,
    lives: u64,
    worker: NodeId,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    drains: Vec<NodeId>,
}

const INPUTS: u8 = 2;

/// Numbers in each input.
const TOTAL: u64 = 400;

fn graph_plan(seed: u64, life: u64, outputs: usize) -> Plan {
    let hosts = |from: u8, count: u8| (from..from + count).map(address).collect::<Vec<_>>();
    Plan {
        inputs: hosts(100, INPUTS),
        outputs: hosts(110, u8::try_from(outputs).unwrap()),
        ..plan(seed, life, 2 * SECOND)
    }
}

impl Graph {
    /// Which of the outputs speak the verbs of 2016 only; their paths are calm, for nothing repeats what they lose.
    fn new(seed: u64, weather: Weather, old: &[bool]) -> Self {
        let mut net = Net::new(seed);
        net.set_weather(weather);
        let queue = |node| Queue::new(node, Limits { messages_max: 1 << 20, bytes_max: 1 << 30 }, reports());
        let mut inputs = Vec::new();
        for n in 0..INPUTS {
            inputs.push(net.add(queue(seed << 8 | u64::from(n + 1)), &[(EDGE, address(100 + n))]));
            let producer = Producer::new(ProducerPlan {
                producer: u128::from(seed << 8 | u64::from(n)),
                nonce: seed << 8 | u64::from(n),
                stage: String::new(),
                floor: None,
                datagram_bytes_max: SMALL,
                limits: SendLimits::default(),
                puts_max: 128,
            });
            let first = TOTAL * u64::from(n);
            let feeder = Feeder { queue: address(100 + n), producer, next: first, total: first + TOTAL };
            net.add(feeder, &[(EDGE, address(120 + n))]);
        }
        let worker = Worker::new(graph_plan(seed, 0, old.len()), function(false), reports());
        let worker = net.add(worker, &[(INPUT, address(5)), (OUTPUT, address(6)), (METRICS, address(7))]);
        let (mut outputs, mut drains) = (Vec::new(), Vec::new());
        for (n, is_old) in (0_u8..).zip(old) {
            let queue = queue(seed << 8 | u64::from(n + 101));
            let queue = if *is_old { queue.speaking_2016() } else { queue };
            let output = net.add(queue, &[(EDGE, address(110 + n))]);
            let consumer = Consumer::new(ConsumerPlan {
                session: seed << 8 | u64::from(n),
                messages_max: 50,
                datagram_bytes_max: SMALL,
                deliveries_max: 4,
                lease: 60 * SECOND,
                floor: None,
                old: GetLimits { under_way_max: 1, rest_min: SECOND / 100, rest_max: SECOND },
            });
            let drain = Drain { queue: address(110 + n), consumer, taken: BTreeMap::new() };
            let drain = net.add(drain, &[(EDGE, address(130 + n))]);
            if *is_old {
                for other in [worker, drain] {
                    net.set_path_weather(output, other, Weather::calm());
                    net.set_path_weather(other, output, Weather::calm());
                }
            }
            outputs.push(output);
            drains.push(drain);
        }
        Self { net, seed, lives: 1, worker, inputs, outputs, drains }
    }

    fn restart_worker(&mut self) {
        let plan = graph_plan(self.seed, self.lives, self.outputs.len());
        self.net.restart(self.worker, Worker::new(plan, function(false), reports()));
        self.lives += 1;
    }

    fn finish(&mut self) {
        let (inputs, outputs) = (self.inputs.clone(), self.outputs.clone());
        let is_over = |net: &Net| {
            let ledger = |id: &NodeId| net.node::<Queue>(*id).message_ledger();
            let is_fed = |ledger: link::Ledger| ledger.done + ledger.dead == TOTAL;
            let is_taken = |ledger: link::Ledger| ledger.done + ledger.popped == ledger.accepted;
            inputs.iter().map(ledger).all(is_fed) && outputs.iter().map(ledger).all(is_taken)
        };
        self.net.run_while(Duration::from_mins(10), |net| !is_over(net));
        let ledgers: Vec<_> =
            inputs.iter().chain(&outputs).map(|id| self.net.node::<Queue>(*id).message_ledger()).collect();
        assert!(is_over(&self.net), "seed {} stands still: {ledgers:?}", self.seed);
        self.net.run_until(self.net.now() + 5 * SECOND);
        assert!(ledgers.iter().all(link::Ledger::balances), "seed {}: {ledgers:?}", self.seed);
    }

    /// All outputs came, each once and to one of the queues, or more often to an old one if the worker has died.
    fn check(&self) {
        let seed = self.seed;
        let numbers = 0..TOTAL * u64::from(INPUTS);
        let passes = |number: &u64| number % 100 != 77;
        let outputs = |number: u64| [number.to_string(), format!("twice {}", 2 * number)];
        let mut missing: BTreeMap<String, u64> =
            numbers.clone().filter(passes).flat_map(outputs).map(|text| (text, 0)).collect();
        for (drain, output) in self.drains.iter().zip(&self.outputs) {
            let taken = &self.net.node::<Drain>(*drain).taken;
            assert!(taken.len() > 100, "seed {seed}: {} of them came here", taken.len());
            let is_old = self.net.node::<Queue>(*output).message_ledger().done == 0;
            for (text, times) in taken {
                assert!(*times == 1 || is_old && self.lives > 1, "seed {seed}: {text} {times} times");
                *missing.get_mut(text).unwrap() += 1;
            }
        }
        let wrong: Vec<_> = missing.iter().filter(|(_, queues)| **queues != 1).collect();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:?}");
        let dead: u64 = self.inputs.iter().map(|id| self.net.node::<Queue>(*id).message_ledger().dead).sum();
        assert_eq!(dead, numbers.filter(|number| !passes(number)).count() as u64, "seed {seed}");
    }
}

#[test]
fn several_inputs_and_outputs_by_chance() {
    for seed in 500..520 {
        let mut graph = Graph::new(seed, WORST, &[false; 3]);
        graph.finish();
        graph.check();
    }
}

#[test]
fn several_inputs_and_outputs_by_chance_though_the_worker_dies() {
    for seed in 520..540 {
        let mut graph = Graph::new(seed, WORST, &[false; 3]);
        for _ in 0..3 {
            graph.net.run_until(graph.net.now() + Duration::from_millis(100 + 37 * (seed % 20)));
            graph.restart_worker();
        }
        graph.finish();
        graph.check();
    }
}

#[test]
fn old_and_new_queues_side_by_side() {
    for seed in 540..560 {
        let mut graph = Graph::new(seed, WORST, &[false, true, false]);
        graph.finish();
        graph.check();
    }
}

#[test]
fn old_and_new_queues_side_by_side_though_the_worker_dies() {
    for seed in 560..580 {
        let mut graph = Graph::new(seed, WORST, &[true, false]);
        for _ in 0..2 {
            graph.net.run_until(graph.net.now() + Duration::from_millis(200 + 37 * (seed % 20)));
            graph.restart_worker();
        }
        graph.finish();
        graph.check();
    }
}
