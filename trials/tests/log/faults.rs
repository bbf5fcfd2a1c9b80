//! A disk that fails, and one that has no room: said by `strace` in the system's place, and a real one that is full.

use std::{fs, path::Path, process::Command};

use protocol::link::{Answer, Ask, Deq, Finishes, Lease};
use rustix::process::Signal;
use trials::{Node, TempFolder, wait_until};

use crate::{
    peer::Peer,
    points::{assert_strace_works, attach},
    queue,
};

/// Every call of this name that these numbers name fails so, from now on.
fn failing(peer: &Peer, call: &str, error: &str, when: &str) -> Node {
    let inject = format!("inject={call}:error={error}:when={when}");
    attach(peer, &["-e".into(), format!("trace={call}"), "-e".into(), inject, "-o".into(), "/dev/null".into()])
}

/// Lets the process go.
fn detach(tracer: Node) {
    tracer.stop(Signal::TERM);
}

fn message(n: u64) -> String {
    format!("{n:-<1500}")
}

/// Puts messages until one is refused for want of room; how many were taken.
#[track_caller]
fn put_until_full(peer: &mut Peer) -> u64 {
    for n in 0..10_000 {
        match peer.say(&format!("PUT:{}", message(n))).unwrap().as_str() {
            "PUT 1500 bytes" => {}
            "FULL" => return n,
            other => panic!("{other}"),
        }
    }
    panic!("10,000 messages found room")
}

#[track_caller]
fn lease(peer: &mut Peer, delivery: u64) -> Lease {
    let deq = Deq {
        session: 1,
        delivery,
        deliveries: 1,
        open_from: delivery,
        messages_max: 3,
        bytes_max: 60_000,
        wait_ms: 1_000,
        lease_ms: 60_000,
        finished: b"",
    };
    let leased = peer.ask(&Ask::Deq(deq), |answer| match answer {
        Answer::Msg(msg) => msg.lease,
        other => panic!("{other:?}"),
    });
    leased.unwrap()
}

#[track_caller]
fn finish(peer: &mut Peer, lease: Lease) {
    let mut list = Finishes::default();
    list.push(lease);
    let done = peer.ask(&Ask::Ack { finished: list.as_bytes() }, |answer| match answer {
        Answer::Done { finished, .. } => finished.to_vec(),
        other => panic!("{other:?}"),
    });
    assert_eq!(done.unwrap(), b"d");
}

/// What a full queue still does: refuses what is new, and goes on with what it has.
#[track_caller]
fn goes_on_without_room(peer: &mut Peer) -> u64 {
    let taken = put_until_full(peer);
    assert!(taken > 20, "{taken}");
    for delivery in 1..=5 {
        let leased = lease(peer, delivery);
        finish(peer, leased);
    }
    assert_eq!(peer.say("GET").unwrap(), message(15));
    let ledger = peer.stat();
    ledger.assert_balanced();
    let counts = ["accepted", "refused_disk_full", "done", "popped"].map(|name| ledger.count(name));
    assert_eq!(counts, [taken, 1, 15, 1]);
    taken
}

/// There is room again: nobody needs to do anything.
#[track_caller]
fn goes_on_with_room(mut peer: Peer, data: &Path, taken: u64) {
    wait_until("room", || peer.say("PUT:again").unwrap() == "PUT 5 bytes");
    for n in 0..100 {
        assert_eq!(peer.say(&format!("PUT:{}", message(n))).unwrap(), "PUT 1500 bytes");
    }
    let before = peer.stat();
    assert_eq!(before.count("accepted"), taken + 101);
    peer.node.stop(Signal::KILL);
    let mut peer = Peer::start(&mut queue(data)).unwrap();
    let after = peer.stat();
    after.assert_balanced();
    let counts = ["accepted", "ready", "done", "popped"].map(|name| after.count(name));
    assert_eq!(counts, [taken + 101, taken + 101 - 16, 15, 1]);
    wait_until("a message", || peer.say("GET").unwrap() == message(16));
}

#[test]
fn a_sync_that_fails_ends_the_queue_and_nothing_is_answered_after_it() {
    assert_strace_works();
    let folder = TempFolder::create();
    let data = folder.path().join("data");
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    let _tracer = failing(&peer, "fdatasync", "EIO", "5");
    for n in 0..4 {
        assert_eq!(peer.say(&format!("PUT:{n}")).unwrap(), "PUT 1 bytes");
    }
    let (answer, took) = trials::timed(|| peer.say("PUT:lost"));
    assert_eq!(answer, None);
    assert!(took.as_secs_f64() < 1.0, "{took:?}");
    let ended = peer.end();
    assert_eq!(ended.code, Some(74), "{}", ended.log());
    for said in
        ["error: the disk fails, what was not answered may be lost: cannot sync", ".log: ", "Input/output error"]
    {
        assert!(ended.log().contains(said), "{said}: {}", ended.log());
    }
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    for n in 0..4 {
        assert_eq!(peer.say("GET").unwrap(), n.to_string());
    }
    peer.stat().assert_balanced();
}

#[test]
fn a_write_that_fails_ends_the_queue() {
    assert_strace_works();
    let folder = TempFolder::create();
    let data = folder.path().join("data");
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    let _tracer = failing(&peer, "pwritev", "EIO", "2");
    assert_eq!(peer.say("PUT:a").unwrap(), "PUT 1 bytes");
    assert_eq!(peer.say("PUT:b"), None);
    assert_eq!(peer.end().code, Some(74));
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    assert_eq!(["a", ""], ["GET"; 2].map(|get| peer.say(get).unwrap()).each_ref().map(String::as_str));
}

#[test]
fn a_write_without_room_is_tried_again_and_answered_then() {
    assert_strace_works();
    let folder = TempFolder::create();
    let mut peer = Peer::start(&mut queue(&folder.path().join("data"))).unwrap();
    let _tracer = failing(&peer, "pwritev", "ENOSPC", "2..4");
    for text in ["PUT:a", "PUT:b", "PUT:c"] {
        assert_eq!(peer.say(text).unwrap(), "PUT 1 bytes");
    }
    peer.node.stderr.wait_for("The disk is full: nothing is answered until there is room");
    assert_eq!(["a", "b", "c"].map(str::to_owned), ["GET"; 3].map(|get| peer.say(get).unwrap()));
}

#[test]
fn without_room_for_the_next_segment_leases_and_finishes_go_on() {
    assert_strace_works();
    let folder = TempFolder::create();
    let data = folder.path().join("data");
    let mut peer = Peer::start(&mut queue(&data)).unwrap();
    let tracer = failing(&peer, "fallocate", "ENOSPC", "1+");
    let taken = goes_on_without_room(&mut peer);
    detach(tracer);
    goes_on_with_room(peer, &data, taken);
}

/// In a namespace of its own there is a small disk, and in it something that takes most of it.
#[test]
fn a_full_disk_refuses_what_is_new_and_goes_on_when_there_is_room() {
    let may =
        |flags: &str| Command::new("unshare").args([flags, "true"]).output().is_ok_and(|out| out.status.success());
    let Some(flags) = ["-m", "-rm"].into_iter().find(|flags| may(flags)) else {
        return left_out("no disk of its own may be mounted here: unshare -m fails");
    };
    let folder = TempFolder::create();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let data = disk.join("data");
    let queue = queue(&data);
    let mount =
        "mount -t tmpfs -o size=8m none \"$1\" && head -c 7800000 /dev/zero >\"$1/ballast\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args([flags, "bash", "-c", mount, "mount"]).arg(&disk).arg(queue.get_program()).args(queue.get_args());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut peer = Peer::start(&mut command).unwrap();
    let taken = goes_on_without_room(&mut peer);
    // What lies in the other namespace is seen through its process.
    let inside = |path: &Path| {
        Path::new("/proc").join(peer.node.id().to_string()).join("root").join(path.strip_prefix("/").unwrap())
    };
    fs::remove_file(inside(&disk.join("ballast"))).unwrap();
    wait_until("room", || peer.say("PUT:again").unwrap() == "PUT 5 bytes");
    let ledger = peer.stat();
    ledger.assert_balanced();
    assert_eq!(ledger.count("accepted"), taken + 1);
    assert_eq!(peer.say("GET").unwrap(), message(16));
    assert_eq!(peer.node.stop(Signal::TERM).code, Some(0));
}

#[expect(clippy::print_stderr, reason = "what was not tried is to be seen")]
fn left_out(why: &str) {
    eprintln!("LEFT OUT: {why}");
}
