//! Bad weather, and worse: nodes that stop, part and die.

use std::time::Duration;

use rand::Rng as _;
use simnet::{NodeId, Weather};

use crate::stage::{Role, Stage};

/// How long it lasts.
const STORM: Duration = Duration::from_secs(2);

/// In one seed of three there is nothing but the weather.
const WEATHER_ONLY: f64 = 1.0 / 3.0;

/// In one seed of so many the weather is milder than the worst: trouble of one kind hides trouble of another.
const MILD_WEATHER: u64 = 3;

/// What may befall a node for a while.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Paused(NodeId),
    Parted(NodeId, NodeId),
    Killed(NodeId),
}

/// A trouble begins or ends.
struct Change {
    at: Duration,
    begins: bool,
    trouble: Trouble,
}

impl Stage {
    /// Lives through bad weather; then it clears up.
    pub(crate) fn storm(&mut self, weather: Weather) {
        self.net.set_weather(weather);
        let nodes: Vec<NodeId> = self.places.keys().copied().collect();
        for &node in &nodes {
            // Reports are for the audit: they come.
            self.net.set_path_weather(node, nodes[0], Weather::calm());
        }
        for Change { at, begins, trouble } in self.draw_changes() {
            self.net.run_until(at);
            if begins { self.begin(trouble) } else { self.end(trouble) }
        }
        self.net.run_until(STORM);
        self.tally.stormy += self.net.counts().sent;
        self.net.clear_up();
        // Nothing is lost, doubled or garbled; but where all took equally long, nodes would fall into step for ever.
        let (delay_min, delay_max) = (Duration::from_micros(100), Duration::from_millis(2));
        self.net.set_weather(Weather { delay_min, delay_max, ..Weather::calm() });
    }

    /// A fifth of all datagrams lost, a tenth doubled, a tenth garbled, and the others in any order.
    pub(crate) fn worst_weather(&mut self) -> Weather {
        Weather {
            lost_permille: 200,
            doubled_permille: 100,
            garbled_permille: 100,
            late_permille: 1_000,
            refused_permille: self.chance.random_range(0..=1_000),
            delay_min: Duration::from_micros(100),
            // Some networks are much slower than a worker is patient.
            delay_max: Duration::from_millis(1 << self.chance.random_range(0..=8)),
        }
    }

    /// The worst weather, or in some seeds a milder one.
    pub(crate) fn draw_weather(&mut self) -> Weather {
        let worst = self.worst_weather();
        if self.seed.is_multiple_of(MILD_WEATHER) { Weather::drawn(self.seed, &worst) } else { worst }
    }

    /// Up to four troubles, each with a beginning and an end, in the order of time.
    fn draw_changes(&mut self) -> Vec<Change> {
        let count = if self.chance.random_bool(WEATHER_ONLY) { 0 } else { self.chance.random_range(1..=4) };
        let mut changes = Vec::new();
        for _ in 0..count {
            let trouble = self.draw_trouble();
            let begin = STORM.mul_f64(self.chance.random_range(0.0..0.9));
            let end = STORM.min(begin + STORM.mul_f64(self.chance.random_range(0.0..0.5)));
            changes.push(Change { at: begin, begins: true, trouble });
            changes.push(Change { at: end, begins: false, trouble });
        }
        changes.sort_by_key(|change| change.at);
        changes
    }

    fn draw_trouble(&mut self) -> Trouble {
        let anybody = |role: &Role| !matches!(role, Role::Reports);
        // One who comes back where it was: a feeder's input would be gone.
        let mortal = |role: &Role| matches!(role, Role::Queue { .. } | Role::Worker(_) | Role::Sink);
        match self.chance.random_range(0..3) {
            0 => Trouble::Paused(self.draw_node(anybody)),
            1 => Trouble::Parted(self.draw_node(anybody), self.draw_node(anybody)),
            _ => Trouble::Killed(self.draw_node(mortal)),
        }
    }

    fn draw_node(&mut self, fits: impl Fn(&Role) -> bool) -> NodeId {
        let places = self.places.iter().filter(|(_, place)| fits(&place.role));
        let nodes: Vec<NodeId> = places.map(|(&id, _)| id).collect();
        nodes[self.chance.random_range(0..nodes.len())]
    }

    fn begin(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Paused(id) => {
                self.tally.pauses += 1;
                self.net.pause(id);
            }
            Trouble::Parted(one, other) => {
                self.tally.partitions += 1;
                self.net.partition(one, other);
            }
            Trouble::Killed(id) => {
                self.tally.kills += 1;
                self.net.kill(id);
            }
        }
    }

    fn end(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Paused(id) => self.net.resume(id),
            Trouble::Parted(one, other) => self.net.heal(one, other),
            Trouble::Killed(id) => self.restart(id),
        }
    }
}
