//! One message as a sink reads it: a JSON object with a `msg` and a `feed_time`, whatever else it holds.
//!
//! Nothing is copied: both members are slices of what came. Nothing recurses either, so depth costs no stack.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use crate::Fault;

/// The members that count. Of a member that is there twice the last one does, as in Python.
#[derive(Debug, Default)]
pub(crate) struct Record<'a> {
    pub(crate) msg: Option<&'a RawValue>,
    pub(crate) feed_time: Option<&'a RawValue>,
}

impl<'a> Record<'a> {
    pub(crate) fn parse(datagram: &'a [u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(datagram).map_err(Fault::NotUtf8)?;
        serde_json::from_str(text).map_err(|error| match error.classify() {
            // Not at its first token alone: `18PUT:ping` begins as a number does.
            Category::Data if serde_json::from_str::<IgnoredAny>(text).is_ok() => Fault::NotAnObject,
            _ => Fault::NotJson(error),
        })
    }
}

/// Seconds since the epoch. A boolean is no number here, though it is one in Python.
pub(crate) fn seconds(feed_time: &RawValue) -> Option<f64> {
    let number = feed_time.get();
    if !number.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    number.parse().ok().filter(|seconds: &f64| seconds.is_finite())
}

impl<'de: 'a, 'a> Deserialize<'de> for Record<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Record<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object")
    }

    fn visit_map<Members: MapAccess<'de>>(self, mut members: Members) -> Result<Record<'de>, Members::Error> {
        let mut record = Record::default();
        while let Some(name) = members.next_key()? {
            match name {
                Name::Msg => record.msg = Some(members.next_value()?),
                Name::FeedTime => record.feed_time = Some(members.next_value()?),
                Name::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(record)
    }
}

/// A member's name, however it is escaped.
enum Name {
    Msg,
    FeedTime,
    Other,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_identifier(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(match name {
            "msg" => Name::Msg,
            "feed_time" => Name::FeedTime,
            _ => Name::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(datagram: &[u8], msg: &str, feed_time: Option<&str>) {
        let record = Record::parse(datagram).unwrap();
        let shown = datagram.escape_ascii();
        assert_eq!(record.msg.map(RawValue::get), Some(msg), "{shown}");
        assert_eq!(record.feed_time.map(RawValue::get), feed_time, "{shown}");
    }

    #[test]
    fn members_are_found_wherever_they_stand() {
        check(br#"{"msg": "m", "feed_time": 1.5}"#, "\"m\"", Some("1.5"));
        check(
            b" {\"x\":[1,{\"msg\":2}],\"feed_time\":-1e3 , \"msg\" :\t{\"a\": [1, 2]} }\n",
            "{\"a\": [1, 2]}",
            Some("-1e3"),
        );
        check(br#"{"msg": null}"#, "null", None);
        check(br#"{"\u006dsg": 1, "feed\u005ftime": 2}"#, "1", Some("2"));
    }

    #[test]
    fn the_last_of_two_counts() {
        check(br#"{"msg": "a", "feed_time": 1, "msg": "b", "feed_time": "x"}"#, "\"b\"", Some("\"x\""));
    }

    #[test]
    fn only_finite_numbers_are_times() {
        for (feed_time, expected) in [
            ("0", Some(0.0)),
            ("-1.5", Some(-1.5)),
            ("1795288651.3154185", Some(1_795_288_651.315_418_5)),
            ("1e400", None),
            ("\"1\"", None),
            ("true", None),
            ("null", None),
            ("[1]", None),
        ] {
            let raw: &RawValue = serde_json::from_str(feed_time).unwrap();
            assert_eq!(seconds(raw), expected, "{feed_time}");
        }
    }
}
