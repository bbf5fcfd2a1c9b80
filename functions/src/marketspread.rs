//! `Marketspread`: accepts orders for what is quoted with a small spread, once each, and rejects the others.
//!
//! NBBO messages tell the bid and the offer of a symbol and give nothing; each order gives one JSON text for a sink. The
//! rules and texts are those of 2016.

use std::collections::{HashMap, HashSet};

use protocol::text;

use crate::{
    Function, Outputs, Refusal,
    fix::{FixMessage, MsgType, Tag},
};

/// A spread of this share of the middle price, and of this much money, stops new orders.
const STOP_SPREAD: f64 = 0.05;

/// What it remembers takes about so many bytes at the most; see [`Room`].
pub(crate) fn marketspread(state_bytes_max: u64) -> Function {
    let mut state = Marketspread { room: Room { bytes_max: state_bytes_max, taken: 0 }, ..Marketspread::default() };
    Box::new(move |message, outputs| state.handle(message, outputs))
}

#[derive(Debug, Default)]
struct Marketspread {
    market: Market,
    accepted: OrderIds,
    room: Room,
    /// The texts of one answer; kept for their room.
    line: String,
    json: String,
}

impl Marketspread {
    fn handle(&mut self, message: &[u8], outputs: &mut Outputs) -> Result<(), Refusal> {
        let message = FixMessage::parse(message)?;
        match need(message.msg_type, Tag::MsgType)? {
            MsgType::Nbbo => self.market.quote(&Nbbo::of(&message)?, &mut self.room),
            MsgType::Order => self.answer(&Order::of(&message)?, outputs),
            MsgType::Heartbeat | MsgType::Unknown => Ok(()),
        }
    }

    fn answer(&mut self, order: &Order<'_>, outputs: &mut Outputs) -> Result<(), Refusal> {
        let verdict = self.judge(order)?;
        self.line.clear();
        push_line(order, verdict, &mut self.line);
        self.json.clear();
        self.json.push_str("{\"msg\": ");
        text::push_json_string(&self.line, &mut self.json);
        self.json.push_str(", \"feed_time\": ");
        text::push_float(order.feed_epoch, &mut self.json);
        self.json.push('}');
        outputs.send(self.json.as_bytes());
        Ok(())
    }

    /// Whether the id was accepted before is the first test, whatever has become of the symbol since. It is asked last,
    /// where one look-up answers it and remembers the id. An order that cannot be remembered is not accepted: its id could
    /// come again.
    fn judge(&mut self, order: &Order<'_>) -> Result<Verdict, Refusal> {
        Ok(match self.market.stops(order.symbol) {
            Some(false) if !self.room.has(order.id) => {
                if !self.accepted.contains(order.id) {
                    return Err(self.room.refusal());
                }
                Verdict::AlreadyExists
            }
            Some(false) if self.accepted.insert(order.id) => {
                self.room.take(order.id);
                Verdict::Accepted
            }
            Some(true) if !self.accepted.contains(order.id) => Verdict::Stopped,
            None if !self.accepted.contains(order.id) => Verdict::UnknownSymbol,
            _ => Verdict::AlreadyExists,
        })
    }
}

/// The room for what is remembered: each id and each symbol takes its own length and [`Self::OVERHEAD_BYTES`].
#[derive(Debug, Default)]
struct Room {
    bytes_max: u64,
    taken: u64,
}

impl Room {
    /// A place in a hash table takes 17 to 28 bytes, that table is up to half empty, and while it grows there are two.
    const OVERHEAD_BYTES: u64 = 64;

    fn cost(text: &[u8]) -> u64 {
        Self::OVERHEAD_BYTES + text.len() as u64
    }

    fn has(&self, text: &[u8]) -> bool {
        self.taken + Self::cost(text) <= self.bytes_max
    }

    fn take(&mut self, text: &[u8]) {
        self.taken += Self::cost(text);
    }

    fn refusal(&self) -> Refusal {
        Refusal::StateFull { bytes_max: self.bytes_max }
    }
}

fn need<T>(value: Option<T>, tag: Tag) -> Result<T, Refusal> {
    value.ok_or(Refusal::MissingTag(tag))
}

struct Nbbo<'a> {
    symbol: &'a [u8],
    bid: f64,
    offer: f64,
}

impl<'a> Nbbo<'a> {
    fn of(message: &FixMessage<'a>) -> Result<Self, Refusal> {
        let symbol = need(message.symbol, Tag::Symbol)?;
        // Nothing depends on the time, but a quote without one was never a quote.
        need(message.transact_time, Tag::TransactTime)?;
        Ok(Self { symbol, bid: need(message.bid_px, Tag::BidPx)?, offer: need(message.offer_px, Tag::OfferPx)? })
    }

    fn stops_new_orders(&self) -> bool {
        let mid = f64::midpoint(self.bid, self.offer);
        let spread = self.offer - self.bid;
        mid <= 0.0 || (spread / mid >= STOP_SPREAD && spread >= STOP_SPREAD)
    }
}

struct Order<'a> {
    account: &'a [u8],
    id: &'a [u8],
    symbol: &'a [u8],
    quantity: Option<f64>,
    feed_epoch: f64,
}

impl<'a> Order<'a> {
    fn of(message: &FixMessage<'a>) -> Result<Self, Refusal> {
        Ok(Self {
            symbol: need(message.symbol, Tag::Symbol)?,
            account: need(message.account, Tag::Account)?,
            feed_epoch: need(message.feed_epoch, Tag::FeedEpoch)?,
            // In 2016 an order without an id was an order all the same, and all of them shared that id.
            id: message.order_id.unwrap_or_default(),
            quantity: message.order_qty,
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Accepted,
    AlreadyExists,
    UnknownSymbol,
    Stopped,
}

/// `New Order: (CLIENT35, TSLA, Accepted, 4000.0): Accepted`, or why not.
fn push_line(order: &Order<'_>, verdict: Verdict, line: &mut String) {
    let account = String::from_utf8_lossy(order.account);
    let symbol = String::from_utf8_lossy(order.symbol);
    let status = if matches!(verdict, Verdict::Accepted) { "Accepted" } else { "Rejected" };
    push_all(line, &["New Order: (", &account, ", ", &symbol, ", ", status, ", "]);
    match order.quantity {
        Some(quantity) => text::push_float(quantity, line),
        None => line.push_str("None"),
    }
    push_all(line, &["): ", status]);
    match verdict {
        Verdict::Accepted => {}
        Verdict::AlreadyExists => line.push_str(": Order already exists"),
        Verdict::UnknownSymbol => push_all(line, &[": Unknown symbol: ", &symbol]),
        Verdict::Stopped => push_all(line, &[": ", &symbol, " - Stop New Orders"]),
    }
}

fn push_all(line: &mut String, parts: &[&str]) {
    for part in parts {
        line.push_str(part);
    }
}

/// Whether each quoted symbol is stopped. Nothing else of a quote is ever asked for.
#[derive(Debug, Default)]
struct Market {
    stops: HashMap<Box<[u8]>, bool>,
}

impl Market {
    fn quote(&mut self, nbbo: &Nbbo<'_>, room: &mut Room) -> Result<(), Refusal> {
        let stops = nbbo.stops_new_orders();
        if let Some(known) = self.stops.get_mut(nbbo.symbol) {
            *known = stops;
        } else if room.has(nbbo.symbol) {
            room.take(nbbo.symbol);
            self.stops.insert(nbbo.symbol.into(), stops);
        } else {
            return Err(room.refusal());
        }
        Ok(())
    }

    /// `None` for a symbol that was never quoted.
    fn stops(&self, symbol: &[u8]) -> Option<bool> {
        self.stops.get(symbol).copied()
    }
}

/// A set of order ids. It grows with every accepted order, up to its [`Room`], so the usual short id takes 17 bytes and no allocation of
/// its own.
///
/// Ids come from outside: the standard library's keyed hash keeps chosen ids from making the set slow.
#[derive(Debug, Default)]
struct OrderIds {
    short: HashSet<u128>,
    long: HashSet<Box<[u8]>>,
}

impl OrderIds {
    fn contains(&self, id: &[u8]) -> bool {
        match packed(id) {
            Some(packed) => self.short.contains(&packed),
            None => self.long.contains(id),
        }
    }

    /// Whether the id is new.
    fn insert(&mut self, id: &[u8]) -> bool {
        match packed(id) {
            Some(packed) => self.short.insert(packed),
            None => self.long.insert(id.into()),
        }
    }
}

/// An id of up to 15 bytes as one number: its length, then its bytes.
fn packed(id: &[u8]) -> Option<u128> {
    let mut bytes = [0; 16];
    let (len, text) = bytes.split_first_mut()?;
    text.get_mut(..id.len())?.copy_from_slice(id);
    *len = u8::try_from(id.len()).ok()?;
    Some(u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NBBO: &str = "35=S\x0160=20160317-09:30:00.000";
    const ORDER: &str = "35=D\x011=CLIENT7\x01999=1458207000.25";

    fn nbbo(symbol: &str, bid: &str, offer: &str) -> String {
        format!("\"8=FIX.4.2\x019=64\x01{NBBO}\x0155={symbol}\x01117=S\x01132={bid}\x01133={offer}\x0110=098\x01\"")
    }

    fn order(id: &str, symbol: &str, quantity: &str) -> String {
        format!("\"8=FIX.4.2\x019=128\x01{ORDER}\x0111={id}\x0155={symbol}\x0138={quantity}\x0110=039\x01\"")
    }

    /// Feeds each message to one function; beside it stands what it gives: nothing, a text, or a refusal with a `!`.
    fn check(messages: &[(&[u8], &str)]) {
        check_within(crate::STATE_BYTES_MAX, messages);
    }

    /// The same, of a function with room for so much.
    fn check_within(state_bytes_max: u64, messages: &[(&[u8], &str)]) {
        let mut function = marketspread(state_bytes_max);
        let mut outputs = Outputs::default();
        for (message, expected) in messages {
            outputs.clear();
            let answer = match function(message, &mut outputs) {
                Ok(()) => outputs.iter().map(|(_, text)| String::from_utf8(text.to_vec()).unwrap()).collect(),
                Err(refusal) => {
                    assert!(outputs.is_empty(), "what refuses sends nothing");
                    format!("! {refusal}")
                }
            };
            assert_eq!(answer, *expected, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn accepted_order_is_told_once() {
        check(&[
            (nbbo("TSLA", "16.40", "16.60").as_bytes(), ""),
            (
                order("a", "TSLA", "4000").as_bytes(),
                r#"{"msg": "New Order: (CLIENT7, TSLA, Accepted, 4000.0): Accepted", "feed_time": 1458207000.25}"#,
            ),
            (
                order("a", "TSLA", "5000").as_bytes(),
                r#"{"msg": "New Order: (CLIENT7, TSLA, Rejected, 5000.0): Rejected: Order already exists", "feed_time": 1458207000.25}"#,
            ),
        ]);
    }

    /// Feeds each message to one function; beside it stands what follows the four items of the `msg`.
    fn check_verdicts(messages: &[(&str, &str)]) {
        let mut function = marketspread(crate::STATE_BYTES_MAX);
        let mut outputs = Outputs::default();
        for (message, expected) in messages {
            outputs.clear();
            function(message.as_bytes(), &mut outputs).unwrap();
            let texts: String = outputs.iter().map(|(_, text)| String::from_utf8(text.to_vec()).unwrap()).collect();
            let verdict =
                texts.split_once("): ").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(text, _)| text);
            assert_eq!(verdict, *expected, "{message:?}");
        }
    }

    #[test]
    fn tests_have_their_order() {
        check_verdicts(&[
            (&order("a", "BTU", "1"), "Rejected: Unknown symbol: BTU"),
            (&nbbo("BTU", "1", "1.06"), ""),
            (&order("a", "BTU", "1"), "Rejected: BTU - Stop New Orders"),
            (&nbbo("BTU", "1", "1.05"), ""),
            (&order("a", "BTU", "1"), "Accepted"),
            (&nbbo("BTU", "1", "1.06"), ""),
            (&order("a", "BTU", "1"), "Rejected: Order already exists"),
            (&order("a", "NONE", "1"), "Rejected: Order already exists"),
            (&order("b", "NONE", "1"), "Rejected: Unknown symbol: NONE"),
            (&nbbo("BTU", "1", "1"), ""),
            (&order("a", "BTU", "1"), "Rejected: Order already exists"),
            (&order("b", "BTU", "1"), "Accepted"),
        ]);
    }

    #[test]
    fn wide_spread_stops_new_orders() {
        for (bid, offer, stops) in [
            ("16.40", "16.60", false),
            ("1.00", "1.05", false),
            ("0.95", "1.00", true),
            ("0.90", "0.95", false),
            ("0.50", "0.55", true),
            ("100", "105", false),
            ("100", "105.13", true),
            ("19.5", "20.5", true),
            ("0.10", "0.15", false),
            ("1", "1.06", true),
            ("10", "9", false),
            ("2", "2", false),
            ("0", "0", true),
            ("-1", "1", true),
            ("-3", "-2", true),
        ] {
            let verdict = if stops { "Rejected: X - Stop New Orders" } else { "Accepted" };
            check_verdicts(&[(&nbbo("X", bid, offer), ""), (&order("a", "X", "1"), verdict)]);
        }
    }

    #[test]
    fn quantities_are_floats_of_python() {
        for (quantity, text) in [
            ("38=4000", "4000.0"),
            ("38=0.1", "0.1"),
            ("38=10000000000000000", "1e+16"),
            ("38=0.00001", "1e-05"),
            ("38=1337900", "1337900.0"),
            ("38=-2.50", "-2.5"),
            ("", "None"),
        ] {
            let order = format!("{ORDER}\x0155=BTU\x01{quantity}");
            let expected = format!(
                r#"{{"msg": "New Order: (CLIENT7, BTU, Rejected, {text}): Rejected: Unknown symbol: BTU", "feed_time": 1458207000.25}}"#
            );
            check(&[(order.as_bytes(), &expected)]);
        }
    }

    #[test]
    fn text_is_escaped_to_ascii() {
        check(&[
            (
                "35=D\x011=Zoë \"Z\"\x0155=\u{1d407}\x01999=1e-5".as_bytes(),
                r#"{"msg": "New Order: (Zo\u00eb \"Z\", \ud835\udc07, Rejected, None): Rejected: Unknown symbol: \ud835\udc07", "feed_time": 1e-05}"#,
            ),
            (
                b"35=D\x011=\xff\x0155=\xfe\x01999=0",
                r#"{"msg": "New Order: (\ufffd, \ufffd, Rejected, None): Rejected: Unknown symbol: \ufffd", "feed_time": 0.0}"#,
            ),
        ]);
    }

    #[test]
    fn other_messages_give_nothing() {
        check(&[(b"35=0", ""), (b"35=A\x0155=X", ""), (b"35=", "")]);
    }

    #[test]
    fn missing_tags_are_named() {
        check(&[
            (b"", "! Missing tag: 35 (MsgType)"),
            (b"hello", "! Missing tag: 35 (MsgType)"),
            (b"35=S\x0160=t\x01132=1\x01133=1", "! Missing tag: 55 (Symbol)"),
            (b"35=S\x0155=X\x01132=1\x01133=1", "! Missing tag: 60 (TransactTime)"),
            (b"35=S\x0155=X\x0160=t\x01133=1", "! Missing tag: 132 (BidPx)"),
            (b"35=S\x0155=X\x0160=t\x01132=1", "! Missing tag: 133 (OfferPx)"),
            (b"35=D\x011=ME\x01999=1", "! Missing tag: 55 (Symbol)"),
            (b"35=D\x0155=X\x01999=1", "! Missing tag: 1 (Account)"),
            (b"35=D\x0155=X\x011=ME", "! Missing tag: 999 (FeedEpoch)"),
        ]);
    }

    #[test]
    fn what_is_refused_is_not_remembered() {
        check(&[
            (b"35=S\x0155=X\x0160=t\x01132=1\x01133=one", "! Not a number in tag 133 (OfferPx): 'one'"),
            (
                b"35=D\x0155=X\x011=ME\x0111=a\x01999=1",
                r#"{"msg": "New Order: (ME, X, Rejected, None): Rejected: Unknown symbol: X", "feed_time": 1.0}"#,
            ),
            (b"35=S\x0155=X\x0160=t\x01132=1\x01133=1", ""),
            (b"35=D\x0155=X\x011=ME\x0111=a", "! Missing tag: 999 (FeedEpoch)"),
            (
                b"35=D\x0155=X\x011=ME\x0111=a\x01999=1",
                r#"{"msg": "New Order: (ME, X, Accepted, None): Accepted", "feed_time": 1.0}"#,
            ),
        ]);
    }

    #[test]
    fn orders_without_an_id_share_one() {
        let nameless = format!("{ORDER}\x0155=X");
        check_verdicts(&[
            (&nbbo("X", "1", "1"), ""),
            (&nameless, "Accepted"),
            (&nameless, "Rejected: Order already exists"),
        ]);
    }

    #[test]
    fn full_memory_refuses_what_it_would_have_to_remember_and_answers_all_else_rightly() {
        let no_room = "! No room to remember more: --state-bytes-max is 200";
        let answer = |symbol: &str, verdict: &str| {
            let status = verdict.split(':').next().unwrap();
            format!(
                r#"{{"msg": "New Order: (CLIENT7, {symbol}, {status}, 1.0): {verdict}", "feed_time": 1458207000.25}}"#
            )
        };
        // A symbol of one byte and two ids of two take 65 + 66 + 66 of 200 bytes.
        check_within(
            200,
            &[
                (nbbo("X", "1", "1").as_bytes(), ""),
                (order("a1", "X", "1").as_bytes(), &answer("X", "Accepted")),
                (order("a2", "X", "1").as_bytes(), &answer("X", "Accepted")),
                (order("a3", "X", "1").as_bytes(), no_room),
                (order("a1", "X", "1").as_bytes(), &answer("X", "Rejected: Order already exists")),
                (order("a3", "Y", "1").as_bytes(), &answer("Y", "Rejected: Unknown symbol: Y")),
                (nbbo("Y", "1", "1").as_bytes(), no_room),
                (nbbo("X", "1", "2").as_bytes(), ""),
                (order("a3", "X", "1").as_bytes(), &answer("X", "Rejected: X - Stop New Orders")),
                (nbbo("X", "1", "1").as_bytes(), ""),
                (order("a3", "X", "1").as_bytes(), no_room),
            ],
        );
    }

    proptest! {
        #[test]
        fn ids_are_told_apart(ids in proptest::collection::vec(proptest::collection::vec(0..3_u8, 0..18), 0..60)) {
            let mut known = OrderIds::default();
            let mut model = HashSet::new();
            for id in &ids {
                prop_assert_eq!(known.contains(id), model.contains(id));
                prop_assert_eq!(known.insert(id), model.insert(id.clone()));
            }
        }

        #[test]
        fn any_bytes_are_handled_or_refused(messages in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let mut function = marketspread(crate::STATE_BYTES_MAX);
            let mut outputs = Outputs::default();
            for message in &messages {
                let _ = function(message, &mut outputs);
            }
        }
    }
}
