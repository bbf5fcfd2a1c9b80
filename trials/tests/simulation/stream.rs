//! Streams of quotes and orders from a feeder to a sink: market spread straight, and as a tree.

use std::{collections::BTreeSet, net::SocketAddr};

use feeder::{Pace, Source, Sources};
use machine::STDOUT;
use protocol::{frame, verb::Request};
use rand::Rng as _;
use simnet::NodeId;
use worker::OutputKind;

use crate::{
    findings::{Check, Outcome},
    laws::Work,
    market::{answers, line_of, order, possible_lines, quote},
    stage::{Role, Stage},
    witness::Passed,
};

/// The nodes between feeder and sink.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// One queue, one worker.
    Straight,
    /// A queue, one or two routers, two queues, and a worker for each or for both.
    Tree,
}

/// Lines to feed while it storms.
const STORMY_LINES: usize = 150;

/// So slow that a storm has something to do all the while, and that a small queue never becomes full in calm weather:
/// five messages come while a worker rests.
const SLOW: Pace = Pace::Rate { per_1000_s: 100_000 };

const FRESH_SYMBOLS: usize = 6;
const FRESH_ORDERS: usize = 40;

/// A topology through bad weather and out of it.
pub(crate) fn run(stage: Stage, shape: Shape) -> Outcome {
    let mut stream = Stream::build(stage, shape);
    stream.storm();
    stream.calm();
    stream.stage.close()
}

struct Stream {
    stage: Stage,
    first_queue: SocketAddr,
    sink: NodeId,
}

impl Stream {
    fn build(mut stage: Stage, shape: Shape) -> Self {
        let sink = stage.add("sink", Role::Sink);
        let sink_address = stage.address(sink);
        let market = |inputs| {
            let outputs = vec![sink_address];
            Role::Worker(Work { function: "marketspread", inputs, outputs, output_kind: OutputKind::Socket })
        };
        let first = stage.add_queue("first queue");
        let first_queue = stage.address(first);
        match shape {
            Shape::Straight => {
                stage.add("worker", market(vec![first_queue]));
            }
            Shape::Tree => {
                let queues = [stage.add_queue("left queue"), stage.add_queue("right queue")];
                let outputs = queues.map(|queue| stage.address(queue)).to_vec();
                if stage.chance.random() {
                    stage.add("left worker", market(vec![outputs[0]]));
                    stage.add("right worker", market(vec![outputs[1]]));
                } else {
                    stage.add("worker", market(outputs.clone()));
                }
                let inputs = vec![first_queue];
                let router =
                    Role::Worker(Work { function: "fixrouter", inputs, outputs, output_kind: OutputKind::Queue });
                stage.add("router", router.clone());
                if stage.chance.random() {
                    stage.add("second router", router);
                }
            }
        }
        Self { stage, first_queue, sink }
    }

    fn feed(&mut self, name: &'static str, pace: Pace, lines: &[String]) -> NodeId {
        let feeder = self.stage.add(name, Role::Feeder(self.first_queue, pace));
        let file = std::io::Cursor::new(lines.join("\n").into_bytes());
        let mut sources = Sources::new(vec![Source::new(name, file, feeder::Format::Fix)]);
        let entries = std::iter::from_fn(move || {
            let mut entry = Vec::new();
            sources.read(&mut entry).then_some(entry)
        });
        self.stage.net.feed(feeder, entries.filter(|entry| !entry.is_empty()));
        feeder
    }

    fn storm(&mut self) {
        let lines = self.stormy_lines();
        let pace = if self.stage.chance.random() { SLOW } else { Pace::Free };
        let feeder = self.feed("feeder", pace, &lines);
        let weather = self.stage.draw_weather();
        self.stage.storm(weather);
        self.stage.expect(Check::Stalled, "all is fed, and all queues are empty", Stage::is_quiet);
        let printed = self.printed();
        self.expect_explained(feeder, &printed);
        self.stage.tally.put += lines.len() as u64;
        self.stage.tally.came_out += printed.len() as u64;
    }

    /// Quotes and orders as they come; some ids come twice, and some symbols are quoted late or never.
    fn stormy_lines(&mut self) -> Vec<String> {
        let chance = &mut self.stage.chance;
        let mut line = |n: usize| {
            let symbol = format!("S{}", chance.random_range(0..8));
            let id = if chance.random_range(0..10) == 0 { n / 2 } else { n };
            if chance.random_range(0..3) == 0 {
                quote(&symbol, chance.random_range(0..4) == 0)
            } else {
                order(&format!("stormy{id}"), &symbol, 100 + n)
            }
        };
        (0..STORMY_LINES).map(&mut line).collect()
    }

    fn printed(&self) -> Vec<String> {
        let written = String::from_utf8_lossy(self.stage.net.written(self.sink, STDOUT));
        written.lines().map(str::to_owned).collect()
    }

    /// Whatever is printed is an answer to what was put, or to what garbling made of it, or is a garbled answer.
    fn expect_explained(&mut self, feeder: NodeId, printed: &[String]) {
        self.stage.keep_garbled();
        let garbled = &self.stage.garbled;
        let put = self.stage.witness(feeder).passed.iter().filter_map(|event| match event {
            Passed::Left { bytes, .. } => Some(bytes.as_slice()),
            _ => None,
        });
        let datagrams: BTreeSet<&[u8]> = put.chain(garbled.iter().map(|garbled| garbled.arrived.as_slice())).collect();
        let mut explained: BTreeSet<String> = datagrams.iter().filter_map(|datagram| line_of(datagram)).collect();
        for datagram in datagrams {
            let message = match Request::parse(datagram) {
                Ok(Request::Put(message)) => Some(message),
                _ => frame::only(datagram).ok(),
            };
            explained.extend(message.map(possible_lines).unwrap_or_default());
        }
        let invented = printed.iter().filter(|line| !explained.contains(*line));
        for line in invented {
            self.stage.find(Check::Invented, format!("nothing explains {line:?}"));
        }
    }

    /// Quotes, then orders, are put in calm weather: each order is answered as it should be, once.
    fn calm(&mut self) {
        let before = self.printed().len();
        let symbol = |n: usize| format!("F{}", n % FRESH_SYMBOLS);
        // The first symbol is never quoted.
        let quotes: Vec<String> = (1..FRESH_SYMBOLS).map(|n| quote(&symbol(n), n % 3 == 0)).collect();
        let orders: Vec<String> =
            (0..FRESH_ORDERS).map(|n| order(&format!("fresh{n}"), &symbol(n), 1_000 + n)).collect();
        self.feed("fresh quotes", SLOW, &quotes);
        self.stage.expect(Check::Fresh, "all quotes are taken", Stage::is_quiet);
        self.feed("fresh orders", SLOW, &orders);
        self.stage.expect(Check::Fresh, "all orders are taken", Stage::is_quiet);
        let messages = quotes.iter().chain(&orders).map(|line| format!("{line}\x01999=1"));
        let mut due = answers(messages);
        let mut printed = self.printed().split_off(before);
        self.stage.tally.fresh += (quotes.len() + orders.len()) as u64;
        // Two routers race.
        due.sort();
        printed.sort();
        if printed != due {
            let odd = printed.iter().zip(&due).find(|(printed, due)| printed != due);
            let (came_out, due) = (printed.len(), due.len());
            self.stage.find(
                Check::Fresh,
                format!("{came_out} fresh answers came out, due were {due}; first odd one: {odd:?}"),
            );
        }
    }
}
