//! One queue, one worker that takes from it and puts back: what a client puts in goes round.

use std::{collections::BTreeSet, time::Duration};

use protocol::{frame, verb::Request};
use simnet::{NodeId, State};
use worker::OutputKind;

use crate::{
    findings::{Check, Outcome},
    laws::Work,
    stage::{Role, Stage},
    witness::{Books, Passed},
};

const STORMY_PUTS: usize = 100;

/// How often a message goes round, at the least, before it is taken out.
const ROUNDS: u64 = 20;

/// The loop through bad weather and out of it.
pub(crate) fn run(mut stage: Stage) -> Outcome {
    let queue = stage.add_queue("queue");
    let address = stage.address(queue);
    let output_kind = OutputKind::Queue;
    let worker = stage.add(
        "worker",
        Role::Worker(Work { function: "pong", inputs: vec![address], outputs: vec![address], output_kind }),
    );
    let mut pong = Loop { stage, queue, worker };
    pong.storm();
    pong.calm();
    pong.stage.close()
}

struct Loop {
    stage: Stage,
    queue: NodeId,
    worker: NodeId,
}

impl Loop {
    fn storm(&mut self) {
        let client = self.ask("client", (0..STORMY_PUTS).map(|n| if n % 2 == 0 { "PUT:ping" } else { "PUT:pong" }));
        // In a milder one, more and more messages would go round.
        let weather = self.stage.worst_weather();
        self.stage.storm(weather);
        self.expect_done(client);
        let taken = self.drain("stormy drain");
        self.expect_explained(&taken);
        if let Books::Client(counts) = self.stage.witness(client).books() {
            self.stage.tally.put += counts.requests;
        }
        self.stage.tally.came_out += self.received();
    }

    /// What was put in calm weather goes round and round; when the worker has been told to stop, all of it is in the queue.
    fn calm(&mut self) {
        let count = 1 + self.stage.seed % 5;
        self.ask("fresh client", (0..count).map(|_| "PUT:ping"));
        let (worker, due) = (self.worker, self.received() + ROUNDS * count);
        let has_gone_round = |stage: &Stage| received(stage, worker) >= due;
        self.stage.expect(Check::Fresh, "every message goes round", has_gone_round);
        self.stage.stop(&[worker]);
        let taken = self.drain("fresh drain");
        self.stage.tally.fresh += count;
        if taken.len() as u64 != count || taken.iter().any(|text| text != b"ping" && text != b"pong") {
            self.stage.find(Check::Fresh, format!("{count} were put, in the end there were {taken:?}"));
        }
    }

    /// Has a new client send these requests, one after another.
    fn ask<'a>(&mut self, name: &'static str, requests: impl Iterator<Item = &'a str>) -> NodeId {
        let client = self.stage.add(name, Role::Client(self.stage.address(self.queue)));
        let lines: Vec<Vec<u8>> = requests.map(|request| request.as_bytes().to_vec()).collect();
        self.stage.net.feed(client, lines);
        client
    }

    fn expect_done(&mut self, client: NodeId) {
        self.stage.expect(Check::Stalled, "a client has sent all", |stage| stage.net.state(client) == State::Done);
    }

    /// Takes messages out until none is left, racing with the worker if it still runs.
    fn drain(&mut self, name: &'static str) -> Vec<Vec<u8>> {
        const GETS: usize = 50;
        const CLIENTS_MAX: usize = 20;
        /// Two rests of an idle worker: it is found resting.
        const QUIET: Duration = Duration::from_millis(100);
        let mut taken = Vec::new();
        for _ in 0..CLIENTS_MAX {
            let client = self.ask(name, std::iter::repeat_n("GET", GETS));
            self.expect_done(client);
            taken.extend(texts(&self.stage.witness(client).passed).map(<[u8]>::to_vec));
            if self.stage.runs_until(QUIET, Stage::is_quiet) {
                return taken;
            }
        }
        self.stage.find(Check::Stalled, "the loop does not run dry".to_owned());
        taken
    }

    /// Only what was put, and what garbling made of it, goes round.
    fn expect_explained(&mut self, taken: &[Vec<u8>]) {
        self.stage.keep_garbled();
        let garbled = self.stage.garbled.iter().filter_map(|garbled| match Request::parse(&garbled.arrived) {
            Ok(Request::Put(message)) => Some(message),
            _ => frame::only(&garbled.arrived).ok(),
        });
        let explained: BTreeSet<&[u8]> = garbled.chain([&b"ping"[..], b"pong"]).collect();
        let invented: Vec<String> = taken
            .iter()
            .filter(|text| !explained.contains(text.as_slice()))
            .map(|text| format!("nothing explains \"{}\"", text.escape_ascii()))
            .collect();
        for what in invented {
            self.stage.find(Check::Invented, what);
        }
    }

    fn received(&self) -> u64 {
        received(&self.stage, self.worker)
    }
}

fn received(stage: &Stage, worker: NodeId) -> u64 {
    match stage.witness(worker).books() {
        Books::Worker(counts) => counts.received,
        _ => 0,
    }
}

/// The texts of the answers that a client got, but for empty ones.
fn texts(passed: &[Passed]) -> impl Iterator<Item = &[u8]> {
    let answers = passed.iter().filter_map(|event| match event {
        Passed::Came { bytes, .. } => frame::only(bytes).ok(),
        _ => None,
    });
    answers.filter(|text| !text.is_empty())
}
