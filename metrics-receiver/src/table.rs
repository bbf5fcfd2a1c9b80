//! A report as the text of 2016, byte for byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use chrono::{DateTime, NaiveDateTime, TimeZone};
use metrics::{Bins, Report};

/// The text report; `print` in 2016 added one line end more. Times are those of the clock on the wall in `zone`.
///
/// What a name holds of control characters is escaped, so that no node can write on the operator's terminal.
pub fn text_report<Zone: TimeZone>(report: &Report, zone: &Zone) -> String {
    format!(
        "
    Vertex: {}
    Function: {}
    Measurement Period: ({}, {}]
    Throughput:
        TIME           IN        OUT
{}
    Latency:
{}

    ",
        on_one_line(&report.vuid),
        on_one_line(&report.func),
        date_and_time(report.t0, zone),
        date_and_time(report.t1, zone),
        throughput_rows(report, zone),
        latency_rows(report),
    )
}

/// One row a second, 0 where one side lacks it.
fn throughput_rows<Zone: TimeZone>(report: &Report, zone: &Zone) -> String {
    let (none, none_either) = (BTreeMap::new(), BTreeMap::new());
    let (ins, outs) =
        (report.throughput_in.as_ref().unwrap_or(&none), report.throughput_out.as_ref().unwrap_or(&none_either));
    let count = |counts: &BTreeMap<u64, u64>, second| counts.get(second).copied().unwrap_or(0);
    let seconds: BTreeSet<&u64> = ins.keys().chain(outs.keys()).collect();
    let rows = seconds.into_iter().map(|second| {
        format!("        {:<15}{:<10}{:<10}", time_of_day(*second, zone), count(ins, second), count(outs, second))
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// The heading and one row a bin; nothing at all without bins. A bin that has a sum and no count, or a count and no sum,
/// as the threads of 2016 sometimes left one, shows 0 for what it lacks.
fn latency_rows(report: &Report) -> String {
    let (no_sums, no_counts) = (Bins::new(), Bins::new());
    let sums = report.latency_time.as_ref().unwrap_or(&no_sums);
    let counts = report.latency_count.as_ref().unwrap_or(&no_counts);
    let total: f64 = counts.values().map(|&count| float(count)).sum();
    let mut rows = String::new();
    for bin in sums.keys().chain(counts.keys()).collect::<BTreeSet<_>>() {
        if rows.is_empty() {
            rows = format!("        {:<20}{:<15}{:^6}  {:<9}{:<15}", "BIN (max)", "MEAN", "PCT", "COUNT", "SUM");
        }
        let sum = sums.get(bin).copied().unwrap_or(0.0);
        let count = counts.get(bin).copied().unwrap_or(0);
        let mean = format!("{:.9}", share(sum, float(count)));
        let percent = share(float(count), total) * 100.0;
        let written =
            write!(rows, "\n        {bin:<20}{mean:<15}{percent:>6.2}  {count:<9}{:<15}", format!("{sum:.9}"));
        debug_assert!(written.is_ok(), "a String takes all");
    }
    rows
}

/// `part / whole`, and 0 of nothing.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "percents and means have fewer digits than 53 bits")]
fn float(count: u64) -> f64 {
    count as f64
}

/// `2016-03-17 06:11:08.309974`; without a fraction where it is zero.
fn date_and_time<Zone: TimeZone>(seconds: f64, zone: &Zone) -> String {
    let Some(time) = local(seconds, zone) else {
        return protocol::text::float(seconds);
    };
    let fraction = if time.and_utc().timestamp_subsec_micros() == 0 { "" } else { "%.6f" };
    time.format(&format!("%Y-%m-%d %H:%M:%S{fraction}")).to_string()
}

/// To the nearest microsecond, half to even, as Python rounds.
#[expect(clippy::cast_possible_truncation, reason = "the parts of a time before the year 10000 fit")]
fn local<Zone: TimeZone>(seconds: f64, zone: &Zone) -> Option<NaiveDateTime> {
    let microseconds = (seconds.fract() * 1e6).round_ties_even() as i64;
    let whole = (seconds.trunc() as i64).checked_mul(1_000_000)?;
    let time = DateTime::from_timestamp_micros(whole.checked_add(microseconds)?)?;
    Some(time.with_timezone(zone).naive_local())
}

/// `06:11:09`.
fn time_of_day<Zone: TimeZone>(second: u64, zone: &Zone) -> String {
    let time = i64::try_from(second).ok().and_then(|second| DateTime::from_timestamp(second, 0));
    time.map_or_else(
        || second.to_string(),
        |time| time.with_timezone(zone).naive_local().format("%H:%M:%S").to_string(),
    )
}

/// `text` with its control characters escaped: `\n`, `\x1b`.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let written = write!(out, "\\x{:02x}", u32::from(c));
                debug_assert!(written.is_ok(), "a String takes all");
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, Utc};
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = r#"{"t0": 1458195068.309974, "t1": 1458195070.3131151, "func": "Marketspread", "VUID": "NTg2ODIx",
 "latency_time": {"0.000100000 s": 0.13107776641845703, "0.001000000 s": 0.033399105072021484},
 "latency_count": {"0.000100000 s": 2449, "0.001000000 s": 227},
 "throughput_in": {"1458195069": 1507, "1458195070": 1169},
 "throughput_out": {"1458195069": 1507, "1458195070": 1169}}"#;

    fn shown(datagram: &str) -> String {
        text_report(&Report::parse(datagram.as_bytes()).unwrap(), &Utc)
    }

    #[test]
    fn the_sample_of_2016_byte_for_byte() {
        assert_eq!(
            shown(SAMPLE),
            "\n    Vertex: NTg2ODIx\n    Function: Marketspread\n    Measurement Period: (2016-03-17 06:11:08.309974, 2016-03-17 06:11:10.313115]\n    Throughput:\n        TIME           IN        OUT\n        06:11:09       1507      1507      \n        06:11:10       1169      1169      \n    Latency:\n        BIN (max)           MEAN            PCT    COUNT    SUM            \n        0.000100000 s       0.000053523     91.52  2449     0.131077766    \n        0.001000000 s       0.000147133      8.48  227      0.033399105    \n\n    "
        );
    }

    #[test]
    fn an_idle_period_keeps_its_headings() {
        assert_eq!(
            shown(r#"{"t0": 0, "t1": 1.5, "func": "Sink", "VUID": "S", "throughput_in": null}"#),
            "\n    Vertex: S\n    Function: Sink\n    Measurement Period: (1970-01-01 00:00:00, 1970-01-01 00:00:01.500000]\n    Throughput:\n        TIME           IN        OUT\n\n    Latency:\n\n\n    "
        );
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let report = Report::parse(SAMPLE.as_bytes()).unwrap();
        let text = text_report(&report, &FixedOffset::west_opt(5 * 3_600 + 1_800).unwrap());
        assert!(text.contains("(2016-03-17 00:41:08.309974, 2016-03-17 00:41:10.313115]"), "{text}");
        assert!(text.contains("        00:41:09       1507 "), "{text}");
    }

    #[test]
    fn times_round_as_python_rounds() {
        for (seconds, text) in [
            (0.999_999_6, "1970-01-01 00:00:01"),
            (0.000_000_4, "1970-01-01 00:00:00"),
            (0.000_001_4, "1970-01-01 00:00:00.000001"),
            (1_458_195_068.0, "2016-03-17 06:11:08"),
            (253_402_300_799.0, "9999-12-31 23:59:59"),
        ] {
            assert_eq!(date_and_time(seconds, &Utc), text);
        }
    }

    #[test]
    fn what_one_side_lacks_is_zero() {
        let report = r#"{"t0": 1, "t1": 9, "func": "F", "VUID": "V", "throughput_in": {"9": 5}, "throughput_out": {"8": 1},
            "latency_count": {"1 s": 0, "inf s": 18446744073709551615}, "latency_time": {"0.1 s": 2}}"#;
        let text = shown(report);
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("        ")).collect();
        assert_eq!(
            rows[1..],
            [
                "        00:00:08       0         1         ",
                "        00:00:09       5         0         ",
                "        BIN (max)           MEAN            PCT    COUNT    SUM            ",
                "        0.100000000 s       0.000000000      0.00  0        2.000000000    ",
                "        1.000000000 s       0.000000000      0.00  0        0.000000000    ",
                "        inf s               0.000000000    100.00  184467440737095516150.000000000    ",
            ]
        );
    }

    #[test]
    fn no_name_writes_on_the_terminal() {
        let text = shown(r#"{"t0": 1, "t1": 9, "func": "a\n    Vertex: b", "VUID": "\u001b]0;x\u0007é"}"#);
        assert!(text.contains("    Vertex: \\x1b]0;x\\x07é\n    Function: a\\n    Vertex: b\n"), "{text}");
    }

    proptest! {
        #[test]
        fn every_time_can_be_shown(seconds in 0.0..=253_402_300_799.0_f64, second in any::<u64>(), hours in -23..=23) {
            let zone = FixedOffset::east_opt(hours * 3_600).unwrap();
            prop_assert!(date_and_time(seconds, &zone).len() >= 19);
            prop_assert!(!time_of_day(second, &zone).is_empty());
        }
    }
}
