//! Who may reach a node that listens off loopback.
//!
//! The verbs of 2016 know no password, and a five-byte GET draws up to 65 kB: a queue that anybody can reach is a reflector
//! for forged requests, and each of those takes a message away. So it is refused to listen off loopback without saying
//! whom to hear.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use ipnet::IpNet;

use crate::{Address, Failure};

/// A range of addresses: `192.168.1.0/24`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr(IpNet);

/// The text is no range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CidrError;

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "give a range of addresses, such as 192.168.1.0/24, fd00::/8 or 10.0.0.7")
    }
}

impl std::error::Error for CidrError {}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| CidrError)
    }
}

/// Whom a node that listens hears.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Access")]
pub struct Allow {
    /// Hear these addresses only (several times: all of them); must be given to listen off loopback
    #[arg(long, value_name = "CIDR")]
    pub allow: Vec<Cidr>,
}

impl Allow {
    /// Whether a peer there is heard. Without ranges all are, because only loopback can be listened on then.
    pub fn hears(&self, from: SocketAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|range| range.0.contains(&from.ip()))
    }

    /// Whether the node may listen there at all; `danger` says what whoever reaches it could do.
    ///
    /// # Errors
    /// When it would listen off loopback while nobody in particular is allowed.
    pub fn check(&self, address: &Address, bind_to: SocketAddr, danger: &str) -> Result<(), Failure> {
        if bind_to.ip().is_loopback() || !self.allow.is_empty() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{address} is not on loopback: whoever reaches it {danger}; say whom to hear with --allow CIDR, such as \
             --allow 192.168.1.0/24"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(ranges: &[&str]) -> Allow {
        Allow { allow: ranges.iter().map(|range| range.parse().unwrap()).collect() }
    }

    #[test]
    fn only_what_is_allowed_is_heard() {
        let allow = allow(&["192.168.1.0/24", "::1", "10.0.0.7"]);
        for (from, heard) in [
            ("192.168.1.200:5", true),
            ("192.168.2.1:5", false),
            ("10.0.0.7:1", true),
            ("[::1]:9", true),
            ("[::2]:9", false),
        ] {
            assert_eq!(allow.hears(from.parse().unwrap()), heard, "{from}");
        }
    }

    #[test]
    fn off_loopback_a_range_must_be_given() {
        let address: Address = "0.0.0.0:1".parse().unwrap();
        let bind_to = "0.0.0.0:1".parse().unwrap();
        assert!(Allow::default().check(&address, bind_to, "").is_err());
        assert!(allow(&["127.0.0.0/8"]).check(&address, bind_to, "").is_ok());
        assert!(Allow::default().check(&address, "127.0.0.2:1".parse().unwrap(), "").is_ok());
    }

    #[test]
    fn ranges_as_people_type_them() {
        for text in ["", "x", "1.2.3.4/33", "1.2.3"] {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError), "{text}");
        }
    }
}
