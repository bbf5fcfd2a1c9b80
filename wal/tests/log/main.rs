//! The log, tried through its public face: crashes, damage, disks that are full or fail, and what is read again.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::cast_possible_truncation, reason = "places in files of some kilobytes")]

mod crashes;
mod damage;
mod directory;
mod faults;
mod format;
mod golden;
mod model;
mod reading;
mod retention;
