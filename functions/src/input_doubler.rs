//! `InputDoubler`: the message twice, to the first output and to the second.

use crate::{Choice, Outputs, Refusal};

#[expect(clippy::unnecessary_wraps, reason = "every function has this shape")]
pub(crate) fn input_doubler(message: &[u8], outputs: &mut Outputs) -> Result<(), Refusal> {
    outputs.route(Choice::FIRST, message);
    outputs.route(Choice::from(1_i64), message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    fn check(outputs: usize, expected: [usize; 2]) {
        let mut sent = Outputs::default();
        input_doubler(b"x", &mut sent).unwrap();
        let count = NonZeroUsize::new(outputs).unwrap();
        let copies: Vec<_> = sent.iter().map(|(choice, message)| (choice.index(count), message)).collect();
        assert_eq!(copies, expected.map(|index| (index, &b"x"[..])), "{outputs} outputs");
    }

    #[test]
    fn copies_go_to_the_first_two_outputs() {
        check(1, [0, 0]);
        check(2, [0, 1]);
        check(3, [0, 1]);
    }
}
