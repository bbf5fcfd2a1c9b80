//! Addresses as people type them: `127.0.0.1:10000`, `[::1]:10000`, `localhost:10000`.

use std::{fmt, net::SocketAddr, str::FromStr};

use crate::Failure;

/// A host, as a number or a name, and a port. Names are looked up when they are needed, not before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressError {
    /// There is no colon before a port.
    NoPort,
    /// There is nothing before the colon.
    NoHost,
    /// The port is no number from 0 to 65535.
    BadPort(String),
    /// More than one colon, and no brackets around the host.
    BareIpv6,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort => write!(f, "no port: write HOST:PORT, such as 127.0.0.1:10000"),
            Self::NoHost => write!(f, "no host: write HOST:PORT, such as 127.0.0.1:10000"),
            Self::BadPort(port) => write!(f, "'{port}' is no port: ports go from 0 to 65535"),
            Self::BareIpv6 => write!(f, "an IPv6 host stands in brackets: [::1]:10000"),
        }
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text.rsplit_once(':').ok_or(AddressError::NoPort)?;
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(host)) => host,
            Some(None) => return Err(AddressError::NoPort),
            None if host.contains(':') => return Err(AddressError::BareIpv6),
            None => host,
        };
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(|| AddressError::BadPort(port.to_owned()))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Address {
    /// The host as it was typed, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Looks the host up; where it has both, IPv4 comes first, because that is where nodes listen by default.
    pub async fn resolve(&self) -> Result<SocketAddr, Failure> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let mut addresses: Vec<SocketAddr> =
            found.map_err(|error| Failure::new(format!("cannot look up '{}': {error}", self.host)))?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        addresses.first().copied().ok_or_else(|| Failure::new(format!("the name '{}' has no address", self.host)))
    }

    /// Looks up where a peer can be reached: as [`resolve`](Self::resolve), and its port may not be 0.
    pub async fn resolve_peer(&self) -> Result<SocketAddr, Failure> {
        if self.port == 0 {
            return Err(Failure::usage(format!("{self}: nobody can be reached at port 0")));
        }
        self.resolve().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, AddressError>) {
        assert_eq!(text.parse::<Address>().map(|address| address.to_string()), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn addresses_as_people_type_them() {
        check("127.0.0.1:10000", Ok("127.0.0.1:10000"));
        check("[::1]:10000", Ok("[::1]:10000"));
        check("localhost:0", Ok("localhost:0"));
        check("127.0.0.1", Err(AddressError::NoPort));
        check("[::1]", Err(AddressError::NoPort));
        check("::1:5000", Err(AddressError::BareIpv6));
        check("[::1:5000", Err(AddressError::NoPort));
        check(":", Err(AddressError::NoHost));
        check("", Err(AddressError::NoPort));
        check("h:", Err(AddressError::BadPort(String::new())));
        check("h:99999", Err(AddressError::BadPort("99999".into())));
        check("h:+5", Err(AddressError::BadPort("+5".into())));
    }
}
