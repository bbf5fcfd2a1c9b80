//! Where messages arrive, whichever way they came: each is read, printed, measured and counted.

use std::time::Duration;

use machine::{LogLimit, Now};
use metrics::Reports;
use protocol::text;
use serde_json::value::RawValue;

use crate::{Counts, Fault, Messages, printer::Printer, record, record::Record};

/// Takes messages.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) printer: Printer,
    pub(crate) counts: Counts,
    pub(crate) reports: Reports,
    pub(crate) bad_limit: LogLimit,
}

impl Desk {
    pub(crate) fn new(messages: Messages, reports: Reports) -> Self {
        Self { printer: Printer::new(messages), counts: Counts::default(), reports, bad_limit: LogLimit::default() }
    }

    /// Takes messages in their order. A bad one is counted by what is wrong with it, and holds up none of the others.
    pub(crate) fn take<'a>(&mut self, now: Now, messages: impl IntoIterator<Item = &'a [u8]>) {
        let mut measured = 0;
        for message in messages {
            self.counts.received += 1;
            if let Err(fault) = self.take_one(now, message, &mut measured) {
                self.complain(now, message, &fault);
            }
        }
        if measured > 0 {
            self.reports.reporter.count_all_in(now, measured);
            self.reports.reporter.count_all_out(now, measured);
        }
    }

    fn take_one(&mut self, now: Now, message: &[u8], measured: &mut u64) -> Result<(), Fault> {
        let record = Record::parse(message)?;
        match self.printer.print(now.since_start, record.msg.ok_or(Fault::NoMsg)?)? {
            Messages::Printed => self.counts.printed += 1,
            Messages::Silenced => self.counts.silenced += 1,
        }
        self.measure(now, record.feed_time.ok_or(Fault::NoFeedTime)?, measured)
    }

    fn measure(&mut self, now: Now, feed_time: &RawValue, measured: &mut u64) -> Result<(), Fault> {
        let latency_s = now.epoch_seconds() - record::seconds(feed_time).ok_or(Fault::BadFeedTime)?;
        let latency = Duration::try_from_secs_f64(latency_s.max(0.0)).map_err(|_| Fault::BadFeedTime)?;
        *measured += 1;
        self.reports.reporter.record_latency(latency);
        if latency_s < 0.0 {
            return Err(Fault::FutureFeedTime { ahead_s: -latency_s });
        }
        Ok(())
    }

    fn complain(&mut self, now: Now, message: &[u8], fault: &Fault) {
        *match fault {
            Fault::NotUtf8(_) => &mut self.counts.not_utf8,
            Fault::NotJson(_) => &mut self.counts.not_json,
            Fault::NotAnObject => &mut self.counts.not_an_object,
            Fault::NoMsg => &mut self.counts.no_msg,
            Fault::TooDeep => &mut self.counts.too_deep,
            Fault::NoFeedTime => &mut self.counts.no_feed_time,
            Fault::BadFeedTime => &mut self.counts.bad_feed_time,
            Fault::FutureFeedTime { .. } => &mut self.counts.future_feed_time,
        } += 1;
        if let Some(withheld) = self.bad_limit.pass(now) {
            let message = text::shown(message);
            tracing::error!("Error encountered when processing: {message}: {fault} ({withheld} more unsaid)");
        }
    }
}
