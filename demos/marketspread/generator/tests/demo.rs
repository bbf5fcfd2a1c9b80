//! The demo's committed files are what they claim to be: made by this generator, and answered as `expected.txt` says.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in what its checks share, too"
)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use functions::{Outputs, fix};
use generate_marketspread::{BUILT_IN_SYMBOLS, Symbols, write_mixed, write_nbbo, write_trades};

const SEED: u64 = 2016;

fn demo_file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(demo_file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn built_in() -> Symbols {
    Symbols::read(BUILT_IN_SYMBOLS.as_bytes()).unwrap()
}

fn nbbo(seed: u64, count: u64) -> String {
    let mut out = Vec::new();
    write_nbbo(&built_in(), seed, count, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn trades(seed: u64, count: u64) -> String {
    let mut out = Vec::new();
    write_trades(&built_in(), seed, count, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn mixed(seed: u64, quotes: u64, orders_per_quote: u64) -> String {
    let mut out = Vec::new();
    write_mixed(&built_in(), seed, quotes, orders_per_quote, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn same_seed_same_bytes() {
    assert_eq!(nbbo(7, 500), nbbo(7, 500));
    assert_eq!(trades(7, 500), trades(7, 500));
    assert_ne!(nbbo(7, 500), nbbo(8, 500));
    assert_ne!(trades(7, 500), trades(8, 500));
    assert!(trades(7, 500).starts_with(&trades(7, 100)), "fewer are the first of more");
}

#[test]
fn committed_data_is_what_the_generator_writes() {
    assert!(read("nbbo.msg") == nbbo(SEED, 200), "nbbo.msg differs: make it anew, see the crate's documentation");
    assert!(
        read("trades.msg") == trades(SEED, 2000),
        "trades.msg differs: make it anew, see the crate's documentation"
    );
}

/// A message without the time that tells when it was written.
fn timeless(line: &str) -> Vec<&str> {
    line.split('\x01').filter(|field| !field.starts_with("60=") && !field.starts_with("10=")).collect()
}

#[test]
fn mixed_file_holds_the_same_messages_in_turn() {
    let (mixed, nbbo, trades) = (mixed(7, 50, 3), nbbo(7, 50), trades(7, 150));
    let (mut quotes, mut orders) = (nbbo.lines(), trades.lines());
    for (at, line) in mixed.lines().enumerate() {
        let expected = if at % 4 == 0 { quotes.next() } else { orders.next() };
        assert_eq!(timeless(line), timeless(expected.unwrap()), "line {}", at + 1);
    }
    assert_eq!((quotes.next(), orders.next()), (None, None));
}

/// The body length and the checksum, reckoned from the whole message as FIX defines them.
fn check_line(line: &str) {
    let message = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).expect("quotes");
    let (counted, checksum) = message.split_at(message.rfind("10=").unwrap());
    let body_at = counted.match_indices('\x01').nth(1).unwrap().0 + 1;
    let sum: usize = counted.bytes().map(usize::from).sum();
    assert_eq!(checksum, format!("10={:03}\x01", sum % 256), "{line:?}");
    assert!(counted.starts_with(&format!("8=FIX.4.2\x019={}\x01", counted.len() - body_at)), "{line:?}");

    let parsed = fix::FixMessage::parse(line.as_bytes()).unwrap();
    assert!(parsed.symbol.is_some() && parsed.transact_time.is_some(), "{line:?}");
    match parsed.msg_type.unwrap() {
        fix::MsgType::Nbbo => assert!(parsed.bid_px.unwrap() > 0.0 && parsed.bid_px < parsed.offer_px, "{line:?}"),
        fix::MsgType::Order => {
            assert!(parsed.account.is_some() && parsed.order_id.is_some() && parsed.order_qty.unwrap() >= 100.0);
        }
        other => panic!("{other:?} in {line:?}"),
    }
}

#[test]
fn every_line_is_a_whole_message() {
    for line in nbbo(7, 2000).lines().chain(trades(7, 2000).lines()).chain(mixed(8, 100, 9).lines()) {
        check_line(line);
    }
}

#[test]
fn length_counts_bytes_of_foreign_names() {
    let csv = "symbol,price,spread,name\nÅL,1.5,0.1,Århus Ål og Lås\n";
    let mut out = Vec::new();
    write_mixed(&Symbols::read(csv.as_bytes()).unwrap(), 1, 2, 2, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), 6);
    text.lines().for_each(check_line);
}

/// What a feeder makes of a line: its own time goes into the quotes, behind the message.
fn fed(line: &str, at: usize) -> String {
    let message = line.trim().trim_matches('"').trim_matches('\x01');
    format!("\"{message}\x01999={at}.5\x01\"")
}

/// What a sink prints when one worker gets the whole of these files.
fn printed(files: [&str; 2]) -> Vec<String> {
    let mut marketspread = functions::find("marketspread").unwrap().start();
    let mut outputs = Outputs::default();
    for (at, line) in files.into_iter().flat_map(str::lines).enumerate() {
        marketspread(fed(line, at).as_bytes(), &mut outputs).unwrap();
    }
    let message = |(_, text)| {
        let json: serde_json::Value = serde_json::from_slice(text).unwrap();
        json.get("msg").and_then(serde_json::Value::as_str).unwrap().to_owned()
    };
    outputs.iter().map(message).collect()
}

/// How often each answer occurs, named by its last words without the symbol.
fn tally<'a>(printed: impl Iterator<Item = &'a str>) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::new();
    for line in printed {
        let answer = ["Accepted", "Order already exists", "Unknown symbol", "Stop New Orders"]
            .into_iter()
            .find(|answer| line.ends_with(answer) || line.contains(&format!("Rejected: {answer}: ")));
        *tally.entry(answer.unwrap_or_else(|| panic!("{line:?}"))).or_default() += 1;
    }
    tally
}

#[test]
fn demo_gets_the_expected_answers() {
    let printed = printed([&read("nbbo.msg"), &read("trades.msg")]);
    let text = printed.join("\n") + "\n";
    if !demo_file("expected.txt").exists() {
        fs::write(demo_file("expected.txt"), &text).unwrap();
        panic!("expected.txt was missing and is written: look at it, then run again");
    }
    assert!(read("expected.txt") == text, "the answers differ from expected.txt; remove it to have it made anew");
}

#[test]
fn demo_gets_every_kind_of_answer() {
    let expected = read("expected.txt");
    assert_eq!(
        tally(expected.lines()),
        BTreeMap::from([
            ("Accepted", 1689),
            ("Order already exists", 26),
            ("Unknown symbol", 140),
            ("Stop New Orders", 145)
        ])
    );
}
