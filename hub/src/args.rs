//! The hub's flags.

use std::path::PathBuf;

use runtime::{Address, flags::Logging};

/// Shows what all nodes do, on one page: health, topology, rates, latencies, losses, and where the bottleneck is.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Listen here; port 0 takes a free one, and the line `listening on HOST:PORT` on stderr tells which
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5555")]
    pub(crate) address: Address,
    /// Keep the history in this folder, so that it is back after a restart [default: in memory only]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Keep so many nodes at most; a silent one makes room after an hour
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) nodes_max: u32,
    #[command(flatten)]
    pub(crate) allow: runtime::Allow,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

const EXAMPLES: &str = "\
Examples:
  hub                                                   the page is at http://127.0.0.1:5555/
  hub --data history                                    the history is back after a restart
  metrics-receiver                                      passes the nodes' reports on to it
  mq --metrics-address 127.0.0.1:5001 --stats-period 1  a queue that reports every second
  curl 127.0.0.1:5555/api/v1/state                      all that the page shows, as JSON
  curl 127.0.0.1:5555/metrics                           the same for Prometheus

A node that says nothing for 2.5 of its periods is shown as silent. Exit codes: 0 ended by Ctrl-C
or SIGTERM, 1 failed, 2 bad command line.";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_recipe() {
        Args::command().debug_assert();
        let args = Args::parse_from(["hub"]);
        assert_eq!((args.address.to_string().as_str(), args.nodes_max), ("127.0.0.1:5555", 1_000));
        assert!(Args::try_parse_from(["hub", "--nodes-max", "0"]).is_err());
    }
}
