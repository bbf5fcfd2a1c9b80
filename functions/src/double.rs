//! `Double`: twice the integer, whatever its size.

use crate::{Choice, Outputs, Refusal, integer::Integer};

pub(crate) fn double(message: &[u8], outputs: &mut Outputs) -> Result<(), Refusal> {
    let integer = Integer::parse(message)
        .ok_or_else(|| Refusal::NotAnInteger { input: String::from_utf8_lossy(message).into_owned() })?;
    if integer.digits.is_empty() {
        outputs.send(b"0");
        return Ok(());
    }
    outputs.write(Choice::FIRST, |draft| {
        if integer.negative {
            draft.push(b"-");
        }
        draft.extend(doubled(integer.digits));
    });
    Ok(())
}

/// The digits of twice the number, from the left: a doubled digit carries 1 at the most, and whether the next one does
/// can be seen from it alone.
fn doubled(digits: &[u8]) -> impl Iterator<Item = u8> {
    let places = std::iter::once(&b'0').chain(digits);
    let nexts = digits.iter().chain(std::iter::once(&b'0'));
    places
        .zip(nexts)
        .map(|(&digit, &next)| b'0' + (2 * (digit - b'0') + u8::from(next >= b'5')) % 10)
        .skip_while(|&digit| digit == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn doubled_text(text: &str) -> Result<String, String> {
        let mut outputs = Outputs::default();
        double(text.as_bytes(), &mut outputs).map_err(|refusal| refusal.to_string())?;
        assert_eq!(outputs.len(), 1);
        Ok(outputs.iter().map(|(_, message)| String::from_utf8_lossy(message).into_owned()).collect())
    }

    fn check(text: &str, expected: Result<&str, &str>) {
        assert_eq!(doubled_text(text), expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn doubles_integers_of_any_size() {
        check("5", Ok("10"));
        check("-4", Ok("-8"));
        check(" 7 ", Ok("14"));
        check("+5", Ok("10"));
        check("007", Ok("14"));
        check("-050", Ok("-100"));
        check("49", Ok("98"));
        check("50", Ok("100"));
        check("999999999999999999999999999999", Ok("1999999999999999999999999999998"));
        check(&"5".repeat(5000), Ok(&format!("{}0", "1".repeat(5000))));
    }

    #[test]
    fn zero_is_an_answer() {
        check("0", Ok("0"));
        check("-0", Ok("0"));
        check("000", Ok("0"));
    }

    #[test]
    fn refuses_what_is_no_integer() {
        check("abc", Err("Not an integer: 'abc'"));
        check("1_000", Err("Not an integer: '1_000'"));
        check("", Err("Not an integer: ''"));
        check("1.5", Err("Not an integer: '1.5'"));
    }

    proptest! {
        #[test]
        fn agrees_with_arithmetic(number in i128::MIN / 2..=i128::MAX / 2) {
            prop_assert_eq!(doubled_text(&number.to_string()), Ok((number * 2).to_string()));
        }

        #[test]
        fn any_bytes_are_doubled_or_refused(bytes in any::<Vec<u8>>()) {
            let mut outputs = Outputs::default();
            let answer = double(&bytes, &mut outputs);
            prop_assert_eq!(answer.is_ok(), outputs.len() == 1);
        }
    }
}
