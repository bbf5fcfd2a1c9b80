//! A sink behind a network that loses, doubles, garbles and delays: what it prints was sent, and its counts add up.

use std::{net::SocketAddr, time::Duration};

use machine::{STDOUT, Transmit};
use metrics::{Identity, LogOrder, Reports};
use simnet::{Mailbox, Net, NodeId, Weather};
use sink::{Counts, INPUT, METRICS, Messages, Sink};

const MESSAGES: usize = 200;

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 5_000))
}

fn add_sink(net: &mut Net) -> NodeId {
    let identity = Identity { vuid: "SINK".to_owned(), func: "Sink".to_owned(), address: None };
    let to = Transmit { port: METRICS, to: address(3) };
    let start = machine::Now { since_start: Duration::ZERO, since_epoch: Duration::from_hours(1) };
    let reports = Reports::new(identity, LogOrder::CountFirst, Duration::from_secs(1), Some(to), start);
    net.add(Sink::new(7, Messages::Printed, reports), &[(INPUT, address(1)), (METRICS, address(2))])
}

fn datagram(number: usize) -> String {
    format!("{{\"msg\": \"message {number}\", \"feed_time\": 1}}")
}

/// The line that a datagram becomes, as far as a wholly different reader can tell.
fn line(datagram: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(datagram).ok()?;
    match value.get("msg")? {
        serde_json::Value::String(text) => Some(text.replace('\n', "\\n").replace('\r', "\\r")),
        other => Some(other.to_string()),
    }
}

fn check(seed: u64) {
    let mut net = Net::new(seed);
    net.set_weather(Weather::drawn(seed, &Weather::storm()));
    let sink = add_sink(&mut net);
    let mailbox = net.add(Mailbox::default(), &[(INPUT, address(3))]);
    for number in 0..MESSAGES {
        net.send(address(9), address(1), datagram(number).as_bytes());
        net.run_until(net.now() + Duration::from_millis(10));
    }
    let longest_delay = Duration::from_secs(2);
    net.run_until(net.now() + longest_delay);

    let counts = net.node::<Sink>(sink).counts();
    let Counts { received, printed, silenced, not_utf8, not_json, not_an_object, no_msg, too_deep, .. } = counts;
    assert_eq!(received, printed + silenced + not_utf8 + not_json + not_an_object + no_msg + too_deep, "seed {seed}");
    assert_eq!(received, net.counts().delivered - net.node::<Mailbox>(mailbox).received.len() as u64, "seed {seed}");

    let mut sent: Vec<String> = (0..MESSAGES).filter_map(|number| line(datagram(number).as_bytes())).collect();
    sent.extend(net.take_garbled().iter().filter_map(|garbled| line(&garbled.arrived)));
    let written = String::from_utf8_lossy(net.written(sink, STDOUT)).into_owned();
    assert_eq!(written.lines().count() as u64, printed, "seed {seed}");
    for line in written.lines() {
        assert!(sent.iter().any(|sent| sent == line), "seed {seed}: {line:?} was not sent");
    }

    // Once the weather clears, all is printed.
    net.clear_up();
    let before = net.node::<Sink>(sink).counts();
    for number in 0..MESSAGES {
        net.send(address(9), address(1), datagram(number).as_bytes());
    }
    assert!(net.run_until_idle(Duration::from_mins(1)), "seed {seed}");
    assert_eq!(net.node::<Sink>(sink).counts().printed, before.printed + MESSAGES as u64, "seed {seed}");
}

#[test]
fn what_is_printed_was_sent_and_counts_add_up() {
    for seed in 0..100 {
        check(seed);
    }
}

#[test]
fn the_last_report_goes_out() {
    let mut net = Net::new(1);
    let sink = add_sink(&mut net);
    let mailbox = net.add(Mailbox::default(), &[(INPUT, address(3))]);
    net.send(address(9), address(1), datagram(0).as_bytes());
    assert!(net.run_until_idle(Duration::from_secs(1)));
    net.stop(sink);
    assert!(net.run_until_idle(Duration::from_secs(1)));
    let reports = &net.node::<Mailbox>(mailbox).received;
    let ledgers = reports.iter().filter_map(|report| metrics::Report::parse(&report.bytes).ok()?.weir);
    assert_eq!(ledgers.map(|weir| weir.ledger["printed"]).collect::<Vec<_>>(), [1]);
}
