//! Which line comes next, when there are several sources: one from each in turn, as in 2016.
//!
//! A counter names the source, modulo how many there are; each message moves it on by one. A source that has ended is
//! taken out, and the counter stays: so A with one line, B and C with two give A1 B1 C1 C2 B2. Lines that are not sent
//! (blank ones, those too long, bad rows) do not move it.

use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Read},
};

use protocol::MESSAGE_BYTES_MAX;

use crate::{
    Format,
    entry::{BadRow, Entry},
    fix,
    rows::{Row, Rows},
};

/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// What is kept of a line: more than a message can hold, so that stripping may take something off.
const LINE_BYTES_MAX: u64 = 1 << 17;

/// How a gzip file begins.
const GZIP: &[u8] = b"\x1f\x8b";

/// How many lines each source has in the log about what it could not send; the counts say the rest.
const COMPLAINTS_MAX: u32 = 5;

/// Something to read lines from: a file, a pipe, a terminal.
pub struct Source {
    name: String,
    input: BufReader<Box<dyn Read + Send>>,
    format: Format,
    rows: Rows,
    line: Vec<u8>,
    /// The number of the line, and of the one where its row began; the first is 1.
    number: u64,
    row_number: u64,
    /// How many bytes were read that no entry stands for yet.
    bytes: u64,
    complaints: u32,
}

/// What one line has given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Message,
    /// An entry that is no message.
    Skipped,
    /// No entry: a header, or a part of a row.
    Nothing,
    End,
}

/// What could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Whole,
    TooLong,
    End,
}

impl Source {
    /// A source of that name, which has not been read from.
    pub fn new(name: impl Into<String>, input: impl Read + Send + 'static, format: Format) -> Self {
        Self {
            name: name.into(),
            input: BufReader::with_capacity(READ_BYTES, Box::new(input)),
            format,
            rows: Rows::new(),
            line: Vec::new(),
            number: 0,
            row_number: 1,
            bytes: 0,
            complaints: 0,
        }
    }

    /// Reads one line, and appends its entry if it has one.
    fn step(&mut self, out: &mut Vec<u8>) -> io::Result<Step> {
        let line = self.read_line()?;
        let bytes = self.bytes;
        let entry = match (line, self.format) {
            (Line::Whole, Format::Fix) => match fix::stripped(&self.line) {
                None => Entry::Blank,
                Some(text) if text.len() > fix::TEXT_BYTES_MAX => Entry::TooLong,
                Some(text) => Entry::Message(text),
            },
            (Line::Whole, Format::Lines) => match self.line.as_slice() {
                [] => Entry::Blank,
                text if text.len() > MESSAGE_BYTES_MAX => Entry::TooLong,
                text => Entry::Message(text),
            },
            (Line::TooLong, Format::Fix | Format::Lines) => Entry::TooLong,
            (Line::End, Format::Fix | Format::Lines) => return Ok(Step::End),
            (line, Format::Csv) => match self.row(line)? {
                Ok(entry) => entry,
                Err(step) => return Ok(step),
            },
        };
        entry.push(bytes, out);
        let step = if matches!(entry, Entry::Message(_)) { Step::Message } else { Step::Skipped };
        match entry {
            Entry::TooLong => self.complain("longer than a message can be"),
            Entry::BadRow(bad) => self.complain(bad),
            Entry::Message(_) | Entry::Blank | Entry::Unreadable => {}
        }
        self.bytes = 0;
        Ok(step)
    }

    /// Reads up to the next line end, which it takes off; of a line too long it keeps nothing beyond the bound.
    fn read_line(&mut self) -> io::Result<Line> {
        if self.number == 0 && self.input.fill_buf()?.starts_with(GZIP) {
            let name = &self.name;
            tracing::warn!(
                "{name} looks like gzip and is fed as it is; did you mean: gunzip -c {name} | feeder --path -"
            );
        }
        self.line.clear();
        let read = self.input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)? as u64;
        if read == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        self.bytes += read;
        if self.line.pop_if(|byte| *byte == b'\n').is_none() {
            if read < LINE_BYTES_MAX {
                return Ok(Line::Whole); // the last one
            }
            self.bytes += self.input.skip_until(b'\n')? as u64;
            return Ok(Line::TooLong);
        }
        // In a CSV field it may stand within quotes.
        if self.format != Format::Csv {
            self.line.pop_if(|byte| *byte == b'\r');
        }
        Ok(Line::Whole)
    }

    /// What the line gives in CSV: an entry, or a step without one.
    fn row(&mut self, line: Line) -> io::Result<Result<Entry<'_>, Step>> {
        let is_open = self.rows.is_open();
        if !is_open && line != Line::End {
            self.row_number = self.number;
        }
        let had_header = !self.rows.wants_header();
        let row = match line {
            Line::Whole if !is_open && matches!(self.line.as_slice(), b"" | b"\r") => return Ok(Ok(Entry::Blank)),
            Line::Whole => {
                self.line.push(b'\n');
                self.rows.take(&self.line)
            }
            Line::End if !is_open => return Ok(Err(Step::End)),
            // A quote that nothing closed has swallowed the rest.
            Line::End => Row::Bad(BadRow::BadQuoting),
            Line::TooLong => Row::TooLong,
        };
        if line != Line::Whole {
            self.rows.reset();
        }
        match row {
            Row::Part => Ok(Err(Step::Nothing)),
            Row::Header => {
                if let Some(name) = self.rows.doubled_name() {
                    tracing::warn!("{} has the column {name} more than once", self.name);
                }
                Ok(Err(Step::Nothing))
            }
            Row::Object => Ok(Ok(Entry::Message(self.rows.object().as_bytes()))),
            Row::Bad(bad) if had_header => Ok(Ok(Entry::BadRow(bad))),
            Row::TooLong if had_header => Ok(Ok(Entry::TooLong)),
            Row::Bad(bad) => Err(no_header(&bad)),
            Row::TooLong => Err(no_header(&"too long")),
        }
    }

    /// Says in the log what is not sent, as long as that does not become a flood.
    fn complain(&mut self, what: impl fmt::Display) {
        self.complaints += 1;
        let Self { name, number, row_number, .. } = self;
        let number = if self.format == Format::Csv { row_number } else { number };
        if self.complaints <= COMPLAINTS_MAX {
            tracing::warn!("Line {number} of {name} is not sent: {what}");
        }
        if self.complaints == COMPLAINTS_MAX {
            tracing::warn!("What else of {name} is not sent is counted, and not told line by line");
        }
    }
}

fn no_header(what: &dyn fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no header of a CSV file: {what}"))
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("number", &self.number).finish_non_exhaustive()
    }
}

/// Several sources, read in turn.
#[derive(Debug, Default)]
pub struct Sources {
    sources: Vec<Source>,
    /// How many messages were read: it names the next source.
    turn: usize,
}

impl Sources {
    /// These sources, the first of them first.
    pub fn new(sources: Vec<Source>) -> Self {
        Self { sources, turn: 0 }
    }

    /// How many messages were read.
    pub fn messages(&self) -> usize {
        self.turn
    }

    /// Whether the next [`read`](Self::read) may have to wait for bytes: no whole line has been read ahead.
    pub fn may_wait(&self) -> bool {
        let current = self.current().and_then(|index| self.sources.get(index));
        current.is_some_and(|source| memchr::memchr(b'\n', source.input.buffer()).is_none())
    }

    /// Reads one line and leaves its entry in `entry`, or nothing where it has none. `false` once all sources have ended.
    pub fn read(&mut self, entry: &mut Vec<u8>) -> bool {
        entry.clear();
        let Some(index) = self.current() else { return false };
        let Some(source) = self.sources.get_mut(index) else { return false };
        match source.step(entry) {
            Ok(Step::Message) => self.turn = self.turn.wrapping_add(1),
            Ok(Step::Skipped | Step::Nothing) => {}
            Ok(Step::End) => self.remove(index),
            Err(error) => {
                tracing::error!("Cannot read {}: {error}", source.name);
                Entry::Unreadable.push(0, entry);
                self.remove(index);
            }
        }
        true
    }

    fn current(&self) -> Option<usize> {
        self.turn.checked_rem(self.sources.len())
    }

    fn remove(&mut self, index: usize) {
        let Source { name, .. } = self.sources.remove(index);
        tracing::info!("Removing file {name}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(name: &str, bytes: &'static [u8], format: Format) -> Source {
        Source::new(name, bytes, format)
    }

    /// All entries, as text: a message's own, or the kind of what is none.
    fn read_all(mut sources: Sources) -> Vec<String> {
        let mut seen = Vec::new();
        let mut line = Vec::new();
        while sources.read(&mut line) {
            match Entry::parse(&line) {
                Some((Entry::Message(text), _)) => seen.push(text.escape_ascii().to_string()),
                Some((other, _)) => seen.push(format!("<{other:?}>")),
                None => assert!(line.is_empty()),
            }
        }
        assert_eq!(sources.messages(), seen.iter().filter(|text| !text.starts_with('<')).count());
        seen
    }

    fn check(format: Format, files: &[&'static [u8]], expected: &[&str]) {
        let sources = files.iter().map(|bytes| source("file", bytes, format)).collect();
        assert_eq!(read_all(Sources::new(sources)), expected);
    }

    #[test]
    fn files_take_turns_and_one_that_ends_shifts_them() {
        check(Format::Fix, &[b"A1\n", b"B1\nB2\n", b"C1\nC2\n"], &["A1", "B1", "C1", "C2", "B2"]);
        check(Format::Fix, &[b"A1\n", b"", b"C1\nC2\n"], &["A1", "C1", "C2"]);
        check(Format::Fix, &[], &[]);
        check(Format::Fix, &[b""], &[]);
    }

    #[test]
    fn blank_lines_are_told_and_take_no_turn() {
        check(Format::Fix, &[b"A1\n\n  \r\nA2\n", b"B1\nB2"], &["A1", "B1", "<Blank>", "<Blank>", "A2", "B2"]);
    }

    #[test]
    fn lines_as_in_2016() {
        check(Format::Fix, &[b"\"\"x\x01\x01\"\n"], &["x"]);
        check(Format::Fix, &[b"\"\x01\"z\"\n"], &["\\\"z"]);
        check(Format::Fix, &[b"\"\"\n"], &[""]);
        check(Format::Fix, &[b"a\r\nlast"], &["a", "last"]);
        check(Format::Fix, &[b"\xff\0\n"], &["\\xff\\x00"]);
    }

    #[test]
    fn plain_lines_stay_as_they_are() {
        check(
            Format::Lines,
            &[b" \"a\" \r\n\n \nlone\rcr\n\r\nlast\r"],
            &[" \\\"a\\\" ", "<Blank>", " ", "lone\\rcr", "<Blank>", "last\\r"],
        );
    }

    #[test]
    fn rows_have_a_header_each_file() {
        check(
            Format::Csv,
            &[b"a,b\n1,2\r\n\n3\n\"4\n5\",6", b"c\n7\n8\n9\n"],
            &[
                r#"{\"a\": \"1\", \"b\": \"2\"}"#,
                r#"{\"c\": \"7\"}"#,
                "<Blank>",
                "<BadRow(Ragged)>",
                r#"{\"a\": \"4\\n5\", \"b\": \"6\"}"#,
                r#"{\"c\": \"8\"}"#,
                r#"{\"c\": \"9\"}"#,
            ],
        );
        check(Format::Csv, &[b"a\n1\n\"2\n3\n"], &[r#"{\"a\": \"1\"}"#, "<BadRow(BadQuoting)>"]);
        check(Format::Csv, &[b"\"a\n1\n"], &["<Unreadable>"]);
        check(Format::Csv, &[b"a\xff\n1\n", b"a\n1\n"], &["<Unreadable>", r#"{\"a\": \"1\"}"#]);
        check(Format::Csv, &[b"a,b\n"], &[]);
    }

    /// `len` times the same byte, then a line end and a short line.
    fn long_line(len: u64) -> impl Read + Send + 'static {
        io::repeat(b'x').take(len).chain(&b"\nshort\n"[..])
    }

    #[test]
    fn a_line_too_long_is_skipped_without_being_kept() {
        for format in [Format::Fix, Format::Lines] {
            let longest = if format == Format::Fix { fix::TEXT_BYTES_MAX } else { MESSAGE_BYTES_MAX } as u64;
            for len in [longest, longest + 1, LINE_BYTES_MAX - 1, LINE_BYTES_MAX, LINE_BYTES_MAX + 1, 50 << 20] {
                let mut sources = Sources::new(vec![Source::new("long", long_line(len), format)]);
                let mut line = Vec::new();
                assert!(sources.read(&mut line));
                let (entry, bytes) = Entry::parse(&line).unwrap();
                assert_eq!((bytes, entry != Entry::TooLong), (len + 1, len <= longest), "{len}");
                assert!(sources.read(&mut line));
                assert_eq!(Entry::parse(&line), Some((Entry::Message(b"short"), 6)));
                assert!(sources.sources[0].line.capacity() < 300_000);
            }
        }
        let csv = (&b"a\n1\n"[..]).chain(long_line(50 << 20));
        let seen = read_all(Sources::new(vec![Source::new("long", csv, Format::Csv)]));
        assert_eq!(seen, [r#"{\"a\": \"1\"}"#, "<TooLong>", r#"{\"a\": \"short\"}"#]);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_the_rest_goes_on() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let broken = Source::new("broken", (&b"A1\n"[..]).chain(Broken), Format::Fix);
        let good = source("good", b"B1\nB2\n", Format::Fix);
        assert_eq!(read_all(Sources::new(vec![broken, good])), ["A1", "B1", "<Unreadable>", "B2"]);
    }

    #[test]
    fn a_reader_knows_before_it_waits() {
        let mut sources = Sources::new(vec![source("a", b"1\n2\n3", Format::Lines)]);
        let mut line = Vec::new();
        let mut waits = vec![sources.may_wait()];
        while sources.read(&mut line) {
            waits.push(sources.may_wait());
        }
        assert_eq!(waits, [true, false, true, true, false], "before the first, and before what has no line end yet");
    }

    proptest! {
        /// The rule of 2016, written down once more over whole files.
        #[test]
        fn turns_follow_the_counter(lens in proptest::collection::vec(0_usize..6, 0..6)) {
            let text = |file: usize, line: usize| format!("{file}.{line}");
            let mut files: Vec<Vec<String>> =
                lens.iter().enumerate().map(|(file, &len)| (0..len).map(|line| text(file, line)).collect()).collect();
            let source = |lines: &Vec<String>| {
                Source::new("file", io::Cursor::new(lines.join("\n").into_bytes()), Format::Fix)
            };
            let seen = read_all(Sources::new(files.iter().map(source).collect()));
            let mut expected = Vec::new();
            let mut counter = 0;
            while !files.is_empty() {
                let index = counter % files.len();
                if files[index].is_empty() {
                    files.remove(index);
                } else {
                    expected.push(files[index].remove(0));
                    counter += 1;
                }
            }
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn any_bytes_are_accounted_for(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for format in [Format::Fix, Format::Lines] {
                let len = bytes.len() as u64;
                let mut sources = Sources::new(vec![Source::new("any", io::Cursor::new(bytes.clone()), format)]);
                let (mut line, mut sum) = (Vec::new(), 0);
                while sources.read(&mut line) {
                    sum += Entry::parse(&line).map_or(0, |(_, bytes)| bytes);
                }
                prop_assert_eq!(sum, len);
            }
        }
    }
}
