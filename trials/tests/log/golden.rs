//! A queue's directory of each version of the format, made once by a queue of that time: every later queue must read it.
//!
//! `WEIR_GOLDEN=make` makes that of the newest version anew, and what must come out of it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use protocol::link::Derived;
use rustix::process::Signal;
use trials::{TempFolder, program, wait_for};

use crate::{
    copy,
    model::Seen,
    peer::Peer,
    script::{Script, Sender},
};

const NEWEST: &str = "v1";
const WORKER: u128 = 0x77;

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/log/golden").join(version)
}

fn queue(data: &Path) -> Command {
    let mut command = program("mq");
    // Short segments, so that there are several in a few KiB.
    command.args(["--address", "127.0.0.1:0", "--segment-bytes", "8KiB", "--data"]).arg(data);
    command
}

/// A worker's outputs.
fn derived<'a>() -> Derived<'a> {
    Derived { node: 7, generation: 3, stage: b"Pong", low_water: 0, ids: b"\x05\x00\x01\x00" }
}

fn outputs() -> [String; 2] {
    ["output-5", "output-6"].map(str::to_owned)
}

/// All that can be seen of a queue: first without changing it, then what is taken out of it, and whom it knows.
fn told(data: &Path) -> String {
    let mut peer = Peer::start(&mut queue(data)).unwrap();
    let mut told = format!("{:#?}\n", Seen::of(&mut peer, data));
    let (sender, next) = Sender::open(&mut peer, WORKER, 9).unwrap();
    let duplicates = |peer: &Peer| peer.stat().count("duplicate_ids");
    let known = sender.send(&mut peer, next, &outputs(), Some(derived())).unwrap();
    writeln!(told, "worker: from {next} to {known}, {} of its outputs known", duplicates(&peer)).unwrap();
    let (_, next) = Sender::open(&mut peer, crate::script::PRODUCER, 9).unwrap();
    writeln!(told, "producer: from {next}").unwrap();
    let open = peer.stat().sum(&["ready", "leased"]);
    for _ in 0..open {
        let text = wait_for("a message", || peer.say("GET").filter(|text| !text.is_empty()));
        writeln!(told, "{text}").unwrap();
    }
    assert_eq!(peer.node.stop(Signal::TERM).code, Some(0));
    told
}

fn make(folder: &TempFolder) {
    let data = folder.path().join("made");
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    let mut script = Script::new(11, 90);
    assert_eq!(script.play(&mut peer, 150), Ok(()));
    let (sender, next) = Sender::open(&mut peer, WORKER, 1).unwrap();
    assert_eq!(sender.send(&mut peer, next, &outputs(), Some(derived())), Some(next + 2));
    peer.node.stop(Signal::KILL);
    // A second start, and some more behind it.
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    for text in ["PUT:after", "PUT:after that"] {
        peer.say(text).unwrap();
    }
    peer.node.stop(Signal::KILL);
    let segments = fs::read_dir(&data).unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|extension| extension == "log")
    });
    assert!(segments.count() > 1);
    for leftover in ["lock", "spare.new"] {
        fs::remove_file(data.join(leftover)).unwrap();
    }
    let kept = golden(NEWEST);
    fs::create_dir_all(golden("")).unwrap();
    if kept.exists() {
        fs::remove_dir_all(&kept).unwrap();
    }
    copy(&data, &kept);
    fs::write(golden(&format!("{NEWEST}.txt")), told(&data)).unwrap();
}

#[test]
fn directories_of_every_version_are_read() {
    let folder = TempFolder::create();
    if std::env::var_os("WEIR_GOLDEN").is_some_and(|what| what == "make") {
        make(&folder);
    }
    let kept = fs::read_dir(golden("")).unwrap().map(|entry| entry.unwrap().path());
    for kept in kept.filter(|path| path.is_dir()) {
        let data = folder.path().join(kept.file_name().unwrap());
        copy(&kept, &data);
        let expected = fs::read_to_string(kept.with_extension("txt")).unwrap();
        assert_eq!(told(&data), expected, "{}", kept.display());
    }
}
