//! The vectors of `vectors.txt`, which any language can use, hold here.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use protocol::{
    frame,
    verb::{PutAnswer, Request, RequestError, message_len},
};

fn bytes(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn framed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::push(text, &mut out).unwrap();
    out
}

fn check(kind: &str, fields: &[Vec<u8>]) {
    match (kind, fields) {
        ("frame", [text, datagram]) => {
            assert_eq!(&framed(text), datagram);
            assert_eq!(frame::only(datagram), Ok(&text[..]));
        }
        ("lenient", [datagram, text]) => assert_eq!(frame::only(datagram), Ok(&text[..])),
        ("bad", [datagram]) => {
            assert!(frame::only(datagram).is_err());
            assert!(matches!(Request::parse(datagram), Err(RequestError::Malformed(_))));
        }
        ("put", [datagram, message]) => assert_eq!(Request::parse(datagram), Ok(Request::Put(message))),
        ("get", [datagram]) => assert_eq!(Request::parse(datagram), Ok(Request::Get)),
        ("size", [datagram]) => assert_eq!(Request::parse(datagram), Ok(Request::Size)),
        ("unknown", [datagram]) => assert_eq!(Request::parse(datagram), Err(RequestError::UnknownVerb)),
        ("stored", [message, datagram]) => {
            let answer = PutAnswer::Stored { len: message_len(message) };
            let mut out = Vec::new();
            answer.push(&mut out);
            assert_eq!(&out, datagram);
            assert_eq!(PutAnswer::parse(frame::only(datagram).unwrap()), Some(answer));
        }
        ("full", [datagram]) => {
            assert_eq!(PutAnswer::parse(frame::only(datagram).unwrap()), Some(PutAnswer::Full));
        }
        _ => panic!("'{kind}' with {} fields is no vector", fields.len()),
    }
}

#[test]
fn all_vectors_hold() {
    let mut checked = 0;
    for line in include_str!("../vectors.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let kind = columns.next().unwrap();
        check(kind, &columns.map(bytes).collect::<Vec<_>>());
        checked += 1;
    }
    assert!(checked >= 50, "{checked} vectors: the file has been cut");
}
