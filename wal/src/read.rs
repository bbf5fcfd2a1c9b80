//! Reading the past while the log is written.

use crate::{
    Log,
    block::{Header, Kind, UNIT},
    blocks::{Blocks, Next},
    frames::Frames,
    scan::Segment,
};

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the record that brings this message offset.
    Offset(u64),
    /// With the record at this position, or the first behind it.
    Position(u64),
    /// With the first block of records, in the order of the log, that was committed at this time or later; in microseconds
    /// since 1970.
    Time(u64),
}

/// A request to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Given back with the answer.
    pub id: u64,
    /// Where to begin.
    pub from: From,
    /// How many bytes of framed records; one record is read even if it is longer.
    pub bytes_max: usize,
}

/// The answer to a [`Read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The request's.
    pub id: u64,
    /// What is there.
    pub found: Found,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Records, or nothing yet.
    Records {
        /// Framed records as they were appended; walk over them with [`Frames`]. Empty at the end of the log.
        records: Vec<u8>,
        /// The first message offset at or behind the first record.
        first_offset: u64,
        /// The first record's position.
        position: u64,
        /// The position at which to go on.
        next: u64,
        /// When the first record was committed, in microseconds since 1970.
        at_us: u64,
        /// Message offsets that would be before the first record, or in its place, and were set aside: the first, and the
        /// first behind them.
        lost: Option<(u64, u64)>,
    },
    /// What was asked for is not kept any more.
    Gone {
        /// The oldest message offset kept.
        oldest: u64,
    },
    /// What was asked for cannot be read.
    Damaged {
        /// The file, the place and what is wrong.
        what: String,
    },
}

impl Log {
    /// Reads as the request says.
    pub(crate) fn read(&mut self, read: Read) -> Chunk {
        Chunk { id: read.id, found: self.find(read) }
    }

    fn find(&mut self, read: Read) -> Found {
        let Some((mut number, position)) = self.begin(read.from) else {
            return Found::Gone { oldest: self.kept_from() };
        };
        let mut taken = Taken::new(read);
        let mut starting_at = Some(position);
        while let Some(segment) = self.segments.get(number)
            && taken.next.is_none()
        {
            let blocks = Blocks::new(self.node, segment.base, segment.end, 0);
            let mut blocks = blocks.starting_at(starting_at.take().unwrap_or(segment.base));
            while taken.next.is_none() {
                let position = blocks.position();
                let what = match blocks.next(self.disk.as_mut()) {
                    Ok(Next::End) => break,
                    Ok(Next::Block(header, payload, _)) => {
                        taken.take(&header, payload);
                        continue;
                    }
                    Ok(Next::Bad(flaw)) => {
                        format!("{} at byte {}: {flaw}", segment.name(), position - segment.base)
                    }
                    Err(error) => format!("cannot read {}: {error}", segment.name()),
                };
                if taken.first.is_none() {
                    return Found::Damaged { what };
                }
                // What was read so far is good; the next request tells.
                taken.next = Some(position);
            }
            number += 1;
        }
        taken.found(self.end(), self.offset)
    }

    /// The segment and the noted place from which to look; `None` if what is asked for is gone.
    fn begin(&self, from: From) -> Option<(usize, u64)> {
        let number = match from {
            From::Offset(offset) => self.segments.partition_point(|segment| segment.offset <= offset).checked_sub(1)?,
            From::Position(position) => {
                self.segments.partition_point(|segment| segment.base <= position).checked_sub(1)?
            }
            From::Time(at_us) => {
                let newer = self.segments.iter().position(|segment| segment.newest_us >= at_us);
                newer.unwrap_or(self.segments.len())
            }
        };
        let noted = |segment: &Segment| {
            let at = match from {
                From::Offset(offset) => segment.index.partition_point(|noted| noted.offset <= offset),
                From::Position(position) => segment.index.partition_point(|noted| noted.position <= position),
                From::Time(at_us) => {
                    segment.index.iter().position(|noted| noted.newest_us >= at_us).map_or(0, |at| at + 1)
                }
            };
            let noted = at.checked_sub(1).and_then(|at| segment.index.get(at));
            noted.map_or(segment.base, |noted| noted.position)
        };
        Some((number, self.segments.get(number).map_or(0, noted)))
    }
}

/// What has been read so far.
struct Taken {
    read: Read,
    records: Vec<u8>,
    /// Offset, position and time of the first record.
    first: Option<(u64, u64, u64)>,
    /// Where to go on, once it is full.
    next: Option<u64>,
    /// The offset at which a hole begins whose end is not yet known, and the position behind it.
    hole: Option<(u64, u64)>,
    lost: Option<(u64, u64)>,
}

impl Taken {
    fn new(read: Read) -> Self {
        Self { read, records: Vec::new(), first: None, next: None, hole: None, lost: None }
    }

    fn take(&mut self, header: &Header, payload: &[u8]) {
        self.settle(header.offset);
        match header.kind {
            // The next request begins with it.
            Kind::Hole if self.first.is_some() => self.next = Some(header.position),
            Kind::Hole => self.hole = Some((header.offset, header.extra)),
            Kind::Records => self.take_records(header, payload),
            Kind::Segment | Kind::Snapshot | Kind::Mark => {}
        }
    }

    /// A hole ends where `offset` is the next.
    fn settle(&mut self, offset: u64) {
        let Some((first, until)) = self.hole.take() else { return };
        let matters = match self.read.from {
            From::Offset(from) => offset > from,
            From::Position(from) => until > from,
            From::Time(_) => false,
        };
        if matters {
            self.lost = Some((self.lost.map_or(first, |(first, _)| first), offset));
        }
    }

    fn take_records(&mut self, header: &Header, payload: &[u8]) {
        let mut offset = header.offset;
        let (mut begin, mut end) = (None, 0);
        for frame in Frames::new(payload) {
            let place = end;
            let position = header.position.saturating_add(UNIT).saturating_add(place as u64);
            let behind = offset.saturating_add(u64::from(frame.messages));
            let is_wanted = self.first.is_some()
                || match self.read.from {
                    From::Offset(from) => behind > from,
                    From::Position(from) => position >= from,
                    From::Time(from) => header.at_us >= from,
                };
            if is_wanted {
                let begun = *begin.get_or_insert(place);
                let length = self.records.len() + (place - begun) + frame.len();
                if self.first.is_some() && length > self.read.bytes_max {
                    self.next = Some(position);
                    break;
                }
                self.first.get_or_insert((offset, position, header.at_us));
            }
            offset = behind;
            end += frame.len();
        }
        let taken = begin.and_then(|begin| payload.get(begin..end)).unwrap_or_default();
        self.records.extend_from_slice(taken);
    }

    fn found(mut self, end: u64, offset: u64) -> Found {
        self.settle(offset);
        let (first_offset, position, at_us) = self.first.unwrap_or((offset, end, 0));
        let next = self.next.unwrap_or(end);
        Found::Records { records: self.records, first_offset, position, next, at_us, lost: self.lost }
    }
}
