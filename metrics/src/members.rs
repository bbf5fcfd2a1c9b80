//! How the members of a report are read: with the tolerance that JSON's one number type asks for, and no more.

use std::{collections::BTreeMap, time::Duration};

use protocol::text;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Number;

use crate::bins::Bins;

/// The longest name (VUID, function) that a report carries, in bytes.
pub const NAME_BYTES_MAX: usize = 1_000;

/// The last second that has a date: 9999-12-31 23:59:59 UTC.
pub const SECOND_MAX: u64 = 253_402_300_799;

/// A count: a whole number of 64 bits. A float without a fraction is one, because some writers of JSON know floats only.
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(from)?;
        whole(&number).map(Self).ok_or_else(|| D::Error::custom(format_args!("{number} is not a count")))
    }
}

fn whole(number: &Number) -> Option<u64> {
    let float = || number.as_f64().filter(|value| value.fract() == 0.0)?.to_string().parse().ok();
    number.as_u64().or_else(float)
}

pub(crate) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Count::deserialize(from).map(|Count(count)| count)
}

pub(crate) fn some_count<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(Option::deserialize(from)?.map(|Count(count)| count))
}

/// Counts under keys of any kind.
pub(crate) fn counts<'de, D, K>(from: D) -> Result<BTreeMap<K, u64>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
{
    Ok(plain(BTreeMap::deserialize(from)?))
}

fn plain<K: Ord>(counts: BTreeMap<K, Count>) -> BTreeMap<K, u64> {
    counts.into_iter().map(|(key, Count(count))| (key, count)).collect()
}

pub(crate) fn bin_counts<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bins<u64>>, D::Error> {
    Ok(Option::deserialize(from)?.map(plain))
}

/// Sums of seconds: none is negative, and none beyond what a [`Duration`] holds.
pub(crate) fn bin_sums<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bins<f64>>, D::Error> {
    let sums = Option::<Bins<f64>>::deserialize(from)?;
    let impossible = |sum: &&f64| Duration::try_from_secs_f64(**sum).is_err();
    match sums.iter().flat_map(BTreeMap::values).find(impossible) {
        Some(sum) => Err(D::Error::custom(format_args!("{} is not a sum of latencies", text::float(*sum)))),
        None => Ok(sums),
    }
}

/// An epoch second that has a date.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Second(u64);

impl<'de> Deserialize<'de> for Second {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.parse() {
            Ok(second) if second <= SECOND_MAX => Ok(Self(second)),
            _ => Err(D::Error::custom(format_args!("`{text}` is not a second"))),
        }
    }
}

pub(crate) fn throughput<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BTreeMap<u64, u64>>, D::Error> {
    let counts: Option<BTreeMap<Second, Count>> = Option::deserialize(from)?;
    Ok(counts.map(|counts| counts.into_iter().map(|(Second(second), Count(count))| (second, count)).collect()))
}

/// Seconds since the epoch, of a time that has a date.
#[expect(clippy::cast_precision_loss, reason = "12 digits fit into 53 bits")]
pub(crate) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let seconds = f64::deserialize(from)?;
    if (0.0..=SECOND_MAX as f64).contains(&seconds) {
        return Ok(seconds);
    }
    Err(D::Error::custom(format_args!("time {} has no date", text::float(seconds))))
}

pub(crate) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    short(String::deserialize(from)?)
}

pub(crate) fn some_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(from)?.map(short).transpose()
}

fn short<E: serde::de::Error>(name: String) -> Result<String, E> {
    if name.len() <= NAME_BYTES_MAX {
        return Ok(name);
    }
    Err(E::custom(format_args!("a name of {} bytes; at most {NAME_BYTES_MAX}", name.len())))
}

/// As much of `name` as a report carries.
pub(crate) fn cut(mut name: String) -> String {
    let end = name.floor_char_boundary(NAME_BYTES_MAX);
    name.truncate(end);
    name
}
