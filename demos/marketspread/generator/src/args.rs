//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};

/// Writes FIX quotes and orders of invented companies, for market-spread topologies to eat.
///
/// Each line is one message in quotes, ready for a feeder. The same flags give the same bytes on every machine. Among the
/// built-in companies a few are never quoted and a few have a spread that stops new orders; one order in eighty carries
/// the id of an earlier one. So every answer of the market-spread function occurs.
#[derive(Debug, Parser)]
#[command(
    version,
    group = ArgGroup::new("outputs").required(true).multiple(true).args(["nbbo_out", "trades_out", "mixed_out"]),
    after_long_help = "Examples:\n  \
        200 quotes and 2,000 orders, a file each:\n    \
            generate-marketspread --nbbo-out nbbo.msg --trades-out trades.msg\n  \
        look at a few orders:\n    \
            generate-marketspread --trades 5 --trades-out -\n  \
        5,000,000 lines in one file, nine orders behind each quote:\n    \
            generate-marketspread --nbbo 500000 --orders-per-quote 9 --mixed-out big.msg\n  \
        companies of your own, in a CSV file such as\n    \
            symbol,price,spread,name\n    \
            WEIRS,99.99,0.10,Weir Stream Works\n    \
            VANEX,63.00,,Vane Exchange\n  \
        (without a spread: never quoted, only ordered):\n    \
            generate-marketspread --symbols mine.csv --nbbo-out nbbo.msg\n\n\
        Exit codes: 0 done, 1 failed, 2 bad command line."
)]
pub(crate) struct Args {
    /// CSV file of companies, with the columns symbol,price,spread,name [default: 40 built-in ones]
    #[arg(long, value_name = "FILE")]
    pub(crate) symbols: Option<PathBuf>,

    /// How many quotes to write; every quoted symbol has its turn before any comes again
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) nbbo: u64,

    /// How many orders to write
    #[arg(long, value_name = "N", default_value_t = 2_000, conflicts_with = "mixed_out")]
    pub(crate) trades: u64,

    /// What chance starts from: another seed, other data
    #[arg(long, value_name = "N", default_value_t = 2_016)]
    pub(crate) seed: u64,

    /// Where to write the quotes; - is stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) nbbo_out: Option<PathBuf>,

    /// Where to write the orders; - is stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) trades_out: Option<PathBuf>,

    /// Where to write quotes and orders together, the orders behind each quote; - is stdout
    #[arg(long, value_name = "FILE", requires = "orders_per_quote", conflicts_with_all = ["nbbo_out", "trades_out"])]
    pub(crate) mixed_out: Option<PathBuf>,

    /// How many orders follow each quote
    #[arg(long, value_name = "N", requires = "mixed_out", conflicts_with_all = ["nbbo_out", "trades_out"])]
    pub(crate) orders_per_quote: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn flags_hold_together() {
        Args::command().debug_assert();
    }
}
