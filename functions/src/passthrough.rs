//! `Passthrough`: the message as it came.

use crate::{Outputs, Refusal};

#[expect(clippy::unnecessary_wraps, reason = "every function has this shape")]
pub(crate) fn passthrough(message: &[u8], outputs: &mut Outputs) -> Result<(), Refusal> {
    outputs.send(message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_passes_as_it_came() {
        let mut outputs = Outputs::default();
        for message in [&b"text"[..], b"", b"\xff\x00\n", b" a:b "] {
            passthrough(message, &mut outputs).unwrap();
        }
        let sent: Vec<_> = outputs.iter().map(|(_, message)| message).collect();
        assert_eq!(sent, [&b"text"[..], b"\xff\x00\n", b" a:b "]);
    }
}
