//! One node: its last report, its history, and what changed since the report before.

use std::collections::BTreeMap;

use crate::{
    post::{Direction, Ours, Posted, Share},
    rings::{Gauged, Rings},
    samples::Samples,
};

/// Names of a ledger that tell of messages or datagrams thrown away.
const LOSSES: [&str; 22] = [
    "bad_checksum",
    "bad_feed_time",
    "bad_rows",
    "function_errors",
    "function_panics",
    "kernel_drops",
    "malformed",
    "no_feed_time",
    "no_msg",
    "not_an_object",
    "not_json",
    "not_utf8",
    "outputs_refused_full",
    "outputs_unconfirmed",
    "rows_bad_quoting",
    "rows_not_utf8",
    "too_deep",
    "too_long",
    "unconfirmed",
    "unknown_verb",
    "unreadable",
    "unsent",
];
/// Names that tell of something refused, which whoever sent it keeps and sends again.
const REFUSALS: [&str; 12] = [
    "batches_held_back_full",
    "fenced",
    "held_dropped",
    "leases_lost",
    "not_allowed",
    "refused_bytes_max",
    "refused_full",
    "refused_ids",
    "refused_messages_max",
    "refused_parked",
    "refused_producers",
    "stray",
];

/// A node is silent when nothing was heard of it for so many of its periods.
pub(crate) const SILENT_PERIODS: f64 = 2.5;

/// How long after its last rise a counter is still said to rise, in seconds, beside 2.5 periods.
const RISING_SECONDS: f64 = 10.0;
/// How many seconds without messages one report fills at most: periods are of ten minutes at most.
const SILENT_SECONDS_MAX: f64 = 700.0;

/// What a node is, as its reports tell.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// What it does.
    pub func: Option<String>,
    /// What a node of ours said last.
    pub ours: Option<Ours>,
    /// When its first report came, in seconds since the epoch, by the hub's clock.
    pub first_seen: f64,
    /// When it was last said that another node has its name, by the hub's clock.
    pub twin_said: f64,
    /// When it was last said that messages are missing here.
    pub lost_said: f64,
    /// When its last report came.
    pub last_seen: f64,
    /// The end of its last period, by its own clock.
    pub t1: f64,
    /// The length of its last period, in seconds, at least 1.
    pub period: f64,
    /// The slot in which its last period ended.
    pub last_second: u32,
    /// Where its reports follow one another without a gap since, by its own clock.
    pub(crate) unbroken_since: f64,
    /// Whether it ever said what goes in; nodes of 2016 do not.
    pub(crate) tells_in: bool,
    /// Whether it is silent for too long.
    pub is_silent: bool,
    /// How often it began anew.
    pub restarts: u64,
    /// Its history.
    pub rings: Rings,
    /// Its counters that rise, and since when and until when.
    pub rises: BTreeMap<String, Rise>,
    /// Whether its queue is full.
    pub is_full: bool,
    /// Its edges' counts, as far back as the balance needs them.
    pub samples: BTreeMap<(Direction, u64), Samples>,
    /// What this node, as a server, took without any client of ours having sent it.
    pub elsewhere: u64,
    /// What clients were told is safe here, and is not: see the balance.
    pub lost: u64,
    /// Of its own ledger: what came less what became of it.
    pub unbalanced: u64,
    /// How much of the clients' counts belongs to an earlier life of this server.
    pub bases: BTreeMap<(String, u64), u64>,
    /// When the server began whose messages it has, by its own clock: a queue that keeps them on a disk lives through
    /// restarts.
    pub life_began: f64,
    /// When its process began, by its own clock.
    pub began: f64,
}

/// A counter that rose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rise {
    /// Its value before it began to rise.
    pub from: u64,
    /// When it rose last, in seconds since the epoch.
    pub last: f64,
}

/// What a report tells beyond figures: kinds and words of events.
pub(crate) type News = Vec<(&'static str, String)>;

impl Node {
    /// Takes a report that came at `now`.
    pub(crate) fn take(&mut self, now: f64, posted: Posted) -> News {
        let mut news = News::new();
        let is_first = self.first_seen == 0.0;
        // A clock that is far off would put the report where no chart shows it; it is moved by whole seconds.
        let shift = if posted.t1 > now + 5.0 || posted.t1 < now - 86_400.0 { (now - posted.t1).floor() } else { 0.0 };
        let (t0, t1) = (posted.t0 + shift, posted.t1 + shift);
        if let Some(ours) = posted.ours.as_ref().filter(|ours| self.is_of_a_twin(now, t1 - ours.uptime_s)) {
            let began = format!("another node has this name, up since {:.0} s", ours.uptime_s);
            return self.note_twin(now, &began);
        }
        if is_first {
            self.first_seen = now;
            news.push(("came", format!("{} came", posted.func.as_deref().unwrap_or("a node of 2016"))));
        } else if self.is_silent {
            news.push(("back", format!("back after {:.0} s", now - self.last_seen)));
        }
        self.is_silent = false;
        self.last_seen = now;
        self.tells_in |= posted.ours.is_some() || posted.throughput.values().any(|(messages_in, _)| *messages_in > 0);
        self.period = (t1 - t0).clamp(1.0, 86_400.0);
        self.take_throughput(t0, t1, shift, &posted);
        self.last_second = last_second(t1);
        if !posted.latencies.is_empty() {
            self.rings.add_latencies(self.last_second, &posted.latencies);
        }
        let before = std::mem::replace(&mut self.t1, t1);
        if posted.func.is_some() {
            self.func = posted.func;
        }
        if let Some(ours) = posted.ours {
            self.take_ours(now, before, ours, &mut news);
        }
        news
    }

    /// Whether a report is of a process that began before the one that reports under this name now. While that one is
    /// heard, it is not of a node that began anew, nor of one whose clock was set back.
    fn is_of_a_twin(&self, now: f64, began: f64) -> bool {
        self.ours.is_some() && began + 2.0 < self.began && now - self.last_seen <= SILENT_PERIODS * self.period
    }

    /// Says so once a minute. What a twin reports is left out: two nodes in one would never add up.
    fn note_twin(&mut self, now: f64, words: &str) -> News {
        if now < self.twin_said + 60.0 {
            return News::new();
        }
        self.twin_said = now;
        vec![("twin", format!("{words}: give each a --vuid of its own"))]
    }

    /// Seconds between the first and the last one of the period that the report leaves out had nothing.
    fn take_throughput(&mut self, t0: f64, t1: f64, shift: f64, posted: &Posted) {
        if (t0 - self.t1).abs() > 0.5 {
            self.unbroken_since = t0;
        }
        let moved = |second: u32| whole_seconds(f64::from(second) + shift);
        let named: BTreeMap<u32, (u64, u64)> =
            posted.throughput.iter().map(|(second, counts)| (moved(*second), *counts)).collect();
        let first = whole_seconds(t0.floor().max(self.unbroken_since.ceil()).max(t1 - SILENT_SECONDS_MAX));
        for second in first..whole_seconds(t1) {
            if !named.contains_key(&second) {
                self.rings.count(second, 0, 0);
            }
        }
        // What a report names far outside of its period is not believed.
        let plausible = whole_seconds(t0 - 2.0)..=whole_seconds(t1 + 2.0);
        for (second, (messages_in, messages_out)) in named {
            if plausible.contains(&second) || t1 - t0 < 0.0 {
                self.rings.count(second, messages_in, messages_out);
            }
        }
    }

    /// `heard` is when the period of the report before ended.
    fn take_ours(&mut self, now: f64, heard: f64, ours: Ours, news: &mut News) {
        let began = self.t1 - ours.uptime_s;
        // A node may learn its id after its first report.
        let known = self.ours.as_ref().filter(|before| before.node.is_some());
        let is_same = known.is_some_and(|before| ours.node == before.node);
        // One that died young may have been as old at its last report as its successor at its first. Another boot of a
        // process that went on is a rewind.
        let is_younger = |before: &Ours| ours.uptime_s + 0.001 < before.uptime_s || began > heard + 0.001;
        let has_restarted = known.is_some() && !is_same || self.ours.as_ref().is_some_and(is_younger);
        if has_restarted {
            self.restarts += 1;
            news.push(("restarted", format!("restarted, up since {:.0} s", ours.uptime_s)));
        }
        // The same node has the same messages.
        if self.ours.is_none() || has_restarted && !is_same {
            self.life_began = began;
            self.bases.clear();
        }
        self.began = began;
        for edge in &ours.edges {
            self.samples.entry((edge.dir, edge.index)).or_default().push(self.t1, edge, has_restarted);
        }
        let kept: Vec<_> = ours.edges.iter().map(|edge| (edge.dir, edge.index)).collect();
        self.samples.retain(|key, _| kept.contains(key));
        self.note_rises(now, &ours, (has_restarted, is_same), news);
        let replayed = ours.ledger.get("replayed").copied().unwrap_or(0);
        let again = replayed.saturating_sub(if is_same { self.counter("replayed") } else { replayed });
        if again > 0 {
            news.push(("rewound", format!("rewound: {again} messages are delivered again")));
        }
        self.note_full(&ours, news);
        self.unbalanced = unbalanced(&ours.ledger);
        self.ours = Some(ours);
        let gauged = Gauged {
            depth: self.depth(),
            age: self.gauge("oldest_age_s").unwrap_or(0.0),
            share: self.share().map(|share| (share.busy, share.blocked)),
            drops: self.losses(),
        };
        self.rings.gauge(self.last_second, gauged);
    }

    fn note_rises(&mut self, now: f64, ours: &Ours, (has_restarted, is_same): (bool, bool), news: &mut News) {
        let Some(before) = &self.ours else { return };
        for (name, value) in &ours.ledger {
            if !(is_loss(name) || is_refusal(name) || name == "dead") {
                continue;
            }
            // Dead letters outlive a process whose messages do; what it refused and dropped is counted anew.
            let begins_anew = has_restarted && !(is_same && name == "dead");
            let was = if begins_anew { 0 } else { before.ledger.get(name).copied().unwrap_or(0) };
            if *value <= was {
                continue;
            }
            if let Some(rise) = self.rises.get_mut(name) {
                rise.last = now;
                continue;
            }
            self.rises.insert(name.clone(), Rise { from: was, last: now });
            let (kind, word) = if name == "dead" { ("dead", "dead letters") } else { ("drops_began", name.as_str()) };
            news.push((kind, format!("{word}: {} more, {value} since the start", value - was)));
        }
    }

    fn note_full(&mut self, ours: &Ours, news: &mut News) {
        let fill = fill(&ours.gauges);
        // Full from 95 % on, no longer below 85 %: one crossing is one event.
        let is_full = fill.is_some_and(|fill| fill >= if self.is_full { 0.85 } else { 0.95 });
        if is_full != self.is_full {
            let percent = fill.unwrap_or(0.0) * 100.0;
            news.push((if is_full { "full_began" } else { "full_ended" }, format!("the queue is {percent:.0} % full")));
        }
        self.is_full = is_full;
    }

    /// Looks whether it fell silent, and whether counters ceased to rise.
    pub(crate) fn look(&mut self, now: f64) -> News {
        let mut news = News::new();
        if !self.is_silent && now - self.last_seen > SILENT_PERIODS * self.period {
            self.is_silent = true;
            let hint = if self.ours.is_none() { "; nodes of 2016 say nothing when idle" } else { "" };
            news.push(("silent", format!("silent for {:.1} s{hint}", now - self.last_seen)));
        }
        let patience = RISING_SECONDS.max(SILENT_PERIODS * self.period);
        let ledger = self.ours.as_ref().map(|ours| &ours.ledger);
        self.rises.retain(|name, rise| {
            let is_over = now - rise.last > patience;
            if is_over && name != "dead" {
                let value = ledger.and_then(|ledger| ledger.get(name)).copied().unwrap_or(0);
                news.push(("drops_ended", format!("{name}: {} in all", value.saturating_sub(rise.from))));
            }
            !is_over
        });
        news
    }

    /// Messages in and out per second over the last ten seconds, or over its last period if that is longer.
    pub(crate) fn rates(&self) -> Option<(f64, f64)> {
        if self.is_silent {
            return None;
        }
        let span = whole_seconds(self.period.ceil()).max(10);
        let ring = if span <= 240 { self.rings.all().first() } else { self.rings.all().last() };
        // The last second is complete only when the next report tells the rest of it.
        let mut slots: Vec<_> = ring?
            .between(self.last_second.saturating_sub(span), self.last_second)
            .filter(|slot| slot.seconds() > 0)
            .collect();
        if slots.len() > 1 && slots.last().is_some_and(|slot| slot.tick >= whole_seconds(self.t1)) {
            slots.pop();
        }
        let seconds: u32 = slots.iter().map(|slot| u32::from(slot.seconds())).sum();
        let (messages_in, messages_out) = slots
            .iter()
            .map(|slot| slot.messages())
            .fold((0.0, 0.0), |sum, each| (sum.0 + f64::from(each.0), sum.1 + f64::from(each.1)));
        (seconds > 0).then(|| (messages_in / f64::from(seconds), messages_out / f64::from(seconds)))
    }

    /// A gauge by name.
    pub(crate) fn gauge(&self, name: &str) -> Option<f64> {
        self.ours.as_ref()?.gauges.get(name).copied()
    }

    /// A counter by name.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.ours.as_ref().and_then(|ours| ours.ledger.get(name)).copied().unwrap_or(0)
    }

    /// Messages that wait: of a queue its depth, of others what they hold.
    pub(crate) fn depth(&self) -> f64 {
        self.gauge("depth").or_else(|| self.gauge("waiting")).or_else(|| self.gauge("unwritten")).unwrap_or(0.0)
    }

    /// How full its queue is, 0 to 1.
    pub(crate) fn fill(&self) -> Option<f64> {
        fill(&self.ours.as_ref()?.gauges)
    }

    /// How its last period was spent.
    pub(crate) fn share(&self) -> Option<Share> {
        self.ours.as_ref()?.share
    }

    /// Everything that was thrown away since its start.
    pub(crate) fn losses(&self) -> u64 {
        self.ours.iter().flat_map(|ours| &ours.ledger).filter(|(name, _)| is_loss(name)).map(|(_, count)| count).sum()
    }

    /// All counters of harm, by name, those that are zero too.
    pub(crate) fn drops(&self) -> BTreeMap<&str, u64> {
        let ledger = self.ours.iter().flat_map(|ours| &ours.ledger);
        ledger
            .filter(|(name, _)| is_loss(name) || is_refusal(name))
            .map(|(name, count)| (name.as_str(), *count))
            .collect()
    }

    /// The counters of loss that rise now.
    pub(crate) fn rising_losses(&self) -> impl Iterator<Item = &str> {
        self.rises.keys().map(String::as_str).filter(|name| is_loss(name))
    }

    /// `queue`, `worker`, `sink`, `feeder`, `receiver`, or what its function's name tells.
    pub(crate) fn kind(&self) -> &str {
        let said = self.ours.as_ref().and_then(|ours| ours.kind.as_deref());
        said.unwrap_or(match self.func.as_deref() {
            Some("Messagequeue") => "queue",
            Some("Sink") => "sink",
            Some("Feeder") => "feeder",
            Some(_) => "worker",
            None => "unknown",
        })
    }

    /// All that is missing at this node: of its own ledger and of what its clients were told is safe.
    pub(crate) fn unaccounted(&self) -> u64 {
        self.unbalanced + self.lost
    }
}

fn is_loss(name: &str) -> bool {
    LOSSES.contains(&name)
}

fn is_refusal(name: &str) -> bool {
    REFUSALS.contains(&name)
}

fn fill(gauges: &BTreeMap<String, f64>) -> Option<f64> {
    let of = |held: &str, limits: [&str; 2]| {
        let limit = limits.iter().find_map(|limit| gauges.get(*limit)).filter(|limit| **limit > 0.0)?;
        Some((gauges.get(held)? / limit).clamp(0.0, 1.0))
    };
    let messages = of("depth", ["depth_max", "messages_max"]);
    let bytes = of("bytes", ["bytes_max", "bytes_max"]);
    messages.into_iter().chain(bytes).reduce(f64::max)
}

/// A queue's law: what was accepted is ready, leased, done, dead, discarded or popped.
fn unbalanced(ledger: &BTreeMap<String, u64>) -> u64 {
    let (Some(accepted), true) = (ledger.get("accepted"), ledger.contains_key("ready")) else { return 0 };
    let became: u64 = ["ready", "leased", "done", "dead", "discarded", "popped"]
        .iter()
        .filter_map(|name| ledger.get(*name))
        .fold(0, |sum, count| sum.saturating_add(*count));
    accepted.abs_diff(became)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast keeps to the bounds")]
pub(crate) fn whole_seconds(seconds: f64) -> u32 {
    seconds as u32
}

/// The second in which a period ended; one that ends on the stroke belongs to the second before.
fn last_second(t1: f64) -> u32 {
    whole_seconds(t1.ceil() - 1.0)
}
