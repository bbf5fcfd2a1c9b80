//! The disks of queues with logs: what befalls them, and how a queue comes back from one.

use std::{collections::BTreeMap, time::Duration};

use machine::Now;
use mq::{Queue, Stored};
use simnet::FakeDisk;
use wal::{Disk as _, Keep};

use crate::{
    graph::{Graph, mix, reports},
    options::{DiskTrouble, LogPlan},
    plant::Plant,
};

/// The disks, by their queues' places.
#[derive(Default)]
pub(crate) struct Disks {
    by_place: BTreeMap<usize, Place>,
    /// How often a queue has come back from what a crash left.
    pub(crate) images: u64,
    /// Nothing befalls them any more.
    pub(crate) calm: bool,
}

#[derive(Default)]
struct Place {
    disk: FakeDisk,
    /// How often the power has gone.
    losses: u64,
    /// What is to befall it, and how long the queue is down then.
    trouble: Option<(DiskTrouble, Duration)>,
    is_full: bool,
}

impl Place {
    fn fill(&mut self, bytes: u64) {
        let files = self.disk.list().unwrap_or_default();
        let used: u64 = files.iter().map(|(_, length)| length).sum();
        self.disk.set_capacity(Some(used + bytes));
    }

    /// The process is gone: the disk as the next one finds it.
    fn end_process(&mut self) {
        self.disk = match self.trouble.take() {
            Some((DiskTrouble::DiesAt { power: true, seed, .. }, _)) if self.disk.is_dead() => {
                self.losses += 1;
                self.disk.crash(seed)
            }
            _ => self.disk.kill(),
        };
        if self.is_full {
            self.fill(0);
        }
    }
}

impl Disks {
    pub(crate) fn befall(&mut self, place: usize, what: DiskTrouble, lasts: Duration) {
        let place = self.by_place.entry(place).or_default();
        match what {
            _ if place.trouble.is_some() => return,
            DiskTrouble::DiesAt { operation, .. } => place.disk.crash_after(operation),
            DiskTrouble::SyncFails { sync } => place.disk.fail_sync(sync),
            DiskTrouble::Full { bytes } => {
                place.is_full = true;
                return place.fill(bytes);
            }
        }
        place.trouble = Some((what, lasts));
    }

    pub(crate) fn make_room(&mut self, place: usize) {
        if let Some(place) = self.by_place.get_mut(&place) {
            place.is_full = false;
            place.disk.set_capacity(None);
        }
    }

    /// How long the queue is to be down, if its disk has died, or it has ended because its disk failed.
    pub(crate) fn take_death(&mut self, place: usize, failed: bool) -> Option<Duration> {
        let (_, lasts) = self.by_place.get(&place)?.trouble?;
        (failed || self.by_place[&place].disk.is_dead()).then_some(lasts)
    }

    pub(crate) fn process_ends(&mut self, place: usize) {
        if let Some(place) = self.by_place.get_mut(&place) {
            place.end_process();
        }
    }

    /// Whether something may still befall it.
    pub(crate) fn is_troubled(&self, place: usize) -> bool {
        self.by_place.get(&place).is_some_and(|place| place.trouble.is_some() || place.is_full)
    }
}

#[expect(clippy::panic, reason = "a run ends where it breaks a law")]
impl Graph {
    /// A queue as its log tells; while the times are bad, its start may be cut short.
    ///
    /// # Panics
    /// Where the queue does not come back, or another start would find something else.
    pub(crate) fn recover_queue(&mut self, place: usize, stage: usize, logs: LogPlan) -> Queue {
        let mut number = self.drawn();
        loop {
            number = mix(number);
            let calm = self.disks.calm;
            if calm {
                self.disks.make_room(place);
            }
            let at = self.disks.by_place.entry(place).or_default();
            at.disk.set_lie(self.plant.and_then(Plant::of_disks));
            let may_lose = logs.level == wal::Level::Disk;
            if !calm && number.is_multiple_of(8) {
                let operation = number / 8 % 16;
                let what = DiskTrouble::DiesAt { operation, power: may_lose, seed: mix(number) };
                self.disks.befall(place, what, Duration::from_millis(5));
            }
            let (disk, losses) = (self.disks.by_place[&place].disk.clone(), self.disks.by_place[&place].losses);
            self.disks.images += 1;
            match self.open_queue(place, stage, logs, &disk, losses) {
                Ok(queue) => {
                    self.check_second_start(place, stage, logs, &queue);
                    return queue;
                }
                Err(_) if disk.is_dead() => self.disks.process_ends(place),
                Err(mq::StartError::Write(_)) => self.disks.make_room(place),
                Err(error) => panic!("a queue does not come back: {error}"),
            }
        }
    }

    fn open_queue(
        &self,
        place: usize,
        stage: usize,
        logs: LogPlan,
        disk: &FakeDisk,
        losses: u64,
    ) -> Result<Queue, mq::StartError> {
        let options = wal::Options {
            level: logs.level,
            segment_bytes: logs.segment_bytes,
            keep: Keep { bytes: logs.keep_bytes, age: None },
            salvage: false,
            node_if_new: mix(self.options.seed << 8 | place as u64),
        };
        let stored = Stored { disk: Box::new(disk.clone()), options, machine_boot: u128::from(losses) };
        let limits = mq::Limits { messages_max: self.options.stages[stage].room, bytes_max: 1 << 24 };
        let now = Now { since_start: Duration::ZERO, ..self.net.clock(self.places[place].id) };
        let fault = self.plant.and_then(Plant::of_servers);
        let recovered = Queue::recover_with_fault(stored, now, (limits, fault), reports(), &mut |_, _| {});
        recovered.map(|(queue, _)| queue)
    }

    /// A start that is cut off at once, and the next, change nothing.
    fn check_second_start(&self, place: usize, stage: usize, logs: LogPlan, queue: &Queue) {
        let Place { disk, losses, .. } = &self.disks.by_place[&place];
        let again = self.open_queue(place, stage, logs, &disk.kill(), *losses).map(|queue| queue.message_ledger());
        let first = queue.message_ledger();
        match again {
            Ok(again) => assert_eq!(first, again, "a second start finds something else"),
            Err(error) => panic!("a queue comes back once, and not twice: {error}"),
        }
    }
}
