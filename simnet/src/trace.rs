//! What happens in a run: hashed always, and told to whoever asks.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    time::Duration,
};

use crate::{node::NodeId, weather::Weather};

/// One thing that happens.
#[derive(Debug, Hash)]
pub(crate) enum Note<'a> {
    Added(NodeId, &'static str, &'a [SocketAddr]),
    Arrived { way: Way, took: u64, bytes: &'a [u8] },
    Ended { way: Way, fate: Fate, bytes: &'a [u8] },
    Doubled(Way),
    Garbled(Way),
    Refused(NodeId),
    TimedOut(NodeId),
    Line(NodeId, Option<&'a [u8]>),
    Wrote(NodeId, u8, &'a [u8]),
    Done(NodeId),
    Fault(Fault),
}

/// From whom, to whom.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Way {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
}

/// How a datagram ends that does not arrive.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) enum Fate {
    Lost,
    Cut,
    TooLong,
    ToNobody,
    Dropped,
}

/// What a test does to the world.
#[derive(Debug, Hash)]
pub(crate) enum Fault {
    Weather(Weather),
    PathWeather(NodeId, NodeId, Weather),
    Cut(NodeId, NodeId),
    Mended(NodeId, NodeId),
    ClearedUp,
    Paused(NodeId),
    Resumed(NodeId),
    Killed(NodeId),
    Restarted(NodeId),
    Stopped(NodeId),
    WallClock(NodeId, Duration),
    ClockRate(NodeId, u16),
}

type Reader = Box<dyn FnMut(&str)>;

#[derive(Default)]
pub(crate) struct Trace {
    hasher: DefaultHasher,
    reader: Option<Reader>,
}

impl Trace {
    pub(crate) fn note(&mut self, now: u64, note: &Note<'_>) {
        now.hash(&mut self.hasher);
        note.hash(&mut self.hasher);
        if let Some(read) = &mut self.reader {
            read(&format!("{:>6}.{:09} {note}", now / 1_000_000_000, now % 1_000_000_000));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(crate) fn tell(&mut self, reader: Reader) {
        self.reader = Some(reader);
    }
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(node, kind, addresses) => write!(f, "{node} is {kind} at {addresses:?}"),
            Self::Arrived { way, took, bytes } => {
                write!(f, "{way} after {:?}: {}", Duration::from_nanos(*took), Shown(bytes))
            }
            Self::Ended { way, fate, bytes } => write!(f, "{way} {fate}: {}", Shown(bytes)),
            Self::Doubled(way) => write!(f, "{way} doubled"),
            Self::Garbled(way) => write!(f, "{way} garbled"),
            Self::Refused(node) => write!(f, "{node} is told that nobody listens"),
            Self::TimedOut(node) => write!(f, "{node} times out"),
            Self::Line(node, Some(line)) => write!(f, "{node} reads {}", Shown(line)),
            Self::Line(node, None) => write!(f, "{node} reads the end"),
            Self::Wrote(node, outlet, bytes) => write!(f, "{node} writes to outlet {outlet} {}", Shown(bytes)),
            Self::Done(node) => write!(f, "{node} is done"),
            Self::Fault(fault) => write!(f, "FAULT {fault:?}"),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Cut => "lost at a cut path",
            Self::TooLong => "too long to send",
            Self::ToNobody => "to nobody",
            Self::Dropped => "dropped at the socket",
        })
    }
}

/// Bytes as text, the first of them.
struct Shown<'a>(&'a [u8]);

const SHOWN_BYTES_MAX: usize = 100;

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, more) = self.0.split_at_checked(SHOWN_BYTES_MAX).unwrap_or((self.0, &[]));
        write!(f, "{} bytes \"{}\"{}", self.0.len(), shown.escape_ascii(), if more.is_empty() { "" } else { "..." })
    }
}
