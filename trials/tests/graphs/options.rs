//! What a seed stands for: a shape, what may befall it, and so what it must promise.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use simnet::Weather;

/// What a graph promises, which follows from what may befall it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// Workers and feeders die; everything stops, parts and comes back: each message comes out once.
    ExactlyOnce,
    /// The same without the death of workers, leases that outlast every pause, and one worker and one queue for each
    /// stage: in the order of its feeder, too.
    InOrder,
    /// The same for queues with logs, which die as well, and whose disks lose power, fail and fill up.
    QueuesRemember,
    /// Sinks die as well, and forget what they had: each message comes out at least once.
    AtLeastOnce,
    /// Queues die with their messages, feeders do not: what is fed after the last death comes out once. Some have logs that go
    /// no further than the operating system, and lose power.
    QueuesForget,
    /// The first queues speak the verbs of 2016 only, and nothing is doubled or garbled: no message comes out twice.
    AtMostOnce,
}

/// What the workers of a stage do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// One message becomes one.
    Pass,
    /// One message becomes two.
    Double,
    /// A message goes into the next queue of the stage so many times before it goes on. The queues are a ring; a single one
    /// is its own next.
    Cycle(u32),
}

/// Queues, and the workers that take from them. What they give goes to all queues of the next stage, or to the sinks.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) queues: usize,
    pub(crate) workers: usize,
    /// Whether each worker takes from all queues, not from one.
    pub(crate) takes_from_all: bool,
    pub(crate) work: Work,
    /// Whether messages take an output by chance, not by their value.
    pub(crate) by_chance: bool,
    /// How many messages a queue holds.
    pub(crate) room: u64,
    /// Whether some messages are refused here.
    pub(crate) refuses: bool,
}

/// What befalls one node, or the path between two; nodes and paths by numbers that are taken modulo how many there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    Kill { node: usize, down: Duration },
    Pause { node: usize, lasts: Duration },
    Part { path: usize, both_ways: bool, lasts: Duration },
    Weather { path: usize, seed: u64 },
    Clock { node: usize, rate_permille: u16 },
    Wall { node: usize, since_epoch: Duration },
    Disk { queue: usize, what: DiskTrouble, lasts: Duration },
}

/// What befalls a queue's disk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DiskTrouble {
    /// The queue is killed before this operation of its disk, counted from now; whether the power goes with it, and what is
    /// then left.
    DiesAt { operation: u64, power: bool, seed: u64 },
    /// This sync fails, counted from now.
    SyncFails { sync: u64 },
    /// There is room for so many bytes more, and not more.
    Full { bytes: u64 },
}

/// The logs of a graph's queues.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogPlan {
    pub(crate) level: wal::Level,
    pub(crate) segment_bytes: u64,
    pub(crate) keep_bytes: u64,
}

/// A trouble, and when it begins: once so many of a thousand messages have come out, or so long after the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) at_permille: u64,
    pub(crate) within: Duration,
    pub(crate) trouble: Trouble,
}

/// A seed's run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) promise: Promise,
    pub(crate) feeders: usize,
    pub(crate) messages_each: u64,
    pub(crate) stages: Vec<Stage>,
    pub(crate) sinks: usize,
    pub(crate) lease: Duration,
    pub(crate) datagram_bytes_max: usize,
    pub(crate) batches_under_way_max: usize,
    pub(crate) deliveries_max: u32,
    pub(crate) weather: Weather,
    /// `None`: queues are in memory.
    pub(crate) logs: Option<LogPlan>,
    pub(crate) faults: Vec<Fault>,
}

/// The fewest messages and troubles of a seed.
const MESSAGES_MIN: u64 = 300;
const FAULTS_MIN: usize = 10;

/// The most nodes of a kind.
const QUEUES_MAX: usize = 5;
const WORKERS_MAX: usize = 4;
const FEEDERS_MAX: usize = 4;

/// The most queues of a ring, and the most steps in it.
const RING_MAX: usize = 3;
const ROUNDS_MAX: u32 = 12;

/// A lease where order is promised: nothing comes back.
const LONG_LEASE: Duration = Duration::from_mins(30);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Options {
    /// All that follows from the seed; `promise` if it is to be a certain one.
    pub(crate) fn drawn(seed: u64, promise: Option<Promise>) -> Self {
        // Another stream than the net's.
        let mut chance = SmallRng::seed_from_u64(seed ^ 0x6772_6170_6873_2121);
        let drawn = match chance.random_range(0..8) {
            0..2 => Promise::ExactlyOnce,
            2..4 => Promise::QueuesRemember,
            4 => Promise::InOrder,
            5 => Promise::AtLeastOnce,
            6 => Promise::QueuesForget,
            _ => Promise::AtMostOnce,
        };
        let promise = promise.unwrap_or(drawn);
        let feeders = chance.random_range(1..=FEEDERS_MAX);
        let messages_each = (MESSAGES_MIN + chance.random_range(0..40)).div_ceil(feeders as u64);
        let stages = draw_stages(&mut chance, promise, feeders as u64 * messages_each);
        let lease = if promise == Promise::InOrder { LONG_LEASE } else { ms(300 << chance.random_range(0..=4)) };
        let worst = worst_weather(promise);
        let weather = if chance.random_bool(0.2) { worst } else { Weather::drawn(chance.random(), &worst) };
        let logs = draw_logs(seed, promise);
        Self {
            seed,
            promise,
            feeders,
            messages_each,
            stages,
            sinks: chance.random_range(1..=2),
            lease,
            datagram_bytes_max: 500 << chance.random_range(0..=2),
            batches_under_way_max: 1 << chance.random_range(0..=4),
            deliveries_max: 1 << chance.random_range(0..=4),
            weather,
            logs,
            faults: draw_faults(&mut chance, lease, promise, logs),
        }
    }
}

fn draw_logs(seed: u64, promise: Promise) -> Option<LogPlan> {
    let mut chance = SmallRng::seed_from_u64(seed ^ 0x6c6f_6773);
    let level = match promise {
        Promise::QueuesRemember if chance.random_bool(0.8) => wal::Level::Disk,
        Promise::QueuesRemember => wal::Level::Os,
        Promise::QueuesForget if chance.random_bool(0.25) => wal::Level::Os,
        _ => return None,
    };
    Some(LogPlan {
        level,
        segment_bytes: 4096 << chance.random_range(0..=5),
        keep_bytes: 4096 << chance.random_range(0..=6),
    })
}

fn draw_stages(chance: &mut SmallRng, promise: Promise, messages: u64) -> Vec<Stage> {
    let count = chance.random_range(1..=3);
    let alone = promise == Promise::InOrder;
    let mut stages: Vec<Stage> = (0..count)
        .map(|_| Stage {
            queues: 1,
            workers: 1,
            takes_from_all: false,
            work: Work::Pass,
            by_chance: chance.random(),
            room: 30 << chance.random_range(0..=5),
            refuses: chance.random_bool(0.25),
        })
        .collect();
    let (more_queues, more_workers) = if alone {
        (0, 0)
    } else {
        (chance.random_range(0..=QUEUES_MAX - count), chance.random_range(0..=WORKERS_MAX - count))
    };
    for _ in 0..more_queues {
        stages[chance.random_range(0..count)].queues += 1;
    }
    for _ in 0..more_workers {
        stages[chance.random_range(0..count)].workers += 1;
    }
    let special = chance.random_range(0..count);
    // What its own messages became finds room in a queue, but one that forgot them does not know it for that; and the
    // network may drop what goes round on the verbs of 2016.
    let may_cycle = !alone && !matches!(promise, Promise::AtMostOnce | Promise::QueuesForget);
    for (number, stage) in stages.iter_mut().enumerate() {
        stage.takes_from_all = stage.workers < stage.queues || chance.random();
        if number != special {
            continue;
        }
        match chance.random_range(0..3) {
            0 => stage.work = Work::Double,
            1 if may_cycle => {
                // A worker knows the next queue as its first output, so it takes from one, and cannot route by chance.
                let ring = chance.random_range(1..=RING_MAX);
                stage.work = Work::Cycle(chance.random_range(1..=ROUNDS_MAX));
                (stage.queues, stage.takes_from_all, stage.by_chance) = (ring, false, false);
                stage.workers = stage.workers.max(ring);
                if ring > 1 {
                    // Feeders may fill one queue, while others hold more; so all messages together must find room. A queue
                    // that dies and comes back leaves messages in two queues, of all that were with workers.
                    let places = if promise == Promise::QueuesRemember { 1 } else { ring as u64 };
                    stage.room = messages.div_ceil(places) + chance.random_range(0..=3);
                }
            }
            _ => {}
        }
    }
    stages
}

fn worst_weather(promise: Promise) -> Weather {
    let worst = Weather {
        lost_permille: 300,
        doubled_permille: 300,
        garbled_permille: 100,
        late_permille: 1_000,
        refused_permille: 1_000,
        delay_min: Duration::from_micros(50),
        delay_max: ms(200),
    };
    // On the verbs of 2016 the network itself can double a message, or change it.
    if promise == Promise::AtMostOnce { Weather { doubled_permille: 0, garbled_permille: 0, ..worst } } else { worst }
}

impl Options {
    /// Weather for one path.
    pub(crate) fn path_weather(&self, seed: u64) -> Weather {
        Weather::drawn(seed, &worst_weather(self.promise))
    }
}

fn draw_faults(chance: &mut SmallRng, lease: Duration, promise: Promise, logs: Option<LogPlan>) -> Vec<Fault> {
    let of_disks = if logs.is_some() { chance.random_range(2..=10) } else { 0 };
    // At the level of the operating system, a queue that loses power may lose what it has answered.
    let power = promise == Promise::QueuesForget || logs.is_some_and(|logs| logs.level == wal::Level::Disk);
    let count = FAULTS_MIN + of_disks + chance.random_range(0..=10);
    let lasts_max = (2 * lease).min(ms(5_000));
    let lasts = |chance: &mut SmallRng| lasts_max / (1 << chance.random_range(0..=7));
    let draw = |number: usize| {
        let (node, path) = (chance.random_range(0..1_000), chance.random_range(0..1_000));
        // Spread evenly among the others.
        let is_of_disk = number * of_disks / count != (number + 1) * of_disks / count;
        let trouble = match chance.random_range(0..16) {
            _ if is_of_disk => {
                let what = match chance.random_range(0..8) {
                    0..5 => DiskTrouble::DiesAt {
                        operation: chance.random_range(0..=12),
                        power: power && chance.random_bool(0.8),
                        seed: chance.random(),
                    },
                    5 => DiskTrouble::SyncFails { sync: chance.random_range(0..=5) },
                    _ => DiskTrouble::Full { bytes: chance.random_range(0..=20_000) },
                };
                Trouble::Disk { queue: node, what, lasts: lasts(chance) }
            }
            0..6 => Trouble::Kill { node, down: lasts(chance) },
            6..9 => Trouble::Pause { node, lasts: lasts(chance) },
            9..12 => Trouble::Part { path, both_ways: chance.random(), lasts: lasts(chance) },
            12..14 => Trouble::Weather { path, seed: chance.random() },
            14 => Trouble::Clock { node, rate_permille: chance.random_range(900..=1_100) },
            _ => Trouble::Wall { node, since_epoch: Duration::from_secs(chance.random_range(0..4_000_000_000)) },
        };
        let at_permille = (number as u64 + 1) * 900 / (count as u64 + 1);
        Fault { at_permille, within: ms(1 << chance.random_range(5..=9)), trouble }
    };
    (0..count).map(draw).collect()
}
