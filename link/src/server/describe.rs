//! A record of the log as a person reads it.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    BadRecord, OS_LEVEL,
    records::{DerivedRecord, Record, SourceRecord},
};

/// A record's kind, and what it says by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordText {
    /// Such as `messages` or `finished`.
    pub kind: &'static str,
    /// In the order in which they are told. Offsets are both ends in, times in microseconds since 1970, sizes in bytes.
    pub fields: Vec<(&'static str, Field)>,
}

/// What stands in a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Field {
    /// A count, a size, a time, an offset.
    Number(u64),
    /// An id in hexadecimal digits, a name, a reason.
    Text(String),
}

impl From<u64> for Field {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            // As one word: what somebody chose may have blanks and line feeds in it.
            Self::Text(text) if text.chars().all(|c| c.is_ascii_alphanumeric()) && !text.is_empty() => {
                f.write_str(text)
            }
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl fmt::Display for RecordText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        self.fields.iter().try_for_each(|(name, field)| write!(f, " {name}={field}"))
    }
}

impl Serialize for RecordText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len() + 1))?;
        map.serialize_entry("kind", self.kind)?;
        self.fields.iter().try_for_each(|(name, field)| map.serialize_entry(name, field))?;
        map.end()
    }
}

/// Tells what a record of a queue's log says; the messages themselves are told by their size only.
///
/// # Errors
/// When it is no record of this version.
pub fn describe(record: &[u8]) -> Result<RecordText, BadRecord> {
    let (record, tail) = Record::read(record)?;
    let tail_bytes = tail.len() as u64;
    let (kind, fields) = match record {
        Record::Messages { at_us, origin_us, source } => {
            ("messages", of_messages((at_us, origin_us), source, tail_bytes))
        }
        Record::HandedOut { first, last, attempt } => {
            ("handed_out", numbers([("first", first), ("last", last), ("attempt", attempt)]))
        }
        Record::Finished { first, last } => ("finished", numbers([("first", first), ("last", last)])),
        Record::Popped { offset } => ("popped", numbers([("message", offset)])),
        Record::Returned { first, last, attempts, failures } => {
            ("returned", numbers([("first", first), ("last", last), ("attempts", attempts), ("failures", failures)]))
        }
        Record::Buried { offset, attempts, origin_us, reason } => {
            let mut fields = numbers([("message", offset), ("attempts", attempts), ("origin_us", origin_us)]);
            fields.push(("bytes", tail_bytes.into()));
            fields.push(("reason", String::from_utf8_lossy(reason).into_owned().into()));
            ("buried", fields)
        }
        Record::Requeued { dead, at_us, origin_us } => {
            ("requeued", numbers([("dead", dead), ("at_us", at_us), ("origin_us", origin_us), ("bytes", tail_bytes)]))
        }
        Record::Dropped { dead } => ("dropped", numbers([("dead", dead)])),
        Record::Lost { first, last } => ("lost", numbers([("first", first), ("last", last)])),
        Record::Opened { producer, nonce, next } => (
            "opened",
            vec![("producer", wide(producer)), ("nonce", format!("{nonce:016x}").into()), ("next", next.into())],
        ),
        Record::Ended { producer, epoch, next } => {
            ("ended", vec![("producer", wide(producer)), ("epoch", epoch.into()), ("next", next.into())])
        }
        Record::Started { level, machine_boot } => {
            let level = if level == OS_LEVEL { "os" } else { "disk" };
            ("started", vec![("level", level.to_owned().into()), ("machine_boot", wide(machine_boot))])
        }
        Record::Rewound { to } => ("rewound", numbers([("to", to)])),
    };
    Ok(RecordText { kind, fields })
}

fn numbers<const N: usize>(fields: [(&'static str, u64); N]) -> Vec<(&'static str, Field)> {
    fields.into_iter().map(|(name, number)| (name, number.into())).collect()
}

/// An id of 128 bits.
fn wide(id: u128) -> Field {
    format!("{id:032x}").into()
}

fn of_messages(
    (at_us, origin_us): (u64, u64),
    source: Option<SourceRecord<'_>>,
    tail_bytes: u64,
) -> Vec<(&'static str, Field)> {
    let mut fields = numbers([("at_us", at_us), ("origin_us", origin_us)]);
    let Some(SourceRecord { producer, next, derived }) = source else {
        fields.push(("bytes", tail_bytes.into()));
        return fields;
    };
    fields.extend([("producer", wide(producer)), ("next", next.into())]);
    let Some(DerivedRecord { node, generation, stage, low_water, ids_bytes }) = derived else {
        fields.push(("bytes", tail_bytes.into()));
        return fields;
    };
    fields.extend([
        ("from_node", format!("{node:016x}").into()),
        ("generation", generation.into()),
        ("stage", String::from_utf8_lossy(stage).into_owned().into()),
        ("low_water", low_water.into()),
        ("ids_bytes", (ids_bytes as u64).into()),
        ("bytes", tail_bytes.saturating_sub(ids_bytes as u64).into()),
    ]);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(record: &Record<'_>, tail: &[u8], told: &str) {
        let mut framed = Vec::new();
        record.push(0, &[tail], &mut framed);
        let record = wal::Frames::new(&framed).next().unwrap().bytes;
        assert_eq!(describe(record).unwrap().to_string(), told);
    }

    #[test]
    fn a_record_is_told_in_a_line() {
        let derived = DerivedRecord { node: 7, generation: 2, stage: b"Pong\n x", low_water: 9, ids_bytes: 3 };
        let source = SourceRecord { producer: 1, next: 5, derived: Some(derived) };
        check(
            &Record::Messages { at_us: 1, origin_us: 2, source: Some(source) },
            b"idsframes",
            "messages at_us=1 origin_us=2 producer=00000000000000000000000000000001 next=5 from_node=0000000000000007 \
             generation=2 stage=\"Pong\\n x\" low_water=9 ids_bytes=3 bytes=6",
        );
        check(
            &Record::Messages { at_us: 1, origin_us: 2, source: None },
            b"13abc",
            "messages at_us=1 origin_us=2 bytes=5",
        );
        check(&Record::Finished { first: 1, last: 3 }, b"", "finished first=1 last=3");
        check(
            &Record::Buried { offset: 4, attempts: 5, origin_us: 6, reason: b"" },
            b"10",
            "buried message=4 attempts=5 origin_us=6 bytes=2 reason=\"\"",
        );
        check(
            &Record::Started { level: OS_LEVEL, machine_boot: 1 << 64 },
            b"",
            "started level=os machine_boot=00000000000000010000000000000000",
        );
        assert!(describe(b"\xff\xff").is_err());
    }
}
