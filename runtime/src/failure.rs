//! Why a program ends with another exit code than 0, said once, in one place.

use std::{fmt, process::ExitCode};

/// What the operator is told when a program cannot go on: what failed, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// It ran, and failed: exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// The command line asks for what cannot be: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// The disk fails: exit code 74.
    pub fn disk(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 74 }
    }

    /// Says it on stderr, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            crate::say(&format!("error: {}", self.message));
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
