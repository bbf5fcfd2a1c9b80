//! What befalls datagrams: the modes of 2016, and a mix of them.

use std::{fmt, time::Duration};

use crate::dice::Dice;

/// What can befall a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is not sent.
    Drop,
    /// It is sent two to eight times.
    Duplicate,
    /// It is sent changed.
    Garble,
    /// It is sent later.
    Delay,
    /// It is held, and sent together with others, the newest first.
    Reorder,
}

impl Trouble {
    /// All of them, in the order in which a mix counts their shares.
    pub const ALL: [Self; 5] = [Self::Drop, Self::Duplicate, Self::Garble, Self::Delay, Self::Reorder];

    /// Its name on the command line and in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Garble => "garble",
            Self::Delay => "delay",
            Self::Reorder => "reorder",
        }
    }
}

/// Of a hundred datagrams, how many meet each trouble. No datagram meets two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shares {
    drop: u8,
    duplicate: u8,
    garble: u8,
    delay: u8,
    reorder: u8,
}

/// The shares of a mix are more than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AboveHundred {
    /// Their sum.
    pub sum: u16,
}

impl fmt::Display for AboveHundred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the percentages add up to {}; 100 is all there is", self.sum)
    }
}

impl std::error::Error for AboveHundred {}

impl Shares {
    /// These with another share for one trouble.
    pub fn with(mut self, trouble: Trouble, percent: u8) -> Result<Self, AboveHundred> {
        *match trouble {
            Trouble::Drop => &mut self.drop,
            Trouble::Duplicate => &mut self.duplicate,
            Trouble::Garble => &mut self.garble,
            Trouble::Delay => &mut self.delay,
            Trouble::Reorder => &mut self.reorder,
        } = percent;
        let sum = Trouble::ALL.iter().map(|trouble| u16::from(self.of(*trouble))).sum();
        if sum > 100 { Err(AboveHundred { sum }) } else { Ok(self) }
    }

    fn of(self, trouble: Trouble) -> u8 {
        match trouble {
            Trouble::Drop => self.drop,
            Trouble::Duplicate => self.duplicate,
            Trouble::Garble => self.garble,
            Trouble::Delay => self.delay,
            Trouble::Reorder => self.reorder,
        }
    }

    /// What a die of a hundred sides means.
    fn met(self, die: u8) -> Option<Trouble> {
        let mut below = 0;
        Trouble::ALL.into_iter().find(|trouble| {
            below += self.of(*trouble);
            die <= below
        })
    }
}

/// `drop 20, reorder 10`; `pass` where nothing has a share.
impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for trouble in Trouble::ALL.into_iter().filter(|trouble| self.of(*trouble) > 0) {
            write!(f, "{separator}{} {}", trouble.name(), self.of(trouble))?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("pass") } else { Ok(()) }
    }
}

/// What befalls datagrams, and how many of a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Pass,
    /// This one trouble.
    One(Trouble, u8),
    /// Any trouble, or none, by a throw of six.
    Random(u8),
    /// Several troubles, each with its share.
    Mix(Shares),
}

/// The names of all modes.
pub const MODE_NAMES: [&str; 8] = ["duplicate", "drop", "garble", "delay", "reorder", "random", "pass", "mix"];

impl Mode {
    /// The mode of this name. `percent` is for the modes of 2016, `shares` is for the mix.
    pub fn named(name: &str, percent: u8, shares: Shares) -> Option<Self> {
        match name {
            "pass" => Some(Self::Pass),
            "random" => Some(Self::Random(percent)),
            "mix" => Some(Self::Mix(shares)),
            _ => Trouble::ALL.into_iter().find(|one| one.name() == name).map(|one| Self::One(one, percent)),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::One(trouble, _) => trouble.name(),
            Self::Random(_) => "random",
            Self::Mix(_) => "mix",
        }
    }

    /// As a mix; `random`, which is none, leaves nothing.
    pub(crate) fn shares(self) -> Shares {
        match self {
            Self::Pass | Self::Random(_) => Shares::default(),
            Self::One(trouble, percent) => Shares::default().with(trouble, percent).unwrap_or_default(),
            Self::Mix(shares) => shares,
        }
    }

    /// Throws the dice for one datagram.
    pub(crate) fn fate(self, delays: Delays, dice: &mut Dice) -> Fate {
        let die = dice.throw(100);
        match self {
            Self::One(trouble, percent) if die <= percent => Fate::of(trouble, delays, dice),
            Self::Random(percent) if die <= percent => Fate::random(delays, dice),
            Self::Mix(shares) => shares.met(die).map_or(Fate::Pass, |trouble| Fate::of(trouble, delays, dice)),
            Self::Pass | Self::One(..) | Self::Random(_) => Fate::Pass,
        }
    }
}

/// How long a delayed datagram may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// At the least, in milliseconds.
    pub min_ms: u64,
    /// At the most, in milliseconds.
    pub max_ms: u64,
}

impl Delays {
    /// Those of 2016: 1 ms to 10 s.
    pub const OF_2016: Self = Self { min_ms: 1, max_ms: 10_000 };
}

/// What befalls one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Drop,
    Duplicate {
        copies: u8,
    },
    Garble,
    Delay(Duration),
    /// It is held; if more than `held_max` are held then, all of them are sent.
    Reorder {
        held_max: u8,
    },
}

impl Fate {
    fn of(trouble: Trouble, delays: Delays, dice: &mut Dice) -> Self {
        match trouble {
            Trouble::Drop => Self::Drop,
            Trouble::Duplicate => Self::Duplicate { copies: dice.throw(4) + dice.throw(4) },
            Trouble::Garble => Self::Garble,
            Trouble::Delay => Self::Delay(Duration::from_millis(dice.between(delays.min_ms, delays.max_ms))),
            Trouble::Reorder => Self::Reorder { held_max: dice.throw(6) },
        }
    }

    fn random(delays: Delays, dice: &mut Dice) -> Self {
        match dice.throw(6) {
            1 => Self::Pass,
            2 => Self::Duplicate { copies: 2 },
            3 => Self::Drop,
            4 => Self::Garble,
            5 => Self::of(Trouble::Delay, delays, dice),
            _ => Self::of(Trouble::Reorder, delays, dice),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => Trouble::Drop.name(),
            Self::Duplicate { .. } => Trouble::Duplicate.name(),
            Self::Garble => Trouble::Garble.name(),
            Self::Delay(_) => Trouble::Delay.name(),
            Self::Reorder { .. } => Trouble::Reorder.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Direction;

    const SEED: u64 = 7;

    fn fates(mode: Mode, count: u64) -> Vec<Fate> {
        let fate = |number| mode.fate(Delays::OF_2016, &mut Dice::new(SEED, Direction::In, number));
        (1..=count).map(fate).collect()
    }

    /// A letter for each of the first datagrams; a dot for one that passes.
    fn letters(mode: Mode) -> String {
        let letter = |fate: Fate| match fate {
            Fate::Pass => '.',
            Fate::Drop => 'x',
            Fate::Duplicate { copies } => char::from(b'0' + copies),
            Fate::Garble => 'g',
            Fate::Delay(_) => 'd',
            Fate::Reorder { .. } => 'r',
        };
        fates(mode, 32).into_iter().map(letter).collect()
    }

    fn mix(parts: &[(Trouble, u8)]) -> Shares {
        parts.iter().fold(Shares::default(), |shares, (trouble, percent)| shares.with(*trouble, *percent).unwrap())
    }

    #[test]
    fn a_seed_decides() {
        let all = mix(&[
            (Trouble::Drop, 20),
            (Trouble::Duplicate, 20),
            (Trouble::Garble, 20),
            (Trouble::Delay, 20),
            (Trouble::Reorder, 20),
        ]);
        for (mode, expected) in [
            (Mode::Pass, "................................"),
            (Mode::One(Trouble::Drop, 30), ".x.x..x.x...x.xxx.xx.x..x...x.x."),
            (Mode::One(Trouble::Duplicate, 30), ".2.5..5.3...6.655.37.5..3...7.4."),
            (Mode::One(Trouble::Garble, 30), ".g.g..g.g...g.ggg.gg.g..g...g.g."),
            (Mode::One(Trouble::Delay, 30), ".d.d..d.d...d.ddd.dd.d..d...d.d."),
            (Mode::One(Trouble::Reorder, 30), ".r.r..r.r...r.rrr.rr.r..r...r.r."),
            (Mode::Random(30), "......g.2...r.dxx.xr.2..x...g.g."),
            (Mode::Random(100), "x.d..rg.2dxxrrdxx.xrd2.dxx2dgdgd"),
            (Mode::Mix(all), "d2dxg6xdxrddxgx55dxxrxd8xrrrxd4r"),
        ] {
            assert_eq!(letters(mode), expected, "{mode:?}");
        }
    }

    #[test]
    fn none_of_a_hundred_is_none_and_a_hundred_is_all() {
        for trouble in Trouble::ALL {
            assert!(fates(Mode::One(trouble, 0), 1_000).iter().all(|fate| *fate == Fate::Pass), "{trouble:?}");
            assert!(fates(Mode::One(trouble, 100), 1_000).iter().all(|fate| fate.name() == trouble.name()));
        }
        assert!(fates(Mode::Random(0), 1_000).iter().all(|fate| *fate == Fate::Pass));
    }

    #[test]
    fn a_share_is_a_share() {
        let shares = mix(&[(Trouble::Drop, 20), (Trouble::Garble, 5), (Trouble::Reorder, 40)]);
        let fates = fates(Mode::Mix(shares), 20_000);
        for (name, percent) in [("drop", 20), ("garble", 5), ("reorder", 40), ("pass", 35), ("delay", 0)] {
            let met = fates.iter().filter(|fate| fate.name() == name).count();
            assert!(met.abs_diff(percent * 200) <= 200, "{name}: {met} of 20000");
        }
    }

    #[test]
    fn throws_stay_in_their_bounds_and_reach_them() {
        let mut seen = std::collections::BTreeSet::new();
        for trouble in [Trouble::Duplicate, Trouble::Reorder] {
            for fate in fates(Mode::One(trouble, 100), 1_000) {
                match fate {
                    Fate::Duplicate { copies } => seen.insert(("copies", copies)),
                    Fate::Reorder { held_max } => seen.insert(("held", held_max)),
                    _ => unreachable!("{fate:?}"),
                };
            }
        }
        let expected = (2..=8).map(|copies| ("copies", copies)).chain((1..=6).map(|held| ("held", held)));
        assert_eq!(seen, expected.collect());
        for fate in fates(Mode::One(Trouble::Delay, 100), 10_000) {
            let Fate::Delay(delay) = fate else { unreachable!("{fate:?}") };
            assert!((1..=10_000).contains(&delay.as_millis()), "{delay:?}");
        }
    }

    #[test]
    fn shares_above_a_hundred_are_refused() {
        let shares = mix(&[(Trouble::Drop, 60), (Trouble::Delay, 40)]);
        assert_eq!(shares.with(Trouble::Garble, 1), Err(AboveHundred { sum: 101 }));
        assert_eq!(shares.with(Trouble::Drop, 0).unwrap().to_string(), "delay 40");
        assert_eq!(Shares::default().to_string(), "pass");
    }

    #[test]
    fn names_are_modes_and_back() {
        for name in MODE_NAMES {
            assert_eq!(Mode::named(name, 10, Shares::default()).map(Mode::name), Some(name));
        }
        assert_eq!(Mode::named("Drop", 10, Shares::default()), None);
    }
}
