//! The receiver's flags.

use std::{fmt, str::FromStr};

use reqwest::Url;
use runtime::{Address, flags::Logging};

/// Prints the reports of nodes and passes them on to a monitoring hub.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Listen here; port 0 takes a free one, and the line `listening on HOST:PORT` on stderr tells which
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5001")]
    pub(crate) address: Address,
    /// Post each report to the hub at this address, as JSON; '' posts nothing
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5555/post")]
    pub(crate) uri: HubUri,
    #[command(flatten)]
    pub(crate) allow: runtime::Allow,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

const EXAMPLES: &str = "\
Examples:
  metrics-receiver                                      text reports, and JSON to a hub at 127.0.0.1:5555
  metrics-receiver --uri ''                             text reports only
  mq --metrics-address 127.0.0.1:5001 --stats-period 1  a node that reports to it every second

Reports go to stdout, in the local time zone. A hub that is down holds nothing up: what cannot be
posted within two seconds is dropped and counted. Exit codes: 0 ended by Ctrl-C or SIGTERM, 1
failed, 2 bad command line.";

/// Where bodies are posted, if anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubUri(pub(crate) Option<Url>);

/// Why a text is no address of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HubUriError {
    /// It cannot be read.
    NoUrl,
    /// The hub is reached in plain HTTP only.
    NotHttp,
}

impl fmt::Display for HubUriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUrl => write!(f, "write http://HOST:PORT/PATH, or '' to post nothing"),
            Self::NotHttp => write!(f, "the hub is reached by http:// only"),
        }
    }
}

impl std::error::Error for HubUriError {}

impl FromStr for HubUri {
    type Err = HubUriError;

    fn from_str(text: &str) -> Result<Self, HubUriError> {
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        let url: Url = text.trim().parse().map_err(|_| HubUriError::NoUrl)?;
        if url.scheme() == "http" { Ok(Self(Some(url))) } else { Err(HubUriError::NotHttp) }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn hubs_as_people_type_them() {
        for (text, expected) in [
            ("http://127.0.0.1:5555/post", Ok(Some("http://127.0.0.1:5555/post"))),
            ("http://[::1]:5555", Ok(Some("http://[::1]:5555/"))),
            ("", Ok(None)),
            (" ", Ok(None)),
            ("127.0.0.1:5555/post", Err(HubUriError::NoUrl)),
            ("http://", Err(HubUriError::NoUrl)),
            ("http://127.0.0.1:99999/", Err(HubUriError::NoUrl)),
            ("https://127.0.0.1/", Err(HubUriError::NotHttp)),
            ("localhost:5555", Err(HubUriError::NotHttp)),
        ] {
            let read = text.parse().map(|HubUri(url)| url.map(String::from));
            assert_eq!(read, expected.map(|url| url.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_recipe() {
        Args::command().debug_assert();
        let args = Args::parse_from(["metrics-receiver"]);
        assert_eq!(args.address.to_string(), "127.0.0.1:5001");
        assert_eq!(args.uri.0.map(String::from).as_deref(), Some("http://127.0.0.1:5555/post"));
        assert_eq!(Args::parse_from(["metrics-receiver", "--uri="]).uri, HubUri(None));
    }
}
