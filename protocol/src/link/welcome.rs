//! Discovery: whether a server speaks the link, and what it says of itself.

use super::Durability;
use crate::call::{decimal, push_sealed, unseal};

/// How the question begins whether a server speaks the link. An old server answers its size only.
const DISCOVERY: &str = "SIZE:?v2";

/// What a server that speaks the link says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// How many messages it has ready.
    pub size: u64,
    /// Its node, the same as long as its messages live.
    pub node: u64,
    /// Counts its starts.
    pub boot: u64,
    /// The largest datagram that it takes and sends.
    pub datagram_bytes_max: u64,
    /// How far its word goes.
    pub level: Durability,
    /// How many messages it has room for.
    pub credit: u64,
    /// How many messages of one batch it can ever have room for, however long they are.
    pub batch_messages_max: u64,
}

/// Appends the question whether a server speaks the link.
pub fn push_discovery(token: u64, out: &mut Vec<u8>) {
    push_sealed(DISCOVERY, &format!(" r={token}"), out);
}

/// The token of a SIZE that asks whether the server speaks the link. `None` of any other, or one garbled on its way.
pub fn discovery(text: &[u8]) -> Option<u64> {
    let (head, rest) = unseal(text)?;
    decimal(rest.strip_prefix(b" r=").filter(|_| head == DISCOVERY.as_bytes())?)
}

/// Whether a SIZE was such a question before one of its bytes was changed on its way. A plain size would be a wrong answer to
/// it, so it gets none.
pub fn is_garbled_discovery(text: &[u8]) -> bool {
    let asks = |rest: &[u8]| rest.starts_with(b"?v2 c=") || rest.windows(3).any(|field| field == b" r=");
    text.strip_prefix(b"SIZE:").is_some_and(asks) && discovery(text).is_none()
}

impl Welcome {
    /// Appends the answer as one frame.
    pub fn push(&self, token: u64, out: &mut Vec<u8>) {
        let Self { size, node, boot, datagram_bytes_max, level, credit, batch_messages_max } = self;
        let level = level.as_str();
        let fields = format!(
            " r={token} nd={node:x} bt={boot} mt={datagram_bytes_max} du={level} cr={credit} mm={batch_messages_max}"
        );
        push_sealed(&format!("{size} v2"), &fields, out);
    }

    /// Reads the text of the answer: the token and what the server says. `None` where it is none, as from an old server, or
    /// is garbled.
    pub fn parse(text: &[u8]) -> Option<(u64, Self)> {
        let (head, fields) = unseal(text)?;
        let size = decimal(head.strip_suffix(b" v2")?)?;
        let fields = std::str::from_utf8(fields).ok()?;
        let field = |key: &str| fields.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        let number = |key: &str| decimal(field(key)?.as_bytes());
        let welcome = Self {
            size,
            node: u64::from_str_radix(field("nd")?, 16).ok()?,
            boot: number("bt")?,
            datagram_bytes_max: number("mt")?,
            level: Durability::parse(field("du")?.as_bytes())?,
            credit: number("cr")?,
            batch_messages_max: number("mm")?,
        };
        Some((number("r")?, welcome))
    }
}
