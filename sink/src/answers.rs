//! What a sink answers: what claims that messages are taken waits until they are written.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use protocol::{
    frame,
    link::{Answer, Ask, Welcome},
    verb::PutAnswer,
};

use crate::{PRODUCERS_MAX, printer::Printer};

/// No more answers than this wait; whose answer is not among them asks again.
const WAITING_MAX: usize = 65_536;

/// Answers on their way out.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    at_once: VecDeque<(SocketAddr, Said)>,
    /// In the order of their marks: what must be written before each.
    held: VecDeque<(u64, SocketAddr, Said)>,
    /// Up to which number each producer has been told that its messages are taken.
    told: BTreeMap<u128, u64>,
}

#[derive(Debug)]
pub(crate) enum Said {
    Put(PutAnswer),
    Size,
    Welcome { token: u64, node: u64 },
    Stat { token: u64, body: String },
    Link { asker: Asker, token: u64, answer: Answer<'static> },
}

/// Which producer asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    producer: u128,
    /// The number after its last message, if it asked for its end.
    end: Option<u64>,
}

impl Asker {
    /// `None` where the request is not a producer's.
    pub(crate) fn of(ask: &Ask<'_>) -> Option<Self> {
        match ask {
            Ask::Open { producer, .. } => Some(Self { producer: *producer, end: None }),
            Ask::Enq(enq) => Some(Self { producer: enq.sending.producer, end: None }),
            Ask::End(sending) => Some(Self { producer: sending.producer, end: Some(sending.sequence) }),
            _ => None,
        }
    }
}

impl Answers {
    /// Nothing in it depends on what is written.
    pub(crate) fn say(&mut self, to: SocketAddr, said: Said) -> bool {
        let has_room = self.at_once.len() < WAITING_MAX;
        if has_room {
            self.at_once.push_back((to, said));
        }
        has_room
    }

    /// Waits until all is written that was printed so far.
    pub(crate) fn hold(&mut self, printer: &Printer, to: SocketAddr, said: Said) -> bool {
        let has_room = self.held.len() < WAITING_MAX;
        if has_room {
            self.held.push_back((printer.mark(), to, said));
        }
        has_room
    }

    /// An answer of the intake, as a frame; whether there was room for it.
    pub(crate) fn pass_on(&mut self, printer: &Printer, to: SocketAddr, asker: Asker, frame: &[u8]) -> bool {
        let answer = frame::only(frame).ok().and_then(|text| Answer::parse(text).ok());
        let link = |token, answer| Said::Link { asker, token, answer };
        match answer {
            Some((token, Answer::Opened { epoch, sequence, level, credit })) => {
                self.hold(printer, to, link(token, Answer::Opened { epoch, sequence, level, credit }))
            }
            Some((token, Answer::Stored { sequence, level, credit })) => {
                self.hold(printer, to, link(token, Answer::Stored { sequence, level, credit }))
            }
            // It has to come soon, so it must not speak of what is not written.
            Some((token, Answer::Full { sequence, after_ms })) => match self.told.get(&asker.producer) {
                Some(told) => {
                    let sequence = sequence.min(*told);
                    self.say(to, link(token, Answer::Full { sequence, after_ms }))
                }
                None => self.hold(printer, to, link(token, Answer::Full { sequence, after_ms })),
            },
            Some((token, Answer::Fenced { epoch })) => self.say(to, link(token, Answer::Fenced { epoch })),
            Some((
                _,
                Answer::Msg(_) | Answer::None { .. } | Answer::Done { .. } | Answer::Past(_) | Answer::Gone { .. },
            ))
            | None => {
                debug_assert!(false, "an intake answers producers");
                false
            }
        }
    }

    /// The next answer that may leave, appended to `out` as a frame; whom it is for.
    pub(crate) fn poll(&mut self, printer: &Printer, out: &mut Vec<u8>) -> Option<SocketAddr> {
        let (to, said) = match self.at_once.pop_front() {
            Some(said) => said,
            None => self.held.pop_front_if(|(mark, ..)| printer.has_written(*mark)).map(|(_, to, said)| (to, said))?,
        };
        match said {
            Said::Put(answer) => answer.push(out),
            Said::Size => {
                let pushed = frame::push(b"0", out);
                debug_assert!(pushed.is_ok(), "a digit is short");
            }
            Said::Welcome { token, node } => welcome(node, printer.room()).push(token, out),
            Said::Stat { token, body } => {
                Answer::Done { finished: b"", count: 0, level: crate::LEVEL, body: body.as_bytes() }.push(token, out);
            }
            Said::Link { asker, token, answer } => self.push_link(asker, token, answer, printer.room(), out),
        }
        Some(to)
    }

    fn push_link(&mut self, asker: Asker, token: u64, answer: Answer<'static>, credit: u64, out: &mut Vec<u8>) {
        let answer = match answer {
            Answer::Opened { epoch, sequence, level, .. } => {
                self.note_told(asker, sequence);
                Answer::Opened { epoch, sequence, level, credit }
            }
            Answer::Stored { sequence, level, .. } => {
                self.note_told(asker, sequence);
                Answer::Stored { sequence, level, credit }
            }
            other => other,
        };
        answer.push(token, out);
    }

    fn note_told(&mut self, asker: Asker, sequence: u64) {
        if asker.end.is_some_and(|end| end <= sequence) {
            self.told.remove(&asker.producer);
            return;
        }
        if self.told.len() as u64 > 2 * PRODUCERS_MAX {
            // Of producers that went without an end. One that is not here is told later, not wrongly.
            self.told.clear();
        }
        self.told.insert(asker.producer, sequence);
    }

    /// How many answers wait for what they speak of to be written.
    pub(crate) fn held(&self) -> u64 {
        self.held.len() as u64
    }
}

/// What to answer to a SIZE that asks for the link.
fn welcome(node: u64, credit: u64) -> Welcome {
    Welcome {
        size: 0,
        node,
        boot: link::boot_in_memory(node),
        datagram_bytes_max: protocol::DATAGRAM_BYTES_MAX as u64,
        level: crate::LEVEL,
        credit,
        batch_messages_max: crate::printer::UNWRITTEN_MAX,
    }
}
