//! Changed datagrams.

use protocol::frame;

use crate::dice::Dice;

/// How datagrams are garbled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Garbling {
    /// As in 2016: of a frame, one time in five the first byte is made one larger, which breaks the header; else
    /// `_spiked` is put at the end of its text, and the header fits. Of what is no frame, a byte is changed.
    Frames,
    /// Any one byte is changed.
    Bytes,
}

/// What the programs of 2016 looked for in a garbled message.
const SPIKED: &[u8] = b"_spiked";

impl Garbling {
    /// `datagram`, surely changed.
    pub(crate) fn garble(self, datagram: &[u8], dice: &mut Dice) -> Vec<u8> {
        match frame::only(datagram) {
            Ok(text) if self == Self::Frames => garble_frame(datagram, text, dice),
            _ => change_byte(datagram, dice),
        }
    }
}

fn garble_frame(datagram: &[u8], text: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut garbled = Vec::with_capacity(datagram.len() + SPIKED.len() + 1);
    if dice.throw(5) == 1 {
        garbled.extend_from_slice(datagram);
        if let Some(first) = garbled.first_mut() {
            *first = first.wrapping_add(1);
        }
        garbled
    } else if frame::push_joined(&[text, SPIKED], &mut garbled).is_ok() {
        garbled
    } else {
        change_byte(datagram, dice) // no datagram has room for more
    }
}

/// An empty datagram gets a byte.
fn change_byte(datagram: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut garbled = datagram.to_vec();
    let place = dice.place(datagram.len());
    let change = dice.throw(u8::MAX);
    match garbled.get_mut(place) {
        Some(byte) => *byte ^= change,
        None => garbled.push(change),
    }
    garbled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Direction;

    fn dice(number: u64) -> Dice {
        Dice::new(7, Direction::In, number)
    }

    #[test]
    fn frames_are_spiked_or_broken_as_in_2016() {
        let garbled: Vec<Vec<u8>> = (0..1_000).map(|n| Garbling::Frames.garble(b"15PUT:7", &mut dice(n))).collect();
        let broken = garbled.iter().filter(|garbled| *garbled == b"25PUT:7").count();
        let spiked = garbled.iter().filter(|garbled| *garbled == b"1cPUT:7_spiked").count();
        assert_eq!(broken + spiked, 1_000);
        assert!((150..=250).contains(&broken), "{broken} of 1000 broken");
    }

    /// 2016 wrote the `L` in decimal, which broke at ten digits and more; these have two.
    #[test]
    fn a_spiked_frame_is_a_frame_of_any_length() {
        for len in [0, 8, 9, 248, 249, 4_088, 4_089] {
            let text = vec![b'a'; len];
            let mut datagram = Vec::new();
            frame::push(&text, &mut datagram).unwrap();
            for number in 0..20 {
                let garbled = Garbling::Frames.garble(&datagram, &mut dice(number));
                if let Ok(spiked) = frame::only(&garbled) {
                    assert_eq!(spiked.strip_suffix(SPIKED), Some(&text[..]));
                }
            }
        }
    }

    #[test]
    fn what_is_garbled_differs_and_still_fits() {
        let mut longest = Vec::new();
        frame::push(&vec![b'x'; protocol::TEXT_BYTES_MAX], &mut longest).unwrap();
        for datagram in [&b""[..], b"x", b"{\"msg\": 1}", b"10", b"13GET", &longest] {
            for how in [Garbling::Frames, Garbling::Bytes] {
                for number in 0..100 {
                    let garbled = how.garble(datagram, &mut dice(number));
                    assert_ne!(garbled, datagram);
                    assert!(garbled.len() <= protocol::DATAGRAM_BYTES_MAX);
                }
            }
        }
    }

    #[test]
    fn one_byte_is_one_byte() {
        for (how, datagram) in [(Garbling::Bytes, &b"15PUT:7"[..]), (Garbling::Frames, b"{\"msg\": 1}")] {
            for number in 0..100 {
                let garbled = how.garble(datagram, &mut dice(number));
                assert_eq!(garbled.len(), datagram.len());
                assert_eq!(garbled.iter().zip(datagram).filter(|(a, b)| a != b).count(), 1);
            }
        }
    }
}
