//! `Pong`: answers `ping` with `pong`, and `pong` with `ping`.

use crate::{Outputs, Refusal};

pub(crate) fn pong(message: &[u8], outputs: &mut Outputs) -> Result<(), Refusal> {
    outputs.send(match message {
        b"ping" => b"pong",
        b"pong" => b"ping",
        _ => return Err(Refusal::UnknownInput { input: String::from_utf8_lossy(message).into_owned() }),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &[u8], expected: Result<&str, &str>) {
        let mut outputs = Outputs::default();
        let answer = pong(message, &mut outputs).map_err(|refusal| refusal.to_string());
        let sent: Vec<_> = outputs.iter().map(|(_, message)| message.escape_ascii().to_string()).collect();
        match expected {
            Ok(text) => assert_eq!((answer, sent), (Ok(()), vec![text.to_owned()])),
            Err(text) => assert_eq!((answer, sent), (Err(text.to_owned()), vec![])),
        }
    }

    #[test]
    fn knows_two_words_to_the_letter() {
        check(b"ping", Ok("pong"));
        check(b"pong", Ok("ping"));
        check(b"Ping", Err("Unknown input: 'Ping'"));
        check(b" ping", Err("Unknown input: ' ping'"));
        check(b"hello", Err("Unknown input: 'hello'"));
        check(b"it's", Err("Unknown input: \"it's\""));
        check(b"", Err("Unknown input: ''"));
        check(b"\xffping", Err("Unknown input: '\u{fffd}ping'"));
    }
}
