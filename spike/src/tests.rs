//! The machine by hand: what goes in, what comes out, what is printed and counted.

use super::*;

fn server() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 10_000))
}

fn client(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, host], 5_000))
}

fn plan(mode: Mode) -> Plan {
    Plan {
        listening: SocketAddr::from(([10, 0, 0, 2], 9_000)),
        server: server(),
        clients: 4,
        mode,
        suffers: Each { inward: true, outward: true },
        seed: 2016,
        delays: Delays { min_ms: 10, max_ms: 10 },
        garbling: Garbling::Frames,
        partitions: None,
        frames_only: false,
        answers: Answers::Relayed,
        prints: Prints::Nothing,
        limits: Limits::USUAL,
    }
}

/// A spike, and its time.
struct Trial {
    spike: Spike,
    ms: u64,
}

impl Trial {
    fn of(plan: Plan) -> Self {
        Self { spike: Spike::new(plan), ms: 0 }
    }

    fn now(&self) -> Now {
        let since_start = Duration::from_millis(self.ms);
        Now { since_start, since_epoch: since_start }
    }

    fn ask(&mut self, host: u8, datagram: &[u8]) {
        self.spike.handle_datagram(self.now(), CLIENTS, client(host), datagram);
    }

    fn answer(&mut self, port: u8, datagram: &[u8]) {
        self.spike.handle_datagram(self.now(), Port(port), server(), datagram);
    }

    fn pass_time(&mut self, ms: u64) {
        self.ms += ms;
        if self.spike.poll_timeout().is_some_and(|at| at <= self.now().since_start) {
            self.spike.handle_timeout(self.now());
        }
    }

    /// What left, each as `port>address bytes`.
    fn sent(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        let mut bytes = Vec::new();
        while let Some(Transmit { port, to }) = self.spike.poll_transmit(self.now(), &mut bytes) {
            sent.push(format!("{}>{to} {}", port.0, bytes.escape_ascii()));
            bytes.clear();
        }
        sent
    }

    /// Of what left, the datagrams, with a blank between them.
    fn sent_bytes(&mut self) -> String {
        let sent = self.sent();
        sent.iter().filter_map(|sent| Some(sent.split_once(' ')?.1)).collect::<Vec<_>>().join(" ")
    }

    fn say(&mut self, command: &str) -> String {
        self.spike.handle_input(self.now(), Some(command.as_bytes()));
        self.output(STDERR)
    }

    /// The lines for one outlet; those for the other are gone.
    fn output(&mut self, wanted: Outlet) -> String {
        let mut lines = Vec::new();
        let mut bytes = Vec::new();
        while let Some(outlet) = self.spike.poll_output(&mut bytes) {
            if outlet == wanted {
                lines.append(&mut bytes);
            }
            bytes.clear();
        }
        String::from_utf8(lines).unwrap()
    }

    fn counts(&self, direction: Direction) -> Counts {
        let counts = self.spike.counts(direction);
        assert!(counts.add_up(), "{counts}");
        counts
    }
}

#[test]
fn answers_find_the_client_that_asked() {
    let mut trial = Trial::of(plan(Mode::Pass));
    trial.ask(1, b"13GET");
    trial.ask(2, b"14SIZE");
    assert_eq!(trial.sent(), ["1>10.0.0.1:10000 13GET", "2>10.0.0.1:10000 14SIZE"]);
    trial.answer(2, b"110");
    trial.answer(1, b"10");
    assert_eq!(trial.sent(), ["0>10.0.1.2:5000 110", "0>10.0.1.1:5000 10"]);
    let counts = Counts { received: 2, passed: 2, sent: 2, ..Counts::default() };
    assert_eq!((trial.counts(Direction::In), trial.counts(Direction::Out)), (counts, counts));
}

#[test]
fn strangers_are_counted_and_not_relayed() {
    let mut trial = Trial::of(plan(Mode::Pass));
    trial.answer(1, b"nobody has asked from here");
    trial.ask(1, b"13GET");
    trial.sent();
    trial.spike.handle_datagram(trial.now(), Port(1), client(9), b"forged");
    trial.answer(99, b"no such port");
    assert_eq!((trial.sent(), trial.spike.others().stray), (vec![], 3));
}

/// Two frames a, b go in at once; what leaves at once, after 10 ms, and after 60 ms.
#[test]
fn each_mode_does_what_its_name_says() {
    for (mode, at_once, later, last) in [
        (Mode::Pass, "11a 11b", "", ""),
        (Mode::One(Trouble::Drop, 100), "", "", ""),
        (Mode::One(Trouble::Duplicate, 100), "11a 11a 11a 11a 11a 11a 11b 11b 11b 11b", "", ""),
        (Mode::One(Trouble::Garble, 100), "18a_spiked 18b_spiked", "", ""),
        (Mode::One(Trouble::Delay, 100), "", "11a 11b", ""),
        (Mode::One(Trouble::Reorder, 100), "", "", "11b 11a"),
        (Mode::One(Trouble::Drop, 0), "11a 11b", "", ""),
    ] {
        let mut trial = Trial::of(plan(mode));
        trial.ask(1, b"11a");
        trial.ask(1, b"11b");
        assert_eq!(trial.sent_bytes(), at_once, "{mode:?}");
        trial.pass_time(10);
        assert_eq!(trial.sent_bytes(), later, "{mode:?}");
        trial.pass_time(50);
        assert_eq!(trial.sent_bytes(), last, "{mode:?}");
        assert_eq!(trial.counts(Direction::In).received, 2);
    }
}

#[test]
fn no_frame_is_no_reason_to_drop() {
    let mut trial = Trial::of(plan(Mode::Pass));
    for datagram in [&b""[..], b"\xff\x00", b"{\"msg\": 1}", &vec![b'x'; 60_000]] {
        trial.ask(1, datagram);
        assert_eq!(trial.sent_bytes(), datagram.escape_ascii().to_string());
    }
    let mut strict = Trial::of(Plan { frames_only: true, prints: Prints::Datagrams, ..plan(Mode::Pass) });
    strict.output(STDOUT);
    strict.ask(1, b"{\"msg\": 1}");
    assert_eq!(strict.sent_bytes(), "");
    assert_eq!(strict.output(STDOUT), "spike: couldn't process message received.\n");
    assert_eq!(strict.counts(Direction::In).not_frames, 1);
}

#[test]
fn lines_are_those_of_2016() {
    let mut trial = Trial::of(Plan { prints: Prints::Datagrams, ..plan(Mode::One(Trouble::Drop, 100)) });
    assert_eq!(trial.output(STDOUT), "spike: listening on 10.0.0.2:9000\n");
    trial.ask(1, b"15PUT:7");
    let lines =
        "spike: RECEIVING\nspike: from 10.0.1.1:5000\nPUT:7\nspike: Sent message to 10.0.0.1:10000 in drop mode\n";
    assert_eq!(trial.output(STDOUT), lines);
    let mut random = Trial::of(Plan { prints: Prints::Datagrams, ..plan(Mode::Random(100)) });
    random.output(STDOUT);
    random.ask(1, b"15PUT:7");
    let lines = random.output(STDOUT);
    assert!(lines.contains("\nspike: random: ") && lines.ends_with(" in random mode\n"), "{lines}");
}

#[test]
fn a_sender_of_2016_is_told_that_its_datagram_came() {
    let mut trial =
        Trial::of(Plan { answers: Answers::GotIt, frames_only: true, ..plan(Mode::One(Trouble::Drop, 100)) });
    trial.ask(1, b"15PUT:7");
    trial.ask(1, b"no frame");
    assert_eq!(trial.sent(), ["0>10.0.1.1:5000 spike: got it"]);
    trial.answer(1, b"1aPUT 1 bytes");
    assert_eq!(trial.sent(), Vec::<String>::new());
    assert_eq!((trial.counts(Direction::Out).kept_back, trial.spike.others().acknowledged), (1, 1));
    trial.spike.handle_unsent(CLIENTS, client(1));
    assert_eq!(trial.counts(Direction::Out).unsent, 0);
}

#[test]
fn one_direction_may_suffer_alone() {
    let mode = Mode::One(Trouble::Drop, 100);
    for (inward, outward) in [(true, false), (false, true), (true, true)] {
        let mut trial = Trial::of(Plan { suffers: Each { inward, outward }, ..plan(mode) });
        trial.spike.clients.port_of(Duration::ZERO, client(1));
        for command in ["pass", "partition", "heal", "drop 100"] {
            trial.say(command);
            trial.ask(1, b"13GET");
            trial.answer(1, b"10");
        }
        let (asked, answered) = (trial.counts(Direction::In), trial.counts(Direction::Out));
        for (suffers, counts) in [(inward, asked), (outward, answered)] {
            let expected = if suffers { (2, 1, 1) } else { (4, 0, 0) };
            assert_eq!((counts.passed, counts.partitioned, counts.dropped), expected);
        }
    }
}

#[test]
fn partitions_come_and_go() {
    let (every, lasts) = (Duration::from_millis(100), Duration::from_millis(30));
    let mut trial = Trial::of(Plan { partitions: Some(Partitions { every, lasts }), ..plan(Mode::Pass) });
    let mut passed = String::new();
    for _ in 0..25 {
        trial.ask(1, b"13GET");
        passed.push(if trial.sent().is_empty() { 'x' } else { '.' });
        trial.pass_time(10);
    }
    assert_eq!(passed, "..........xxx.......xxx..");
    assert_eq!(trial.counts(Direction::In).partitioned, 6);
}

#[test]
fn a_partition_does_not_change_the_fate_of_those_after_it() {
    let sent = |commands: [&str; 2]| {
        let mut trial = Trial::of(plan(Mode::One(Trouble::Drop, 50)));
        let mut sent = Vec::new();
        for number in 0..90 {
            if number == 30 {
                trial.say(commands[0]);
            }
            if number == 60 {
                trial.say(commands[1]);
            }
            trial.ask(1, format!("{number}").as_bytes());
            sent.push(trial.sent());
        }
        sent
    };
    let (calm, split) = (sent(["stats", "stats"]), sent(["partition", "heal"]));
    assert_eq!(calm[..30], split[..30]);
    assert!(split[30..60].iter().all(Vec::is_empty));
    assert_eq!(calm[60..], split[60..]);
}

#[test]
fn a_pause_holds_all_and_loses_nothing() {
    let mut trial = Trial::of(plan(Mode::Pass));
    assert_eq!(trial.say("pause"), "spike: pause\n");
    for datagram in ["1", "2", "3"] {
        trial.ask(1, datagram.as_bytes());
    }
    assert_eq!((trial.sent_bytes().as_str(), trial.counts(Direction::In).held), ("", 3));
    trial.say("resume");
    assert_eq!((trial.sent_bytes().as_str(), trial.counts(Direction::In).held), ("1 2 3", 0));
}

#[test]
fn commands_change_the_mix() {
    let mut trial = Trial::of(plan(Mode::One(Trouble::Duplicate, 10)));
    for (command, said) in [
        ("drop 20", "spike: mix: drop 20, duplicate 10\n"),
        ("reorder 71", "spike: the percentages add up to 101; 100 is all there is; nothing is changed\n"),
        ("duplicate 0", "spike: mix: drop 20\n"),
        ("pass", "spike: pass\n"),
        ("garble 5", "spike: mix: garble 5\n"),
        ("garble 0", "spike: mix: pass\n"),
        ("  ", ""),
        (
            "explode",
            "spike: no command: 'explode'; there are partition, heal, pause, resume, pass, stats, and drop, duplicate, \
             garble, delay and reorder with a percentage, such as drop 20\n",
        ),
    ] {
        assert_eq!(trial.say(command), said, "{command}");
    }
    trial.spike.handle_input(trial.now(), None);
    assert!(trial.spike.wants_input());
}

#[test]
fn the_end_sends_what_is_held_and_counts_it() {
    let mix = Shares::default().with(Trouble::Delay, 50).and_then(|mix| mix.with(Trouble::Reorder, 50)).unwrap();
    let mut trial = Trial::of(Plan { prints: Prints::Statistics, ..plan(Mode::Mix(mix)) });
    for number in 0..10 {
        trial.ask(1, number.to_string().as_bytes());
    }
    trial.say("pause");
    let mut sent = trial.sent();
    trial.spike.handle_stop(trial.now());
    let early = trial.output(STDERR);
    assert_eq!(early, "", "the last words wait for the last datagrams");
    sent.extend(trial.sent());
    sent.sort();
    let all: Vec<String> = (0..10).map(|number| format!("1>10.0.0.1:10000 {number}")).collect();
    assert_eq!(sent, all);
    let counts = trial.counts(Direction::In);
    assert_eq!((counts.sent, counts.held, counts.delayed + counts.reordered), (10, 0, 10));
    let json: serde_json::Value = serde_json::from_str(&trial.output(STDOUT)).unwrap();
    assert_eq!((&json["in"]["sent"], &json["out"]["received"]), (&10.into(), &0.into()));
    assert_eq!((&json["seed"], &json["mode"]), (&2016.into(), &"mix".into()));
    assert_eq!(trial.output(STDERR), "", "they are said once");
}

#[test]
fn statistics_are_one_line() {
    let mut trial = Trial::of(plan(Mode::One(Trouble::Drop, 100)));
    trial.ask(1, b"13GET");
    trial.answer(2, b"10");
    trial.spike.handle_kernel_drops(CLIENTS, 3);
    trial.spike.handle_kernel_drops(Port(1), 1);
    trial.spike.handle_kernel_drops(Port(2), 1);
    assert_eq!(
        trial.say("stats"),
        "spike: seed 2016; in: received 1 dropped 1 kernel_drops 3; out: received 0 kernel_drops 2; stray 1\n"
    );
}

#[test]
fn too_much_held_is_dropped_and_counted() {
    for mode in [Mode::One(Trouble::Delay, 100), Mode::One(Trouble::Duplicate, 100), Mode::Pass] {
        let limits = Limits { datagrams_max: 3, bytes_max: 1_000 };
        let mut trial = Trial::of(Plan { limits, ..plan(mode) });
        trial.say("pause");
        for _ in 0..10 {
            trial.ask(1, b"13GET");
        }
        let counts = trial.counts(Direction::In);
        assert_eq!((counts.held, counts.overflowed), (3, 7 + counts.copies), "{mode:?}");
        trial.spike.handle_stop(trial.now());
        assert_eq!(trial.sent().len(), 3);
        assert_eq!(trial.counts(Direction::In).held, 0);
    }
}

#[test]
fn what_cannot_be_sent_is_counted() {
    let mut trial = Trial::of(plan(Mode::Pass));
    trial.ask(1, b"13GET");
    trial.answer(1, b"10");
    trial.sent();
    trial.spike.handle_unsent(Port(1), server());
    let counts = trial.counts(Direction::In);
    assert_eq!((counts.sent, counts.unsent), (0, 1));
}

#[test]
fn more_clients_than_places_are_counted() {
    let mut trial = Trial::of(plan(Mode::Pass));
    for host in 0..6 {
        trial.ask(host, b"13GET");
    }
    assert_eq!(trial.spike.others().replaced, 2);
    trial.sent();
    trial.answer(1, b"10");
    assert_eq!(trial.sent(), ["0>10.0.1.4:5000 10"]);
}
