//! By hand: directories that cannot hold a log, damage and salvage, `mq log verify` and `mq log dump`.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::{Signal, geteuid};
use serde_json::Value;
use trials::{Client, Ended, Node, TempFolder, program, wait_until};

use crate::{copy, peer::Peer, queue};

#[track_caller]
fn check_refused(command: &mut Command, says: &str) {
    let ended = Node::start(command).wait();
    assert_eq!(ended.code, Some(1), "{}", ended.log());
    assert!(ended.log().contains(says), "{says}: {}", ended.log());
    assert!(ended.stderr.iter().all(|line| !line.starts_with("listening on")), "{}", ended.log());
}

fn log(what: &str, data: &Path, flags: &[&str]) -> Ended {
    let args = ["log", what].map(OsStr::new).into_iter().chain([data.as_os_str()]).chain(flags.iter().map(OsStr::new));
    trials::run("mq", args)
}

/// A queue's directory with ten messages, of which two are finished with.
fn made(folder: &TempFolder) -> PathBuf {
    let data = folder.path().join("data");
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    for n in 0..10 {
        assert_eq!(peer.say(&format!("PUT:message-{n}")).unwrap(), "PUT 9 bytes");
    }
    assert_eq!([peer.say("GET"), peer.say("GET")], ["message-0", "message-1"].map(|text| Some(text.to_owned())));
    assert_eq!(peer.node.stop(Signal::TERM).code, Some(0));
    data
}

#[test]
fn what_cannot_hold_a_log_is_refused_with_what_to_do() {
    let folder = TempFolder::create();
    let file = PathBuf::from(folder.write("file", "x"));
    check_refused(&mut queue(&file), "file is not a directory: choose another");
    let lost = folder.path().join("none/data");
    check_refused(&mut queue(&lost), "none/data: the directory above it is not there");
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("notes.txt"), "mine").unwrap();
    check_refused(&mut queue(&foreign), "it holds something else (notes.txt) and no log: choose an empty directory");
    assert_eq!(fs::read(foreign.join("notes.txt")).unwrap(), b"mine");
    let data = made(&folder);
    fs::remove_file(data.join("00000000000000000000.log")).unwrap();
    check_refused(&mut queue(&data), "its file weir-log is there and no segment is");
}

#[test]
fn a_log_of_another_version_is_refused_by_its_number() {
    let folder = TempFolder::create();
    let data = made(&folder);
    let label = data.join("weir-log");
    let was = fs::read_to_string(&label).unwrap();
    fs::write(&label, "weir queue log\nversion 2\nnode 0000000000000000\ncheck a9daf71a\n").unwrap();
    check_refused(&mut queue(&data), "its log is of version 2, and this program reads version 1");
    for what in ["verify", "dump"] {
        let ended = log(what, &data, &[]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.log().contains("its log is of version 2"), "{}", ended.log());
    }
    fs::write(&label, was.replace("node ", "node 0")).unwrap();
    check_refused(&mut queue(&data), "its file weir-log is damaged");
    fs::remove_file(&label).unwrap();
    check_refused(&mut queue(&data), "its segments are there and its file weir-log is not: put it back");
    fs::write(&label, was).unwrap();
    Peer::start(&mut queue(&data)).unwrap();
}

/// As a user who may not write there. The superuser may write everywhere, so then another is taken.
#[test]
fn without_permission_it_says_where() {
    let folder = TempFolder::create();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o500)).unwrap();
    let queue = queue(&data);
    let mut command = if geteuid().is_root() {
        // The other user must be able to read it.
        let copy = folder.path().join("mq");
        fs::copy(queue.get_program(), &copy).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
        command
    } else {
        program("mq")
    };
    command.stderr(std::process::Stdio::piped()).args(queue.get_args());
    check_refused(&mut command, "no permission to write in ");
}

#[test]
fn a_directory_belongs_to_one_process() {
    let folder = TempFolder::create();
    let data = folder.path().join("data");
    let first = Peer::start(&mut queue(&data)).unwrap();
    check_refused(&mut queue(&data), "data is in use by another process: end that one, or choose another directory");
    for what in ["verify", "dump"] {
        let ended = log(what, &data, &[]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.log().contains("in use by another process"), "{}", ended.log());
    }
    first.node.stop(Signal::KILL);
    Peer::start(&mut queue(&data)).unwrap();
}

#[test]
fn a_whole_log_is_told() {
    let folder = TempFolder::create();
    let data = made(&folder);
    let before = fs::read(data.join("00000000000000000000.log")).unwrap();
    let ended = log("verify", &data, &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    let told = ended.stdout.join("\n");
    for part in
        ["started 1 times", "1 segments", "with 10 messages; offsets from 0, the next is 10", "All blocks check."]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    let ended = log("verify", &data, &["--json"]);
    let told: Value = serde_json::from_str(&ended.stdout.concat()).unwrap();
    assert_eq!([&told["messages"], &told["next_offset"], &told["kept_from"]], [10, 10, 0]);
    assert_eq!((ended.code, told["damage"].as_array().unwrap().len()), (Some(0), 0));

    let ended = log("dump", &data, &["--json"]);
    let lines: Vec<Value> = ended.stdout.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, [&["started"][..], &["messages"; 10], &["popped"; 2]].concat());
    assert_eq!((&lines[4]["offset"], &lines[4]["messages"], &lines[4]["bytes"]), (&3.into(), &1.into(), &11.into()));
    let some = log("dump", &data, &["--from", "8", "--count", "2"]).stdout;
    assert!(some.len() == 2 && some[0].starts_with("8\t1\t20") && some[1].contains("\tmessages at_us="), "{some:?}");
    assert_eq!(fs::read(data.join("00000000000000000000.log")).unwrap(), before, "looking changes nothing");

    let ended = log("verify", &folder.path().join("none"), &[]);
    assert!(ended.code == Some(1) && ended.log().contains("none: "), "{}", ended.log());
}

/// One bit of a message that was synced.
fn damage(data: &Path, text: &str) -> u64 {
    let file = data.join("00000000000000000000.log");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(text.len()).position(|part| part == text.as_bytes()).unwrap();
    *bytes.get_mut(at).unwrap() ^= 4;
    fs::write(&file, bytes).unwrap();
    // Blocks begin at multiples of 64; the block's header stands before its first record.
    (at as u64 / 64 - 1) * 64
}

#[test]
fn damage_is_refused_by_its_place_and_can_be_set_aside() {
    let folder = TempFolder::create();
    let data = made(&folder);
    let block = damage(&data, "message-3");
    let place = format!("00000000000000000000.log at byte {block}: the checksum does not match");
    check_refused(&mut queue(&data), &place);
    check_refused(
        &mut queue(&data),
        "with 1 messages (offsets 3 to 3). Nothing was changed. Put back a copy of the file",
    );
    for what in ["verify", "dump"] {
        let ended = log(what, &data, &[]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.log().contains(&place), "{}", ended.log());
    }
    let mut peer = Peer::start(queue(&data).arg("--salvage")).unwrap();
    assert!(peer.node.stderr.first(&format!("Log: set aside: {place}")).is_some());
    for start in 0..2 {
        let ledger = peer.stat();
        ledger.assert_balanced();
        let counts = ["accepted", "ready", "popped", "discarded", "lost_in_log"].map(|name| ledger.count(name));
        assert_eq!(counts, [10, 7, 2, 1, 1], "start {start}");
        assert_eq!(peer.node.stop(Signal::TERM).code, Some(0));
        let verified = log("verify", &data, &[]);
        assert_eq!(verified.code, Some(0), "{}", verified.log());
        assert!(verified.stdout.iter().any(|line| line.starts_with("set aside")), "{:?}", verified.stdout);
        peer = Peer::start(&mut queue(&data)).unwrap();
    }
    let taken: Vec<String> = (0..8).map(|_| peer.say("GET").unwrap()).collect();
    assert_eq!(taken[..7], [2, 4, 5, 6, 7, 8, 9].map(|n| format!("message-{n}")));
    assert_eq!(taken[7], "");
    let aside = fs::read(data.join(format!("damaged-{block:020}.bin"))).unwrap();
    assert!(aside.windows(8).any(|part| part == b"essage-3"), "the bad range is kept");
}

/// Has a worker pass on what is in the queue, until the next one has had so many.
#[track_caller]
fn pass(peer: &Peer, next: &Node, count: u64) {
    let mut command = program("worker");
    command.args(["--function", "passthrough", "--output-type", "queue"]);
    command.args(["--input-address", &peer.address.to_string(), "--output-address", &next.address().to_string()]);
    let worker = Node::start(&mut command);
    wait_until("what is passed on", || Client::to(next.address()).stat().count("accepted") == count);
    wait_until("the finishes", || peer.stat().sum(&["ready", "leased"]) == 0);
    assert_eq!(worker.stop(Signal::TERM).code, Some(0));
}

fn put(peer: &mut Peer, name: &str, count: u64) {
    for n in 0..count {
        assert!(peer.say(&format!("PUT:{name}-{n}")).unwrap().starts_with("PUT "));
    }
}

/// All that the next queue has had, sorted.
fn arrived(next: &Node, count: u64) -> Vec<String> {
    let next = Client::to(next.address());
    let mut texts: Vec<String> = (0..count).map(|_| next.get()).collect();
    texts.sort_unstable();
    texts
}

fn named(name: &str, count: u64) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{name}-{n}"))
}

/// The end of a log is lost, and with it messages that a worker had passed on. Those that get their offsets are others, and
/// the next queue takes them for others.
#[test]
fn new_messages_in_the_place_of_lost_ones_are_not_taken_for_them() {
    let folder = TempFolder::create();
    let data = folder.path().join("data");
    let next = Node::listening(program("mq").args(["--address", "127.0.0.1:0"]));
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    put(&mut peer, "message", 5);
    pass(&peer, &next, 5);
    peer.node.stop(Signal::KILL);
    let file = data.join("00000000000000000000.log");
    let at = fs::read(&file).unwrap().windows(9).position(|part| part == b"message-3").unwrap() as u64;
    fs::File::options().write(true).open(&file).unwrap().set_len((at / 64 - 1) * 64).unwrap();
    check_refused(&mut queue(&data), "the file ends before the log does");
    let mut peer = Peer::start(queue(&data).arg("--salvage")).unwrap();
    assert_eq!(peer.stat().sum(&["accepted", "ready"]), 6, "three are known, and nothing of what became of them");
    put(&mut peer, "other", 4);
    // The four others, and none of the three again.
    pass(&peer, &next, 9);
    assert_eq!(Client::to(next.address()).stat().count("duplicate_ids"), 3);
    assert!(named("message", 5).chain(named("other", 4)).eq(arrived(&next, 9)), "a message is missing or came twice");
}

/// As the operator's book has it: a SEEK to the end begins a new generation.
#[test]
fn an_older_copy_of_a_log_goes_on_after_a_seek_to_the_end() {
    let folder = TempFolder::create();
    let (data, older) = (folder.path().join("data"), folder.path().join("older"));
    let next = Node::listening(program("mq").args(["--address", "127.0.0.1:0"]));
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    put(&mut peer, "message", 3);
    pass(&peer, &next, 3);
    assert_eq!(peer.node.stop(Signal::TERM).code, Some(0));
    copy(&data, &older);
    fs::remove_file(older.join("lock")).unwrap();
    fs::remove_file(older.join("spare.new")).unwrap();
    assert_eq!(log("verify", &older, &[]).code, Some(0));
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    put(&mut peer, "newer", 2);
    pass(&peer, &next, 5);
    peer.node.stop(Signal::KILL);
    let mut peer = Peer::start(&mut queue(&older)).unwrap();
    let address = peer.address.to_string();
    let sought = trials::run("udp-client", [address.as_str(), "SEEK", "--from", "999999999999"]);
    assert_eq!(sought.code, Some(0), "{}", sought.log());
    put(&mut peer, "other", 2);
    pass(&peer, &next, 7);
    let expected = named("message", 3).chain(named("newer", 2)).chain(named("other", 2));
    assert!(expected.eq(arrived(&next, 7)), "a message is missing or came twice");
}
