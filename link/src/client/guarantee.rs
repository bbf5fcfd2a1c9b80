//! What an edge promises, and why an end gives up.

use std::{fmt, str::FromStr};

/// What an edge promises for each message. The later ones include the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// A message may be lost, and is never sent twice: all that the verbs of 2016 can give.
    AtMostOnce,
    /// No message is lost.
    AtLeastOnce,
    /// No message is lost, and what is sent again is dropped by who has it. As long as the peer's memory lives: see its
    /// [`Durability`](protocol::link::Durability).
    ExactlyOnce,
}

impl Guarantee {
    const ALL: [Self; 3] = [Self::AtMostOnce, Self::AtLeastOnce, Self::ExactlyOnce];

    /// As flags and reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at-most-once",
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names no guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownGuarantee;

impl fmt::Display for UnknownGuarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected at-most-once, at-least-once or exactly-once")
    }
}

impl std::error::Error for UnknownGuarantee {}

impl FromStr for Guarantee {
    type Err = UnknownGuarantee;

    fn from_str(text: &str) -> Result<Self, UnknownGuarantee> {
        Self::ALL.into_iter().find(|guarantee| guarantee.as_str() == text).ok_or(UnknownGuarantee)
    }
}

/// Why an end of an edge has given up for good. What is unconfirmed then stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer cannot give what was asked for.
    Floor {
        /// What was asked for at the least.
        asked: Guarantee,
        /// What the peer gives.
        given: Guarantee,
    },
    /// Another process has taken this producer over.
    Fenced {
        /// That process's epoch; 0 if it has ended the feed.
        epoch: u64,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Floor { asked, given } => {
                write!(f, "the peer speaks the verbs of 2016 only, which give {given}; {asked} was asked for")
            }
            Self::Fenced { epoch: 0 } => {
                write!(
                    f,
                    "another run of this feed has begun or come to its end meanwhile: if none is going on, start this one again; it goes on where the feed stands, or feeds once more what had come to its end"
                )
            }
            Self::Fenced { epoch } => {
                write!(
                    f,
                    "another run of this feed is going on, and began later (epoch {epoch}): let it finish, or end it and start this one again"
                )
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Whether a peer that gives `given` will do.
pub(super) fn meets(floor: Option<Guarantee>, given: Guarantee) -> Result<(), Failure> {
    match floor {
        Some(asked) if asked > given => Err(Failure::Floor { asked, given }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for guarantee in Guarantee::ALL {
            assert_eq!(guarantee.to_string().parse(), Ok(guarantee));
        }
        assert_eq!("exactly".parse::<Guarantee>(), Err(UnknownGuarantee));
    }

    #[test]
    fn a_floor_is_met_by_as_much_or_more() {
        assert_eq!(meets(None, Guarantee::AtMostOnce), Ok(()));
        assert_eq!(meets(Some(Guarantee::AtLeastOnce), Guarantee::ExactlyOnce), Ok(()));
        let short = meets(Some(Guarantee::AtLeastOnce), Guarantee::AtMostOnce);
        assert_eq!(short, Err(Failure::Floor { asked: Guarantee::AtLeastOnce, given: Guarantee::AtMostOnce }));
        assert!(short.unwrap_err().to_string().contains("verbs of 2016"));
    }
}
