//! The monitoring hub from outside: what it shows of real nodes, what it makes of nonsense and of crowds, and its page in a
//! real browser.
//!
//! The page needs `/usr/bin/chromium`, `node`, and the playwright-core of `hub/page`; `./test.sh` installs them.
//! `WEIR_HUB_HOUR=1 cargo test --release -p trials --test hub` feeds an hour of two hundred nodes, and measures what they cost
//! at one report a second.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a trial fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "the trial speaks HTTP, and is many strangers at once")]

mod bad;
mod browser;
mod crowd;
mod hub;
mod invented;
mod pipeline;
mod scenarios;
mod shown;
mod truth;

const ANY_PORT: &str = "127.0.0.1:0";
