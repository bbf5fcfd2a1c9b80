//! A client and a queue with a network between them that loses, doubles, garbles and delays: the client tells nothing
//! that was not answered, and always comes to its end.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in what its checks share, too"
)]

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use machine::{Machine, Now, Outlet, Port, STDOUT, Transmit};
use metrics::{Identity, LogOrder, Reports};
use mq::{CLIENTS, Limits, METRICS, Queue};
use protocol::frame;
use simnet::{Net, NodeId, State, Weather};
use udp_client::{Asker, Client, Counts, End, Enqueuer, Feed, Letters, QUEUE, Style, Verb, Want};

const TIMEOUT: Duration = Duration::from_millis(500);

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 10_000))
}

/// A client, and all the datagrams that reached it.
struct Tapped {
    client: Client,
    arrived: Vec<Vec<u8>>,
}

impl Machine for Tapped {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        self.arrived.push(datagram.to_vec());
        self.client.handle_datagram(now, port, from, datagram);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.client.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.client.poll_timeout()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        self.client.poll_transmit(now, bytes)
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        self.client.poll_output(bytes)
    }

    fn wants_input(&self) -> bool {
        self.client.wants_input()
    }

    fn handle_input(&mut self, now: Now, line: Option<&[u8]>) {
        self.client.handle_input(now, line);
    }

    fn handle_refused(&mut self, now: Now, port: Port) {
        self.client.handle_refused(now, port);
    }

    fn is_done(&self) -> bool {
        self.client.is_done()
    }
}

fn add_queue(net: &mut Net) -> NodeId {
    add_queue_of(net, 3)
}

fn add_queue_of(net: &mut Net, messages_max: u64) -> NodeId {
    let identity = Identity { vuid: "QUEUE".to_owned(), func: "Messagequeue".to_owned(), address: None };
    let start = Now { since_start: Duration::ZERO, since_epoch: Duration::from_hours(1) };
    let reports = Reports::new(identity, LogOrder::TimeFirst, Duration::from_mins(1), None, start);
    let limits = Limits { messages_max, bytes_max: 1 << 20 };
    net.add(Queue::new(1, limits, reports), &[(CLIENTS, address(1)), (METRICS, address(2))])
}

fn add_client(net: &mut Net, host: u8, requests: &[String]) -> NodeId {
    let client = Client::new(address(1), TIMEOUT, Style::Json);
    let id = net.add(Tapped { client, arrived: Vec::new() }, &[(QUEUE, address(host))]);
    net.feed(id, requests.iter().map(|request| request.clone().into_bytes()).collect::<Vec<_>>());
    id
}

fn requests(seed: u64) -> Vec<String> {
    let verb = |n: u64| match (seed + n) % 5 {
        0 | 3 => format!("PUT:{seed} {}", "x".repeat(usize::try_from(n % 7).unwrap_or(0))),
        1 | 4 => "GET".to_owned(),
        _ => if n.is_multiple_of(4) { "NOSUCH" } else { "SIZE" }.to_owned(),
    };
    (0..30).map(verb).collect()
}

/// It comes to its end: a timeout for each request, and a little for the lines.
fn wait_for_end(net: &mut Net, client: NodeId, requests: usize) {
    let longest = TIMEOUT * u32::try_from(requests).unwrap() + Duration::from_secs(1);
    assert!(net.run_while(longest, |net| net.state(client) == State::Up));
}

/// One object a request, in order; what each says was received.
fn told(net: &Net, client: NodeId, requests: &[String]) -> Vec<serde_json::Value> {
    let written = std::str::from_utf8(net.written(client, STDOUT)).unwrap();
    let told: Vec<serde_json::Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.iter().map(|told| told["sent"].as_str().unwrap()).collect::<Vec<_>>(), requests);
    told
}

fn received(told: &serde_json::Value) -> Option<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let text = told["received"].as_str().map(|text| text.as_bytes().to_vec());
    text.or_else(|| Some(STANDARD.decode(told["received_base64"].as_str()?).unwrap()))
}

fn check_storm(net: &mut Net, seed: u64) -> Counts {
    let requests = requests(seed);
    let client = add_client(net, 3, &requests);
    wait_for_end(net, client, requests.len());

    let told = told(net, client, &requests);
    let Tapped { client, arrived } = net.node(client);
    let counts = client.counts();
    assert_eq!(arrived.len() as u64, counts.answered + counts.malformed + counts.late, "{counts:?}");
    assert_eq!(told.iter().filter(|told| told["error"].is_null()).count() as u64, counts.answered);
    // Each answer that is told arrived before the next one, and none is told twice.
    let mut arrived: VecDeque<&[u8]> = arrived.iter().filter_map(|datagram| frame::only(datagram).ok()).collect();
    for received in told.iter().filter_map(received) {
        while arrived.pop_front().expect("an answer is told that did not arrive") != received {}
    }
    counts
}

/// In calm weather each request has the answer that its verb asks for.
fn check_calm(net: &mut Net, queue: NodeId) {
    net.clear_up();
    net.run_until(net.now() + Duration::from_secs(3));
    let left = net.node::<Queue>(queue).len();
    let mut requests = vec!["GET".to_owned(); left];
    requests.extend(["PUT:a", "PUT:bb", "SIZE", "GET", "GET", "GET"].map(str::to_owned));
    let client = add_client(net, 4, &requests);
    wait_for_end(net, client, requests.len());
    let told = told(net, client, &requests);
    let answers: Vec<Vec<u8>> = told[left..].iter().filter_map(received).collect();
    assert_eq!(answers, [&b"PUT 1 bytes"[..], b"PUT 2 bytes", b"2", b"a", b"bb", b""]);
    assert!(net.node::<Tapped>(client).client.counts().is_success());
}

#[test]
fn nothing_is_told_that_was_not_answered_and_it_ends() {
    let (mut timed_out, mut malformed, mut late, mut full) = (0, 0, 0, 0);
    for seed in 0..200 {
        let mut net = Net::new(seed);
        net.set_weather(Weather::drawn(seed, &Weather::storm()));
        let queue = add_queue(&mut net);
        let counts = check_storm(&mut net, seed);
        timed_out += counts.timed_out;
        malformed += counts.malformed;
        late += counts.late;
        full += counts.full;
        check_calm(&mut net, queue);
    }
    let seen = [timed_out, malformed, late, full];
    assert!(seen.iter().all(|count| *count > 10), "the storms were not bad enough: {seen:?}");
}

#[test]
fn a_client_of_nobody_is_refused_and_ends() {
    let mut net = Net::new(1);
    let requests = ["PUT:a".to_owned(), "GET".to_owned()];
    let client = add_client(&mut net, 3, &requests);
    wait_for_end(&mut net, client, 1);
    let written = String::from_utf8_lossy(net.written(client, STDOUT)).into_owned();
    assert_eq!(written, "{\"sent\":\"PUT:a\",\"error\":\"refused\"}\n");
}

/// Asks one thing on the link, with patience; what is told.
fn ask(net: &mut Net, host: u8, verb: Verb) -> String {
    let asker = Asker::new(address(1), verb, Duration::from_mins(5), true, 77 << 32 | u64::from(host));
    let id = net.add(asker, &[(QUEUE, address(host))]);
    assert!(net.run_while(Duration::from_mins(10), |net| net.state(id) == State::Up));
    assert_eq!(net.node::<Asker>(id).end(), Some(&End::Done));
    String::from_utf8(net.written(id, STDOUT).to_vec()).unwrap()
}

/// On the link each request is done once, however often it is sent.
#[test]
fn on_the_link_all_is_done_once() {
    const LINES: u64 = 40;
    for seed in 0..100 {
        let mut net = Net::new(seed);
        net.set_weather(Weather::drawn(seed, &Weather::storm()));
        let queue = add_queue_of(&mut net, 1_000);
        let feed = Feed { producer: 7, sequence: Some(0), ends: true, datagram_bytes_max: 300 };
        let enqueuer = Enqueuer::new(address(1), feed, Duration::from_mins(5), seed);
        let id = net.add(enqueuer, &[(QUEUE, address(3))]);
        net.feed(id, (0..LINES).map(|n| n.to_string().into_bytes()).collect::<Vec<_>>());
        assert!(net.run_while(Duration::from_mins(10), |net| net.state(id) == State::Up));
        assert_eq!(net.node::<Enqueuer>(id).end(), Some(&End::Done), "seed {seed}");

        let lease_time = Duration::from_hours(1);
        let want = |messages| Want { messages, bytes: 60_000, wait: Duration::ZERO, lease_time, finished: Vec::new() };
        let taken = ask(&mut net, 4, Verb::Deq(want(LINES)));
        let taken: Vec<serde_json::Value> = taken.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let messages: Vec<&str> = taken.iter().map(|told| told["message"].as_str().unwrap()).collect();
        assert_eq!(messages, (0..LINES).map(|n| n.to_string()).collect::<Vec<_>>(), "seed {seed}");

        let lease = taken[0]["lease"].as_str().unwrap();
        ask(&mut net, 5, Verb::Ack { leases: vec![format!("{lease}+0-29")] });
        let (how, lease) = (protocol::link::GiveBack::Dead, lease.parse().unwrap());
        ask(&mut net, 6, Verb::Nak { lease, how, delay: Duration::ZERO, reason: "storm".to_owned() });
        let listed = ask(&mut net, 7, Verb::ListDead { from: 0, max: u64::MAX });
        assert_eq!(listed.lines().count(), 10, "seed {seed}: {listed}");
        assert_eq!(
            ask(&mut net, 8, Verb::RequeueDead(Letters::At(vec![31, 39]))),
            "{\"level\":\"mem\",\"requeued\":2}\n"
        );
        assert_eq!(ask(&mut net, 9, Verb::DropDead(Letters::All)), "{\"dropped\":8,\"level\":\"mem\"}\n");
        let ledger = net.node::<Queue>(queue).message_ledger();
        assert_eq!((ledger.done, ledger.requeued, ledger.discarded), (30, 2, 8), "seed {seed}");
        assert!(ledger.ready == 2 && ledger.balances(), "seed {seed}: {ledger:?}");
    }
}
