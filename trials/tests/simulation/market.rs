//! Quotes and orders to feed, and what may become of them.

use std::collections::BTreeMap;

use functions::{Outputs, fix::FixMessage};
use serde_json::{Value, value::RawValue};

/// A quote as a line of a file. A wide one stops new orders.
pub(crate) fn quote(symbol: &str, wide: bool) -> String {
    let offer = if wide { "18.60" } else { "16.60" };
    format!(
        "\"8=FIX.4.2\x019=64\x0135=S\x0155={symbol}\x0160=20160317-09:30:00.000\x01117=S\x01132=16.40\x01133={offer}\x0110=098\x01\""
    )
}

/// An order as a line of a file.
pub(crate) fn order(id: &str, symbol: &str, quantity: usize) -> String {
    format!(
        "\"8=FIX.4.2\x019=121\x0135=D\x011=CLIENT{quantity}\x0111={id}\x0121=3\x0138={quantity}.00\x0140=2\x0144=252.85\x0154=1\x0155={symbol}\x0160=20160317-09:30:00.000\x01107=X\x0110=123\x01\""
    )
}

/// The lines that a sink prints for what a market-spread worker may make of `message`: up to four, as the market stands.
/// None for what is no order.
pub(crate) fn possible_lines(message: &[u8]) -> Vec<String> {
    let Ok(FixMessage { symbol: Some(symbol), .. }) = FixMessage::parse(message) else { return Vec::new() };
    let quote = |offer: &[u8]| [b"35=S\x0160=now\x01132=1\x01133=", offer, b"\x0155=", symbol].concat();
    let (narrow, wide) = (quote(b"1"), quote(b"2"));
    let markets: [&[&[u8]]; 4] = [&[], &[&narrow], &[&narrow, message], &[&wide]];
    markets.into_iter().filter_map(|before| answers([before, &[message]].concat()).pop()).collect()
}

/// The lines that a sink prints for what a market-spread worker makes of `messages`, one after another.
pub(crate) fn answers<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Vec<String> {
    let mut function = functions::find("marketspread").unwrap().start();
    let mut outputs = Outputs::default();
    for message in messages {
        // What it refuses gives nothing.
        let _ = function(message.as_ref(), &mut outputs);
    }
    outputs.iter().filter_map(|(_, output)| line_of(output)).collect()
}

/// The line that a sink prints for a datagram, if any. What stands beside the `msg` need only be JSON: garbling has made
/// numbers of it that nothing can hold.
pub(crate) fn line_of(datagram: &[u8]) -> Option<String> {
    let record: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(datagram).ok()?;
    let msg = record.get("msg")?.get();
    Some(match serde_json::from_str(msg) {
        Ok(Value::String(text)) => text.replace('\n', "\\n").replace('\r', "\\r"),
        _ => msg.to_owned(),
    })
}

#[test]
fn an_order_has_four_answers() {
    let verdicts = possible_lines(format!("{}\x01999=1", order("a", "X", 7)).as_bytes());
    assert_eq!(
        verdicts,
        [
            "New Order: (CLIENT7, X, Rejected, 7.0): Rejected: Unknown symbol: X",
            "New Order: (CLIENT7, X, Accepted, 7.0): Accepted",
            "New Order: (CLIENT7, X, Rejected, 7.0): Rejected: Order already exists",
            "New Order: (CLIENT7, X, Rejected, 7.0): Rejected: X - Stop New Orders",
        ]
    );
    assert!(possible_lines(quote("X", true).as_bytes()).is_empty());
}
