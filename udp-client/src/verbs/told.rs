//! How answers of the link stand on stdout: a message's bytes, or a line of JSON.

use protocol::link::{Durability, Lease, Msg, Past, Welcome};
use serde::Serialize;

use crate::tell::{shown, text_or_base64};

/// What is told: data for stdout, and what a person wants to know beside it.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) json: bool,
    pub(crate) out: Vec<u8>,
    pub(crate) notes: Vec<String>,
}

impl Told {
    /// A line of JSON.
    pub(crate) fn line(&mut self, value: &impl Serialize) {
        let written = serde_json::to_writer(&mut self.out, value);
        debug_assert!(written.is_ok(), "a Vec takes all, and all keys are texts");
        self.out.push(b'\n');
    }

    /// Where a producer stands.
    pub(crate) fn opened(&mut self, epoch: u64, sequence: u64, level: Durability, credit: u64) {
        self.line(&Opened { epoch, sequence, level: level.as_str(), credit });
    }

    /// What became of a lease, and how far that goes.
    pub(crate) fn outcome(&mut self, lease: &str, outcome: &str, level: Durability) {
        self.line(&Became { lease, outcome, level: level.as_str() });
    }

    /// The same, where messages are what is asked for.
    pub(crate) fn outcome_aside(&mut self, lease: &str, outcome: &str, level: Durability) {
        if self.json {
            self.outcome(lease, outcome, level);
        } else {
            self.notes.push(format!("lease {lease}: {outcome}"));
        }
    }

    /// A batch of messages.
    pub(crate) fn messages(&mut self, queue: &str, msg: &Msg<'_>) {
        let Lease { first, count, attempt, .. } = msg.lease;
        let lease = msg.lease.to_string();
        let mut rest = msg.frames;
        for offset in first..first.saturating_add(count) {
            let Ok((message, after)) = protocol::frame::split(rest) else { break };
            rest = after;
            if self.json {
                let (message, message_base64) = text_or_base64(message);
                let origin_us = msg.origin_us;
                self.line(&Leased { lease: &lease, offset, attempt, origin_us, message, message_base64 });
            } else {
                self.out.extend_from_slice(message);
                self.out.push(b'\n');
            }
        }
        if !self.json {
            let attempt = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            self.notes.push(format!("lease {lease}{attempt}: udp-client {queue} ACK {lease}"));
        }
    }

    /// Messages of the past; how many.
    pub(crate) fn past(&mut self, past: &Past<'_>) -> u64 {
        let Past { first, count, origin_us, at_us, .. } = *past;
        let mut rest = past.frames;
        for n in 0..count {
            let Ok((message, after)) = protocol::frame::split(rest) else { return n };
            rest = after;
            if self.json {
                let (message, message_base64) = text_or_base64(message);
                self.line(&Kept { offset: first.saturating_add(n), origin_us, at_us, message, message_base64 });
            } else {
                self.out.extend_from_slice(message);
                self.out.push(b'\n');
            }
        }
        count
    }

    /// A dead letter: its header as the server wrote it, and its message. Gives its offset.
    pub(crate) fn letter(&mut self, header: &[u8], message: &[u8]) -> Option<u64> {
        let header = String::from_utf8_lossy(header);
        let mut parts = header.splitn(3, ' ');
        let mut number = || parts.next()?.parse().ok();
        let (offset, attempts) = (number()?, number()?);
        let reason = parts.next().unwrap_or_default();
        if self.json {
            let (message, message_base64) = text_or_base64(message);
            self.line(&Letter { offset, attempts, reason, message, message_base64 });
        } else {
            let line = format!("{offset}\t{attempts}\t{}\t{}\n", shown(reason.as_bytes()), shown(message));
            self.out.extend_from_slice(line.as_bytes());
        }
        Some(offset)
    }

    /// Who a server says that it is.
    pub(crate) fn welcome(&mut self, welcome: &Welcome) {
        let Welcome { size, node, boot, datagram_bytes_max, level, credit, batch_messages_max } = *welcome;
        let node = format!("{node:x}");
        let level = Durability::as_str(level);
        self.line(&Introduced {
            size,
            link: true,
            node: &node,
            boot,
            datagram_bytes_max,
            level,
            credit,
            batch_messages_max,
        });
    }
}

#[derive(Serialize)]
struct Opened {
    epoch: u64,
    sequence: u64,
    level: &'static str,
    credit: u64,
}

#[derive(Serialize)]
struct Became<'a> {
    lease: &'a str,
    outcome: &'a str,
    level: &'a str,
}

#[derive(Serialize)]
struct Leased<'a> {
    lease: &'a str,
    offset: u64,
    attempt: u64,
    origin_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_base64: Option<String>,
}

#[derive(Serialize)]
struct Kept<'a> {
    offset: u64,
    origin_us: u64,
    at_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_base64: Option<String>,
}

#[derive(Serialize)]
struct Letter<'a> {
    offset: u64,
    attempts: u64,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_base64: Option<String>,
}

#[derive(Serialize)]
struct Introduced<'a> {
    size: u64,
    link: bool,
    node: &'a str,
    boot: u64,
    datagram_bytes_max: u64,
    level: &'a str,
    credit: u64,
    batch_messages_max: u64,
}
