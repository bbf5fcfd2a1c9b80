//! What travels, what the workers do with it, and what must come out.
//!
//! A message is a JSON object for a sink, with a text of its own: its feeder, its number, and a mark of each stage that it
//! has passed. So each message that may come out has a *key*, a small number, and what came out can be counted.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use functions::{Choice, Function, Outputs, Refusal};

use crate::options::{Options, Stage, Work};

const BEGIN: &[u8] = b"{\"msg\":\"";
const END: &[u8] = b"\",\"feed_time\":1}";

/// The line of a feeder.
pub(crate) fn line(feeder: usize, number: u64) -> Vec<u8> {
    [BEGIN, format!("{feeder}.{number}:").as_bytes(), END].concat()
}

/// A text's feeder, number and marks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) feeder: usize,
    pub(crate) number: u64,
    marks: &'a [u8],
}

impl<'a> Text<'a> {
    pub(crate) fn of_message(message: &'a [u8]) -> Option<Self> {
        Self::parse(message.strip_prefix(BEGIN)?.strip_suffix(END)?)
    }

    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let mut parts = text.splitn(2, |byte| *byte == b':');
        let (source, marks) = (parts.next()?, parts.next()?);
        let (feeder, number) = std::str::from_utf8(source).ok()?.split_once('.')?;
        Some(Self { feeder: feeder.parse().ok()?, number: number.parse().ok()?, marks })
    }

    /// Which of those that its source becomes it is, if it has been through these stages; the last bit is the last
    /// doubling's.
    fn copy(&self, stages: &[Stage]) -> Option<u64> {
        let (mut marks, mut copy) = (self.marks, 0);
        for stage in stages {
            if let Work::Cycle(rounds) = stage.work {
                for _ in 0..rounds {
                    marks = marks.strip_prefix(b"~")?;
                }
            }
            let (mark, rest) = marks.split_first()?;
            copy = match (stage.work, mark) {
                (Work::Double, b'a') => 2 * copy,
                (Work::Double, b'b') => 2 * copy + 1,
                (Work::Pass | Work::Cycle(_), b'p') => copy,
                _ => return None,
            };
            marks = rest;
        }
        marks.is_empty().then_some(copy)
    }
}

/// Whether a stage refuses what follows from a line of this number.
fn is_refused(stage: usize, number: u64) -> bool {
    number % 37 == 5 + stage as u64
}

/// What a worker does, in one life.
pub(crate) fn function(place: usize, stage: &Stage, applied_again: Arc<AtomicU64>) -> Function {
    let Stage { work, refuses, .. } = *stage;
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    Box::new(move |message: &[u8], outputs: &mut Outputs| {
        let unknown = || Refusal::UnknownInput { input: String::from_utf8_lossy(message).into_owned() };
        let text = Text::of_message(message).ok_or_else(unknown)?;
        if refuses && is_refused(place, text.number) {
            return Err(unknown());
        }
        if !seen.insert(message.to_vec()) {
            applied_again.fetch_add(1, Ordering::Relaxed);
        }
        let value = u128::from(text.number);
        let mut send = |choice: u128, mark: &[u8]| {
            outputs.write(Choice::from(choice), |draft| {
                draft.push(message.strip_suffix(END).unwrap_or(message));
                draft.push(mark);
                draft.push(END);
            });
        };
        let rounds = text.marks.iter().rev().take_while(|mark| **mark == b'~').count();
        match work {
            Work::Pass => send(value, b"p"),
            Work::Double => {
                send(value, b"a");
                send(value + 1, b"b");
            }
            Work::Cycle(times) if rounds < times as usize => send(0, b"~"),
            Work::Cycle(_) => send(CYCLE_CHOICES[text.number as usize % 2], b"p"),
        }
        Ok(())
    })
}

/// A worker of a cycle has the next queue of the ring as its first output. Which of the others these are follows from how many there
/// are, but none of them is the first: see [`outputs_of_cycle`].
const CYCLE_CHOICES: [u128; 2] = [1, 2];

/// The outputs of a cycle's worker: three, so that choices 1 and 2 are what they say.
pub(crate) fn outputs_of_cycle<T: Copy>(around: T, on: &[T]) -> Vec<T> {
    vec![around, on[0], on[on.len() - 1]]
}

/// Every message that may come out has a number.
pub(crate) struct Keys<'a> {
    options: &'a Options,
    copies: u64,
}

impl<'a> Keys<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        Self { options, copies: copies(&options.stages) }
    }

    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.options.feeders as u64 * self.options.messages_each * self.copies).unwrap()
    }

    fn first(&self, text: &Text<'_>) -> Option<u64> {
        let is_known = text.feeder < self.options.feeders && text.number < self.options.messages_each;
        is_known.then(|| (text.feeder as u64 * self.options.messages_each + text.number) * self.copies)
    }

    /// The key of what came out; `None` for what nobody put in.
    pub(crate) fn of_output(&self, text: &Text<'_>) -> Option<usize> {
        let key = self.first(text)? + text.copy(&self.options.stages)?;
        usize::try_from(key).ok()
    }

    /// The keys of all that would have come of a message in a queue of this stage.
    pub(crate) fn of_queued(&self, stage: usize, text: &Text<'_>) -> Option<std::ops::Range<usize>> {
        let (before, after) = self.options.stages.split_at(stage);
        // It may be on its way through a cycle.
        let rounds = if let Some(Stage { work: Work::Cycle(_), .. }) = after.first() { text.marks.len() } else { 0 };
        let turns = text.marks.iter().rev().take_while(|mark| **mark == b'~').count().min(rounds);
        let settled = Text { marks: &text.marks[..text.marks.len() - turns], ..*text };
        let each = copies(after);
        let begin = self.first(text)? + settled.copy(before)? * each;
        Some(usize::try_from(begin).ok()?..usize::try_from(begin + each).ok()?)
    }

    /// The feeder and the number of what a key follows from.
    pub(crate) fn source(&self, key: usize) -> (usize, u64) {
        let line = key as u64 / self.copies;
        ((line / self.options.messages_each) as usize, line % self.options.messages_each)
    }

    /// Whether a stage refuses what this would have come of.
    pub(crate) fn is_refused(&self, key: usize) -> bool {
        let number = self.source(key).1;
        (0..).zip(&self.options.stages).any(|(place, stage)| stage.refuses && is_refused(place, number))
    }

    /// How many messages the queues of each stage take in, and how many of these are refused, if none goes astray.
    pub(crate) fn due(&self) -> Vec<(u64, u64)> {
        let mut left: Vec<u64> = (0..self.options.messages_each).collect();
        let mut each = self.options.feeders as u64;
        let mut due = Vec::new();
        for (place, stage) in self.options.stages.iter().enumerate() {
            let before = left.len() as u64;
            left.retain(|number| !(stage.refuses && is_refused(place, *number)));
            let (kept, refused) = (left.len() as u64, before - left.len() as u64);
            let rounds = if let Work::Cycle(rounds) = stage.work { u64::from(rounds) } else { 0 };
            due.push((each * (before + kept * rounds), each * refused));
            each *= copies(std::slice::from_ref(stage));
        }
        due
    }
}

/// How many messages one becomes in these stages.
fn copies(stages: &[Stage]) -> u64 {
    stages.iter().map(|stage| if stage.work == Work::Double { 2 } else { 1 }).product()
}
