//! The program on the verbs of the link, as a shell uses it: against a queue of ours, one of 2016, and nobody.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what its checks share, too"
)]
#![expect(clippy::disallowed_methods, reason = "a test plays the world around the program")]

use std::{
    io::Write as _,
    net::{SocketAddr, UdpSocket},
    process::{Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use metrics::{Identity, LogOrder, Reports};
use mq::{Limits, Queue};
use protocol::{
    frame,
    link::{Answer, Ask, Durability, Past, Place},
};
use runtime::{Allow, Clock, Runs, UdpPort, World};
use serde_json::Value;

/// A queue on a thread of this process, at a port of the system's choice. It ends with the process.
fn queue_of(messages_max: u64, speaks_link: bool) -> String {
    let (sender, addresses) = mpsc::channel();
    std::thread::spawn(move || {
        runtime::block_on(async move {
            let port = UdpPort::listen(&"127.0.0.1:0".parse().unwrap(), Runs::Joined, &Allow::default()).await?;
            let metrics = UdpPort::towards(&[], Runs::Apart)?;
            sender.send(port.address()).unwrap();
            let clock = Clock::start();
            let identity = Identity { vuid: "Q".to_owned(), func: "Messagequeue".to_owned(), address: None };
            let reports = Reports::new(identity, LogOrder::TimeFirst, Duration::from_mins(1), None, clock.now());
            let queue = Queue::new(7 << 32, Limits { messages_max, bytes_max: 1 << 30 }, reports);
            let mut queue = if speaks_link { queue } else { queue.speaking_2016() };
            runtime::drive(&mut queue, World::new(vec![port, metrics]).clock(clock)).await
        })
    });
    addresses.recv().unwrap().to_string()
}

fn queue() -> String {
    queue_of(1_000, true)
}

/// What a client of this peer says on stdout, on stderr, and its exit code.
fn run(peer: &str, args: &[&str], stdin: &str) -> (String, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_udp-client"));
    command.arg(peer).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever reads no stdin may have gone.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// A client that succeeds: its stdout.
fn done(peer: &str, args: &[&str], stdin: &str) -> String {
    let (stdout, stderr, code) = run(peer, args, stdin);
    assert_eq!(code, 0, "{args:?}: {stderr}");
    stdout
}

/// A client that fails, and says this.
fn fails(peer: &str, args: &[&str], stdin: &str, code: i32, part: &str) -> String {
    let (stdout, stderr, found) = run(peer, args, stdin);
    assert_eq!(found, code, "{args:?}: {stderr}");
    assert!(stderr.contains(part), "{args:?}: {part} in {stderr}");
    stdout
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}

/// One a line.
fn joined(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join("\n") + "\n"
}

/// Leases messages; the lease.
fn lease(peer: &str, args: &[&str]) -> String {
    let told = lines(&done(peer, &[&["DEQ", "--json"], args].concat(), ""));
    told[0]["lease"].as_str().unwrap().to_owned()
}

fn ledger(peer: &str, name: &str) -> u64 {
    json(&done(peer, &["STAT"], ""))["ledger"][name].as_u64().unwrap()
}

#[test]
fn a_server_says_who_and_how_it_is() {
    let queue = queue();
    let told = done(&queue, &["SIZE:?v2"], "");
    let expected = "{\"size\":0,\"link\":true,\"node\":\"700000000\",\"boot\":7,\"datagram_bytes_max\":65507,\"level\":\
                    \"mem\",\"credit\":1000,\"batch_messages_max\":1000}\n";
    assert_eq!(told, expected);
    done(&queue, &["PUT:a"], "");
    for args in [&["STAT"][..], &["STAT", "--json"], &["--raw", "STAT"]] {
        let told = done(&queue, args, "");
        assert!(
            told.starts_with("{\"node\":\"700000000\",\"boot\":7,\"ledger\":{\"accepted\":1,\"ready\":1,"),
            "{told}"
        );
        assert!(told.ends_with("}}\n"), "{told}");
    }
    let old = queue_of(10, false);
    assert_eq!(done(&old, &["SIZE:?v2"], ""), "{\"link\":false,\"size\":0}\n");
}

#[test]
fn lines_are_put_once() {
    let queue = queue();
    let stored = |args: &[&str], stdin: &str| {
        let told = json(&done(&queue, &[&["ENQ"], args].concat(), stdin));
        ["stored", "skipped", "next"].map(|name| told[name].as_u64().unwrap())
    };
    assert_eq!(stored(&["--producer", "me"], "a\n\nb\r\n"), [3, 0, 3], "an empty line is a message");
    assert_eq!(stored(&["--producer", "me"], "c"), [1, 0, 4]);
    assert_eq!(stored(&["--producer", "me", "--sequence", "0"], "a\n\nb\nc\nd\n"), [1, 4, 5]);
    let part = "the queue has 5 messages of this producer, and the first line is number 7";
    fails(&queue, &["ENQ", "--producer", "me", "--sequence", "7"], "x\n", 1, part);
    assert_eq!(stored(&[], "e\n"), [1, 0, 1], "a producer of no name");
    assert_eq!(stored(&["--producer", "me", "--end"], ""), [0, 0, 5]);
    assert_eq!(json(&done(&queue, &["STAT"], ""))["gauges"]["producers"], 0);
    assert_eq!(stored(&["--producer", "me", "--sequence", "0"], "f\n"), [1, 0, 1], "it was forgotten");
    let told = done(&queue, &["DEQ", "--messages", "100"], "");
    assert_eq!(told, "a\n\nb\nc\nd\ne\nf\n");
    let long = format!("a\n{}\nb\n", "x".repeat(65_194));
    let told = fails(&queue, &["ENQ"], &long, 1, "line 2 is too long");
    assert_eq!(json(&told)["stored"], 1);
}

#[test]
fn many_lines_are_put_in_their_order() {
    let queue = queue_of(100_000, true);
    let text = joined((0..20_000).map(|n: u32| n.to_string()));
    assert_eq!(json(&done(&queue, &["ENQ"], &text))["stored"], 20_000);
    let mut found = String::new();
    while found.len() < text.len() {
        found += &done(&queue, &["DEQ", "--messages", "100k"], "");
    }
    assert!(found == text, "other lines, or another order");
}

#[test]
fn a_full_queue_is_said() {
    let queue = queue_of(2, true);
    let args = ["ENQ", "--producer", "me", "--timeout", "0.3"];
    let part = "is full, and took nothing for 0.3 s; lines that are known to be in the queue: 2. To go on";
    fails(&queue, &args, "a\nb\nc\nd\n", 1, part);
    assert_eq!(done(&queue, &["DEQ", "--messages", "9"], ""), "a\nb\n");
    done(&queue, &["ACK", "7.0.2.1"], "");
    let told = json(&done(&queue, &["ENQ", "--producer", "me", "--sequence", "0"], "a\nb\nc\nd\n"));
    assert_eq!((&told["stored"], &told["skipped"]), (&2.into(), &2.into()));
}

#[test]
fn what_is_leased_can_be_finished_kept_and_given_back() {
    let queue = queue();
    done(&queue, &["ENQ"], "a\nb\nc\n");
    let (stdout, stderr, code) = run(&queue, &["DEQ", "--messages", "2", "--lease", "60"], "");
    assert_eq!((stdout.as_str(), code), ("a\nb\n", 0));
    assert_eq!(stderr, format!("lease 7.0.2.1: udp-client {queue} ACK 7.0.2.1\n"));
    let told = done(&queue, &["DEQ", "--json"], "");
    let expected = r#"{"lease":"7.2.1.1","offset":2,"attempt":1,"origin_us":"#;
    assert!(told.starts_with(expected) && told.ends_with(",\"message\":\"c\"}\n"), "{told}");
    fails(&queue, &["DEQ"], "", 1, "no message came within 0 s");

    let kept = done(&queue, &["TOUCH", "7.0.2.1", "--lease", "90"], "");
    assert_eq!(kept, "{\"lease\":\"7.0.2.1\",\"outcome\":\"kept for 90 s\",\"level\":\"mem\"}\n");
    assert_eq!(
        done(&queue, &["ACK", "7.0.2.1+0-0"], ""),
        "{\"lease\":\"7.0.2.1+0-0\",\"outcome\":\"finished\",\"level\":\"mem\"}\n"
    );
    for _ in 0..2 {
        let told = lines(&done(&queue, &["ACK", "7.0.2.1", "7.2.1.1"], ""));
        assert!(told.iter().all(|told| told["outcome"] == "finished"), "{told:?}");
    }
    let told = fails(&queue, &["ACK", "7.2.1.1", "8.2.1.1"], "", 1, "leases that were not finished: 1");
    assert_eq!(lines(&told)[1]["outcome"], "never given by this server");
    fails(&queue, &["TOUCH", "7.2.1.1"], "", 1, "the lease 7.2.1.1 has ended");
    fails(&queue, &["NAK", "7.2.1.1"], "", 1, "the lease 7.2.1.1 has ended");

    done(&queue, &["ENQ"], "d\ne\n");
    done(&queue, &["NAK", &lease(&queue, &[]), "--quiet"], "");
    let first = lease(&queue, &[]);
    let told = lines(&done(&queue, &["DEQ", "--json", "--ack", &first], ""));
    assert_eq!((told[0]["outcome"].as_str(), told[1]["message"].as_str()), (Some("finished"), Some("e")));
    assert_eq!((ledger(&queue, "done"), ledger(&queue, "leased"), ledger(&queue, "redelivered")), (4, 1, 1));
}

#[test]
fn a_late_finish_is_said() {
    let queue = queue();
    done(&queue, &["PUT:a"], "");
    let late = lease(&queue, &["--lease", "0.01"]);
    let again = lease(&queue, &["--wait", "5"]);
    assert_eq!((late.as_str(), again.as_str()), ("7.0.1.1", "7.0.1.2"));
    assert_eq!(json(&done(&queue, &["ACK", &late], ""))["outcome"], "finished late");
    let told = fails(&queue, &["ACK", &again], "", 1, "leases that were not finished: 1");
    assert_eq!(json(&told)["outcome"], "finished by another attempt, or forgotten");
    assert_eq!((ledger(&queue, "done"), ledger(&queue, "late_finishes"), ledger(&queue, "other_finishes")), (1, 1, 1));
}

#[test]
fn a_message_is_waited_for() {
    let queue = queue();
    let waiting = std::thread::spawn({
        let queue = queue.clone();
        move || done(&queue, &["DEQ", "--wait", "20"], "")
    });
    while json(&done(&queue, &["STAT"], ""))["gauges"]["parked"] != 1 {}
    done(&queue, &["PUT:a"], "");
    assert_eq!(waiting.join().unwrap(), "a\n");
}

#[test]
fn dead_letters_can_be_seen_requeued_and_dropped() {
    let queue = queue();
    done(&queue, &["ENQ"], "a\nb\tc\nd\n");
    for reason in ["no price", "it's odd", ""] {
        done(&queue, &["NAK", &lease(&queue, &[]), "--dead", "--reason", reason], "");
    }
    let listed = "0\t1\t'no price'\t'a'\n1\t1\t\"it's odd\"\t'b\\tc'\n2\t1\t'given back from a shell'\t'd'\n";
    assert_eq!(done(&queue, &["DEAD", "list"], ""), listed);
    let told = done(&queue, &["DEAD", "list", "--json", "--from", "1", "--messages", "1"], "");
    assert_eq!(told, "{\"offset\":1,\"attempts\":1,\"reason\":\"it's odd\",\"message\":\"b\\tc\"}\n");

    let told = fails(&queue, &["DEAD", "drop", "1", "3"], "", 1, "there is no dead letter at offset 3");
    assert_eq!(told, "{\"dropped\":1,\"level\":\"mem\"}\n");
    assert_eq!(done(&queue, &["DEAD", "requeue", "0"], ""), "{\"level\":\"mem\",\"requeued\":1}\n");
    fails(&queue, &["DEAD", "requeue", "0"], "", 1, "there is no dead letter at offset 0");
    assert_eq!(done(&queue, &["DEQ"], ""), "a\n");
    assert_eq!(done(&queue, &["DEAD", "requeue", "--all"], ""), "{\"level\":\"mem\",\"requeued\":1}\n");
    assert_eq!(done(&queue, &["DEAD", "list"], ""), "");
    assert_eq!((ledger(&queue, "dead"), ledger(&queue, "discarded"), ledger(&queue, "requeued")), (0, 1, 2));
}

/// A list that fills many datagrams, with letters that one alone fills.
#[test]
fn a_long_list_comes_in_parts() {
    let queue = queue();
    let text = joined((0..300).map(|n| format!("{n} {}", "x".repeat(900))));
    done(&queue, &["ENQ"], &text);
    for _ in 0..5 {
        done(&queue, &["NAK", &lease(&queue, &["--messages", "60"]), "--dead"], "");
    }
    let told = lines(&done(&queue, &["DEAD", "list", "--json"], ""));
    let messages = joined(told.iter().map(|told| told["message"].as_str().unwrap().to_owned()));
    assert!(messages == text, "{} letters", told.len());
    assert_eq!(done(&queue, &["DEAD", "list", "--messages", "70"], "").lines().count(), 70);
    assert_eq!(done(&queue, &["DEAD", "drop", "--all"], ""), "{\"dropped\":300,\"level\":\"mem\"}\n");
}

#[test]
fn producers_are_opened_fenced_and_ended() {
    let queue = queue();
    done(&queue, &["ENQ", "--producer", "me"], "a\nb\n");
    let first = json(&done(&queue, &["OPEN", "--producer", "me"], ""));
    let second = json(&done(&queue, &["OPEN", "--producer", "me"], ""));
    assert_eq!((&first["sequence"], &second["sequence"], &second["credit"]), (&2.into(), &2.into(), &998.into()));
    assert!(first["epoch"].as_u64() < second["epoch"].as_u64());
    assert_eq!(done(&queue, &["END", "--producer", "me"], ""), "{\"ended\":true,\"level\":\"mem\",\"messages\":2}\n");
    assert_eq!(json(&done(&queue, &["OPEN", "--producer", "me"], ""))["sequence"], 0);
    let id = "0123456789abcdef0123456789ABCDEF";
    assert_eq!(json(&done(&queue, &["ENQ", "--producer", id], "a\n"))["producer"], id.to_lowercase());
}

#[test]
fn a_queue_of_2016_is_told_apart() {
    let old = queue_of(10, false);
    for (args, name) in [(&["STAT"][..], "STAT"), (&["DEQ"], "DEQ"), (&["DEAD", "list"], "DEAD")] {
        fails(&old, args, "", 1, &format!("speaks the verbs of 2016 only, and {name} is none of them"));
    }
    fails(&old, &["ENQ"], "a\n", 1, "the peer speaks the verbs of 2016 only");
    assert_eq!(done(&old, &["--raw", "SIZE"], ""), "0\n");
}

#[test]
fn where_nobody_answers_it_ends() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    fails(&address, &["STAT", "--timeout", "0.3"], "", 1, "no answer to STAT within 0.3 s");
    fails(&address, &["ENQ", "--timeout=0.3"], "a\n", 1, "no answer within 0.3 s");
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    nobody.connect("127.0.0.1:9").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    for args in [&["STAT"][..], &["ENQ"]] {
        fails(&address, args, "a\n", 1, &format!("nobody listens at {address}: start a queue there"));
    }
}

/// A peer that answers the second sending only, garbage and a stranger's token before that.
#[test]
fn a_request_is_sent_again_until_it_is_answered() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let peer = std::thread::spawn(move || {
        let (first, from) = receive(&socket);
        let token = Ask::parse(&first).unwrap().0;
        let answer = |token| {
            let mut datagram = Vec::new();
            Answer::Done { finished: b"", count: 0, level: Durability::Memory, body: b"{}" }.push(token, &mut datagram);
            datagram
        };
        let mut garbled = answer(token);
        *garbled.last_mut().unwrap() ^= 1;
        for datagram in [&garbled[..], &answer(token + 1), b"x"] {
            socket.send_to(datagram, from).unwrap();
        }
        let (second, from) = receive(&socket);
        assert_eq!(first, second);
        socket.send_to(&answer(token), from).unwrap();
        socket // which goes on to be there
    });
    assert_eq!(done(&address, &["STAT"], ""), "{}\n");
    drop(peer.join().unwrap());
}

/// A queue that answers each request, which comes from a client of its own or the same, with the next of these.
fn queue_with_a_past(script: Vec<(Ask<'static>, Answer<'static>)>) -> (String, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let play = std::thread::spawn(move || {
        for (expected, answer) in script {
            let (request, from) = receive(&socket);
            let (token, ask) = Ask::parse(&request).unwrap();
            assert_eq!(ask, expected);
            let mut datagram = Vec::new();
            answer.push(token, &mut datagram);
            socket.send_to(&datagram, from).unwrap();
        }
    });
    (address, play)
}

fn read(from: Place, messages_max: u64) -> Ask<'static> {
    Ask::Read { from, messages_max, bytes_max: 61_440 }
}

fn past(first: u64, count: u64, next: u64, frames: &'static [u8]) -> Answer<'static> {
    Answer::Past(Past { first, count, next, end: 9, origin_us: 1, at_us: 2, frames })
}

#[test]
fn the_past_is_read_from_answer_to_answer_up_to_its_end() {
    let all = u64::MAX;
    let (queue, play) = queue_with_a_past(vec![
        // Nobody says from where, so it begins where the queue does.
        (read(Place::Offset(0), all), Answer::Gone { oldest: 3, end: 9 }),
        (read(Place::Offset(3), all), past(3, 2, 5, b"11a12bb")),
        // 5 is too long for an answer, 6 is damaged.
        (read(Place::Offset(5), all - 2), past(5, 0, 6, b"")),
        (read(Place::Offset(6), all - 2), past(7, 1, 8, b"10")),
        (read(Place::Offset(8), all - 3), past(8, 1, 9, b"11\xff")),
        (read(Place::Offset(9), 7), past(9, 0, 9, b"")),
        (read(Place::Offset(3), 1), past(3, 1, 4, b"11a")),
        (read(Place::Time(1_500_000), all), past(8, 1, 9, b"11\xff")),
        (read(Place::Offset(2), all), Answer::Gone { oldest: 3, end: 9 }),
        (read(Place::Time(0), all), Answer::Gone { oldest: 3, end: 9 }),
    ]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_udp-client"));
    let output = command.args([&queue, "READ"]).output().unwrap();
    assert_eq!(output.stdout, b"a\nbb\n\n\xff\n");
    let notes = String::from_utf8(output.stderr).unwrap();
    let missing = |from, to| {
        format!(
            "offsets {from} to {to} are not to be had: damaged and set aside, or too long\
                                      \x20for an answer\n"
        )
    };
    let next = format!("next offset 9: udp-client {queue} READ --from 9\n");
    assert_eq!(notes, missing(5, 5) + &missing(6, 6) + &next);
    assert_eq!(run(&queue, &["READ", "--from", "9", "--messages", "7"], ""), (String::new(), next, 0));
    assert_eq!(done(&queue, &["READ", "--from", "3", "--messages", "1"], ""), "a\n");
    let told = done(&queue, &["READ", "--since", "1970-01-01T00:00:01.5Z", "--json"], "");
    assert_eq!(told, "{\"offset\":8,\"origin_us\":1,\"at_us\":2,\"message_base64\":\"/w==\"}\n");
    for args in [["--from", "2"], ["--since", "36500d"]] {
        let part = "the oldest message that 127.0.0.1:";
        fails(&queue, &["READ", args[0], args[1]], "", 1, part);
    }
    play.join().unwrap();
}

#[test]
fn a_queue_is_rewound() {
    let done_again = Answer::Done { finished: b"", count: 5, level: Durability::Disk, body: b"" };
    let (queue, play) = queue_with_a_past(vec![
        (Ask::Seek { to: Place::Offset(4) }, done_again),
        (Ask::Seek { to: Place::Time(0) }, done_again),
        (Ask::Seek { to: Place::Offset(2) }, Answer::Gone { oldest: 3, end: 9 }),
    ]);
    let told = "{\"level\":\"disk\",\"replayed\":5}\n";
    assert_eq!(done(&queue, &["SEEK", "--from", "4"], ""), told);
    assert_eq!(done(&queue, &["SEEK", "--since", "1970-01-01T00:00:00Z"], ""), told);
    fails(&queue, &["SEEK", "--from", "2"], "", 1, "has offset 3 (SEEK --from 3)");
    play.join().unwrap();
}

#[test]
fn a_queue_in_memory_has_no_past() {
    let queue = queue();
    done(&queue, &["PUT:a"], "");
    for args in [&["READ"][..], &["READ", "--from", "0"], &["READ", "--since", "1h"], &["SEEK", "--from", "0"]] {
        fails(&queue, args, "", 1, "keeps nothing of the past: a queue in memory forgets what is done");
    }
    assert_eq!(ledger(&queue, "ready"), 1);
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut datagram = vec![0; 65_536];
    let (len, from) = socket.recv_from(&mut datagram).unwrap();
    (frame::only(&datagram[..len]).unwrap().to_vec(), from)
}

#[test]
fn command_lines_that_cannot_be() {
    for (args, part) in [
        (&["ACK"][..], "LEASE"),
        (&["ACK", "1.2.3"], "a lease is four numbers"),
        (&["ACK", "1.0.1.1,1.1.1.1"], "a lease is four numbers"),
        (&["NAK", "1.0.1.1+0-0"], "a lease is four numbers"),
        (&["NAK", "1.0.1.1", "--dead", "--quiet"], "cannot be used with"),
        (&["TOUCH", "1.0.1.1", "--lease", "3601"], "the longest is an hour"),
        (&["DEQ", "--lease", "2h"], "number of seconds"),
        (&["DEAD"], "list"),
        (&["DEAD", "drop"], "--all"),
        (&["DEAD", "drop", "1", "--all"], "cannot be used with"),
        (&["OPEN"], "--producer"),
        (&["ENQ", "--producer", ""], "needs a name"),
        (&["ENQ", "--sequence", "1"], "--producer"),
        (&["READ", "--from", "1", "--since", "1h"], "cannot be used with"),
        (&["READ", "--since", "yesterday"], "give an age, such as 10m"),
        (&["SEEK"], "--from"),
    ] {
        fails("127.0.0.1:1", args, "", 2, part);
    }
}

#[test]
fn help_teaches_each_verb() {
    let help = done("127.0.0.1:1", &["--help"], "");
    for part in ["STAT", "SIZE:?v2", "OPEN", "ENQ", "END", "DEQ", "ACK", "NAK", "TOUCH", "DEAD", "READ", "SEEK"] {
        assert!(help.contains(&format!("\n  {part} ")), "{part} in {help}");
    }
    for (args, part) in [
        (&["DEQ", "--help"][..], "Examples:"),
        (&["ENQ", "--help"], "--sequence 0 < lines"),
        (&["NAK", "--help"], "--dead --reason 'no price'"),
        (&["DEAD", "requeue", "--help"], "--all"),
        (&["READ", "--help"], "--since 10m --json"),
        (&["SEEK", "--help"], "SEEK --from 4711"),
    ] {
        let help = done("127.0.0.1:1", args, "");
        assert!(help.contains(part), "{part} in {help}");
    }
}
