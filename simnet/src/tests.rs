//! Small machines in all weathers: an echo, and a client that asks again until it is answered.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use machine::{Machine, Now, Outlet, Port, STDOUT, Transmit};

use super::*;

const PORT: Port = Port(0);

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 10_000))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const HOUR: Duration = Duration::from_hours(1);

/// Answers every datagram with its bytes.
#[derive(Default)]
struct Echo {
    answers: Vec<(SocketAddr, Vec<u8>)>,
    taken: u64,
    drops: u64,
    first_at: Option<Now>,
}

impl Machine for Echo {
    fn handle_datagram(&mut self, now: Now, _port: Port, from: SocketAddr, datagram: &[u8]) {
        self.taken += 1;
        self.first_at.get_or_insert(now);
        self.answers.push((from, datagram.to_vec()));
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    fn poll_transmit(&mut self, _now: Now, datagram: &mut Vec<u8>) -> Option<Transmit> {
        let (to, answer) = self.answers.pop()?;
        datagram.extend_from_slice(&answer);
        Some(Transmit { port: PORT, to })
    }

    fn handle_kernel_drops(&mut self, _port: Port, total: u64) {
        self.drops = total;
    }

    fn handle_stop(&mut self, _now: Now) {
        self.answers.push((address(9), b"bye".to_vec()));
    }
}

/// Asks for one line at a time, again after each timeout, and writes down what is answered.
struct Client {
    server: SocketAddr,
    line: Option<Vec<u8>>,
    ask_at: Option<Duration>,
    ended: bool,
    answer: Option<Vec<u8>>,
    refused: u64,
}

const RETRY: Duration = Duration::from_millis(100);

impl Client {
    fn new(server: SocketAddr) -> Self {
        Self { server, line: None, ask_at: None, ended: false, answer: None, refused: 0 }
    }
}

impl Machine for Client {
    fn handle_datagram(&mut self, _now: Now, _port: Port, from: SocketAddr, datagram: &[u8]) {
        if from == self.server && self.line.as_deref() == Some(datagram) {
            self.answer = self.line.take();
            self.ask_at = None;
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.ask_at = Some(now.since_start);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.ask_at
    }

    fn poll_transmit(&mut self, now: Now, datagram: &mut Vec<u8>) -> Option<Transmit> {
        self.ask_at.take_if(|at| *at <= now.since_start)?;
        self.ask_at = Some(now.since_start + RETRY);
        datagram.extend_from_slice(self.line.as_deref()?);
        Some(Transmit { port: PORT, to: self.server })
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        bytes.append(self.answer.as_mut()?);
        bytes.push(b'\n');
        self.answer = None;
        Some(STDOUT)
    }

    fn wants_input(&self) -> bool {
        !self.ended && self.line.is_none()
    }

    fn handle_input(&mut self, now: Now, line: Option<&[u8]>) {
        self.ended = line.is_none();
        self.line = line.map(<[u8]>::to_vec);
        self.ask_at = line.map(|_| now.since_start);
    }

    fn handle_refused(&mut self, _now: Now, _port: Port) {
        self.refused += 1;
    }

    fn is_done(&self) -> bool {
        self.ended && self.line.is_none()
    }
}

/// Wants to be woken at one time only, and notes when it was.
struct Sleeper {
    until: Duration,
    woken: Option<Now>,
}

impl Machine for Sleeper {
    fn handle_datagram(&mut self, _now: Now, _port: Port, _from: SocketAddr, _datagram: &[u8]) {}

    fn handle_timeout(&mut self, now: Now) {
        self.woken = Some(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.woken.is_none().then_some(self.until)
    }

    fn poll_transmit(&mut self, _now: Now, _datagram: &mut Vec<u8>) -> Option<Transmit> {
        None
    }
}

fn line(number: u32) -> Vec<u8> {
    format!("line {number}").into_bytes()
}

fn text(lines: u32) -> String {
    (0..lines).flat_map(|number| [line(number), b"\n".to_vec()]).flatten().map(char::from).collect()
}

/// An echo at host 1 and a client at host 2 that reads so many lines.
fn echo_and_client(seed: u64, weather: Weather, lines: u32) -> (Net, NodeId, NodeId) {
    let mut net = Net::new(seed);
    net.set_weather(weather);
    let echo = net.add(Echo::default(), &[(PORT, address(1))]);
    let client = net.add(Client::new(address(1)), &[(PORT, address(2))]);
    net.feed(client, (0..lines).map(line));
    (net, echo, client)
}

/// The client gets all its answers, in order, within the time; no datagram is unaccounted for on the way.
fn check_answers(net: &mut Net, client: NodeId, lines: u32, within: Duration) {
    let finished = net.run_while(within, |net| {
        let counts = net.counts();
        assert_eq!(counts.sent + counts.doubled, counts.ended() + net.under_way() as u64, "{counts:?}");
        net.state(client) == State::Up
    });
    assert!(finished, "{:?}", net.counts());
    assert_eq!(String::from_utf8_lossy(net.written(client, STDOUT)), text(lines));
}

#[test]
fn calm_network_delivers_all_in_order() {
    let (mut net, _, client) = echo_and_client(1, Weather::calm(), 100);
    check_answers(&mut net, client, 100, HOUR);
    let expected = Counts { sent: 200, delivered: 200, ..net.counts() };
    assert_eq!(net.counts(), expected);
    assert_eq!(net.state(client), State::Done);
    assert!(net.now() < ms(202), "a millisecond each way and a microsecond a line: {:?}", net.now());
}

#[test]
fn client_that_asks_again_gets_through_every_storm() {
    let loss = Weather { lost_permille: 300, ..Weather::calm() };
    for seed in 0..50 {
        for weather in [loss, Weather::storm(), Weather::drawn(seed, &Weather::storm())] {
            let (mut net, _, client) = echo_and_client(seed, weather, 50);
            check_answers(&mut net, client, 50, HOUR);
        }
    }
}

/// How many of `sent` datagrams, as `permille` says: within five standard deviations.
fn assert_share(name: &str, count: u64, sent: u64, permille: u16) {
    let share = f64::from(permille) / 1_000.0;
    let [count, sent] = [count, sent].map(|n| f64::from(u32::try_from(n).unwrap()));
    let deviation = (sent * share * (1.0 - share)).sqrt();
    assert!((count - sent * share).abs() <= 5.0 * deviation, "{name}: {count} of {sent}, not {permille} of a thousand");
}

/// Sends so many numbered datagrams a millisecond apart to a mailbox, and waits for all of them.
fn post(weather: Weather, datagrams: u32) -> (Net, Vec<Received>) {
    let mut net = Net::new(3);
    net.set_weather(weather);
    let mailbox = net.add(Mailbox::default(), &[(PORT, address(1))]);
    for number in 0..datagrams {
        net.send(address(2), address(1), &number.to_be_bytes());
        net.run_until(net.now() + ms(1));
    }
    assert!(net.run_until_idle(HOUR));
    let received = net.act(mailbox, |mailbox: &mut Mailbox, _| std::mem::take(&mut mailbox.received));
    (net, received)
}

#[test]
fn weather_is_as_asked() {
    let weather = Weather { lost_permille: 200, doubled_permille: 100, garbled_permille: 50, ..Weather::calm() };
    let (net, received) = post(weather, 50_000);
    let counts = net.counts();
    assert_share("lost", counts.lost, 50_000, 200);
    assert_share("doubled", counts.doubled, 50_000 - counts.lost, 100);
    assert_share("garbled", counts.garbled, counts.delivered, 50);
    assert_eq!(received.len() as u64, counts.delivered);
}

#[test]
fn delays_are_spread_evenly() {
    let (_, received) = post(Weather { delay_min: ms(10), delay_max: ms(30), ..Weather::calm() }, 50_000);
    let delays = received.iter().map(|received| {
        let number = u32::from_be_bytes(received.bytes[..].try_into().unwrap());
        received.at.checked_sub(ms(number.into())).unwrap()
    });
    let (least, most) = (delays.clone().min().unwrap(), delays.clone().max().unwrap());
    assert!(least >= ms(10) && least < ms(11) && most > ms(29) && most <= ms(30), "{least:?}..{most:?}");
    for (from, to, permille) in [(10, 15, 250), (15, 20, 250), (20, 30, 500)] {
        let share = delays.clone().filter(|delay| (ms(from)..ms(to)).contains(delay)).count();
        assert_share("delayed", share as u64, 50_000, permille);
    }
}

#[test]
fn late_datagrams_are_overtaken_and_no_others() {
    for (late_permille, delay_max, overtaken) in
        [(1_000, ms(1), 0..1), (0, ms(100), 0..1), (10, ms(100), 150..250), (1_000, ms(100), 15_000..20_000)]
    {
        let weather = Weather { late_permille, delay_max, ..Weather::calm() };
        let (_, received) = post(weather, 20_000);
        let mut newest = Vec::new();
        let mut count = 0;
        for received in received {
            if received.bytes < newest {
                count += 1;
            } else {
                newest = received.bytes;
            }
        }
        assert!(overtaken.contains(&count), "{count} of 20000 at {late_permille} of a thousand");
    }
}

#[test]
fn garbled_datagrams_are_told_as_sent_and_as_they_arrived() {
    let weather = Weather { garbled_permille: 300, lost_permille: 100, ..Weather::calm() };
    let (mut net, received) = post(weather, 2_000);
    let garbled = net.take_garbled();
    assert_share("garbled", garbled.len() as u64, received.len() as u64, 300);
    let sent: Vec<Vec<u8>> = (0..2_000_u32).map(|number| number.to_be_bytes().to_vec()).collect();
    let mut told = garbled.into_iter().peekable();
    for received in &received {
        if let Some(garbled) = told.next_if(|garbled| garbled.arrived == received.bytes) {
            assert!(sent.contains(&garbled.sent));
            assert_eq!((garbled.from, garbled.to), (address(2), address(1)));
        } else {
            assert!(sent.contains(&received.bytes), "garbled and not told: {:?}", received.bytes);
        }
    }
    assert_eq!(told.next(), None);
    assert_eq!(net.take_garbled(), []);
}

/// A storm with faults, all from one seed.
fn stormy_run(seed: u64) -> (u64, Counts, String) {
    let (mut net, echo, client) = echo_and_client(seed, Weather::drawn(seed, &Weather::storm()), 30);
    let trace = Rc::new(RefCell::new(String::new()));
    let writer = Rc::clone(&trace);
    net.trace_to(move |line| writer.borrow_mut().extend([line, "\n"]));
    net.run_until(ms(200));
    net.pause(echo);
    net.run_until(ms(700));
    net.resume(echo);
    net.restart(echo, Echo::default());
    net.clear_up();
    check_answers(&mut net, client, 30, HOUR);
    let trace = trace.take();
    (net.trace_hash(), net.counts(), trace)
}

#[test]
fn same_seed_same_run_other_seed_other_run() {
    let runs: Vec<_> = (0..20).map(stormy_run).collect();
    for (seed, run) in (0..).zip(&runs) {
        assert_eq!(stormy_run(seed), *run, "seed {seed}");
        assert!(runs.iter().filter(|other| other.0 == run.0).count() == 1, "seed {seed}");
    }
}

#[test]
fn trace_hash_sees_a_single_byte() {
    let hash = |bytes: &[u8]| {
        let mut net = Net::new(1);
        net.add(Mailbox::default(), &[(PORT, address(1))]);
        net.send(address(2), address(1), bytes);
        assert!(net.run_until_idle(HOUR));
        net.trace_hash()
    };
    assert_eq!(hash(b"weir"), hash(b"weir"));
    assert_ne!(hash(b"weir"), hash(b"weit"));
}

#[test]
fn trace_can_be_read() {
    let (_, _, trace) = stormy_run(5);
    for part in [
        "     0.000001000 node 1 reads 6 bytes \"line 0\"\n",
        " FAULT Paused(NodeId(0))\n",
        " FAULT Restarted(NodeId(0))\n",
        " node 0 is simnet::tests::Echo at [10.0.0.1:10000]\n",
        " 10.0.0.2:10000 -> 10.0.0.1:10000 after ",
        " node 1 writes to outlet 0 8 bytes \"line 29\\n\"\n",
        " node 1 is done\n",
    ] {
        assert!(trace.contains(part), "{part} is not in\n{trace}");
    }
}

#[test]
fn partition_stops_all_and_healing_lets_it_through() {
    let (mut net, echo, client) = echo_and_client(1, Weather::calm(), 10);
    net.partition(echo, client);
    net.run_until(ms(1_050));
    assert_eq!(net.counts().delivered, 0);
    assert_eq!(net.counts().cut, 11, "one at the begin and one each 100 ms");
    net.heal(echo, client);
    check_answers(&mut net, client, 10, ms(200));
}

#[test]
fn path_cut_one_way_lets_the_other_way_through() {
    let (mut net, echo, client) = echo_and_client(1, Weather::calm(), 10);
    net.cut(echo, client);
    net.run_until(ms(1_050));
    assert_eq!(net.node::<Echo>(echo).taken, 11);
    assert_eq!(net.written(client, STDOUT), b"");
    net.mend(echo, client);
    check_answers(&mut net, client, 10, ms(200));
}

#[test]
fn path_weather_holds_in_its_direction_only() {
    let (mut net, echo, client) = echo_and_client(1, Weather::calm(), 1);
    net.set_path_weather(echo, client, Weather { delay_min: ms(50), ..Weather::calm() });
    check_answers(&mut net, client, 1, HOUR);
    assert_eq!(net.now(), ms(51) + Duration::from_micros(2), "two lines are read, the end being one");
}

#[test]
fn paused_node_finds_what_its_socket_could_hold_and_hears_of_the_rest() {
    let mut net = Net::new(1);
    let echo = net.add(Echo::default(), &[(PORT, address(1))]);
    let mailbox = net.add(Mailbox::default(), &[(PORT, address(2))]);
    net.set_socket_room(echo, 3);
    for (round, drops_told) in [(1, 7), (2, 14)] {
        net.pause(echo);
        for number in 0..10 {
            net.send(address(2), address(1), &[number]);
        }
        net.run_until(net.now() + ms(500));
        assert_eq!(net.node::<Echo>(echo).taken, (round - 1) * 3);
        net.resume(echo);
        assert!(net.run_until_idle(HOUR));
        assert_eq!((net.node::<Echo>(echo).taken, net.node::<Echo>(echo).drops), (round * 3, drops_told));
    }
    let bytes: Vec<_> = net.node::<Mailbox>(mailbox).received.iter().map(|received| received.bytes[0]).collect();
    assert_eq!(bytes, [0, 1, 2, 0, 1, 2], "in order");
    assert_eq!(net.counts().dropped, 14);
}

#[test]
fn node_killed_in_a_pause_takes_what_waited_with_it() {
    let (mut net, echo, client) = echo_and_client(1, Weather::calm(), 10);
    net.pause(echo);
    net.run_until(ms(550));
    assert_eq!(net.under_way(), 6, "waiting at the socket");
    net.kill(echo);
    assert_eq!((net.under_way(), net.counts().dropped), (0, 6));
    net.restart(echo, Echo::default());
    check_answers(&mut net, client, 10, HOUR);
    assert_eq!(net.node::<Echo>(echo).taken, 10);
}

#[test]
fn pause_makes_deadlines_late() {
    let mut net = Net::new(1);
    let sleeper = net.add(Sleeper { until: ms(100), woken: None }, &[]);
    net.pause(sleeper);
    net.run_until(ms(300));
    net.resume(sleeper);
    net.run_until(ms(400));
    assert_eq!(net.node::<Sleeper>(sleeper).woken.unwrap().since_start, ms(300));
}

#[test]
fn killed_node_is_gone_and_the_next_begins_anew_at_its_address() {
    let (mut net, echo, client) = echo_and_client(1, Weather::calm(), 1_000);
    net.run_until(ms(500));
    let taken = net.node::<Echo>(echo).taken;
    net.kill(echo);
    net.run_until(ms(1_000));
    assert_eq!(net.state(echo), State::Killed);
    assert_eq!(net.node::<Echo>(echo).taken, taken, "the dead one can still be looked at");
    let Counts { to_nobody, refused, .. } = net.counts();
    assert!((4..=6).contains(&to_nobody), "{to_nobody}");
    assert!(refused.abs_diff(to_nobody) <= 1 && net.node::<Client>(client).refused == refused);
    net.restart(echo, Echo::default());
    check_answers(&mut net, client, 1_000, HOUR);
    let first = net.node::<Echo>(echo).first_at.unwrap();
    assert!(first.since_start <= RETRY);
    assert!(net.clock(client).since_epoch > net.clock(echo).since_start);
    assert_eq!(net.clock(client).since_epoch, net.clock(echo).since_epoch, "the wall clock is the host's");
}

#[test]
fn stopped_node_says_its_last_words() {
    let mut net = Net::new(1);
    let echo = net.add(Echo::default(), &[(PORT, address(1))]);
    let mailbox = net.add(Mailbox::default(), &[(PORT, address(9))]);
    net.stop(echo);
    assert_eq!(net.state(echo), State::Done);
    assert!(net.run_until_idle(HOUR));
    assert_eq!(net.node::<Mailbox>(mailbox).received[0].bytes, b"bye");
}

#[test]
fn an_hour_is_one_step() {
    let mut net = Net::new(1);
    let sleeper = net.add(Sleeper { until: HOUR, woken: None }, &[]);
    net.run_until(HOUR * 24 * 365);
    assert_eq!(net.node::<Sleeper>(sleeper).woken.unwrap().since_start, HOUR);
    assert_eq!(net.counts().turns, 2, "its first, and the one it asked for");
}

#[test]
fn wrong_clocks_are_wrong_for_their_node_only() {
    let mut net = Net::new(1);
    let [fast, slow, right] = [(); 3].map(|()| net.add(Sleeper { until: HOUR, woken: None }, &[]));
    net.set_clock_rate(fast, 1_100);
    net.set_clock_rate(slow, 900);
    let before = net.clock(right).since_epoch;
    net.set_wall_clock(right, before.saturating_sub(HOUR * 24));
    for (at, expected) in [(3_272, [false; 3]), (3_273, [true, false, false]), (3_600, [true, false, true])] {
        net.run_until(Duration::from_secs(at));
        let woken = [fast, slow, right].map(|id| net.node::<Sleeper>(id).woken.is_some());
        assert_eq!(woken, expected, "at {at} s");
    }
    net.run_until(Duration::from_secs(4_000));
    assert!(net.node::<Sleeper>(slow).woken.is_some());
    assert_eq!(net.node::<Sleeper>(right).woken.unwrap().since_epoch, before.saturating_sub(HOUR * 23));
}

#[test]
fn odd_datagrams_are_counted() {
    let mut net = Net::new(1);
    let mailbox = net.add(Mailbox::default(), &[(PORT, address(1)), (Port(1), address(2))]);
    for (to, bytes, kept) in [
        (address(1), DATAGRAM_BYTES_MAX, true),
        (address(1), DATAGRAM_BYTES_MAX + 1, false),
        (address(2), 0, true),
        (address(3), 1, false),
    ] {
        net.send(address(200), to, &vec![b'x'; bytes]);
        assert!(net.run_until_idle(HOUR));
        let received = net.act(mailbox, |mailbox: &mut Mailbox, _| mailbox.received.pop());
        assert_eq!(received.map(|received| received.bytes.len()), kept.then_some(bytes), "{bytes} bytes to {to}");
    }
    let Counts { sent, delivered, too_long, to_nobody, refused, .. } = net.counts();
    assert_eq!((sent, delivered, too_long, to_nobody, refused), (4, 2, 1, 1, 0));
}

#[test]
fn buffers_are_used_again() {
    let (mut net, _, client) = echo_and_client(1, Weather::storm(), 200);
    check_answers(&mut net, client, 200, HOUR);
    assert!(net.run_until_idle(HOUR));
    assert_eq!(net.under_way(), 0);
    assert!(net.traffic.buffers() < 100, "{} for {:?}", net.traffic.buffers(), net.counts());
}

#[test]
fn a_run_with_nothing_to_do_ends_at_its_limit() {
    let mut net = Net::new(1);
    assert!(!net.run_while(HOUR, |_| true));
    assert_eq!(net.now(), HOUR);
    assert!(net.run_until_idle(HOUR));
    assert_eq!(net.now(), HOUR);
    net.run_until(Duration::MAX);
}

/// Never stops sending.
struct Babbler;

impl Machine for Babbler {
    fn handle_datagram(&mut self, _now: Now, _port: Port, _from: SocketAddr, _datagram: &[u8]) {}

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    fn poll_transmit(&mut self, _now: Now, _datagram: &mut Vec<u8>) -> Option<Transmit> {
        Some(Transmit { port: PORT, to: address(2) })
    }
}

#[test]
#[should_panic(expected = "seed 9: node 0 never ends its turn")]
fn machine_that_never_stops_sending_is_caught() {
    let mut net = Net::new(9);
    net.add(Babbler, &[(PORT, address(1))]);
    net.run_until(HOUR);
}

/// Its deadline never moves.
struct Clinger;

impl Machine for Clinger {
    fn handle_datagram(&mut self, _now: Now, _port: Port, _from: SocketAddr, _datagram: &[u8]) {}

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Duration> {
        Some(HOUR)
    }

    fn poll_transmit(&mut self, _now: Now, _datagram: &mut Vec<u8>) -> Option<Transmit> {
        None
    }
}

#[test]
#[should_panic(expected = "seed 9: time stands still at 3600s")]
fn machine_whose_deadline_never_moves_is_caught() {
    let mut net = Net::new(9);
    net.add(Clinger, &[]);
    net.run_until(HOUR * 2);
}
