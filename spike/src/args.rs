//! The spike's flags.

use std::str::FromStr;

use clap::builder::RangedI64ValueParser;
use runtime::{
    Address, Allow, Failure,
    flags::{Logging, Period, Seconds},
};
use spike::{Answers, CLIENTS_MAX, Delays, Each, Garbling, MODE_NAMES, Mode, Partitions, Prints, Shares, Trouble};

/// Stands between two nodes, relays datagrams both ways, and spoils some of them as its seed says.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "a flag is given or not")]
pub(crate) struct Args {
    /// Listen here; port 0 takes a free one, and the line `listening on HOST:PORT` on stderr tells which
    #[arg(value_name = "IN_ADDR")]
    pub(crate) listen: Address,
    /// Send on to here, and take answers from here
    #[arg(value_name = "OUT_ADDR")]
    pub(crate) server: Address,
    /// duplicate, drop, garble, delay, reorder, random (any of them), pass, or mix (each with its own percentage)
    #[arg(value_name = "MODE")]
    mode: String,
    /// Give the same datagrams the same fates as another run [default: chance; the statistics tell it]
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Spoil so many of a hundred datagrams [default: 10]
    #[arg(short, long, value_name = "PERCENT", value_parser = percent())]
    prob: Option<u8>,
    /// Delay for so long; any time between the two
    #[arg(long, value_name = "MIN-MAX", default_value = "1-10000", value_parser = milliseconds)]
    pub(crate) delay_ms: Delays,
    /// Garble by changing any one byte, also in frames
    #[arg(long)]
    garble_bytes: bool,
    /// Which direction suffers: what goes to the server, what comes back, or both
    #[arg(long, value_name = "WHICH", default_value = "both")]
    direction: Which,
    /// Drop all for a while, again and again, each time so long after the last time began
    #[arg(long, value_name = "SECONDS", requires = "partition_for")]
    partition_every: Option<Period>,
    /// How long such a while is
    #[arg(long, value_name = "SECONDS", requires = "partition_every")]
    partition_for: Option<Seconds>,
    /// Tell so many clients apart; one more takes the place of the one that has been silent longest
    #[arg(long, value_name = "COUNT", default_value = "32", value_parser = clients())]
    pub(crate) clients: u8,
    /// Let only frames pass, as in 2016
    #[arg(long)]
    pub(crate) frames_only: bool,
    /// Answer each datagram with `spike: got it` and relay no answers, as in 2016
    #[arg(long)]
    acknowledge: bool,
    /// Print no datagrams
    #[arg(long)]
    quiet: bool,
    /// Print no datagrams, and at the end the statistics as JSON
    #[arg(long)]
    json: bool,
    /// Take commands from stdin: partition, heal, pause, resume, pass, stats, and drop 20 and the like
    #[arg(long)]
    pub(crate) commands: bool,
    #[command(flatten)]
    mix: MixFlags,
    #[command(flatten)]
    pub(crate) allow: Allow,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Percentages of the mix")]
struct MixFlags {
    /// Do not send
    #[arg(long, value_name = "PERCENT", value_parser = percent())]
    drop: Option<u8>,
    /// Send 2 to 8 times
    #[arg(long, value_name = "PERCENT", value_parser = percent())]
    duplicate: Option<u8>,
    /// Change
    #[arg(long, value_name = "PERCENT", value_parser = percent())]
    garble: Option<u8>,
    /// Send later
    #[arg(long, value_name = "PERCENT", value_parser = percent())]
    delay: Option<u8>,
    /// Hold, and send with others, the newest first
    #[arg(long, value_name = "PERCENT", value_parser = percent())]
    reorder: Option<u8>,
}

/// Which direction suffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// What goes to the server
    In,
    /// What comes back
    Out,
    /// Both
    Both,
}

fn percent() -> RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(0..=100)
}

fn clients() -> RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(1..=i64::try_from(CLIENTS_MAX).unwrap_or(i64::MAX))
}

/// What 2016 took where it was told nothing.
const PROB: u8 = 10;

/// An hour, in milliseconds.
const DELAY_MS_MAX: u64 = 3_600_000;

fn milliseconds(text: &str) -> Result<Delays, String> {
    let parse = |text: &str| u64::from_str(text).ok().filter(|ms| *ms <= DELAY_MS_MAX);
    let ends = text.split_once('-').and_then(|(min, max)| Some((parse(min)?, parse(max)?)));
    match ends {
        Some((min_ms, max_ms)) if min_ms <= max_ms => Ok(Delays { min_ms, max_ms }),
        _ => Err(format!(
            "give two numbers of milliseconds up to {DELAY_MS_MAX}, such as 1-10000, the smaller one first"
        )),
    }
}

impl MixFlags {
    fn given(&self) -> impl Iterator<Item = (Trouble, u8)> {
        let percents = [
            (Trouble::Drop, self.drop),
            (Trouble::Duplicate, self.duplicate),
            (Trouble::Garble, self.garble),
            (Trouble::Delay, self.delay),
            (Trouble::Reorder, self.reorder),
        ];
        percents.into_iter().filter_map(|(trouble, percent)| Some((trouble, percent?)))
    }
}

impl Args {
    /// What befalls datagrams.
    ///
    /// # Errors
    /// When there is no such mode, or the percentages do not go with it.
    pub(crate) fn mode(&self) -> Result<Mode, Failure> {
        let shares = self.mix.given().try_fold(Shares::default(), |shares, (trouble, percent)| {
            shares.with(trouble, percent).map_err(|error| Failure::usage(error.to_string()))
        })?;
        let mode = Mode::named(&self.mode, self.prob.unwrap_or(PROB), shares).ok_or_else(|| {
            Failure::usage(format!(
                "Invalid mode. Valid options: {}\n\
                 Parameters: input_address output_address destruction-mode [--seed seed --prob probability]",
                MODE_NAMES.join(", ")
            ))
        })?;
        let is_mix = matches!(mode, Mode::Mix(_));
        if let Some((trouble, _)) = self.mix.given().next().filter(|_| !is_mix) {
            let (mode, flag) = (&self.mode, trouble.name());
            return Err(Failure::usage(format!("--{flag} goes with the mode mix; for the mode {mode} give --prob")));
        }
        if is_mix && self.prob.is_some() {
            return Err(Failure::usage(
                "the mode mix has no --prob; give --drop, --duplicate, --garble, --delay, --reorder",
            ));
        }
        Ok(mode)
    }

    /// Which directions suffer.
    pub(crate) fn suffers(&self) -> Each<bool> {
        Each { inward: self.direction != Which::Out, outward: self.direction != Which::In }
    }

    /// How datagrams are garbled.
    pub(crate) fn garbling(&self) -> Garbling {
        if self.garble_bytes { Garbling::Bytes } else { Garbling::Frames }
    }

    /// What a sender is told.
    pub(crate) fn answers(&self) -> Answers {
        if self.acknowledge { Answers::GotIt } else { Answers::Relayed }
    }

    /// What is printed on stdout.
    pub(crate) fn prints(&self) -> Prints {
        match (self.json, self.quiet) {
            (true, _) => Prints::Statistics,
            (false, true) => Prints::Nothing,
            (false, false) => Prints::Datagrams,
        }
    }

    /// Partitions that come by themselves.
    ///
    /// # Errors
    /// When one would not end before the next.
    pub(crate) fn partitions(&self) -> Result<Option<Partitions>, Failure> {
        let (Some(Period(every)), Some(Seconds(lasts))) = (self.partition_every, self.partition_for) else {
            return Ok(None);
        };
        if lasts >= every {
            return Err(Failure::usage(
                "a partition must end before the next: --partition-for below --partition-every",
            ));
        }
        Ok(Some(Partitions { every, lasts }))
    }
}

const EXAMPLES: &str = "\
Examples:
  spike 127.0.0.1:9000 127.0.0.1:10000 drop --seed 7 --prob 20    a queue that loses 20 % each way
  spike 127.0.0.1:9000 127.0.0.1:10000 mix --drop 20 --duplicate 10 --reorder 10 --quiet
  spike 127.0.0.1:9000 127.0.0.1:5000 delay --delay-ms 5-50 --prob 100 --direction in
  spike 127.0.0.1:9000 127.0.0.1:10000 pass --commands    then type: drop 20

Give clients IN_ADDR in the place of the server's address. Each datagram is printed on stdout, its
payload cut at 1000 bytes; where many pass, give --quiet. The statistics are on stderr at the end.
Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 bad command line.";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn parse(flags: &str) -> Result<Args, String> {
        let words = ["spike", "127.0.0.1:0", "127.0.0.1:10000"].into_iter().chain(flags.split_ascii_whitespace());
        Args::try_parse_from(words).map_err(|error| error.to_string())
    }

    fn mode(flags: &str) -> Result<Mode, String> {
        parse(flags)?.mode().map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_of_2016() {
        for (flags, expected) in [
            ("drop", Mode::One(Trouble::Drop, 10)),
            ("duplicate --seed 7 --prob 50", Mode::One(Trouble::Duplicate, 50)),
            ("garble -s 7 -p 0", Mode::One(Trouble::Garble, 0)),
            ("--prob 100 delay", Mode::One(Trouble::Delay, 100)),
            ("reorder -p 33", Mode::One(Trouble::Reorder, 33)),
            ("random", Mode::Random(10)),
            ("pass --prob 50", Mode::Pass),
        ] {
            assert_eq!(mode(flags), Ok(expected), "{flags}");
        }
        assert_eq!(parse("drop -s 18446744073709551615").unwrap().seed, Some(u64::MAX));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (flags, part) in [
            ("", "<MODE>"),
            ("explode", "Invalid mode. Valid options: duplicate, drop, garble, delay, reorder, random, pass"),
            ("Drop", "Parameters: input_address output_address destruction-mode [--seed seed --prob probability]"),
            ("drop --prob 101", "101"),
            ("drop --prob -1", "-1"),
            ("drop --prob NaN", "NaN"),
            ("drop --seed seven", "seven"),
            ("drop --delay 5", "goes with the mode mix"),
            ("mix --prob 5", "no --prob"),
            ("mix --drop 60 --garble 41", "add up to 101"),
            ("mix --drop 101", "101"),
        ] {
            let error = mode(flags).unwrap_err();
            assert!(error.contains(part), "{flags}: {error}");
        }
        for flags in ["5", "5-", "-5", "9-5", "1-3600001", "a-b", "1.5-2", "1-2-3"] {
            assert!(milliseconds(flags).is_err(), "{flags}");
        }
        for flags in ["--clients 0", "--clients 61", "--partition-every 5", "--partition-for 5", "--direction up"] {
            assert!(parse(&format!("drop {flags}")).is_err(), "{flags}");
        }
        assert!(parse("drop --partition-every 5 --partition-for 5").unwrap().partitions().is_err());
    }

    #[test]
    fn flags_become_a_plan() {
        let args = parse("mix --drop 20 --duplicate 10 --direction out --delay-ms 5-5 --garble-bytes").unwrap();
        let shares = Shares::default().with(Trouble::Drop, 20).and_then(|it| it.with(Trouble::Duplicate, 10)).unwrap();
        assert_eq!(args.mode().unwrap(), Mode::Mix(shares));
        assert_eq!(args.suffers(), Each { inward: false, outward: true });
        assert_eq!(args.delay_ms, Delays { min_ms: 5, max_ms: 5 });
        assert_eq!(args.garbling(), Garbling::Bytes);
        let args = parse("drop --partition-every 10 --partition-for 0.5").unwrap();
        assert_eq!(args.partitions().unwrap().map(|partitions| partitions.lasts.as_millis()), Some(500));
        assert_eq!((args.delay_ms, args.suffers()), (Delays::OF_2016, Each { inward: true, outward: true }));
    }
}
