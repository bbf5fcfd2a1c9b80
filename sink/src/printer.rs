//! Messages become lines, and the printer knows how much of them has been written.

use std::{collections::VecDeque, time::Duration};

use serde_json::value::RawValue;

use crate::{Fault, Messages, line};

/// So many messages may be on their way to stdout before producers are told to wait.
pub(crate) const UNWRITTEN_MAX: u64 = 100_000;

/// So many bytes of them.
const UNWRITTEN_BYTES_MAX: u64 = 64 << 20;

/// Prints messages, or not.
#[derive(Debug)]
pub(crate) struct Printer {
    messages: Messages,
    lines: String,
    /// How many messages there are in `lines`, and when the first of them came.
    lines_count: u64,
    lines_since: Duration,
    /// How many bytes have been given out, and how many of them have been written.
    given: u64,
    written: u64,
    /// What has been given out and not written.
    parts: VecDeque<Part>,
    parts_count: u64,
}

/// What was given out at once.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Where it ends, in bytes since the start.
    end: u64,
    messages: u64,
    /// When the first of them came.
    since: Duration,
}

impl Printer {
    pub(crate) fn new(messages: Messages) -> Self {
        Self {
            messages,
            lines: String::new(),
            lines_count: 0,
            lines_since: Duration::ZERO,
            given: 0,
            written: 0,
            parts: VecDeque::new(),
            parts_count: 0,
        }
    }

    /// Takes a message; whether it becomes a line.
    pub(crate) fn print(&mut self, now: Duration, msg: &RawValue) -> Result<Messages, Fault> {
        let start = self.lines.len();
        let pushed = line::push(msg, &mut self.lines);
        if pushed.is_ok() {
            tracing::info!("{}", self.lines.get(start..).unwrap_or_default().trim_end_matches('\n'));
        }
        if pushed.is_ok() && self.messages == Messages::Printed {
            if self.lines_count == 0 {
                self.lines_since = now;
            }
            self.lines_count += 1;
        } else {
            self.lines.truncate(start);
        }
        pushed.map(|()| self.messages)
    }

    /// What is to be written, appended to `bytes`; whether there was anything.
    pub(crate) fn give(&mut self, bytes: &mut Vec<u8>) -> bool {
        if self.lines.is_empty() {
            return false;
        }
        bytes.extend_from_slice(self.lines.as_bytes());
        self.given += self.lines.len() as u64;
        self.lines.clear();
        self.parts.push_back(Part { end: self.given, messages: self.lines_count, since: self.lines_since });
        self.parts_count += std::mem::take(&mut self.lines_count);
        true
    }

    /// So many bytes have been written in all.
    pub(crate) fn handle_written(&mut self, bytes: u64) {
        self.written = self.written.max(bytes);
        while let Some(part) = self.parts.pop_front_if(|part| part.end <= self.written) {
            self.parts_count -= part.messages;
        }
    }

    /// Where the last line ends, in bytes since the start.
    pub(crate) fn mark(&self) -> u64 {
        self.given + self.lines.len() as u64
    }

    /// Whether all is written up to this mark.
    pub(crate) fn has_written(&self, mark: u64) -> bool {
        mark <= self.written
    }

    /// How many messages are not written.
    pub(crate) fn unwritten(&self) -> u64 {
        self.parts_count + self.lines_count
    }

    /// When the oldest message came that is not written.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        let given = self.parts.front().map(|part| part.since);
        given.or((self.lines_count > 0).then_some(self.lines_since))
    }

    /// How many messages there is room for.
    pub(crate) fn room(&self) -> u64 {
        if self.mark().saturating_sub(self.written) >= UNWRITTEN_BYTES_MAX {
            return 0;
        }
        UNWRITTEN_MAX.saturating_sub(self.unwritten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(printer: &mut Printer, json: &str) {
        print_at(printer, 0, json);
    }

    fn print_at(printer: &mut Printer, second: u64, json: &str) {
        printer.print(Duration::from_secs(second), serde_json::from_str(json).unwrap()).unwrap();
    }

    #[test]
    fn what_is_given_is_not_written_yet() {
        let mut printer = Printer::new(Messages::Printed);
        print(&mut printer, "\"a\"");
        print(&mut printer, "\"bc\"");
        let first = printer.mark();
        let mut bytes = Vec::new();
        assert!(printer.give(&mut bytes) && !printer.give(&mut bytes));
        print(&mut printer, "1");
        assert_eq!((bytes.as_slice(), first, printer.mark()), (&b"a\nbc\n"[..], 5, 7));
        for (written, has_first, unwritten) in [(4, false, 3), (5, true, 1), (3, true, 1)] {
            printer.handle_written(written);
            assert_eq!((printer.has_written(first), printer.unwritten()), (has_first, unwritten), "{written}");
            assert_eq!(printer.room(), UNWRITTEN_MAX - unwritten);
        }
        assert!(printer.give(&mut bytes));
        printer.handle_written(7);
        assert_eq!((printer.has_written(printer.mark()), printer.unwritten()), (true, 0));
    }

    #[test]
    fn the_oldest_is_the_first_that_is_not_written() {
        let mut printer = Printer::new(Messages::Printed);
        let oldest = |printer: &Printer| printer.oldest().map(|at| at.as_secs());
        assert_eq!(oldest(&printer), None);
        print_at(&mut printer, 1, "1");
        print_at(&mut printer, 2, "2");
        assert_eq!(oldest(&printer), Some(1));
        printer.give(&mut Vec::new());
        print_at(&mut printer, 3, "3");
        assert_eq!(oldest(&printer), Some(1));
        printer.handle_written(4);
        assert_eq!(oldest(&printer), Some(3));
        printer.give(&mut Vec::new());
        printer.handle_written(6);
        assert_eq!(oldest(&printer), None);
    }

    #[test]
    fn long_lines_leave_no_room() {
        let mut printer = Printer::new(Messages::Printed);
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        let mut bytes = Vec::new();
        while printer.room() > 0 {
            print(&mut printer, &long);
            bytes.clear();
            printer.give(&mut bytes);
        }
        assert_eq!(printer.unwritten(), 64);
        printer.handle_written(printer.mark());
        assert_eq!(printer.room(), UNWRITTEN_MAX);
    }

    #[test]
    fn what_is_silenced_is_never_under_way() {
        let mut printer = Printer::new(Messages::Silenced);
        print(&mut printer, "\"a\"");
        assert!(!printer.give(&mut Vec::new()));
        assert_eq!((printer.mark(), printer.has_written(0), printer.unwritten()), (0, true, 0));
    }
}
