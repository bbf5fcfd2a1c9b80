//! What an operator may say while it runs, one command a line.

use std::fmt;

use crate::Trouble;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// From now on all is dropped.
    Partition,
    /// No longer.
    Heal,
    /// From now on all is held.
    Pause,
    /// What is held leaves, and all goes on.
    Resume,
    /// From now on nothing befalls a datagram.
    Pass,
    /// From now on so many of a hundred meet this trouble.
    Share(Trouble, u8),
    /// Say what became of all datagrams so far.
    Stats,
}

/// A line that is no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadCommand {
    line: String,
}

impl fmt::Display for BadCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = protocol::text::literal(&self.line);
        write!(f, "no command: {line}; there are partition, heal, pause, resume, pass, stats, and drop, ")?;
        write!(f, "duplicate, garble, delay and reorder with a percentage, such as drop 20")
    }
}

impl std::error::Error for BadCommand {}

impl Command {
    pub(crate) fn parse(line: &[u8]) -> Result<Self, BadCommand> {
        let line = String::from_utf8_lossy(line.trim_ascii());
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["partition"] => Some(Self::Partition),
            ["heal"] => Some(Self::Heal),
            ["pause"] => Some(Self::Pause),
            ["resume"] => Some(Self::Resume),
            ["pass"] => Some(Self::Pass),
            ["stats"] => Some(Self::Stats),
            [name, percent] => share(name, percent),
            _ => None,
        }
        .ok_or_else(|| BadCommand { line: line.chars().take(SHOWN_CHARS_MAX).collect() })
    }
}

/// How much of a bad line is shown.
const SHOWN_CHARS_MAX: usize = 60;

fn share(name: &str, percent: &str) -> Option<Command> {
    let trouble = Trouble::ALL.into_iter().find(|trouble| trouble.name() == name)?;
    let percent = percent.parse().ok().filter(|percent| *percent <= 100)?;
    Some(Command::Share(trouble, percent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands_or_not() {
        for (line, expected) in [
            (&b"partition"[..], Some(Command::Partition)),
            (b"  heal \r", Some(Command::Heal)),
            (b"pause", Some(Command::Pause)),
            (b"resume", Some(Command::Resume)),
            (b"pass", Some(Command::Pass)),
            (b"stats", Some(Command::Stats)),
            (b"drop 20", Some(Command::Share(Trouble::Drop, 20))),
            (b"reorder\t100", Some(Command::Share(Trouble::Reorder, 100))),
            (b"drop", None),
            (b"drop 101", None),
            (b"drop -1", None),
            (b"drop 1.5", None),
            (b"drop 20 now", None),
            (b"Stats", None),
            (b"\xff\xfe", None),
        ] {
            assert_eq!(Command::parse(line).ok(), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_bad_line_is_shown_short() {
        let error = Command::parse(&[b'x'; 10_000]).unwrap_err().to_string();
        assert!(error.starts_with("no command: 'xxxx") && error.len() < 300, "{error}");
    }
}
