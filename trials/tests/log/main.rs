//! What a queue with a log promises, tried on real processes and real files: killed at every call to the system, on disks
//! that fail or are full, and by hand.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a trial fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "a client that outlives its server has a socket of its own")]

mod faults;
mod golden;
mod hand;
mod kills;
mod model;
mod peer;
mod points;
mod script;

use std::{fs, path::Path, process::Command};

use trials::program;

/// A queue with a log in this directory, of small segments, of which few are kept.
fn queue(data: &Path) -> Command {
    let mut command = program("mq");
    command
        .args(["--address", "127.0.0.1:0", "--segment-bytes", "64KiB", "--keep-bytes", "128KiB", "--data"])
        .arg(data);
    command
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
