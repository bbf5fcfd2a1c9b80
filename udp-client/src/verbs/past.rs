//! READ on its way through what a queue has kept, answer by answer.

use std::time::Duration;

use protocol::link::{Answer, Ask, Past, Place};

use super::{told::Told, verb::Next};

/// So many bytes of frames an answer may bring.
const BYTES_MAX: u64 = 60 << 10;

/// Where a READ stands.
#[derive(Debug)]
pub(super) struct Reading {
    place: Place,
    /// So many messages are still wanted.
    left: u64,
    /// Whether nobody has named a place, so that it begins wherever the queue does.
    begins_anywhere: bool,
}

impl Reading {
    /// Reads from there on, or from the oldest message that is kept; at most so many messages.
    pub(super) fn new(from: Option<Place>, max: u64) -> Self {
        Self { place: from.unwrap_or(Place::Offset(0)), left: max, begins_anywhere: from.is_none() }
    }

    pub(super) fn push(&self, token: u64, out: &mut Vec<u8>) {
        Ask::Read { from: self.place, messages_max: self.left, bytes_max: BYTES_MAX }.push(token, out);
    }

    pub(super) fn take(&mut self, queue: &str, answer: &Answer<'_>, told: &mut Told) -> Next {
        match answer {
            Answer::Past(past) => self.take_past(queue, past, told),
            Answer::Gone { oldest, end } if self.begins_anywhere && oldest < end => {
                self.place = Place::Offset(*oldest);
                Next::Ask(Duration::ZERO)
            }
            Answer::Gone { oldest, end } => gone(queue, *oldest, *end, "READ"),
            _ => Next::Stray,
        }
    }

    fn take_past(&mut self, queue: &str, past: &Past<'_>, told: &mut Told) -> Next {
        let resumes_at = if past.count > 0 { past.first } else { past.next };
        if let Place::Offset(asked) = self.place {
            let is_end = past.count == 0 && past.next == past.end;
            if !is_end && (resumes_at < asked || past.next <= asked) {
                return Next::Stray; // it would be asked for ever
            }
            if resumes_at > asked && !self.begins_anywhere {
                told.notes.push(format!(
                    "offsets {asked} to {} are not to be had: damaged and set aside, or too long for an answer",
                    resumes_at - 1
                ));
            }
        }
        self.begins_anywhere = false;
        self.left = self.left.saturating_sub(told.past(past));
        self.place = Place::Offset(past.next);
        if self.left > 0 && past.next < past.end {
            return Next::Ask(Duration::ZERO);
        }
        let next = past.next;
        told.notes.push(format!("next offset {next}: udp-client {queue} READ --from {next}"));
        Next::Done
    }
}

/// Why there is nothing from the place on that was asked for, and what to do.
pub(super) fn gone(queue: &str, oldest: u64, end: u64, verb: &str) -> Next {
    Next::Failed(if oldest == end {
        format!("{queue} keeps nothing of the past: a queue in memory forgets what is done (mq --data DIR does not)")
    } else {
        format!("that is gone: the oldest message that {queue} keeps has offset {oldest} ({verb} --from {oldest})")
    })
}
