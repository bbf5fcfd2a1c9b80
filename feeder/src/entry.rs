//! What a reader hands to the machine for each line of a source: the message's text, or why there is none.
//!
//! An entry crosses as bytes, because lines of input are bytes: its kind, how many bytes of the source it stands for
//! (eight, little-endian), then the text.

/// What came of one line, or of one CSV row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A message's text, to be sent.
    Message(&'a [u8]),
    /// Nothing but white space.
    Blank,
    /// More than a message can hold.
    TooLong,
    /// A row that is not what its header promises.
    BadRow(BadRow),
    /// The rest of the source cannot be read.
    Unreadable,
}

/// What is wrong with a CSV row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// It has more fields than the header, or fewer.
    #[error("not as many fields as the header has")]
    Ragged,
    /// Its quotes do not pair.
    #[error("quotes that do not pair")]
    BadQuoting,
    /// It is not UTF-8, which JSON must be.
    #[error("not UTF-8")]
    NotUtf8,
}

impl<'a> Entry<'a> {
    /// Appends the entry; it stands for so many bytes of its source.
    pub fn push(self, source_bytes: u64, out: &mut Vec<u8>) {
        let (kind, text) = match self {
            Self::Message(text) => (b'm', text),
            Self::Blank => (b'b', &[][..]),
            Self::TooLong => (b'l', &[][..]),
            Self::BadRow(BadRow::Ragged) => (b'r', &[][..]),
            Self::BadRow(BadRow::BadQuoting) => (b'q', &[][..]),
            Self::BadRow(BadRow::NotUtf8) => (b'8', &[][..]),
            Self::Unreadable => (b'u', &[][..]),
        };
        out.push(kind);
        out.extend_from_slice(&source_bytes.to_le_bytes());
        out.extend_from_slice(text);
    }

    /// The entry as a line of input, for those who feed a machine by hand.
    pub fn line(self) -> Vec<u8> {
        let mut line = Vec::new();
        let source_bytes = if let Self::Message(text) = self { text.len() as u64 + 1 } else { 1 };
        self.push(source_bytes, &mut line);
        line
    }

    /// Reads an entry, and how many bytes of its source it stands for; `None` where it is none.
    pub fn parse(line: &'a [u8]) -> Option<(Self, u64)> {
        let (&kind, rest) = line.split_first()?;
        let (source_bytes, text) = rest.split_first_chunk()?;
        let entry = match kind {
            b'm' => Self::Message(text),
            b'b' => Self::Blank,
            b'l' => Self::TooLong,
            b'r' => Self::BadRow(BadRow::Ragged),
            b'q' => Self::BadRow(BadRow::BadQuoting),
            b'8' => Self::BadRow(BadRow::NotUtf8),
            b'u' => Self::Unreadable,
            _ => return None,
        };
        Some((entry, u64::from_le_bytes(*source_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        for entry in [
            Entry::Message(b"text"),
            Entry::Message(b""),
            Entry::Blank,
            Entry::TooLong,
            Entry::BadRow(BadRow::Ragged),
            Entry::BadRow(BadRow::BadQuoting),
            Entry::BadRow(BadRow::NotUtf8),
            Entry::Unreadable,
        ] {
            let mut line = Vec::new();
            entry.push(u64::MAX - 7, &mut line);
            assert_eq!(Entry::parse(&line), Some((entry, u64::MAX - 7)));
        }
        assert_eq!(Entry::parse(b"m1234567"), None);
        assert_eq!(Entry::parse(b"?12345678"), None);
    }
}
