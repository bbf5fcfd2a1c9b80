//! The hub: all nodes, what happened, and what was refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Event, Events, Slot,
    graph::{self, Nodes},
    node::{Node, SILENT_PERIODS},
    post::{self, Ours, PostError, Posted},
};

/// A node that was silent for so long is forgotten, in seconds.
const FORGET_SECONDS: f64 = 86_400.0;
/// A node that reported not longer ago than this keeps its place among the most that are kept, in seconds.
const KEEP_SECONDS: f64 = 3_600.0;
/// A refused name is said once in so many seconds.
const SAY_EVERY_SECONDS: f64 = 60.0;

/// What the hub knows.
#[derive(Debug)]
pub struct Hub {
    pub(crate) nodes: Nodes,
    pub(crate) events: Events,
    pub(crate) counts: Counts,
    nodes_max: usize,
    pub(crate) started: f64,
    refusal_said: f64,
    forgotten: Vec<String>,
}

/// What the hub took and refused since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Reports taken.
    pub reports: u64,
    /// Reports that could not be read, bodies that were no JSON included.
    pub refused: u64,
    /// Reports of nodes beyond the most that are kept.
    pub nodes_refused: u64,
}

/// What became of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// How many reports of it were taken.
    pub taken: u64,
    /// How many could not be.
    #[serde(skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// How many were of nodes beyond the most that are kept.
    #[serde(skip_serializing_if = "is_zero")]
    pub nodes_refused: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Why a body, or a member of it, was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The reason, for people.
    pub error: String,
    /// Which member of an array; 0 for an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<usize>,
    /// What became of the others.
    #[serde(flatten)]
    pub others: Taken,
}

/// What is written down of a node, and read again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// What it does.
    pub func: Option<String>,
    /// When it was heard first and last.
    pub first_seen: f64,
    /// When it was heard last.
    pub last_seen: f64,
    /// The end of its last period.
    pub t1: f64,
    /// The length of its last period.
    pub period: f64,
    /// How often it began anew.
    pub restarts: u64,
    /// What it said last.
    ours: Option<Ours>,
}

/// A node to be written down: what it is, and the slots that changed.
#[derive(Debug, Clone)]
pub struct KeptNode {
    /// Its name.
    pub id: String,
    /// What it is.
    pub kept: Kept,
    /// Per ring: the oldest tick that is still kept, and the slots that changed.
    pub rings: [(u32, Vec<Slot>); 3],
}

impl Hub {
    /// An empty hub that began at `now`.
    pub fn new(nodes_max: usize, now: f64) -> Self {
        Self {
            nodes: Nodes::new(),
            events: Events::default(),
            counts: Counts::default(),
            nodes_max,
            started: now,
            refusal_said: f64::NEG_INFINITY,
            forgotten: Vec::new(),
        }
    }

    /// Takes the body of a POST.
    ///
    /// # Errors
    /// When it is no JSON, or a member of it is bad; the good ones are taken nevertheless.
    pub fn post(&mut self, now: f64, body: &[u8]) -> Result<Taken, Refused> {
        let members = post::read(body).map_err(|error| {
            self.counts.refused += 1;
            refused(&error, None, Taken::default())
        })?;
        let mut taken = Taken::default();
        let mut first_error = None;
        for (at, member) in members.into_iter().enumerate() {
            match member {
                Ok(posted) => {
                    let is_taken = self.take(now, posted);
                    taken.taken += u64::from(is_taken);
                    taken.nodes_refused += u64::from(!is_taken);
                }
                Err(error) => {
                    taken.refused += 1;
                    first_error.get_or_insert((at, error));
                }
            }
        }
        self.counts.reports += taken.taken;
        self.counts.refused += taken.refused;
        self.counts.nodes_refused += taken.nodes_refused;
        match first_error {
            Some((at, error)) => Err(refused(&error, Some(at), taken)),
            None => Ok(taken),
        }
    }

    /// Counts a body that was refused before it was read.
    pub fn refuse(&mut self) {
        self.counts.refused += 1;
    }

    fn take(&mut self, now: f64, posted: Posted) -> bool {
        let id = posted.id.clone();
        if !self.nodes.contains_key(&id) && !self.make_room(now, &id) {
            return false;
        }
        let node = self.nodes.entry(id.clone()).or_default();
        for (kind, text) in node.take(now, posted) {
            self.events.note(now, Some(&id), kind, text);
        }
        true
    }

    /// Room for one more node: one that was silent for an hour makes it.
    fn make_room(&mut self, now: f64, id: &str) -> bool {
        if self.nodes.len() < self.nodes_max {
            return true;
        }
        let longest_silent = self.nodes.iter().min_by(|(_, one), (_, other)| one.last_seen.total_cmp(&other.last_seen));
        let silent = longest_silent.filter(|(_, node)| now - node.last_seen > KEEP_SECONDS).map(|(id, _)| id.clone());
        if let Some(silent) = silent {
            self.forget(now, &silent, "made room for another");
            return true;
        }
        if now - self.refusal_said > SAY_EVERY_SECONDS {
            self.refusal_said = now;
            let text = format!("refused: there are {} nodes already; see --nodes-max", self.nodes.len());
            self.events.note(now, Some(id), "refused", text);
        }
        false
    }

    fn forget(&mut self, now: f64, id: &str, why: &str) {
        self.nodes.remove(id);
        self.forgotten.push(id.to_owned());
        self.events.note(now, Some(id), "forgotten", why.to_owned());
    }

    /// Looks, once a second, who fell silent, what ceased, and whether everything is accounted for.
    pub fn look(&mut self, now: f64) {
        let gone = |node: &Node| now - node.last_seen > FORGET_SECONDS.max(SILENT_PERIODS * node.period);
        let gone: Vec<String> = self.nodes.iter().filter(|(_, node)| gone(node)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.forget(now, &id, "silent for a day");
        }
        for (id, node) in &mut self.nodes {
            for (kind, text) in node.look(now) {
                self.events.note(now, Some(id), kind, text);
            }
        }
        self.balance(now);
    }

    fn balance(&mut self, now: f64) {
        for (id, missing) in graph::balance(&self.nodes) {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            node.bases.extend(missing.bases);
            node.elsewhere = missing.elsewhere.unwrap_or(node.elsewhere);
            // One that wavers would drive all other events out.
            if missing.lost > node.lost && now >= node.lost_said + 60.0 {
                node.lost_said = now;
                let text = format!("{} messages that it confirmed are missing here", missing.lost);
                self.events.note(now, Some(&id), "unaccounted", text);
            }
            node.lost = missing.lost;
        }
    }

    /// What changed since the last call, to be written down.
    pub fn take_new(&mut self) -> (Vec<KeptNode>, Vec<String>) {
        let node = |(id, node): (&String, &mut Node)| {
            let kept = Kept {
                func: node.func.clone(),
                first_seen: node.first_seen,
                last_seen: node.last_seen,
                t1: node.t1,
                period: node.period,
                restarts: node.restarts,
                ours: node.ours.clone(),
            };
            let rings = node.rings.all_mut().each_mut();
            let rings = rings.map(|ring| (ring.oldest_tick().unwrap_or(0), ring.take_new().cloned().collect()));
            KeptNode { id: id.clone(), kept, rings }
        };
        (self.nodes.iter_mut().map(node).collect(), std::mem::take(&mut self.forgotten))
    }

    /// The events from a number on.
    pub fn events_since(&self, n: u64) -> (Vec<Event>, u64) {
        (self.events.since(n).cloned().collect(), self.events.next())
    }

    /// Puts back what was written down of a node. One beyond the most that are kept is forgotten.
    pub fn restore(&mut self, id: String, kept: Kept, rings: [Vec<Slot>; 3]) {
        let began = kept.ours.as_ref().map_or(0.0, |ours| kept.t1 - ours.uptime_s);
        let mut node = Node {
            func: kept.func,
            first_seen: kept.first_seen,
            last_seen: kept.last_seen,
            t1: kept.t1,
            last_second: rings.first().and_then(|ring| ring.last()).map_or(0, |slot| slot.tick),
            period: kept.period,
            restarts: kept.restarts,
            began,
            life_began: began,
            tells_in: kept.ours.is_some(),
            ours: kept.ours,
            ..Node::default()
        };
        for (ring, slots) in node.rings.all_mut().iter_mut().zip(rings) {
            for slot in slots {
                ring.restore(slot);
            }
        }
        if self.nodes.len() < self.nodes_max {
            self.nodes.insert(id, node);
        } else {
            self.forgotten.push(id);
        }
    }

    /// Puts back an event.
    pub fn restore_event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// What was taken and refused.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The most nodes that are kept.
    pub(crate) fn nodes_max(&self) -> usize {
        self.nodes_max
    }
}

fn refused(error: &PostError, at: Option<usize>, others: Taken) -> Refused {
    Refused { error: error.to_string(), at, others }
}

/// Named counts, as states show them.
pub(crate) type Named = BTreeMap<String, u64>;
