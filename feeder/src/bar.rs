//! The progress bar: drawn on stderr, if a person looks at it.

use std::io::IsTerminal as _;

use feeder::{Progress, State};
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

/// What the bar measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    /// So many bytes of files.
    Bytes(u64),
    /// So many messages.
    Messages(u64),
    /// Nobody knows.
    Unknown,
}

/// Whether there is anybody to look at a bar.
pub(crate) fn is_seen() -> bool {
    std::io::stderr().is_terminal()
}

/// Draws each snapshot that comes, until no more do.
pub(crate) async fn show(mut snapshots: mpsc::Receiver<Vec<u8>>, whole: Whole) {
    let Some(first) = snapshots.recv().await else { return };
    let bar = new(whole);
    draw(&bar, whole, &first);
    while let Some(chunk) = snapshots.recv().await {
        draw(&bar, whole, &chunk);
    }
    bar.finish_and_clear();
}

fn new(whole: Whole) -> ProgressBar {
    let (bar, template) = match whole {
        Whole::Bytes(len) | Whole::Messages(len) => (ProgressBar::new(len), "{bar:24} {percent:>3}% {msg}"),
        Whole::Unknown => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    // The template is this file's own; a wrong one would show the bar in its usual form.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn draw(bar: &ProgressBar, whole: Whole, chunk: &[u8]) {
    let Some(Progress { read_bytes, sent, resumed, per_second, state }) = Progress::last(chunk) else { return };
    match whole {
        Whole::Messages(len) => bar.set_position((resumed + sent).min(len)),
        // A file may have grown since it was opened.
        Whole::Bytes(len) => bar.set_position(read_bytes.min(len)),
        Whole::Unknown => bar.tick(),
    }
    let rest = match state {
        State::WaitingForQueue => ", waiting for the queue".to_owned(),
        State::QueueFull => ", waiting: queue full".to_owned(),
        State::Feeding if whole == Whole::Unknown || per_second == 0 => String::new(),
        State::Feeding => format!(", {:#} left", HumanDuration(bar.eta())),
    };
    let before = if resumed > 0 { format!(" ({} before)", HumanCount(resumed)) } else { String::new() };
    bar.set_message(format!("{} sent{before}, {}/s{rest}", HumanCount(sent), HumanCount(per_second)));
}
