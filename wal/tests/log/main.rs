//! The log, tried through its public face: crashes, damage, disks that are full or fail, and what is read again.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod crashes;
mod model;
