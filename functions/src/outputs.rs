//! What a function gives for its messages: one buffer for the bytes of all of them, so that sending allocates nothing
//! once the buffer has grown to its usual size.

use std::{fmt, io::Write as _};

use crate::Choice;

/// Messages on their way out of a function, in the order in which they were sent. An empty message is no message: it is
/// dropped, as it was in 2016.
#[derive(Debug, Default)]
pub struct Outputs {
    bytes: Vec<u8>,
    /// Where each message goes, and how many of the bytes are its own.
    sent: Vec<(Choice, usize)>,
}

impl Outputs {
    /// Sends `message` to the first output.
    pub fn send(&mut self, message: &[u8]) {
        self.route(Choice::FIRST, message);
    }

    /// Sends `message` to the output of `choice`.
    pub fn route(&mut self, choice: Choice, message: &[u8]) {
        self.write(choice, |draft| draft.push(message));
    }

    /// Sends what `write` puts into the draft to the output of `choice`.
    pub fn write(&mut self, choice: Choice, write: impl FnOnce(&mut Draft<'_>)) {
        let start = self.bytes.len();
        write(&mut Draft(&mut self.bytes));
        let len = self.bytes.len() - start; // a draft only grows
        if len > 0 {
            self.sent.push((choice, len));
        }
    }

    /// Forgets all messages and keeps the room that they took.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.sent.clear();
    }

    /// The messages in the order in which they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (Choice, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.sent.iter().map(move |&(choice, len)| {
            let (message, tail) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = tail;
            (choice, message)
        })
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}

/// A message in the making, written straight into the buffer of the [`Outputs`]. It only grows, so that no function can
/// touch what was sent before.
///
/// `write!(draft, "{count} words")` works and gives nothing to check.
#[derive(Debug)]
pub struct Draft<'a>(&'a mut Vec<u8>);

impl Draft<'_> {
    /// Appends `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends formatted text: this is what `write!` calls.
    pub fn write_fmt(&mut self, text: fmt::Arguments<'_>) {
        let written = self.0.write_fmt(text);
        debug_assert!(written.is_ok(), "a Vec takes all");
    }
}

impl Extend<u8> for Draft<'_> {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(outputs: &Outputs) -> Vec<(Choice, &[u8])> {
        outputs.iter().collect()
    }

    #[test]
    fn messages_come_in_the_order_of_sending() {
        let mut outputs = Outputs::default();
        outputs.send(b"a");
        outputs.route(Choice::from(-2_i64), b"bc");
        outputs.write(Choice::from(7_u128), |draft| {
            write!(draft, "{}-{}", 1, 2);
            draft.push(b"!");
            draft.extend(*b"??");
        });
        let expected: [(Choice, &[u8]); 3] =
            [(Choice::FIRST, b"a"), (Choice::from(-2_i64), b"bc"), (Choice::from(7_u128), b"1-2!??")];
        assert_eq!(sent(&outputs), expected);
        assert_eq!((outputs.len(), outputs.is_empty()), (3, false));
    }

    #[test]
    fn empty_message_is_dropped() {
        let mut outputs = Outputs::default();
        outputs.send(b"");
        outputs.write(Choice::FIRST, |_| {});
        assert!(outputs.is_empty());
        assert_eq!(sent(&outputs), []);
    }

    #[test]
    fn clearing_keeps_the_room() {
        let mut outputs = Outputs::default();
        outputs.send(&[b'x'; 1000]);
        let room = outputs.bytes.capacity();
        outputs.clear();
        assert!(outputs.is_empty());
        outputs.send(&[b'y'; 1000]);
        assert_eq!(outputs.bytes.capacity(), room);
    }

    proptest! {
        #[test]
        fn what_is_sent_comes_out(messages in proptest::collection::vec(any::<(u128, Vec<u8>)>(), 0..20)) {
            let mut outputs = Outputs::default();
            for (choice, message) in &messages {
                outputs.route(Choice::from(*choice), message);
            }
            let expected: Vec<(Choice, &[u8])> = messages
                .iter()
                .filter(|(_, message)| !message.is_empty())
                .map(|(choice, message)| (Choice::from(*choice), message.as_slice()))
                .collect();
            prop_assert_eq!(sent(&outputs), expected);
        }
    }
}
