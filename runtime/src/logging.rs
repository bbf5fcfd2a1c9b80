//! Log lines as in 2016: UTC to the microsecond, then the text. On stderr, or in a file of their own.

use std::{fs, path::PathBuf};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    fmt::{MakeWriter, time::ChronoUtc},
    layer::SubscriberExt as _,
};

use crate::{Failure, flags::Logging};

/// Keeps the log file's writer alive; what is still under way is written when it goes.
#[derive(Debug)]
pub struct LogGuard {
    _file: Option<tracing_appender::non_blocking::WorkerGuard>,
}

impl Logging {
    /// Starts the log. `base` is the file's name without its unique part, such as `MQ.127.0.0.1-10000`.
    ///
    /// # Errors
    /// When the log file cannot be made.
    pub fn start(&self, base: &str) -> Result<LogGuard, Failure> {
        let level = self.log_level.filter();
        // Without --console-log what goes wrong is still said.
        let console_level = if self.console_log { level } else { level.min(LevelFilter::WARN) };
        let console = lines(std::io::stderr, console_level);
        let (file, guard) = if self.file_log {
            let (writer, guard) = tracing_appender::non_blocking(create(base)?);
            (Some(lines(writer, level)), Some(guard))
        } else {
            (None, None)
        };
        // A log that was started before stays: only tests start two in a process.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(file).with(console));
        Ok(LogGuard { _file: guard })
    }
}

fn lines<S, W>(writer: W, level: LevelFilter) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_level(false)
        .with_target(false)
        .with_timer(ChronoUtc::new("%Y-%m-%d %H:%M:%S%.6f".to_owned()))
        .with_filter(level)
}

fn create(base: &str) -> Result<fs::File, Failure> {
    // A name may come from an address with slashes or worse; the file stays in logs/.
    let base = base.replace(['/', '\0'], "_");
    let path = PathBuf::from("logs").join(format!("{base}.{}.log", uuid::Uuid::new_v4()));
    fs::create_dir_all("logs")
        .and_then(|()| fs::File::create_new(&path))
        .map_err(|error| Failure::new(format!("cannot write the log file {}: {error}", path.display())))
}
