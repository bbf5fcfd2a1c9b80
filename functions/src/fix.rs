//! FIX as the feeders of 2016 wrote it: `tag=value` fields between SOH bytes, read where they lie. Tolerant of what real
//! files hold: quotes around the message, tags it does not know, fragments, a checksum that no longer fits.

use std::fmt;

use memchr::{memchr, memchr2};

use crate::{Refusal, integer::Integer};

/// The byte between two fields.
pub const SOH: u8 = 1;

/// The fields of a message, one after another, copying nothing.
///
/// Each is the text before its first `=`, and its value: the text between that and a second `=`, or `None` where it has
/// no `=` at all.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// The fields of `message`. Even an empty message has one: an empty one.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: Some(message) }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.rest?;
        // Byte by byte: a tag is shorter than a search by vectors takes to start.
        let tag_end = message.iter().position(|&byte| matches!(byte, b'=' | SOH));
        let (tag, value, rest) = match message.split_at_checked(tag_end.unwrap_or(message.len())) {
            Some((tag, [b'=', behind @ ..])) => {
                let (value, rest) = split_value(behind);
                (tag, Some(value), rest)
            }
            Some((tag, [_, rest @ ..])) => (tag, None, Some(rest)),
            _ => (message, None, None),
        };
        self.rest = rest;
        Some((tag, value))
    }
}

/// The value at the start of `bytes`, and what stands behind its field.
fn split_value(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end = memchr2(SOH, b'=', bytes).unwrap_or(bytes.len());
    match bytes.split_at_checked(end) {
        Some((value, [SOH, rest @ ..])) => (value, Some(rest)),
        Some((value, surplus)) => {
            let soh = memchr(SOH, surplus);
            (value, soh.and_then(|at| surplus.get(at + 1..)))
        }
        None => (bytes, None),
    }
}

/// A tag that the functions know; its value is the tag's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// Text.
    MessageId = 0,
    /// Text: who orders.
    Account = 1,
    /// Text.
    BeginString = 8,
    /// An integer, never verified.
    BodyLength = 9,
    /// Text, never verified.
    CheckSum = 10,
    /// Text: the order's id as its client gave it. The programs of 2016 took it for the same thing as tag 37.
    ClientOrderId = 11,
    /// Text.
    HandlInst = 21,
    /// See [`MsgType`].
    MsgType = 35,
    /// Text: the order's id.
    OrderId = 37,
    /// A number: how many are wanted.
    OrderQty = 38,
    /// Text.
    OrdStatus = 39,
    /// Text.
    OrdType = 40,
    /// A number.
    Price = 44,
    /// Text: `1` to buy, `2` to sell.
    Side = 54,
    /// Text: what is traded.
    Symbol = 55,
    /// Text.
    TransactTime = 60,
    /// Text.
    SecurityDesc = 107,
    /// Text.
    QuoteId = 117,
    /// A number: the best price that a buyer offers.
    BidPx = 132,
    /// A number: the best price that a seller asks.
    OfferPx = 133,
    /// A number: when a feeder sent the message, in seconds since the epoch.
    FeedEpoch = 999,
}

impl Tag {
    /// The tag that is written `text`: digits and nothing else, no leading zeros.
    fn of(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"0" => Self::MessageId,
            b"1" => Self::Account,
            b"8" => Self::BeginString,
            b"9" => Self::BodyLength,
            b"10" => Self::CheckSum,
            b"11" => Self::ClientOrderId,
            b"21" => Self::HandlInst,
            b"35" => Self::MsgType,
            b"37" => Self::OrderId,
            b"38" => Self::OrderQty,
            b"39" => Self::OrdStatus,
            b"40" => Self::OrdType,
            b"44" => Self::Price,
            b"54" => Self::Side,
            b"55" => Self::Symbol,
            b"60" => Self::TransactTime,
            b"107" => Self::SecurityDesc,
            b"117" => Self::QuoteId,
            b"132" => Self::BidPx,
            b"133" => Self::OfferPx,
            b"999" => Self::FeedEpoch,
            _ => return None,
        })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self:?})", *self as u16)
    }
}

/// What kind of message it is: the value of tag 35.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MsgType {
    /// `0`
    Heartbeat,
    /// `D`
    Order,
    /// `S`: the national best bid and offer.
    Nbbo,
    /// Any other.
    Unknown,
}

/// A message's fields as far as a function needs them; `None` where the message lacks the tag. Of a tag that comes twice
/// the last one counts, and tags 11 and 37 are one tag.
///
/// Texts are the message's own bytes, which need not be UTF-8. Numbers are finite.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FixMessage<'a> {
    /// Tag 35.
    pub msg_type: Option<MsgType>,
    /// Tag 1.
    pub account: Option<&'a [u8]>,
    /// Tags 11 and 37.
    pub order_id: Option<&'a [u8]>,
    /// Tag 38.
    pub order_qty: Option<f64>,
    /// Tag 55.
    pub symbol: Option<&'a [u8]>,
    /// Tag 60.
    pub transact_time: Option<&'a [u8]>,
    /// Tag 132.
    pub bid_px: Option<f64>,
    /// Tag 133.
    pub offer_px: Option<f64>,
    /// Tag 999, in seconds since the epoch.
    pub feed_epoch: Option<f64>,
}

impl<'a> FixMessage<'a> {
    /// Reads a message. Any bytes are a message, if one without tags.
    ///
    /// # Errors
    /// [`Refusal::TagWithoutValue`] where a known tag has no `=`, [`Refusal::NotANumber`] where a numeric one holds
    /// something else, whether or not its value is needed.
    pub fn parse(message: &'a [u8]) -> Result<Self, Refusal> {
        let mut parsed = Self::default();
        for (tag, value) in Fields::new(message) {
            if let Some(tag) = Tag::of(tag) {
                parsed.take(tag, value.ok_or(Refusal::TagWithoutValue(tag))?)?;
            }
        }
        Ok(parsed)
    }

    fn take(&mut self, tag: Tag, value: &'a [u8]) -> Result<(), Refusal> {
        match tag {
            Tag::MsgType => self.msg_type = Some(msg_type(value)),
            Tag::Account => self.account = Some(value),
            Tag::ClientOrderId | Tag::OrderId => self.order_id = Some(value),
            Tag::OrderQty => self.order_qty = Some(number(tag, value)?),
            Tag::Symbol => self.symbol = Some(value),
            Tag::TransactTime => self.transact_time = Some(value),
            Tag::BidPx => self.bid_px = Some(number(tag, value)?),
            Tag::OfferPx => self.offer_px = Some(number(tag, value)?),
            Tag::FeedEpoch => self.feed_epoch = Some(number(tag, value)?),
            Tag::Price => drop(number(tag, value)?),
            Tag::BodyLength => drop(Integer::parse(value).ok_or_else(|| not_a_number(tag, value))?),
            Tag::MessageId
            | Tag::BeginString
            | Tag::CheckSum
            | Tag::HandlInst
            | Tag::OrdStatus
            | Tag::OrdType
            | Tag::Side
            | Tag::SecurityDesc
            | Tag::QuoteId => {}
        }
        Ok(())
    }
}

fn msg_type(value: &[u8]) -> MsgType {
    match value {
        b"0" => MsgType::Heartbeat,
        b"D" => MsgType::Order,
        b"S" => MsgType::Nbbo,
        _ => MsgType::Unknown,
    }
}

/// A finite decimal number with or without blanks around it.
fn number(tag: Tag, value: &[u8]) -> Result<f64, Refusal> {
    std::str::from_utf8(value.trim_ascii())
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| not_a_number(tag, value))
}

fn not_a_number(tag: Tag, value: &[u8]) -> Refusal {
    Refusal::NotANumber { tag, value: String::from_utf8_lossy(value).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_fields(message: &str, expected: &[(&str, Option<&str>)]) {
        let fields: Vec<_> = Fields::new(message.as_bytes()).collect();
        let expected: Vec<_> = expected.iter().map(|(tag, value)| (tag.as_bytes(), value.map(str::as_bytes))).collect();
        assert_eq!(fields, expected, "{message:?}");
    }

    #[test]
    fn fields_lie_between_soh_bytes() {
        check_fields("", &[("", None)]);
        check_fields("35=D", &[("35", Some("D"))]);
        check_fields("35=D\x01", &[("35", Some("D")), ("", None)]);
        check_fields(
            "\"8=FIX.4.2\x0155=\x01x\x01\"",
            &[("\"8", Some("FIX.4.2")), ("55", Some("")), ("x", None), ("\"", None)],
        );
    }

    #[test]
    fn value_is_cut_at_a_second_equals_sign() {
        check_fields("55=A=B=C\x01=\x01==", &[("55", Some("A")), ("", Some("")), ("", Some(""))]);
    }

    fn check(message: &str, expected: FixMessage<'_>) {
        assert_eq!(FixMessage::parse(message.as_bytes()), Ok(expected), "{message:?}");
    }

    #[test]
    fn order_is_read() {
        check(
            "\"8=FIX.4.2\x019=128\x0135=D\x011=CLIENT7\x0111=Qx\x0121=3\x0138=1337900\x0140=2\x0144=0.74749\x0154=1\
             \x0155=ABC\x0160=20160317-09:30:00.000\x01107=Abc Corp\x0110=039\x01999=1458207000.25\x01\"",
            FixMessage {
                msg_type: Some(MsgType::Order),
                account: Some(b"CLIENT7"),
                order_id: Some(b"Qx"),
                order_qty: Some(1_337_900.0),
                symbol: Some(b"ABC"),
                transact_time: Some(b"20160317-09:30:00.000"),
                feed_epoch: Some(1_458_207_000.25),
                ..FixMessage::default()
            },
        );
    }

    #[test]
    fn quote_is_read() {
        check(
            "8=FIX.4.2\x019=64\x0135=S\x0155=ABC\x0160=now\x01117=S\x01132=16.40\x01133= 16.6 \x0110=098\x01",
            FixMessage {
                msg_type: Some(MsgType::Nbbo),
                symbol: Some(b"ABC"),
                transact_time: Some(b"now"),
                bid_px: Some(16.4),
                offer_px: Some(16.6),
                ..FixMessage::default()
            },
        );
    }

    #[test]
    fn message_types() {
        for (value, msg_type) in [
            ("0", MsgType::Heartbeat),
            ("D", MsgType::Order),
            ("S", MsgType::Nbbo),
            ("s", MsgType::Unknown),
            ("", MsgType::Unknown),
            ("DS", MsgType::Unknown),
        ] {
            check(&format!("35={value}"), FixMessage { msg_type: Some(msg_type), ..FixMessage::default() });
        }
    }

    #[test]
    fn last_of_several_counts() {
        let with_id = |id| FixMessage { order_id: Some(id), ..FixMessage::default() };
        check("37=a\x0111=b", with_id(b"b"));
        check("11=b\x0137=a", with_id(b"a"));
        check("11=b\x0137=a\x0111=c", with_id(b"c"));
        check("38=1\x0138=2", FixMessage { order_qty: Some(2.0), ..FixMessage::default() });
    }

    #[test]
    fn unknown_tags_are_passed_over() {
        check("\"8\x01055=A\x01 55=A\x0155 =A\x01-1=A\x01100\x01hello\x01\"35=D\x01\x01", FixMessage::default());
    }

    fn check_refused(message: &str, expected: &str) {
        let refused = FixMessage::parse(message.as_bytes()).map_err(|refusal| refusal.to_string());
        assert_eq!(refused, Err(expected.to_owned()), "{message:?}");
    }

    #[test]
    fn known_tag_without_a_value_is_refused() {
        check_refused("35", "Tag without a value: 35 (MsgType)");
        check_refused("35=D\x0111\x01", "Tag without a value: 11 (ClientOrderId)");
        for tag in "0 1 8 9 10 11 21 35 37 38 39 40 44 54 55 60 107 117 132 133 999".split(' ') {
            assert!(FixMessage::parse(tag.as_bytes()).is_err(), "{tag}");
        }
    }

    #[test]
    fn text_in_a_numeric_tag_is_refused() {
        check_refused("38=many", "Not a number in tag 38 (OrderQty): 'many'");
        check_refused("38=x\x0138=1", "Not a number in tag 38 (OrderQty): 'x'");
        check_refused("9=64.5", "Not a number in tag 9 (BodyLength): '64.5'");
        for tag in ["9", "38", "44", "132", "133", "999"] {
            for value in ["", " ", "x", "1_000", "nan", "inf", "-infinity", "0x10", "1 2", "1,5"] {
                assert!(FixMessage::parse(format!("{tag}={value}").as_bytes()).is_err(), "{tag}={value}");
            }
            assert!(FixMessage::parse(format!("{tag}= +12 ").as_bytes()).is_ok(), "{tag}");
        }
        assert!(FixMessage::parse(b"44=1e400").is_err());
        assert!(FixMessage::parse(b"44=1\xff").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned(message in any::<Vec<u8>>()) {
            let fields = Fields::new(&message).count();
            prop_assert_eq!(fields, message.split(|&byte| byte == SOH).count());
        }

        #[test]
        fn anything_like_fix_is_read_or_refused(message in "((1|9|11|35|38|44|55|[0-9]{1,3})=?[-+.0-9DSe =é]{0,5}\x01?){0,8}") {
            let parsed = FixMessage::parse(message.as_bytes());
            let known = Fields::new(message.as_bytes()).filter(|(tag, _)| Tag::of(tag).is_some()).count();
            prop_assert!(known > 0 || parsed == Ok(FixMessage::default()));
        }

        #[test]
        fn fields_come_back(fields in proptest::collection::vec(("[0-9]{1,3}", "[^\x01=]{0,12}"), 1..12)) {
            let message = fields.iter().map(|(tag, value)| format!("{tag}={value}")).collect::<Vec<_>>().join("\x01");
            let expected: Vec<_> = fields.iter().map(|(tag, value)| (tag.as_bytes(), Some(value.as_bytes()))).collect();
            prop_assert_eq!(Fields::new(message.as_bytes()).collect::<Vec<_>>(), expected);
        }
    }
}
