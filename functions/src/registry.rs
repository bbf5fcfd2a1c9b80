//! The functions by name. A new one is a file beside this one, its `mod` line in `lib.rs`, and a line in [`ENTRIES`].

use crate::{
    Function, double::double, fixrouter::fixrouter, input_doubler::input_doubler, marketspread::marketspread,
    passthrough::passthrough, pong::pong,
};

static ENTRIES: &[Entry] = &[
    Entry { name: "Passthrough", keeps_state: false, start: |_| Box::new(passthrough) },
    Entry { name: "Pong", keeps_state: false, start: |_| Box::new(pong) },
    Entry { name: "Double", keeps_state: false, start: |_| Box::new(double) },
    Entry { name: "InputDoubler", keeps_state: false, start: |_| Box::new(input_doubler) },
    Entry { name: "Fixrouter", keeps_state: false, start: |_| Box::new(fixrouter) },
    Entry { name: "Marketspread", keeps_state: true, start: marketspread },
];

/// What a function may remember unless told otherwise, in bytes.
pub const STATE_BYTES_MAX: u64 = 1 << 30;

/// A function that workers can be told to run.
#[derive(Debug)]
pub struct Entry {
    name: &'static str,
    keeps_state: bool,
    start: fn(u64) -> Function,
}

impl Entry {
    /// The name as reports spell it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether what it gives for a message depends on the messages before.
    pub fn keeps_state(&self) -> bool {
        self.keeps_state
    }

    /// The function, remembering nothing yet, with room for [`STATE_BYTES_MAX`].
    pub fn start(&self) -> Function {
        self.start_within(STATE_BYTES_MAX)
    }

    /// The function, remembering nothing yet. What it will remember takes about so many bytes at the most; it refuses what
    /// it would need more for.
    pub fn start_within(&self, state_bytes_max: u64) -> Function {
        (self.start)(state_bytes_max)
    }
}

/// The function of this name, in whatever case it is written.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
}

/// All names as reports spell them.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(Entry::name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outputs;

    #[test]
    fn every_name_is_found_in_any_case() {
        for name in names() {
            for spelled in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
                assert_eq!(find(&spelled).map(Entry::name), Some(name), "two functions of one name");
            }
        }
        assert!(find("nosuch").is_none());
        assert!(find("").is_none());
    }

    #[test]
    fn functions_of_2016_are_here() {
        for (name, keeps_state) in [
            ("Passthrough", false),
            ("Pong", false),
            ("Double", false),
            ("InputDoubler", false),
            ("Fixrouter", false),
            ("Marketspread", true),
        ] {
            let entry = find(name).unwrap();
            assert_eq!((entry.name(), entry.keeps_state()), (name, keeps_state));
        }
    }

    #[test]
    fn a_started_function_remembers_nothing_of_another() {
        let quote = b"35=S\x0155=ABC\x0160=now\x01132=1\x01133=1";
        let order = b"35=D\x0155=ABC\x011=ME\x0111=A\x01999=0";
        let entry = find("marketspread").unwrap();
        let mut outputs = Outputs::default();
        entry.start()(quote, &mut outputs).unwrap();
        entry.start()(order, &mut outputs).unwrap();
        let (_, text) = outputs.iter().next().unwrap();
        assert!(text.ends_with(br#"Unknown symbol: ABC", "feed_time": 0.0}"#), "{}", text.escape_ascii());
    }
}
