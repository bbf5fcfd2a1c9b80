//! What clients have been told, and so what a queue must still have, or must not, when it comes back.

use std::collections::{BTreeMap, BTreeSet};

/// A message's text.
pub(crate) type Text = Vec<u8>;

/// What is known of a message from its queue's answers.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is known or not for itself")]
pub(crate) struct Lot {
    /// The queue has said that it has it, and nobody has asked it to let it go.
    in_for_sure: bool,
    /// The queue has said that it is finished, or has handed it out to a GET.
    out_for_sure: bool,
    /// Somebody has asked for its end.
    leaving: bool,
    /// When its end was told.
    over_at: u64,
    offset: Option<u64>,
    /// A dead letter that came back has two offsets, both of which a SEEK can bring back.
    requeued: bool,
    /// It was over, and a SEEK has begun it again.
    again: bool,
    /// Somebody has asked for its end, be it before a SEEK.
    ended: bool,
}

/// All that has been told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Oracle {
    lots: BTreeMap<Text, Lot>,
    by_offset: BTreeMap<u64, Text>,
    /// The highest boot told; and the lowest that may be told from now on.
    told: u64,
    least: u64,
    /// In which generation each offset was delivered last, and as which message.
    generations: BTreeMap<u64, (u64, Text)>,
    /// Counts the requests.
    pub(crate) time: u64,
    /// How many GETs have not been answered: each may have taken a message along.
    pub(crate) gets: usize,
    /// Counts the SEEKs: what was asked for before one says little of what is so after it.
    pub(crate) seeks: u64,
    /// For each SEEK that is not answered yet, the boot told before it, and what its answer will make ready for sure.
    sought: BTreeMap<u64, (u64, Vec<Text>)>,
}

/// What a queue is found to have.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Ready messages and dead letters, by their offsets.
    pub(crate) there: Vec<(u64, Text)>,
    /// What READ gives, and from which offset on it gives all.
    pub(crate) past: BTreeMap<u64, Text>,
    pub(crate) kept_from: u64,
}

impl Oracle {
    pub(crate) fn sent(&mut self, text: &[u8]) {
        self.lots.entry(text.to_vec()).or_default();
    }

    pub(crate) fn stored(&mut self, text: &[u8]) {
        if let Some(lot) = self.lots.get_mut(text) {
            // Of one that may have come back from the dead letters it is not known whether it has gone since.
            lot.in_for_sure |= !(lot.leaving || lot.out_for_sure || lot.requeued || lot.again);
        }
    }

    /// A batch came that was asked for at this time: nothing is delivered that can still be lost, and nothing that was over then.
    pub(crate) fn delivered(
        &mut self,
        asked_at: u64,
        (boot, generation): (u64, u64),
        at: u64,
        texts: &[Text],
    ) -> Result<(), String> {
        if boot < self.least {
            return Err(format!("boot {boot} is told again, {} was due", self.least));
        }
        self.told = self.told.max(boot);
        for (offset, text) in (at..).zip(texts) {
            self.place(offset, text)?;
            self.judge_generation(offset, generation, text)?;
            let lot = self.lots.entry(text.clone()).or_default();
            if lot.out_for_sure && lot.over_at > asked_at {
                continue; // its answer had to wait, and its lease ended
            }
            if lot.out_for_sure {
                return Err(format!("delivered after its end: {} at {offset}", text.escape_ascii()));
            }
            lot.in_for_sure = !lot.leaving;
        }
        Ok(())
    }

    /// The next queue takes messages of one generation and offset for one, and a message of two generations for two.
    fn judge_generation(&mut self, offset: u64, generation: u64, text: &[u8]) -> Result<(), String> {
        let lot = self.lots.get_mut(text);
        let is_in_its_first_life = self.gets == 0 && lot.as_ref().is_some_and(|lot| !lot.ended && !lot.requeued);
        let again = lot.is_some_and(|lot| std::mem::take(&mut lot.again));
        let before = self.generations.insert(offset, (generation, text.to_vec()));
        let Some((told, other)) = before else { return Ok(()) };
        if generation < told || generation == told && (again || other != text) {
            let text = text.escape_ascii();
            return Err(format!("{text} at {offset} is delivered in generation {generation} after {told}"));
        }
        if generation > told && other == text && is_in_its_first_life {
            let text = text.escape_ascii();
            return Err(format!(
                "{text} at {offset}, begun in generation {told} and not ended, is of {generation} now"
            ));
        }
        Ok(())
    }

    /// An offset stands for one message for ever.
    pub(crate) fn place(&mut self, offset: u64, text: &[u8]) -> Result<(), String> {
        if !self.lots.contains_key(text) {
            return Err(format!("never put in: {} at {offset}", text.escape_ascii()));
        }
        let before = self.by_offset.insert(offset, text.to_vec());
        if before.as_ref().is_some_and(|before| before != text) {
            return Err(format!("offset {offset} is another message now: {}, {before:?} before", text.escape_ascii()));
        }
        if let Some(lot) = self.lots.get_mut(text) {
            lot.offset = lot.offset.max(Some(offset));
        }
        Ok(())
    }

    /// Somebody asks for the end of these offsets.
    pub(crate) fn leaves(&mut self, offsets: std::ops::Range<u64>) {
        for text in self.by_offset.range(offsets).map(|(_, text)| text.clone()).collect::<Vec<_>>() {
            if let Some(lot) = self.lots.get_mut(&text) {
                (lot.leaving, lot.ended, lot.in_for_sure) = (true, true, false);
            }
        }
    }

    /// It was said that these have come to their end; asked for after so many SEEKs.
    pub(crate) fn over(&mut self, offsets: std::ops::Range<u64>, seeks: u64) {
        for text in self.by_offset.range(offsets).map(|(_, text)| text.clone()).collect::<Vec<_>>() {
            self.text_over(&text, seeks);
        }
    }

    fn text_over(&mut self, text: &[u8], seeks: u64) {
        if let Some(lot) = self.lots.get_mut(text) {
            // A SEEK under way may bring it back.
            let still = seeks == self.seeks && self.sought.is_empty();
            (lot.leaving, lot.in_for_sure, lot.out_for_sure) = (true, false, still && !lot.requeued);
            lot.ended = true;
            lot.over_at = self.time;
        }
    }

    /// A GET was answered with this.
    pub(crate) fn got(&mut self, text: &[u8], seeks: u64) -> Result<(), String> {
        let Some(lot) = self.lots.get(text) else { return Err(format!("never put in: {}", text.escape_ascii())) };
        if lot.out_for_sure {
            return Err(format!("taken by a GET after its end: {}", text.escape_ascii()));
        }
        self.text_over(text, seeks);
        Ok(())
    }

    pub(crate) fn requeues(&mut self) {
        // Which letters, only the queue knows; it gives those of the lowest offsets.
        for lot in self.lots.values_mut() {
            lot.requeued = true;
        }
    }

    /// A SEEK goes out; its number.
    pub(crate) fn seeks_to(&mut self, to: u64) -> u64 {
        self.seeks += 1;
        let mut sought = Vec::new();
        for (text, lot) in &mut self.lots {
            if lot.offset.is_none_or(|offset| offset >= to) {
                if lot.out_for_sure && lot.offset.is_some() {
                    (lot.again, lot.leaving) = (true, false);
                    sought.push(text.clone());
                }
                lot.out_for_sure = false;
            }
        }
        self.sought.insert(self.seeks, (self.told, sought));
        self.seeks
    }

    /// It was answered: from now on another generation and boot are told.
    pub(crate) fn sought(&mut self, seek: u64) {
        let Some((told, texts)) = self.sought.remove(&seek) else { return };
        for text in texts {
            if let Some(lot) = self.lots.get_mut(&text)
                && !lot.leaving
            {
                lot.in_for_sure = true;
            }
        }
        self.least = self.least.max(told + 1);
    }

    /// It was refused: what was wanted is not kept.
    pub(crate) fn not_sought(&mut self, seek: u64) {
        for text in self.sought.remove(&seek).into_iter().flat_map(|(_, texts)| texts) {
            if let Some(lot) = self.lots.get_mut(&text) {
                lot.again = false;
                lot.leaving = true;
            }
        }
    }

    /// The queue's process is gone, and what was answered may be with it if `weak`: then what was over may not be.
    pub(crate) fn restarts(&mut self, weak: bool) {
        if weak {
            self.lots.values_mut().for_each(|lot| lot.again = false);
        }
        self.least = self.told + 1;
        self.sought.clear();
    }

    /// Whether what is found is what must be. `weak`: what was answered may be lost.
    pub(crate) fn check(&self, found: &Found, weak: bool) -> Result<(), String> {
        let mut there: BTreeMap<&[u8], u32> = BTreeMap::new();
        let mut offsets = BTreeSet::new();
        for (offset, text) in &found.there {
            *there.entry(text).or_default() += 1;
            if !offsets.insert(offset) {
                return Err(format!("offset {offset} is there twice"));
            }
        }
        let there_too = found.there.iter().map(|(offset, text)| (offset, text));
        if let Some((offset, text)) = there_too.chain(&found.past).find(|(_, text)| !self.lots.contains_key(*text)) {
            return Err(format!("never put in: {} at {offset}", text.escape_ascii()));
        }
        for (offset, text) in &found.there {
            if *offset >= found.kept_from && found.past.get(offset) != Some(text) {
                return Err(format!("offset {offset} is there, and another in the past: {:?}", found.past.get(offset)));
            }
        }
        let mut stored = BTreeSet::new();
        if let Some((offset, text)) =
            found.past.iter().find(|(_, text)| !stored.insert(*text) && !self.is_requeued(text))
        {
            return Err(format!("put in twice: {} at {offset}", text.escape_ascii()));
        }
        if weak {
            return Ok(());
        }
        for (offset, text) in self.by_offset.range(found.kept_from..) {
            if found.past.get(offset) != Some(text) {
                let now = found.past.get(offset);
                return Err(format!("offset {offset} was {}, and is {now:?}", text.escape_ascii()));
            }
        }
        let mut lost = Vec::new();
        for (text, lot) in &self.lots {
            let count = there.get(text.as_slice()).copied().unwrap_or(0);
            if count > 1 && !lot.requeued {
                return Err(format!("there {count} times: {}", text.escape_ascii()));
            }
            if count > 0 && lot.out_for_sure {
                return Err(format!("there after its end: {}", text.escape_ascii()));
            }
            if count == 0 && lot.in_for_sure {
                lost.push(text.escape_ascii().to_string());
            }
        }
        if lost.len() > self.gets {
            return Err(format!("lost: {lost:?}, and {} GETs were not answered", self.gets));
        }
        Ok(())
    }

    fn is_requeued(&self, text: &[u8]) -> bool {
        self.lots.get(text).is_some_and(|lot| lot.requeued)
    }

    /// From now on what is found is what is so: it is durable.
    pub(crate) fn believe(&mut self, found: &Found) -> Result<(), String> {
        // Each may have taken any, which a SEEK may have brought back.
        let any_taken = std::mem::take(&mut self.gets) > 0;
        // What nobody was told of may be another message.
        self.by_offset = found.past.clone();
        let there: BTreeSet<&Text> = found.there.iter().map(|(_, text)| text).collect();
        let stored: BTreeSet<&Text> = found.past.values().collect();
        for (text, lot) in &mut self.lots {
            let (is_there, requeued) = (there.contains(text), lot.requeued);
            // What was never put in may still be.
            let is_over = !is_there && !requeued && (stored.contains(text) || lot.out_for_sure || lot.in_for_sure);
            let again = lot.again && is_there;
            let ended = lot.ended || is_over || any_taken;
            *lot = Lot { in_for_sure: is_there, out_for_sure: is_over, requeued, again, ended, ..Lot::default() };
        }
        for (offset, text) in found.past.iter().chain(found.there.iter().map(|(offset, text)| (offset, text))) {
            self.place(*offset, text)?;
        }
        Ok(())
    }
}
