//! Orders of invented clients, each with an id of its own but for a few that come twice.

use std::{
    fmt,
    io::{self, Write},
};

use crate::{
    chance::Chance,
    line::{LineWriter, Money, Time},
    symbols::{Symbols, pick},
};

const CLIENTS: u64 = 300;

/// One order in so many carries the id of an earlier one.
const REPEATED_ONE_IN: u64 = 80;

#[derive(Debug)]
pub(crate) struct Orders<'a> {
    symbols: &'a Symbols,
    chance: Chance,
    written: u64,
    lines: LineWriter,
}

impl<'a> Orders<'a> {
    pub(crate) fn new(symbols: &'a Symbols, seed: u64) -> Self {
        Self { symbols, chance: Chance::new(seed, 2), written: 0, lines: LineWriter::default() }
    }

    pub(crate) fn write_next(&mut self, at_ms: u64, out: &mut impl Write) -> io::Result<()> {
        let all = self.symbols.all();
        let symbol = pick(all, self.chance.below(all.len() as u64));
        let client = self.chance.between(1, CLIENTS);
        let repeated = self.chance.below(REPEATED_ONE_IN) == 0;
        let id = if repeated { self.chance.below(self.written) } else { self.written };
        let quantity = self.chance.between(1, 20_000) * 100;
        let price = symbol.price.0 * self.chance.between(9_800, 10_200) / 10_000;
        let side = self.chance.between(1, 2);
        self.written += 1;
        let fields = format_args!(
            "35=D\x011=CLIENT{client}\x0111={}\x0121=3\x0138={quantity}\x0140=2\x0144={}\x0154={side}\x0155={}\x01\
             60={}\x01107={}\x01",
            OrderId(id),
            Money(price),
            symbol.symbol,
            Time(at_ms),
            symbol.name,
        );
        self.lines.write(fields, out)
    }
}

/// An order's number as an id: six letters and digits, more where six do not suffice.
struct OrderId(u64);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut digits = [b'0'; 13]; // 36^13 is above 2^64
        let mut len = 0;
        for place in digits.iter_mut().rev() {
            if rest == 0 && len >= 6 {
                break;
            }
            *place = digit(rest % 36);
            rest /= 36;
            len += 1;
        }
        let (_, used) = digits.split_at(digits.len() - len);
        f.write_str(&String::from_utf8_lossy(used))
    }
}

fn digit(value: u64) -> u8 {
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ".get(usize::try_from(value).unwrap_or_default()).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_six_places_or_more() {
        for (number, id) in [
            (0, "000000"),
            (35, "00000Z"),
            (36, "000010"),
            (2_176_782_335, "ZZZZZZ"),
            (2_176_782_336, "1000000"),
            (u64::MAX, "3W5E11264SGSF"),
        ] {
            assert_eq!(OrderId(number).to_string(), id);
        }
    }
}
