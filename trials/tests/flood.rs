//! A flood of random datagrams at every socket where anybody is heard: the node lives, its memory is bounded, and it has
//! counted every single one, or the kernel has.
//!
//! A hundred thousand datagrams a node; `WEIR_FLOOD=1000000 cargo test --release -p trials --test flood` makes it a
//! million.
#![expect(clippy::unwrap_used, reason = "a trial fails by panicking")]

use std::{
    net::{SocketAddr, UdpSocket},
    process::Stdio,
};

use protocol::verb::Request;
use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::SmallRng};
use rustix::process::Signal;
use trials::{Client, Node, ReportSocket, memory_peak_bytes, program, udp_sockets, wait_until};

const SOCKETS: usize = 50;
const LENGTH_MAX: usize = 1_500;
const MEMORY_MAX_BYTES: u64 = 64 << 20;

fn datagrams() -> u64 {
    std::env::var_os("WEIR_FLOOD").map_or(100_000, |count| count.to_str().unwrap().parse().unwrap())
}

/// Sends random datagrams to these ports in turn, from fifty sockets in turn. Chance may write a valid frame: how many
/// are requests for a queue is the answer.
fn flood(ports: &[u16], seed: u64) -> u64 {
    let mut chance = SmallRng::seed_from_u64(seed);
    let mut noise = vec![0; 1 << 20];
    chance.fill_bytes(&mut noise);
    #[expect(clippy::disallowed_methods, reason = "the trial is fifty strangers")]
    let sockets: Vec<UdpSocket> = (0..SOCKETS).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let targets: Vec<SocketAddr> = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
    let mut requests = 0;
    for (_, (socket, target)) in (0..datagrams()).zip(sockets.iter().cycle().zip(targets.iter().cycle())) {
        let start = chance.random_range(0..noise.len() - LENGTH_MAX);
        let datagram = noise.get(start..start + chance.random_range(0..=LENGTH_MAX)).unwrap();
        requests += u64::from(Request::parse(datagram).is_ok());
        socket.send_to(datagram, target).unwrap();
    }
    requests
}

/// Waits until the node has read all that waits for it, and gives how many datagrams the kernel dropped instead.
fn settle(node: &mut Node) -> u64 {
    wait_until("empty sockets", || udp_sockets(node.id()).iter().all(|socket| socket.waiting_bytes == 0));
    assert!(node.is_running());
    let peak = memory_peak_bytes(node.id());
    assert!(peak < MEMORY_MAX_BYTES, "{peak} bytes of memory");
    udp_sockets(node.id()).iter().map(|socket| socket.drops).sum()
}

/// The ports of a node's sockets at which it hears anybody.
fn open_ports(node: &Node) -> Vec<u16> {
    let sockets = udp_sockets(node.id());
    let ports: Vec<u16> = sockets.iter().filter(|socket| socket.peer_port == 0).map(|socket| socket.port).collect();
    assert!(!ports.is_empty(), "{sockets:?}");
    ports
}

#[test]
fn a_queue_counts_what_it_cannot_read() {
    let reports = ReportSocket::open();
    let mut command = program("mq");
    let mut mq = Node::listening(command.args(["--address", "127.0.0.1:0"]).args(reports.flags("QUEUE", "60")));
    let requests = flood(&[mq.address().port()], 1);
    let dropped = settle(&mut mq);
    let client = Client::to(mq.address());
    client.put("still here");
    assert_eq!(client.get(), "still here");
    assert_eq!(mq.stop(Signal::TERM).code, Some(0));
    let queue = reports.ledger("QUEUE");
    assert_eq!((queue.count("kernel_drops"), requests), (dropped, 0));
    assert_eq!(queue.sum(&["malformed", "unknown_verb", "kernel_drops"]), datagrams());
    assert_eq!((queue.count("accepted"), queue.count("popped"), queue.count("ready")), (1, 1, 0));
}

#[test]
fn a_sink_counts_what_it_cannot_read() {
    let reports = ReportSocket::open();
    let mut command = program("sink");
    let mut sink = Node::listening(command.args(["--address", "127.0.0.1:0"]).args(reports.flags("SINK", "60")));
    flood(&[sink.address().port()], 2);
    let dropped = settle(&mut sink);
    Client::to(sink.address()).send(br#"{"msg": "still here", "feed_time": 1458195068.3}"#);
    sink.stdout.wait_for("still here");
    let ended = sink.stop(Signal::TERM);
    assert_eq!((ended.code, ended.stdout), (Some(0), vec!["still here".to_owned()]));
    let sink = reports.ledger("SINK");
    assert_eq!(sink.count("kernel_drops"), dropped);
    assert_eq!(sink.sum(&["not_utf8", "not_json", "not_an_object", "no_msg", "kernel_drops"]), datagrams());
    assert_eq!((sink.count("printed"), sink.count("received")), (1, datagrams() - dropped + 1));
}

#[test]
fn a_receiver_counts_what_it_cannot_read() {
    let mut command = program("metrics-receiver");
    command.args(["--address", "127.0.0.1:0", "--uri", "", "--console-log"]);
    let mut receiver = Node::listening(command.stdout(Stdio::null()));
    flood(&[receiver.address().port()], 3);
    let dropped = settle(&mut receiver);
    let ended = receiver.stop(Signal::TERM);
    assert_eq!(ended.code, Some(0));
    let counted = ended.stderr.iter().find_map(|line| line.split_once("Datagrams: ")).unwrap().1;
    let (datagrams_in, _) = counted.split_once(';').unwrap();
    let counts: Vec<u64> =
        datagrams_in.split(", ").map(|part| part.split(' ').next().unwrap().parse().unwrap()).collect();
    let [0, 0, bad @ .., by_kernel] = counts.as_slice() else { panic!("{counted}") };
    assert_eq!((*by_kernel, bad.iter().sum::<u64>() + dropped), (dropped, datagrams()), "{counted}");
}

/// A worker listens nowhere, but strangers can find the sockets from which it asks, sends and reports.
#[test]
fn a_worker_counts_strangers() {
    let reports = ReportSocket::open();
    let mq = Node::listening(program("mq").args(["--address", "127.0.0.1:0"]));
    let queue = mq.address().to_string();
    let mut command = program("worker");
    command.args(["--input-address", &queue, "--output-address", &queue, "--output-type", "queue"]);
    let mut worker = Node::start(command.args(["--function", "pong"]).args(reports.flags("WORKER", "0.1")));
    reports.wait_for("WORKER", 1);
    // The queue's answers are not strangers' datagrams, and the kernel would drop some of them, too.
    mq.signal(Signal::STOP);
    flood(&open_ports(&worker), 4);
    let dropped = settle(&mut worker);
    mq.signal(Signal::CONT);
    let client = Client::to(mq.address());
    client.put("ping");
    wait_until("a round", || reports.ledger("WORKER").count("processed") > 0);
    assert_eq!(worker.stop(Signal::TERM).code, Some(0));
    let worker = reports.ledger("WORKER");
    assert_eq!(worker.sum(&["malformed", "stray"]) + dropped, datagrams());
}

/// A feeder hears its queue alone; the socket from which it reports is open to anybody.
#[test]
fn a_feeder_goes_on() {
    let reports = ReportSocket::open();
    let mut mq = Node::listening(program("mq").args(["--address", "127.0.0.1:0"]));
    let mut command = program("feeder");
    command.args(["--address", &mq.address().to_string(), "--path", "-", "--format", "lines", "--quiet"]);
    let mut feeder = Node::start(command.args(reports.flags("FEEDER", "0.1")).stdin(Stdio::piped()));
    let mut stdin = feeder.stdin().unwrap();
    reports.wait_for("FEEDER", 1);
    flood(&udp_sockets(feeder.id()).iter().map(|socket| socket.port).collect::<Vec<_>>(), 5);
    settle(&mut feeder);
    std::io::Write::write_all(&mut stdin, b"still here\n").unwrap();
    drop(stdin);
    assert_eq!(feeder.wait().code, Some(0));
    assert_eq!(Client::to(mq.address()).get(), "still here");
    let feeder = reports.ledger("FEEDER");
    assert_eq!((feeder.count("confirmed"), feeder.count("malformed")), (1, 0));
    assert!(mq.is_running());
}
