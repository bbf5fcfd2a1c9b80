//! Market data of the project's own: FIX quotes (NBBO) and orders for invented companies, as many as are asked for. The
//! same symbols, seed and numbers give the same bytes on every machine.
//!
//! Each line is one message in quotes: `"8=FIX.4.2<SOH>9=65<SOH>35=S<SOH>...10=098<SOH>"`, with the right body length
//! and checksum. The data brings out everything that the market-spread function can say: most orders are accepted, some
//! name a symbol that is never quoted or whose spread stops new orders, and some come twice.
//!
//! `nbbo.msg` and `trades.msg`, in the folder above this crate, were made in the project's root with
//!
//! ```text
//! cargo run -p generate-marketspread -- --nbbo 200 --trades 2000 --seed 2016 \
//!     --nbbo-out demos/marketspread/nbbo.msg --trades-out demos/marketspread/trades.msg
//! ```
//!
//! and `expected.txt`, beside them, by this crate's test `demo`, which makes it anew where it is missing.

mod chance;
mod line;
mod orders;
mod quotes;
mod symbols;

use std::io::{self, Write};

use orders::Orders;
use quotes::Quotes;

pub use symbols::{BUILT_IN_SYMBOLS, Fault, Symbols, SymbolsError};

/// Writes `count` quotes, one a line. Every quoted symbol has its turn before any comes again.
pub fn write_nbbo(symbols: &Symbols, seed: u64, count: u64, out: &mut impl Write) -> io::Result<()> {
    let mut quotes = Quotes::new(symbols, seed);
    (0..count).try_for_each(|at_ms| quotes.write_next(at_ms, out))
}

/// Writes `count` orders, one a line.
pub fn write_trades(symbols: &Symbols, seed: u64, count: u64, out: &mut impl Write) -> io::Result<()> {
    let mut orders = Orders::new(symbols, seed);
    (0..count).try_for_each(|at_ms| orders.write_next(at_ms, out))
}

/// Writes `quotes` quotes with `orders_per_quote` orders behind each. The quotes and the orders are those of
/// [`write_nbbo`] and [`write_trades`], but for their times.
pub fn write_mixed(
    symbols: &Symbols,
    seed: u64,
    quotes: u64,
    orders_per_quote: u64,
    out: &mut impl Write,
) -> io::Result<()> {
    let (mut next_quote, mut next_order) = (Quotes::new(symbols, seed), Orders::new(symbols, seed));
    let mut at_ms = 0;
    for _ in 0..quotes {
        next_quote.write_next(at_ms, out)?;
        for behind in 1..=orders_per_quote {
            next_order.write_next(at_ms + behind, out)?;
        }
        at_ms += 1 + orders_per_quote;
    }
    Ok(())
}
