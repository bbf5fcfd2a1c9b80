//! Quotes: the best bid and offer of one symbol after another.

use std::io::{self, Write};

use crate::{
    chance::Chance,
    line::{LineWriter, Money, Time},
    symbols::{Symbols, pick},
};

#[derive(Debug)]
pub(crate) struct Quotes<'a> {
    symbols: &'a Symbols,
    chance: Chance,
    written: u64,
    lines: LineWriter,
}

impl<'a> Quotes<'a> {
    pub(crate) fn new(symbols: &'a Symbols, seed: u64) -> Self {
        Self { symbols, chance: Chance::new(seed, 1), written: 0, lines: LineWriter::default() }
    }

    /// The price moves by up to 2 % around the symbol's own, the spread by up to a quarter: a spread below 3.9 % of the
    /// price never stops new orders, one above 6.7 % always does if it is above 6.7 cents, too.
    pub(crate) fn write_next(&mut self, at_ms: u64, out: &mut impl Write) -> io::Result<()> {
        let quoted = self.symbols.quoted();
        let place =
            if self.written < quoted.len() as u64 { self.written } else { self.chance.below(quoted.len() as u64) };
        let (symbol, spread) = pick(quoted, place);
        let mid = symbol.price.0 * self.chance.between(9_800, 10_200) / 10_000;
        let spread = spread.0 * self.chance.between(75, 125) / 100;
        let bid = mid - spread / 2;
        self.written += 1;
        let fields = format_args!(
            "35=S\x0155={}\x0160={}\x01117=Q{}\x01132={}\x01133={}\x01",
            symbol.symbol,
            Time(at_ms),
            self.written,
            Money(bid),
            Money(bid + spread)
        );
        self.lines.write(fields, out)
    }
}
