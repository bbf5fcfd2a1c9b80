//! The end of a run: what each node did is held against what it promises, what came against what was sent, and the last
//! reports against themselves.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use metrics::Report;
use protocol::frame;
use simnet::{Garbled, NodeId};

use crate::{
    findings::{Check, Outcome},
    laws,
    market::line_of,
    stage::{Life, Place, Role, Stage},
    witness::Passed,
};

impl Stage {
    /// Ends all nodes and audits what they leave behind.
    pub(crate) fn close(mut self) -> Outcome {
        let ids: Vec<NodeId> = self.places.keys().copied().collect();
        // All but the first, who takes their last words.
        self.stop(&ids[1..]);
        self.net.run_until(self.net.now() + Duration::from_millis(10));
        for &id in &ids {
            self.bury(id);
        }
        self.keep_garbled();
        let findings =
            [(Check::Law, self.breaches()), (Check::Post, self.wrong_post()), (Check::Ledger, self.wrong_ledgers())];
        for (check, found) in findings {
            for what in found {
                self.find(check, what);
            }
        }
        self.count();
        Outcome { trace_hash: self.net.trace_hash(), findings: self.findings, tally: self.tally }
    }

    fn breaches(&self) -> Vec<String> {
        let breach = |life: &Life| {
            let Life { node, passed, books } = life;
            let Place { name, role, .. } = &self.places[node];
            let kept = match role {
                Role::Queue { messages_max } => laws::queue(*messages_max, passed, books),
                Role::Worker(work) => laws::worker(work, passed, books),
                Role::Sink => laws::sink(passed, books),
                Role::Feeder(queue, _) => laws::feeder(*queue, passed, books),
                Role::Client(queue) => laws::client(*queue, passed, books),
                Role::Reports => Ok(()),
            };
            kept.err().map(|breach| format!("{name}: {breach}"))
        };
        self.lives.iter().filter_map(breach).collect()
    }

    /// What came was sent before, and came at most twice as often. A garbled datagram counts as what was sent.
    fn wrong_post(&self) -> Vec<String> {
        let mut letters = self.letters();
        let (left, came) = letters.values().fold((0, 0), |sums, letter| (sums.0 + letter.left, sums.1 + letter.came));
        for Garbled { from, to, sent, arrived } in &self.garbled {
            letters.entry((*from, *to, arrived)).or_default().came -= 1;
            letters.entry((*from, *to, sent)).or_default().came += 1;
        }
        let odd = letters.iter().filter(|(_, Letter { left, came })| !(0..=2 * left).contains(came));
        let mut wrong: Vec<String> = odd
            .map(|((from, to, bytes), letter)| format!("{from} -> {to} {letter:?}: {}", bytes.escape_ascii()))
            .collect();
        let counts = self.net.counts();
        let ended = counts.ended() + self.net.under_way() as u64;
        if (left, came, ended)
            != (counts.sent.cast_signed(), counts.delivered.cast_signed(), counts.sent + counts.doubled)
        {
            wrong.push(format!("{left} left and {came} came: {counts:?}"));
        }
        wrong
    }

    /// How often each datagram left and came, over all lives.
    fn letters(&self) -> BTreeMap<(SocketAddr, SocketAddr, &[u8]), Letter> {
        let mut letters: BTreeMap<_, Letter> = BTreeMap::new();
        for Life { node, passed, .. } in &self.lives {
            let place = &self.places[node];
            for event in passed {
                match event {
                    Passed::Left { port, to, bytes } => {
                        letters.entry((place.address(*port), *to, bytes.as_slice())).or_default().left += 1;
                    }
                    Passed::Came { port, from, bytes } => {
                        letters.entry((*from, place.address(*port), bytes.as_slice())).or_default().came += 1;
                    }
                    Passed::Read(_) | Passed::Wrote(_) => {}
                }
            }
        }
        letters
    }

    fn wrong_ledgers(&self) -> Vec<String> {
        let ledgers = self.last_ledgers();
        let mut wrong = Vec::new();
        for Place { name, role, .. } in self.places.values() {
            for (whole, parts) in equations(role) {
                let sum = |names: &[&str]| -> Option<u64> {
                    names.iter().map(|count| ledgers.get(*name)?.get(*count).copied()).sum()
                };
                let (whole_sum, parts_sum) = (sum(&[whole]), sum(parts));
                if whole_sum.is_none() || whole_sum != parts_sum {
                    wrong.push(format!("{name} reports {whole} {whole_sum:?}, {parts:?} {parts_sum:?}"));
                }
            }
        }
        wrong
    }

    /// What each node said last, by name.
    fn last_ledgers(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let of_reports = |life: &&Life| matches!(self.places[&life.node].role, Role::Reports);
        let came = self.lives.iter().filter(of_reports).flat_map(|life| &life.passed);
        let reports = came.filter_map(|event| match event {
            Passed::Came { bytes, .. } => serde_json::from_slice::<Report>(bytes).ok(),
            _ => None,
        });
        reports.filter_map(|report| Some((report.vuid, report.weir?.ledger))).collect()
    }

    fn count(&mut self) {
        let counts = self.net.counts();
        self.tally.datagrams += counts.sent;
        self.tally.lost += counts.lost;
        self.tally.doubled += counts.doubled;
        self.tally.garbled += self.garbled.len() as u64;
        self.tally.garbled_valid += self.garbled.iter().filter(|garbled| is_valid(garbled)).count() as u64;
        self.tally.cut_off += counts.cut + counts.to_nobody + counts.dropped;
    }
}

/// How often one datagram left and came.
#[derive(Debug, Default)]
struct Letter {
    left: i64,
    came: i64,
}

/// Whether it was taken for good, and for another text.
fn is_valid(Garbled { sent, arrived, .. }: &Garbled) -> bool {
    match (frame::only(sent), frame::only(arrived)) {
        (Ok(sent), Ok(arrived)) => sent != arrived,
        (Ok(_), Err(_)) => false,
        (Err(_), _) => line_of(arrived).is_some(),
    }
}

/// What must add up in the ledger of such a node: the whole, and its parts.
fn equations(role: &Role) -> &'static [(&'static str, &'static [&'static str])] {
    match role {
        Role::Queue { .. } => &[("accepted", &["ready", "popped"])],
        Role::Worker(work) => match work.output_kind {
            worker::OutputKind::Socket => &[("received", &["processed", "function_errors", "function_panics"])],
            worker::OutputKind::Queue => &[
                ("received", &["processed", "function_errors", "function_panics"]),
                (
                    "outputs_sent",
                    &["outputs_confirmed", "outputs_refused_full", "outputs_unconfirmed", "outputs_under_way"],
                ),
            ],
        },
        Role::Sink => {
            &[("received", &["printed", "silenced", "not_utf8", "not_json", "not_an_object", "no_msg", "too_deep"])]
        }
        Role::Feeder(..) => &[("sent", &["confirmed", "refused_full", "unconfirmed", "under_way"])],
        Role::Client(_) | Role::Reports => &[],
    }
}
