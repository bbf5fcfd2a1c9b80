//! What travels between two nodes, as bytes and as values. No I/O, no clock, no memory of the past.
//!
//! [`frame`] is the `LHHTTT` envelope, [`verb`] the requests and answers of 2016, [`text`] the forms in which the
//! programs of 2016 wrote numbers and strings. `docs/protocol.md` is the specification that this crate follows.
//!
//! ```
//! let mut datagram = Vec::new();
//! protocol::frame::push(b"Hello World", &mut datagram).unwrap();
//! assert_eq!(datagram, b"1bHello World");
//! assert_eq!(protocol::frame::only(&datagram), Ok(&b"Hello World"[..]));
//! ```

pub mod call;
pub mod frame;
pub mod link;
pub mod text;
pub mod verb;

/// The largest payload of one UDP datagram over IPv4: 65,535 less the IP and UDP headers.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// The longest text of a frame that fits in a datagram: its length takes four hexadecimal digits and `L` takes one.
pub const TEXT_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - 5;

/// The longest message: it must fit in a `PUT:` and, later, in the answer to a GET.
pub const MESSAGE_BYTES_MAX: usize = TEXT_BYTES_MAX - verb::PUT_PREFIX.len();
