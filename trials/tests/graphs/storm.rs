//! What befalls a graph, in its order; then the weather clears, and all must come to its end.

use std::{collections::BTreeMap, time::Duration};

use simnet::State;

use crate::{
    graph::{Graph, Role},
    options::{DiskTrouble, Fault, Promise, Trouble},
};

/// What ends again.
#[derive(Debug, Clone, Copy)]
enum End {
    Begin(usize),
    Resume(usize),
    Heal(usize),
    /// There is room on a queue's disk again.
    Room(usize),
}

/// What a run went through.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Troubles {
    pub(crate) faults: u64,
    /// Of these, how many came while messages were under way.
    pub(crate) in_time: u64,
    pub(crate) kills: u64,
    /// Of these, how many in the middle of what a disk was doing.
    pub(crate) kills_of_disks: u64,
    /// How many crash images queues have come back from.
    pub(crate) images: u64,
    /// How many feeders had to be started again because a former process of theirs fenced them from its grave.
    pub(crate) fenced: u64,
    /// How long it took, once the weather had cleared, until all was done.
    pub(crate) longest_end: Duration,
}

/// The bytes of a line that comes out, more or less: only for telling how far a run is.
const LINE_BYTES: usize = 8;

impl Graph {
    /// Lives through all that is drawn; books must balance at each step.
    pub(crate) fn storm(&mut self) -> Result<Troubles, String> {
        let mut troubles = Troubles::default();
        let mut ends: BTreeMap<Duration, Vec<End>> = BTreeMap::new();
        let stride = (self.options.weather.delay_max / 2).clamp(Duration::from_micros(200), Duration::from_millis(10));
        let expected = LINE_BYTES * self.options.feeders * usize::try_from(self.options.messages_each).unwrap();
        for number in 0..self.options.faults.len() {
            let Fault { at_permille, within, trouble } = self.options.faults[number];
            let limit = self.net.now() + within;
            while self.net.now() < limit && self.printed_bytes() * 1_000 < expected * at_permille as usize {
                self.net.run_until(self.net.now() + stride);
                self.bury_dead_queues(&mut ends, &mut troubles);
                self.end_some(&mut ends);
            }
            troubles.in_time += u64::from(!self.is_over());
            self.befall(number, trouble, &mut ends, &mut troubles);
            self.check_books()?;
        }
        while let Some((at, _)) = ends.first_key_value() {
            self.net.run_until(*at);
            self.bury_dead_queues(&mut ends, &mut troubles);
            self.end_some(&mut ends);
        }
        troubles.images = self.disks.images;
        Ok(troubles)
    }

    fn end_some(&mut self, ends: &mut BTreeMap<Duration, Vec<End>>) {
        while let Some(first) = ends.first_entry()
            && *first.key() <= self.net.now()
        {
            for end in first.remove() {
                match end {
                    Begin(place) => {
                        if self.is_down(place) {
                            self.begin(place);
                        }
                    }
                    Resume(place) => self.net.resume(self.places[place].id),
                    Heal(path) => {
                        let (one, other) = self.paths[path];
                        self.net.heal(self.places[one].id, self.places[other].id);
                    }
                    Room(place) => self.disks.make_room(place),
                }
            }
        }
    }

    fn befall(
        &mut self,
        number: usize,
        trouble: Trouble,
        ends: &mut BTreeMap<Duration, Vec<End>>,
        troubles: &mut Troubles,
    ) {
        let now = self.net.now();
        let mut ends_at = |lasts: Duration, end: End| ends.entry(now + lasts).or_default().push(end);
        let nodes = self.places.len() - 1;
        troubles.faults += 1;
        match trouble {
            Trouble::Kill { node, down } => match self.one_of(node, |place| self.may_die(number, place)) {
                Some(place) => {
                    troubles.kills += 1;
                    ends_at(down, Begin(place));
                    self.kill(place);
                }
                None => self.pause(node, |place| ends_at(down, Resume(place))),
            },
            Trouble::Pause { node, lasts } => self.pause(node, |place| ends_at(lasts, Resume(place))),
            Trouble::Part { path, both_ways, lasts } => {
                let path = path % self.paths.len();
                let (one, other) = self.paths[path];
                ends_at(lasts, Heal(path));
                self.net.cut(self.places[one].id, self.places[other].id);
                if both_ways {
                    self.net.cut(self.places[other].id, self.places[one].id);
                }
            }
            Trouble::Weather { path, seed } => {
                let (one, other) = self.paths[path % self.paths.len()];
                let (one, other) = (self.places[one].id, self.places[other].id);
                let (from, to) = if seed % 2 == 0 { (one, other) } else { (other, one) };
                self.net.set_path_weather(from, to, self.options.path_weather(seed));
            }
            Trouble::Clock { node, rate_permille } => {
                self.net.set_clock_rate(self.places[node % nodes].id, rate_permille);
            }
            Trouble::Wall { node, since_epoch } => {
                self.net.set_wall_clock(self.places[node % nodes].id, since_epoch);
            }
            Trouble::Disk { queue, what, lasts } => {
                let queues = self.queues();
                let place = queues[queue % queues.len()];
                let may_fall = matches!(what, DiskTrouble::Full { .. }) || self.may_die(number, place);
                if self.is_down(place) || !may_fall {
                    return;
                }
                if let DiskTrouble::Full { .. } = what {
                    ends_at(lasts, Room(place));
                }
                self.disks.befall(place, what, lasts);
            }
        }
    }

    /// A queue whose disk has died goes with it.
    fn bury_dead_queues(&mut self, ends: &mut BTreeMap<Duration, Vec<End>>, troubles: &mut Troubles) {
        if self.options.logs.is_none() {
            return;
        }
        for place in self.queues() {
            let failed = self.net.state(self.places[place].id) == State::Done;
            if let Some(lasts) = self.disks.take_death(place, failed) {
                troubles.kills += 1;
                troubles.kills_of_disks += 1;
                self.kill(place);
                ends.entry(self.net.now() + lasts).or_default().push(Begin(place));
            }
        }
    }

    /// Whether no process is there, and one is to come.
    fn is_down(&self, place: usize) -> bool {
        let state = self.net.state(self.places[place].id);
        let is_queue = matches!(self.places[place].role, Role::Queue(_));
        state == State::Killed || is_queue && state == State::Done
    }

    /// The place that a number stands for, among those that fit.
    fn one_of(&self, number: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.places.len()).filter(|place| fits(*place)).collect();
        fitting.get(number.checked_rem(fitting.len())?).copied()
    }

    fn pause(&mut self, node: usize, then: impl FnOnce(usize)) {
        let place = self.one_of(node, |place| self.net.state(self.places[place].id) == State::Up);
        if let Some(place) = place {
            self.net.pause(self.places[place].id);
            then(place);
        }
    }

    /// Whether a promise outlives the death of this node now.
    fn may_die(&self, fault: usize, place: usize) -> bool {
        use Promise::{AtLeastOnce, AtMostOnce, InOrder, QueuesForget, QueuesRemember};
        let promise = self.options.promise;
        let is_early = 2 * fault < self.options.faults.len();
        let is_alive = matches!(self.net.state(self.places[place].id), State::Up | State::Paused);
        let may = match self.places[place].role {
            // A feeder that has told its queue that all is fed has ended: who starts it again feeds all again.
            Role::Feeder(_) => {
                !matches!(promise, QueuesForget | AtMostOnce)
                    && is_alive
                    && self.fed(place) < self.options.messages_each
            }
            // The later messages show what the deaths before them have left behind.
            Role::Queue(_) => promise == QueuesRemember || promise == QueuesForget && is_early,
            Role::Worker(..) => promise != InOrder && (promise != QueuesForget || !is_early),
            Role::Sink => promise == AtLeastOnce,
            Role::Clerk => false,
        };
        debug_assert!(promise != InOrder || !may || matches!(self.places[place].role, Role::Feeder(_)));
        may && is_alive
    }

    fn kill(&mut self, place: usize) {
        if let Role::Queue(_) = self.places[place].role {
            for (feeder, at) in self.feeders().into_iter().enumerate() {
                let summary = self.feeder(at).summary();
                let sent = summary.resumed + summary.sent;
                self.fed_before[feeder] = self.fed_before[feeder].max(sent);
            }
        }
        self.net.kill(self.places[place].id);
        self.disks.process_ends(place);
    }

    /// In calm weather, with everybody up, all comes to its end.
    pub(crate) fn end(&mut self, troubles: &mut Troubles) -> Result<Duration, String> {
        /// How often to look.
        const STRIDE: Duration = Duration::from_millis(20);
        /// A moment for what would come too much.
        const AFTERWARDS: Duration = Duration::from_secs(2);
        self.net.clear_up();
        self.disks.calm = true;
        for place in 0..self.places.len() {
            if self.disks.is_troubled(place) {
                self.kill(place);
            }
            if self.is_down(place) {
                self.begin(place);
            }
        }
        let begun = self.net.now();
        let bound = self.patience();
        loop {
            while self.starts_fenced_again(troubles) || !self.is_over() {
                if self.net.now() > begun + bound {
                    return Err(format!("not at its end {bound:?} after the weather cleared: {}", self.told()));
                }
                self.net.run_until(self.net.now() + STRIDE);
            }
            let took = self.net.now().saturating_sub(begun);
            let printed = self.printed_bytes();
            self.net.run_until(self.net.now() + AFTERWARDS);
            if self.is_over() && printed == self.printed_bytes() {
                return Ok(took);
            }
        }
    }

    /// An OPEN of its former process that was still on its way may have fenced a feeder. It has said so and ended, and whoever
    /// runs it starts it again. Whether there was one.
    fn starts_fenced_again(&mut self, troubles: &mut Troubles) -> bool {
        let before = troubles.fenced;
        for place in self.feeders() {
            let has_ended = self.net.state(self.places[place].id) == State::Done;
            if has_ended && matches!(self.feeder(place).failure(), Some(link::Failure::Fenced { .. })) {
                troubles.fenced += 1;
                self.begin(place);
            }
        }
        troubles.fenced > before
    }

    /// How long the end may take: the last leases run out, and what failed rests.
    fn patience(&self) -> Duration {
        let lease = if self.options.promise == Promise::InOrder { Duration::ZERO } else { self.options.lease };
        10 * lease + Duration::from_mins(1)
    }

    /// How everybody stands.
    fn told(&self) -> String {
        let queues = self.queues().into_iter().map(|place| format!("{:?}", self.queue(place).message_ledger()));
        let feeders = self.feeders().into_iter().map(|place| {
            let feeder = self.feeder(place);
            format!("{:?} {:?} {}", self.net.state(self.places[place].id), feeder.failure(), feeder.summary())
        });
        queues.chain(feeders).collect::<Vec<_>>().join("\n")
    }
}

use End::{Begin, Heal, Resume, Room};
