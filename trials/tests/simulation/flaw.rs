//! Machines with a flaw each, for showing that the checks find it.

use std::net::SocketAddr;

use machine::{Port, Transmit};
use protocol::{
    frame,
    verb::{PutAnswer, Request},
};

use crate::{stage::Role, witness::Books};

/// What is wrong with a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// A worker waits for ever for the answer to a GET, as that of 2016 did.
    WorkerNeverAsksAgain,
    /// A worker forgets a message now and then.
    WorkerForgets,
    /// A worker sends an output twice now and then.
    WorkerRepeats,
    /// A queue gives a message that nobody put, now and then, when it is empty.
    QueueInvents,
    /// A queue changes a message now and then.
    QueueChanges,
    /// A queue does not remove a message that it gives, now and then, and so gives it to the next GET, too.
    QueueRepeats,
    /// A queue counts one message too many.
    QueueMiscounts,
    /// A queue reports other counts than it keeps.
    QueueMisreports,
    /// A sink forgets a message now and then.
    SinkForgets,
}

impl Defect {
    /// Whether such a node has it.
    pub(crate) fn befalls(self, role: &Role) -> bool {
        match self {
            Self::WorkerNeverAsksAgain | Self::WorkerForgets | Self::WorkerRepeats => matches!(role, Role::Worker(_)),
            Self::QueueInvents
            | Self::QueueChanges
            | Self::QueueRepeats
            | Self::QueueMiscounts
            | Self::QueueMisreports => matches!(role, Role::Queue { .. }),
            Self::SinkForgets => matches!(role, Role::Sink),
        }
    }
}

/// Now and then is each time that this has happened so often.
const OFTEN: u32 = 7;

/// An order that nobody gave.
const INVENTED: &[u8] = b"35=D\x011=NOBODY\x0111=invented\x0155=S1\x01999=1";

/// A defect at work, between a machine and its witness.
pub(crate) struct Flaw {
    defect: Defect,
    /// How often what it spoils has happened.
    times: u32,
    /// GETs without an answer.
    asked: u32,
    /// An answer that was given and is still there.
    kept: Option<Vec<u8>>,
    /// A datagram to send at the next occasion.
    again: Option<(Transmit, Vec<u8>)>,
}

impl Flaw {
    pub(crate) fn new(defect: Defect) -> Self {
        Self { defect, times: 0, asked: 0, kept: None, again: None }
    }

    /// Whether the machine does not hear of time any more.
    pub(crate) fn waits_for_ever(&self) -> bool {
        self.defect == Defect::WorkerNeverAsksAgain && self.asked > 0
    }

    /// What the machine hears of a datagram, if anything.
    pub(crate) fn heard(&mut self, port: Port, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut heard = datagram.to_vec();
        let is_deaf = match self.defect {
            Defect::WorkerNeverAsksAgain => {
                self.asked -= u32::from(port == worker::INPUT).min(self.asked);
                false
            }
            Defect::WorkerForgets => port == worker::INPUT && is_message(datagram) && self.is_time(),
            Defect::SinkForgets => port == sink::INPUT && self.is_time(),
            Defect::QueueRepeats => Request::parse(datagram) == Ok(Request::Get) && self.gives_kept(from),
            Defect::QueueChanges => {
                if let Some(byte) = heard.iter_mut().find(|byte| **byte == b'C')
                    && self.is_time()
                {
                    *byte = b'K';
                }
                false
            }
            _ => false,
        };
        (!is_deaf).then_some(heard)
    }

    /// A datagram that the machine would not have sent.
    pub(crate) fn take_again(&mut self) -> Option<(Transmit, Vec<u8>)> {
        self.again.take()
    }

    /// Spoils a datagram that leaves, or has it leave again.
    pub(crate) fn spoil(&mut self, transmit: Transmit, datagram: &mut Vec<u8>) {
        match self.defect {
            Defect::WorkerNeverAsksAgain => self.asked += u32::from(transmit.port == worker::INPUT),
            Defect::WorkerRepeats => {
                if transmit.port == worker::OUTPUT && self.is_time() {
                    self.again = Some((transmit, datagram.clone()));
                }
            }
            Defect::QueueRepeats => {
                if is_message(datagram) && self.is_time() {
                    self.kept = Some(datagram.clone());
                }
            }
            Defect::QueueInvents => {
                if datagram == b"10" && self.is_time() {
                    datagram.clear();
                    frame::push(INVENTED, datagram).unwrap();
                }
            }
            Defect::QueueMisreports => {
                if transmit.port == mq::METRICS {
                    *datagram = String::from_utf8_lossy(datagram).replace("\"popped\": ", "\"popped\": 1").into_bytes();
                }
            }
            Defect::WorkerForgets | Defect::QueueChanges | Defect::QueueMiscounts | Defect::SinkForgets => {}
        }
    }

    pub(crate) fn cook(&self, books: Books) -> Books {
        match books {
            Books::Queue { mut counts, ready } if self.defect == Defect::QueueMiscounts => {
                counts.accepted += 1;
                Books::Queue { counts, ready }
            }
            books => books,
        }
    }

    /// Whether a queue answers with what it should have removed.
    fn gives_kept(&mut self, to: SocketAddr) -> bool {
        self.again = self.kept.take().map(|kept| (Transmit { port: mq::CLIENTS, to }, kept));
        self.again.is_some()
    }

    fn is_time(&mut self) -> bool {
        self.times += 1;
        self.times.is_multiple_of(OFTEN)
    }
}

/// Whether a queue's answer is a message.
fn is_message(datagram: &[u8]) -> bool {
    frame::only(datagram)
        .is_ok_and(|text| !text.is_empty() && PutAnswer::parse(text).is_none() && !text.iter().all(u8::is_ascii_digit))
}
