//! CSV rows as JSON objects: the header names the members, and every value is a string.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use protocol::{MESSAGE_BYTES_MAX, text};

use crate::entry::BadRow;

/// The longest row, its quotes undone: more than a message can hold, so that a row is not cut before it is judged.
const ROW_BYTES_MAX: usize = 1 << 17;

/// The most fields of a row.
const FIELDS_MAX: usize = 4_096;

/// The rows of one source, taken in line by line: a quoted field may hold line ends.
#[derive(Debug)]
pub(crate) struct Rows {
    parser: Reader,
    /// The fields of the row, one after another, and where each ends.
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// How much of the two this row has filled so far.
    filled: (usize, usize),
    quotes: usize,
    is_open: bool,
    /// Each member's name as JSON; empty until the header has been read.
    names: Vec<String>,
    object: String,
}

/// What a line completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// Nothing: the row goes on in the next line.
    Part,
    /// The header.
    Header,
    /// A row; [`Rows::object`] has it.
    Object,
    /// What should have been a row, or the header.
    Bad(BadRow),
    /// A row that no message can hold, or a header longer than a row may be.
    TooLong,
}

impl Rows {
    pub(crate) fn new() -> Self {
        Self {
            // A carriage return before the line end is taken off the last field; alone it ends no row.
            parser: ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build(),
            fields: vec![0; ROW_BYTES_MAX],
            ends: vec![0; FIELDS_MAX],
            filled: (0, 0),
            quotes: 0,
            is_open: false,
            names: Vec::new(),
            object: String::new(),
        }
    }

    /// Whether a row has begun that no line has completed.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the header is yet to come.
    pub(crate) fn wants_header(&self) -> bool {
        self.names.is_empty()
    }

    /// The row that was completed last, as JSON.
    pub(crate) fn object(&self) -> &str {
        &self.object
    }

    /// Forgets the row that has begun: the next line begins another.
    pub(crate) fn reset(&mut self) {
        self.parser.reset();
        self.end_row();
    }

    fn end_row(&mut self) {
        (self.filled, self.quotes, self.is_open) = ((0, 0), 0, false);
    }

    /// Takes one line in, with its line end.
    pub(crate) fn take(&mut self, line: &[u8]) -> Row {
        let (fields_len, ends_len) = self.filled;
        let fields = self.fields.get_mut(fields_len..).unwrap_or_default();
        let ends = self.ends.get_mut(ends_len..).unwrap_or_default();
        let (result, _, more_fields, more_ends) = self.parser.read_record(line, fields, ends);
        self.filled = (fields_len + more_fields, ends_len + more_ends);
        self.quotes += memchr::memchr_iter(b'"', line).count();
        self.is_open = true;
        match result {
            ReadRecordResult::InputEmpty | ReadRecordResult::End => Row::Part,
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                self.reset();
                Row::TooLong
            }
            ReadRecordResult::Record => {
                let row = self.complete().unwrap_or_else(Row::Bad);
                self.end_row();
                row
            }
        }
    }

    fn complete(&mut self) -> Result<Row, BadRow> {
        if !self.quotes.is_multiple_of(2) {
            return Err(BadRow::BadQuoting);
        }
        let fields = Fields::new(&self.fields, &self.ends, self.filled)?;
        if self.names.is_empty() {
            self.names = fields.iter().map(|field| field.map(json_string)).collect::<Result<_, _>>()?;
            return Ok(Row::Header);
        }
        if fields.ends.len() != self.names.len() {
            return Err(BadRow::Ragged);
        }
        push_object(&self.names, &fields, &mut self.object)?;
        Ok(if self.object.len() > MESSAGE_BYTES_MAX { Row::TooLong } else { Row::Object })
    }

    /// A member's name that the header has twice: readers of JSON keep one of the values.
    pub(crate) fn doubled_name(&self) -> Option<&str> {
        let mut names: Vec<&String> = self.names.iter().collect();
        names.sort();
        names
            .windows(2)
            .find_map(|pair| pair.first().filter(|first| pair.last() == Some(first)).map(|name| name.as_str()))
    }
}

/// The fields of one row.
struct Fields<'a> {
    text: &'a str,
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8], ends: &'a [usize], (bytes_len, ends_len): (usize, usize)) -> Result<Self, BadRow> {
        let bytes = bytes.get(..bytes_len).unwrap_or_default();
        let text = str::from_utf8(bytes.strip_suffix(b"\r").unwrap_or(bytes)).map_err(|_| BadRow::NotUtf8)?;
        Ok(Self { text, ends: ends.get(..ends_len).unwrap_or_default() })
    }

    fn iter(&self) -> impl Iterator<Item = Result<&'a str, BadRow>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        // A character that two fields share is none in either.
        let field =
            |(start, &end): (usize, &usize)| self.text.get(start..end.min(self.text.len())).ok_or(BadRow::NotUtf8);
        starts.zip(self.ends).map(field)
    }
}

fn push_object(names: &[String], fields: &Fields<'_>, object: &mut String) -> Result<(), BadRow> {
    object.clear();
    object.push('{');
    for (name, field) in names.iter().zip(fields.iter()) {
        if object.len() > 1 {
            object.push_str(", ");
        }
        object.push_str(name);
        object.push_str(": ");
        text::push_json_string(field?, object);
    }
    object.push('}');
    Ok(())
}

fn json_string(text: &str) -> String {
    let mut json = String::new();
    text::push_json_string(text, &mut json);
    json
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rows that the lines of `csv` complete: objects, or what is wrong.
    fn rows(csv: &[u8]) -> Vec<Result<String, Row>> {
        let mut rows = Rows::new();
        let mut seen = Vec::new();
        for line in csv.split_inclusive(|byte| *byte == b'\n') {
            match rows.take(line) {
                Row::Part | Row::Header => {}
                Row::Object => seen.push(Ok(rows.object().to_owned())),
                bad => seen.push(Err(bad)),
            }
        }
        seen
    }

    fn check(csv: &str, expected: &[Result<&str, Row>]) {
        let expected: Vec<_> = expected.iter().map(|row| row.map(str::to_owned)).collect();
        assert_eq!(rows(csv.as_bytes()), expected, "{csv}");
    }

    const RAGGED: Row = Row::Bad(BadRow::Ragged);
    const BAD_QUOTING: Row = Row::Bad(BadRow::BadQuoting);

    #[test]
    fn rows_are_objects() {
        check("a,b\n1,x y\n", &[Ok(r#"{"a": "1", "b": "x y"}"#)]);
        check("a,b\r\n1,\r\n\"2\",\"\"\r\n", &[Ok(r#"{"a": "1", "b": ""}"#), Ok(r#"{"a": "2", "b": ""}"#)]);
        check("\u{feff}é\n\"\"\"q\"\" \\\"\n", &[Ok("{\"\\u00e9\": \"\\\"q\\\" \\\\\"}")]);
        check("a;b\n1;2\n", &[Ok(r#"{"a;b": "1;2"}"#)]);
    }

    #[test]
    fn quoted_field_holds_line_ends() {
        check("a,b\n1,\"x\r\n\ny\"\n2,z\n", &[Ok(r#"{"a": "1", "b": "x\r\n\ny"}"#), Ok(r#"{"a": "2", "b": "z"}"#)]);
    }

    #[test]
    fn bad_rows_have_names_and_the_next_row_is_read() {
        let good = Ok(r#"{"a": "1", "b": "2"}"#);
        check("a,b\n1\n1,2\n1,2,3\n1,2\n", &[Err(RAGGED), good, Err(RAGGED), good]);
        check("a,b\n1\",2\n1,2\n", &[Err(BAD_QUOTING), good]);
        check("a,b\n\"1,2\n1\",2,3\n1,2\n", &[Err(RAGGED), good]);
    }

    #[test]
    fn bytes_that_are_no_text_are_a_bad_row() {
        let not_utf8 = Err(Row::Bad(BadRow::NotUtf8));
        assert_eq!(rows(b"a,b\n\xff,1\n\xc3,\xa9\n"), [not_utf8.clone(), not_utf8]);
    }

    #[test]
    fn a_row_too_long_is_skipped_and_the_next_is_read() {
        let good = Ok(r#"{"a": "1"}"#.to_owned());
        for len in [MESSAGE_BYTES_MAX - 8, ROW_BYTES_MAX, 4 * ROW_BYTES_MAX] {
            let csv = format!("a\n{}\n1\n", "x".repeat(len));
            assert_eq!(rows(csv.as_bytes()), [Err(Row::TooLong), good.clone()], "{len}");
        }
        let csv = format!("a\n{}\n1\n", ",".repeat(FIELDS_MAX));
        assert_eq!(rows(csv.as_bytes()), [Err(Row::TooLong), good]);
        let longest = format!("a\n{}\n", "x".repeat(MESSAGE_BYTES_MAX - 9));
        assert_eq!(rows(longest.as_bytes())[0].as_ref().map(String::len), Ok(MESSAGE_BYTES_MAX));
    }

    #[test]
    fn names_that_come_twice_are_found() {
        for (header, doubled) in [("a,b,a\n", Some("\"a\"")), ("a,b\n", None), (",\n", Some("\"\""))] {
            let mut rows = Rows::new();
            assert_eq!(rows.take(header.as_bytes()), Row::Header);
            assert_eq!(rows.doubled_name(), doubled);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_rows_or_names_of_what_is_wrong(csv in proptest::collection::vec(any::<u8>(), 0..300)) {
            rows(&csv);
        }

        #[test]
        fn fields_that_are_quoted_come_back(fields in proptest::collection::vec("[^\r]*", 1..5)) {
            let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            let names: Vec<String> = (0..fields.len()).map(|n| n.to_string()).collect();
            let csv = format!("{}\n{}\n", names.join(","), quoted.join(","));
            let members = names.iter().zip(&fields).map(|(name, field)| format!("\"{name}\": {}", json_string(field)));
            prop_assert_eq!(rows(csv.as_bytes()), [Ok(format!("{{{}}}", members.collect::<Vec<_>>().join(", ")))]);
        }
    }
}
