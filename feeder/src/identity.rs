//! Who a feeder is: the same for all processes that feed the same messages in the same order.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};

use crate::Format;

/// What a feed consists of. Two feeds that agree in all of it are taken for one and the same, so a process that is started
/// after the death of another goes on where that one was.
#[derive(Debug, Clone, Copy)]
pub struct Feed<'a> {
    /// Each source's path as it was given, and its size in bytes, in the order in which they take turns.
    pub sources: &'a [(&'a [u8], u64)],
    /// What the lines become.
    pub format: Format,
    /// After how many messages it ends, if not with its sources.
    pub messages_max: Option<u64>,
}

impl Feed<'_> {
    /// The feed's producer: the MD5 of these lines, read as a big-endian number. Whoever writes them otherwise makes
    /// another feed of every feed.
    ///
    /// ```text
    /// weir feed 1
    /// format fix                  or lines, csv
    /// count all                   or a decimal number
    /// source 1234 9 trades.msg    for each: its size, the length of its path, the path as it was given
    /// ```
    ///
    /// Each line ends with a line feed.
    pub fn producer(&self) -> u128 {
        let format = match self.format {
            Format::Fix => "fix",
            Format::Lines => "lines",
            Format::Csv => "csv",
        };
        let count = self.messages_max.map_or_else(|| "all".to_owned(), |count| count.to_string());
        let mut digest = Md5::new();
        digest.update(format!("weir feed 1\nformat {format}\ncount {count}\n"));
        let mut line = String::new();
        for (path, bytes) in self.sources {
            line.clear();
            // A string takes all that is written.
            let _ = write!(line, "source {bytes} {} ", path.len());
            digest.update(&line);
            digest.update(path);
            digest.update("\n");
        }
        u128::from_be_bytes(digest.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [(&[u8], u64); 2] = [(b"nbbo.msg", 10), (b"trades.msg", 1_234)];
    const FEED: Feed<'_> = Feed { sources: &SOURCES, format: Format::Fix, messages_max: None };

    #[test]
    fn a_feed_stays_itself_from_version_to_version() {
        let text = "weir feed 1\nformat fix\ncount all\nsource 10 8 nbbo.msg\nsource 1234 10 trades.msg\n";
        assert_eq!(FEED.producer(), u128::from_be_bytes(Md5::digest(text).into()));
        assert_eq!(Feed { sources: &[], ..FEED }.producer(), 0x544a_f577_6099_c73c_046a_05bd_2e34_f64b);
    }

    #[test]
    fn another_order_size_path_or_option_is_another_feed() {
        let [one, other] = SOURCES;
        let feeds = [
            FEED,
            Feed { sources: &[other, one], ..FEED },
            Feed { sources: &[one], ..FEED },
            Feed { sources: &[one, (other.0, 1_235)], ..FEED },
            Feed { sources: &[one, (b"./trades.msg", 1_234)], ..FEED },
            Feed { format: Format::Lines, ..FEED },
            Feed { format: Format::Csv, ..FEED },
            Feed { messages_max: Some(7), ..FEED },
        ];
        let producers: std::collections::BTreeSet<u128> = feeds.iter().map(Feed::producer).collect();
        assert_eq!(producers.len(), feeds.len());
    }
}
