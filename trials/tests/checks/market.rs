//! Market spread: feeder -> queue -> worker -> sink, and the tree with a router.
//!
//! The data is that of the demo, or a user's own: the environment variable `WEIR_MARKET_DATA` names a folder (from the
//! root of the workspace) with the sample files of 2016, `1000nbbo.msg`, `1000trades.msg`, `10000trades.msg`,
//! `initial-nbbo.msg`, `small-nbbo.msg`, `small-trades.msg` and `repeat_order.msg`. What is to come out is known of both.

use std::{collections::BTreeMap, fs, net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use functions::Outputs;
use protocol::{
    frame,
    link::{Answer, Ask},
};
use rustix::process::Signal;
use trials::{Client, Node, ReportSocket, TempFolder, demo_folder, program, udp_sockets, wait_until};

use super::{To, start_mq, start_sink, start_worker};

/// Lines of market data, and where they are from.
struct Market {
    folder: PathBuf,
    rows: &'static [Row],
    quotes: &'static str,
    orders: &'static str,
    /// What a router in front of two workers gives, which differs where an order's id comes again with another symbol.
    tree: Row,
    /// How many messages the router sends to each of them.
    parts: [usize; 2],
}

/// Feeders, one after another, each with its paths; and how many answers of each kind there are then: accepted, of an
/// unknown symbol, stopped, with an id that was accepted before.
struct Row {
    feeders: &'static [&'static [&'static str]],
    kinds: [usize; 4],
}

const fn row(feeders: &'static [&'static [&'static str]], kinds: [usize; 4]) -> Row {
    Row { feeders, kinds }
}

/// The table of 2016.
const OF_2016: &[Row] = &[
    row(&[&["1000nbbo.msg"], &["1000trades.msg"]], [880, 120, 0, 0]),
    row(&[&["1000trades.msg"], &["1000nbbo.msg"]], [0, 1_000, 0, 0]),
    row(&[&["1000nbbo.msg", "1000trades.msg"]], [614, 386, 0, 0]),
    row(&[&["1000trades.msg", "1000nbbo.msg"]], [613, 387, 0, 0]),
    row(&[&["initial-nbbo.msg"], &["1000trades.msg"]], [206, 794, 0, 0]),
    row(&[&["1000nbbo.msg"], &["10000trades.msg"]], [8_891, 1_109, 0, 0]),
    row(&[&["1000nbbo.msg", "10000trades.msg"]], [8_625, 1_375, 0, 0]),
    row(&[&["initial-nbbo.msg"], &["1000nbbo.msg"], &["10000trades.msg"]], [9_053, 947, 0, 0]),
    row(&[&["small-nbbo.msg"], &["small-trades.msg"]], [3, 0, 0, 0]),
    row(&[&["small-nbbo.msg", "small-trades.msg"]], [2, 1, 0, 0]),
    row(&[&["small-trades.msg", "small-nbbo.msg"]], [1, 2, 0, 0]),
    row(&[&["repeat_order.msg"]], [1, 0, 0, 1]),
];

/// The demo's data.
const OF_THE_DEMO: &[Row] = &[
    row(&[&["nbbo.msg"], &["trades.msg"]], [1_689, 140, 145, 26]),
    row(&[&["trades.msg"], &["nbbo.msg"]], [0, 2_000, 0, 0]),
    row(&[&["nbbo.msg", "trades.msg"]], [1_672, 157, 146, 25]),
    row(&[&["trades.msg", "nbbo.msg"]], [1_670, 159, 146, 25]),
];

fn market() -> Market {
    match std::env::var_os("WEIR_MARKET_DATA") {
        Some(folder) => Market {
            folder: demo_folder("..").join(folder),
            rows: OF_2016,
            quotes: "1000nbbo.msg",
            orders: "10000trades.msg",
            tree: row(OF_2016[0].feeders, [880, 120, 0, 0]),
            parts: [965, 1_035],
        },
        None => Market {
            folder: demo_folder("marketspread"),
            rows: OF_THE_DEMO,
            quotes: "nbbo.msg",
            orders: "trades.msg",
            tree: row(OF_THE_DEMO[0].feeders, [1_703, 141, 145, 11]),
            parts: [1_247, 953],
        },
    }
}

impl Market {
    fn paths(&self, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| self.folder.join(name).to_str().unwrap().to_owned()).collect()
    }

    fn count(&self, name: &str) -> usize {
        fs::read_to_string(self.folder.join(name)).unwrap().lines().count()
    }

    /// The messages of some feeders, one after another, as they arrive at the queue but for the time.
    fn fed(&self, feeders: &[&[&str]]) -> Vec<String> {
        let wrapped =
            |line: String| format!("\"{}\x01999=0.5\x01\"", line.trim().trim_matches('"').trim_matches('\x01'));
        let lines = |path: &String| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let one = |names: &&[&str]| in_turn(&self.paths(names).iter().map(lines).collect::<Vec<_>>());
        feeders.iter().flat_map(one).map(wrapped).collect()
    }
}

/// The order in which a feeder takes the lines of several files: an exhausted one goes without moving the turn on.
fn in_turn(files: &[String]) -> Vec<String> {
    let mut files: Vec<_> = files.iter().map(|file| file.lines()).collect();
    let mut taken = Vec::new();
    while !files.is_empty() {
        let turn = taken.len() % files.len();
        match files[turn].next() {
            Some(line) => taken.push(line.to_owned()),
            None => drop(files.remove(turn)),
        }
    }
    taken
}

/// What a sink prints when one worker gets these messages.
fn answers(messages: &[String]) -> Vec<String> {
    let mut function = functions::find("marketspread").unwrap().start();
    let mut outputs = Outputs::default();
    for message in messages {
        function(message.as_bytes(), &mut outputs).unwrap();
    }
    outputs.iter().map(|(_, text)| msg_of(text)).collect()
}

fn msg_of(json: &[u8]) -> String {
    let json: BTreeMap<String, serde_json::Value> = serde_json::from_slice(json).unwrap();
    json["msg"].as_str().unwrap().to_owned()
}

/// How many answers of each kind there are.
#[track_caller]
fn check_kinds(answers: &[String], row: &Row) {
    let count = |kind: &str| answers.iter().filter(|answer| answer.contains(kind)).count();
    let counted =
        ["): Accepted", "Rejected: Unknown symbol: ", " - Stop New Orders", "Order already exists"].map(count);
    assert_eq!(counted, row.kinds, "{:?}", row.feeders);
}

/// Fails at the first difference, because ten thousand lines are not to be looked through.
#[track_caller]
fn check_lines(got: &[String], expected: &[String]) {
    for (n, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(got, expected, "answer {n}");
    }
    assert_eq!(got.len(), expected.len());
}

/// Runs a feeder to its end, and gives the numbers that it reports.
fn feed(queue: SocketAddr, paths: &[String], flags: &[&str]) -> BTreeMap<String, u64> {
    let mut feeder = program("feeder");
    feeder.args(["--address", &queue.to_string()]).args(flags);
    for path in paths {
        feeder.args(["--path", path]);
    }
    let ended = Node::start(&mut feeder).wait();
    numbers(&ended.log())
}

/// The numbers of a line such as `read 3 lines (0 blank), sent 3, confirmed 3, resumed 0, resent 0, unconfirmed 0, too long 0`.
fn numbers(log: &str) -> BTreeMap<String, u64> {
    let line = log.lines().find(|line| line.starts_with("read ")).unwrap_or_else(|| panic!("no summary in {log}"));
    let parts = line.split(", ").filter_map(|part| part.rsplit_once(' '));
    parts.filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?))).collect()
}

/// Feeds so that nobody is overrun, and checks that the queue took all.
#[track_caller]
fn feed_paced(queue: SocketAddr, paths: &[String]) {
    let fed = feed(queue, paths, &["--rate", "20k"]);
    let [sent, confirmed] = ["sent", "confirmed"].map(|name| fed[name]);
    assert_eq!((sent, fed["resumed"], fed["unconfirmed"]), (confirmed, 0, 0), "{fed:?}");
}

fn wait_until_all_is_read(node: &Node) {
    wait_until("empty sockets", || udp_sockets(node.id()).iter().all(|socket| socket.waiting_bytes == 0));
}

fn check_row(market: &Market, row: &Row) {
    let expected = answers(&market.fed(row.feeders));
    check_kinds(&expected, row);

    let sink = start_sink(&[]);
    let mq = start_mq(&[]);
    let worker = start_worker("marketspread", mq.address(), To::Sockets(&[sink.address()]), &[]);
    for names in row.feeders {
        feed_paced(mq.address(), &market.paths(names));
    }
    sink.stdout.wait_for_count(expected.len());
    for node in [worker, mq] {
        assert_eq!(node.stop(Signal::TERM).code, Some(0));
    }
    check_lines(&sink.stop(Signal::TERM).stdout, &expected);
}

/// 16, 17 and 18, and the rest of the table: every answer word for word, and none lost.
#[test]
fn answers_are_those_of_the_table() {
    let market = market();
    for row in market.rows {
        check_row(&market, row);
    }
}

fn quote(symbol: &str, bid: &str, offer: &str) -> String {
    let prices = format!("132={bid}\x01133={offer}");
    format!(
        "\"8=FIX.4.2\x019=64\x0135=S\x0155={symbol}\x0160=20160317-09:30:00.000\x01117=S\x01{prices}\x0110=098\x01\"\n"
    )
}

fn order(client: &str, ids: &str, quantity: &str, symbol: &str) -> String {
    let ordered = format!("38={quantity}\x0140=2\x0144=0.7\x0154=1\x0155={symbol}");
    format!(
        "\"8=FIX.4.2\x019=128\x0135=D\x011={client}\x01{ids}\x0121=3\x01{ordered}\x0160=20160317-09:30:00.000\x0110=039\x01\"\n"
    )
}

/// 17, to the byte, as a sink gets it: invented companies in the order of the small files.
#[test]
fn three_orders_get_three_answers() {
    let quotes = [quote("WEIR", "16.64", "16.64"), quote("VANE", "9.39", "9.40"), quote("SILT", "83.48", "84.48")];
    let orders = [
        order("CLIENT57", "11=HMtW", "1337900", "SILT"),
        order("CLIENT249", "11=I8Fe", "20900", "VANE"),
        order("CLIENT10", "11=DGzY", "170900", "WEIR"),
    ];
    let folder = TempFolder::create();
    let paths = [folder.write("nbbo", quotes.concat()), folder.write("trades", orders.concat())];

    let (mq, sink) = (start_mq(&[]), Client::open());
    let _worker = start_worker("marketspread", mq.address(), To::Sockets(&[sink.address()]), &[]);
    feed_paced(mq.address(), &paths);
    for msg in [
        "New Order: (CLIENT57, SILT, Rejected, 1337900.0): Rejected: Unknown symbol: SILT",
        "New Order: (CLIENT249, VANE, Accepted, 20900.0): Accepted",
        "New Order: (CLIENT10, WEIR, Accepted, 170900.0): Accepted",
    ] {
        let datagram = String::from_utf8(sink.receive()).unwrap();
        let feed_time = datagram.strip_prefix(&format!("{{\"msg\": \"{msg}\", \"feed_time\": "));
        let feed_time = feed_time.and_then(|rest| rest.strip_suffix('}')?.parse::<f64>().ok());
        assert!(feed_time > Some(1.7e9), "{datagram}");
    }
}

/// 18: tag 37 overrides tag 11.
#[test]
fn an_order_is_accepted_once() {
    let lines = [
        quote("WEIR", "2", "2"),
        order("CLIENT57", "11=HMtW\x0137=1234", "1337900", "WEIR"),
        order("CLIENT57", "11=xZgs\x0137=1234", "6082300", "WEIR"),
    ];
    let folder = TempFolder::create();
    let path = folder.write("repeated", lines.concat());
    let (mq, sink) = (start_mq(&[]), start_sink(&[]));
    let _worker = start_worker("marketspread", mq.address(), To::Sockets(&[sink.address()]), &[]);
    feed_paced(mq.address(), &[path]);
    assert_eq!(
        sink.stdout.wait_for_count(2),
        [
            "New Order: (CLIENT57, WEIR, Accepted, 1337900.0): Accepted",
            "New Order: (CLIENT57, WEIR, Rejected, 6082300.0): Rejected: Order already exists",
        ]
    );
}

/// The messages that a router sends to each of so many outputs.
fn parted(messages: &[String], outputs: usize) -> Vec<Vec<String>> {
    let count = NonZeroUsize::new(outputs).unwrap();
    let mut function = functions::find("fixrouter").unwrap().start();
    let mut parts = vec![Vec::new(); outputs];
    for message in messages {
        let mut given = Outputs::default();
        function(message.as_bytes(), &mut given).unwrap();
        let (choice, _) = given.iter().next().unwrap();
        parts[choice.index(count)].push(message.clone());
    }
    parts
}

/// By symbol, in the order of their coming. The symbol is the second item of an answer.
fn by_symbol(answers: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut by_symbol = BTreeMap::<&str, Vec<&str>>::new();
    for answer in answers {
        by_symbol.entry(answer.split(", ").nth(1).unwrap()).or_default().push(answer);
    }
    by_symbol
}

/// 19
#[test]
fn a_router_and_two_workers_give_the_same_answers() {
    let market = market();
    let row = &market.tree;
    let parts = parted(&market.fed(row.feeders), 2);
    let expected: Vec<String> = parts.iter().flat_map(|part| answers(part)).collect();
    check_kinds(&expected, row);
    let reports = ReportSocket::open();
    let sink = start_sink(&[]);
    let [first, left, right] = ["FIRST", "LEFT", "RIGHT"].map(|vuid| start_mq(&reports.flags(vuid, "60")));
    let router = start_worker("fixrouter", first.address(), To::Queues(&[left.address(), right.address()]), &[]);
    let workers =
        [&left, &right].map(|mq| start_worker("marketspread", mq.address(), To::Sockets(&[sink.address()]), &[]));
    for names in row.feeders {
        feed_paced(first.address(), &market.paths(names));
    }
    sink.stdout.wait_for_count(expected.len());
    for node in [router].into_iter().chain(workers).chain([first, left, right]) {
        assert_eq!(node.stop(Signal::TERM).code, Some(0));
    }
    let printed = sink.stop(Signal::TERM).stdout;
    assert_eq!(printed.len(), expected.len());
    assert!(by_symbol(&printed) == by_symbol(&expected), "the answers to one symbol differ, or their order does");
    let accepted = ["LEFT", "RIGHT"].map(|vuid| reports.ledger(vuid).count("accepted"));
    assert_eq!((accepted, [parts[0].len(), parts[1].len()]), (market.parts.map(|part| part as u64), market.parts));
}

/// A feeder that heeds no answer, a queue and a sink that stand still meanwhile: buffers run over, and every message is
/// printed or counted by name.
#[test]
fn flat_out_what_is_sent_is_printed_or_counted() {
    let market = market();
    let reports = ReportSocket::open();
    let (mq, sink) = (start_mq(&reports.flags("QUEUE", "60")), start_sink(&reports.flags("SINK", "60")));
    let quotes = market.paths(&[market.quotes]);
    feed_paced(mq.address(), &quotes);

    mq.signal(Signal::STOP);
    let orders = vec![market.paths(&[market.orders]).remove(0); 30_000 / market.count(market.orders)];
    let sent = feed(mq.address(), &orders, &["--window", "0"])["sent"];
    mq.signal(Signal::CONT);
    wait_until_all_is_read(&mq);
    // As many again that all arrive, so that the sink is overrun as well.
    let again = feed(mq.address(), &orders, &[])["confirmed"];

    sink.signal(Signal::STOP);
    let to = To::Sockets(&[sink.address()]);
    let worker = start_worker("marketspread", mq.address(), to, &reports.flags("WORKER", "60"));
    let client = Client::to(mq.address());
    wait_until("an empty queue", || open_messages(&client) == 0);
    wait_until_all_is_read(&worker);
    assert_eq!(worker.stop(Signal::TERM).code, Some(0));
    sink.signal(Signal::CONT);
    wait_until_all_is_read(&sink);
    let printed = sink.stop(Signal::TERM).stdout.len() as u64;
    assert_eq!(mq.stop(Signal::TERM).code, Some(0));

    let [queue, worker, sink] = ["QUEUE", "WORKER", "SINK"].map(|vuid| reports.ledger(vuid));
    let dropped = [&queue, &worker, &sink].map(|ledger| ledger.count("kernel_drops"));
    assert!(dropped[0] > 0 && dropped[2] > 0, "nothing ran over: {dropped:?}");
    assert_eq!(sent, 30_000);
    assert_eq!(sent + again, printed + dropped.iter().sum::<u64>(), "{printed} printed, dropped: {dropped:?}");
    assert_eq!(
        queue.sum(&["malformed", "unknown_verb", "refused_messages_max", "refused_bytes_max", "ready", "unsent"]),
        0
    );
    assert_eq!(worker.sum(&["function_errors", "function_panics", "malformed", "stray", "unsent"]), 0);
    assert_eq!(sink.count("received"), printed);
}

/// How many messages a queue has, those included that are with consumers.
fn open_messages(queue: &Client) -> u64 {
    let mut request = Vec::new();
    Ask::Stat.push(1, &mut request);
    queue.send(&request);
    let answer = queue.receive();
    let Ok((_, Answer::Done { body, .. })) = Answer::parse(frame::only(&answer).unwrap()) else {
        panic!("no answer to STAT: {}", answer.escape_ascii())
    };
    let stat: serde_json::Value = serde_json::from_slice(body).unwrap();
    ["ready", "leased"].map(|name| stat["ledger"][name].as_u64().unwrap()).iter().sum()
}
