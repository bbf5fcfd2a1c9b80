//! What holds for any datagram at all. The fuzzer and the replay of its corpus share this.

use protocol::{
    frame, text,
    verb::{PutAnswer, Request, RequestError, message_len},
};

/// Panics where a promise does not hold.
pub(crate) fn hold(datagram: &[u8]) {
    match (frame::only(datagram), Request::parse(datagram)) {
        (Err(error), Err(RequestError::Malformed(same))) => assert_eq!(error, same),
        (Ok(text), request) => {
            canonical_form_reads_back(datagram, text);
            request_reads_back(text, request);
        }
        (Err(_), other) => assert!(other.is_err(), "no frame, and yet {other:?}"),
    }
    frames_of_a_stream_add_up(datagram);
    let shown = text::literal(&String::from_utf8_lossy(datagram));
    assert!(!shown.contains('\n'), "a literal is one line");
}

fn canonical_form_reads_back(datagram: &[u8], text: &[u8]) {
    let mut canonical = Vec::new();
    match frame::push(text, &mut canonical) {
        Ok(()) => {
            assert!(canonical.len() <= datagram.len());
            assert_eq!(frame::only(&canonical), Ok(text));
        }
        Err(too_long) => assert!(too_long.bytes > protocol::TEXT_BYTES_MAX),
    }
}

fn request_reads_back(text: &[u8], request: Result<Request<'_>, RequestError>) {
    let Ok(request) = request else { return };
    let mut out = Vec::new();
    if request.push(&mut out).is_ok() {
        assert_eq!(Request::parse(&out), Ok(request));
    }
    if let Request::Put(message) = request {
        assert!(text.ends_with(message));
        let answer = PutAnswer::Stored { len: message_len(message) };
        out.clear();
        answer.push(&mut out);
        assert_eq!(frame::only(&out).ok().and_then(PutAnswer::parse), Some(answer));
    }
}

/// Frames split off one after another leave nothing out and invent nothing.
fn frames_of_a_stream_add_up(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok((text, after)) = frame::split(rest) {
        assert!(text.len() + after.len() + 2 <= rest.len());
        assert!(rest.ends_with(after));
        rest = after;
    }
}
