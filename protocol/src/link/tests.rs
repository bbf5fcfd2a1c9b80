//! Requests and answers read back, whatever their numbers.

use super::*;
use crate::frame;
use proptest::prelude::*;

const LEASE: Lease = Lease { boot: 1, first: 10, count: 5, attempt: 2 };

fn check_ask(ask: &Ask<'_>) {
    let mut datagram = Vec::new();
    ask.push(7, &mut datagram);
    let text = frame::only(&datagram).unwrap();
    assert_eq!(Ask::parse(text), Ok((7, *ask)));
    assert!(Answer::parse(text).is_err(), "a request is no answer");
    assert!(crate::verb::Request::parse(&datagram).is_err(), "an old server is silent");
}

#[test]
fn requests_read_back() {
    let sending = Sending { producer: u128::MAX, epoch: 3, sequence: 0 };
    let derived = Derived { node: u64::MAX, generation: 1, stage: b"Pong", low_water: 9, ids: &[1, 2, 3] };
    let plain = Enq { sending, count: 2, origin_us: 5, derived: None, frames: b"11a11b" };
    for ask in [
        Ask::Open { producer: 0, nonce: u64::MAX, from: 5 },
        Ask::End(sending),
        Ask::Enq(plain),
        Ask::Enq(Enq { derived: Some(derived), ..plain }),
        Ask::Deq(Deq {
            session: 1,
            delivery: 2,
            deliveries: 4,
            open_from: 1,
            messages_max: 500,
            bytes_max: 60_000,
            wait_ms: 1_000,
            lease_ms: 5_000,
            finished: b"1.10.5.2,1.15.5.1",
        }),
        Ask::Ack { finished: b"1.10.5.2" },
        Ask::Nak { leases: b"1.10.5.2", how: GiveBack::Dead, delay_ms: 0, reasons: b"213Unknown input: 'x'\n" },
        Ask::Touch { leases: b"1.10.5.2,1.15.5.2", lease_ms: 9 },
        Ask::Dead { what: DeadDo::Requeue, from: 4, max: 100 },
        Ask::Read { from: Place::Offset(0), messages_max: 500, bytes_max: 60_000 },
        Ask::Read { from: Place::Time(u64::MAX), messages_max: 1, bytes_max: 0 },
        Ask::Seek { to: Place::Offset(u64::MAX) },
        Ask::Seek { to: Place::Time(1_700_000_000_000_000) },
        Ask::Stat,
    ] {
        check_ask(&ask);
    }
}

#[test]
fn answers_read_back() {
    let msg = Msg {
        delivery: 2,
        lease: LEASE,
        low_water: 3,
        generation: 1,
        node: 0xabc,
        origin_us: 77,
        finished: b"dl",
        level: Durability::Disk,
        frames: b"11a",
    };
    for answer in [
        Answer::Opened { epoch: 1, sequence: 2, level: Durability::Os, credit: 3 },
        Answer::Stored { sequence: 2, level: Durability::Memory, credit: 3 },
        Answer::Full { sequence: 1, after_ms: 10 },
        Answer::Fenced { epoch: 0 },
        Answer::Msg(msg),
        Answer::None { delivery: 2, ended: true, finished: b"", level: Durability::Disk },
        Answer::Done { finished: b"dlox", count: 0, level: Durability::Memory, body: b"{}" },
        Answer::Past(Past { first: 3, count: 1, next: 4, end: 9, origin_us: 5, at_us: 6, frames: b"11a" }),
        Answer::Past(Past { first: 9, count: 0, next: 9, end: 9, origin_us: 0, at_us: 0, frames: b"" }),
        Answer::Gone { oldest: 7, end: u64::MAX },
    ] {
        let mut datagram = Vec::new();
        answer.push(9, &mut datagram);
        let text = frame::only(&datagram).unwrap();
        assert_eq!(Answer::parse(text), Ok((9, answer)));
        assert!(Ask::parse(text).is_err(), "an answer is no request");
    }
}

#[test]
fn the_longest_message_fits_whatever_the_numbers() {
    let mut frames = Vec::new();
    frame::push(&vec![b'x'; MESSAGE_BYTES_MAX], &mut frames).unwrap();
    let most = u64::MAX;
    let mut ids = Vec::new();
    (0..2).for_each(|_| push_varint(most, &mut ids));
    let sending = Sending { producer: u128::MAX, epoch: most, sequence: most - 1 };
    let stage = &[b'S'; STAGE_BYTES_MAX];
    let derived = Derived { node: most, generation: most, stage, low_water: most, ids: &ids };
    let mut datagram = Vec::new();
    let enq = Enq { sending, count: 1, origin_us: most, derived: Some(derived), frames: &frames };
    Ask::Enq(enq).push(most, &mut datagram);
    assert_eq!(datagram.len(), DATAGRAM_BYTES_MAX);
    assert!(Ask::parse(frame::only(&datagram).unwrap()) == Ok((most, Ask::Enq(enq))));
    datagram.clear();
    let lease = Lease { boot: most, first: most - 1, count: 1, attempt: most };
    let msg = Msg {
        delivery: most,
        lease,
        low_water: most,
        generation: most,
        node: most,
        origin_us: most,
        finished: b"dddddddddddddddd",
        level: Durability::Disk,
        frames: &frames,
    };
    Answer::Msg(msg).push(most, &mut datagram);
    assert!(Answer::parse(frame::only(&datagram).unwrap()) == Ok((most, Answer::Msg(msg))));
    assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
    datagram.clear();
    let past = Past { first: most, count: 1, next: most, end: most, origin_us: most, at_us: most, frames: &frames };
    Answer::Past(past).push(most, &mut datagram);
    assert!(Answer::parse(frame::only(&datagram).unwrap()) == Ok((most, Answer::Past(past))));
    assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
}

#[test]
fn an_answer_says_its_level_and_one_that_does_not_goes_as_far_as_memory() {
    let said = |verb, level: &[u8]| {
        let mut datagram = Vec::new();
        let draft = crate::call::Draft::begin(verb, &mut datagram);
        let draft = draft.number("a", 1).number("e", 1).number("s", 0).number("cr", 0).number("n", 0);
        if level.is_empty() { draft } else { draft.text("du", level) }.finish(&[]);
        match Answer::parse(frame::only(&datagram).unwrap()).map(|(_, answer)| answer) {
            Ok(
                Answer::Opened { level, .. }
                | Answer::Stored { level, .. }
                | Answer::None { level, .. }
                | Answer::Done { level, .. },
            ) => Ok(level),
            other => Err(format!("{other:?}")),
        }
    };
    for verb in ["OPENED", "STORED", "NONE", "OK"] {
        assert_eq!(said(verb, b""), Ok(Durability::Memory), "{verb}");
        assert_eq!(said(verb, b"os"), Ok(Durability::Os), "{verb}");
        assert_eq!(said(verb, b"tape"), Err(format!("{:?}", Err::<(), _>(LinkError::Field("du")))), "{verb}");
    }
}

#[test]
fn a_place_is_an_offset_or_a_time() {
    for (verb, places) in [("SEEK", &["o", "t"][..]), ("SEEK", &[]), ("READ", &["o", "t"]), ("READ", &[])] {
        let mut datagram = Vec::new();
        let mut draft = crate::call::Draft::begin(verb, &mut datagram).number("r", 1).number("m", 1).number("z", 1);
        for place in places {
            draft = draft.number(place, 5);
        }
        draft.finish(&[]);
        assert_eq!(Ask::parse(frame::only(&datagram).unwrap()), Err(LinkError::Field("o")), "{verb} {places:?}");
    }
}

#[test]
fn discovery_is_a_size_to_an_old_server() {
    let mut datagram = Vec::new();
    push_discovery(42, &mut datagram);
    assert_eq!(datagram, b"218SIZE:?v2 c=f23aa2af r=42");
    assert_eq!(crate::verb::Request::parse(&datagram), Ok(crate::verb::Request::Size));
    let text = frame::only(&datagram).unwrap().to_vec();
    assert_eq!(discovery(&text), Some(42));
    assert!(![&text[..], b"SIZE", b"SIZE:", b"SIZE:?", b"SIZE:r=1"].into_iter().any(is_garbled_discovery));
    let welcome = Welcome {
        size: 3,
        node: 0xfeed,
        boot: 1,
        datagram_bytes_max: 65_507,
        level: Durability::Disk,
        credit: 9,
        batch_messages_max: 5,
    };
    datagram.clear();
    welcome.push(42, &mut datagram);
    let answer = frame::only(&datagram).unwrap().to_vec();
    assert_eq!(Welcome::parse(&answer), Some((42, welcome)));
    assert_eq!((Welcome::parse(b"17"), discovery(b"SIZE"), discovery(b"SIZE:?v2 r=42")), (None, None, None));
    for (bit, at) in (0..8 * answer.len()).map(|n| (n % 8, n / 8)) {
        let garbled = |text: &[u8]| {
            let mut text = text.to_vec();
            if let Some(byte) = text.get_mut(at) {
                *byte ^= 1 << bit;
            }
            text
        };
        let (text, answer) = (garbled(&text), garbled(&answer));
        assert!(!text.starts_with(b"SIZE:") || discovery(&text).is_some() || is_garbled_discovery(&text));
        // In hexadecimal digits upper case means the same.
        assert!(at >= text.len() || discovery(&text).is_none_or(|token| token == 42), "{}", text.escape_ascii());
        assert!(Welcome::parse(&answer).is_none_or(|read| read == (42, welcome)), "{}", answer.escape_ascii());
    }
}

#[test]
fn a_finish_list_names_leases_and_parts_of_them() {
    let mut list = Finishes::default();
    list.push(LEASE);
    list.push(Lease { first: 15, ..LEASE });
    assert_eq!(list.as_bytes(), b"1.10.5.2,1.15.5.2");
    assert_eq!(LEASE.to_string().parse(), Ok(LEASE));
    let offsets =
        |list: &[u8]| -> Vec<(u64, u64)> { finishes(list).filter_map(Result::ok).flat_map(Finish::offsets).collect() };
    assert_eq!(offsets(list.as_bytes()), [(10, 14), (15, 19)]);
    assert_eq!(offsets(b"1.10.5.2+0-0+3-4+4-5+9"), [(10, 10), (13, 14)], "what lies outside is left out");
    assert!(finishes(b"1.10.5").next().unwrap().is_err());
    assert!(finishes(b"1.18446744073709551615.5.1").next().unwrap().is_err());
}

proptest! {
    #[test]
    fn varints_read_back(value in any::<u64>(), tail in any::<Vec<u8>>()) {
        let mut bytes = Vec::new();
        push_varint(value, &mut bytes);
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(split_varint(&bytes), Some((value, &tail[..])));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
        let _ = (Ask::parse(&bytes), Answer::parse(&bytes), Welcome::parse(&bytes), split_varint(&bytes));
        for finish in finishes(&bytes).flatten() {
            for (from, to) in finish.offsets() {
                prop_assert!(from <= to && from >= finish.lease.first);
            }
        }
    }
}
