//! What a worker does with a message: the functions, and the registry that finds them by name.
//!
//! A function takes one message, hands what it gives to [`Outputs`], and may refuse the message with a [`Refusal`]. It
//! does no I/O and knows neither queues nor workers. `docs/functions.md` says how to write one.
//!
//! ```
//! let mut double = functions::find("double").unwrap().start();
//! let mut outputs = functions::Outputs::default();
//! double(b"21", &mut outputs).unwrap();
//! assert_eq!(outputs.iter().next(), Some((functions::Choice::FIRST, &b"42"[..])));
//! assert_eq!(double(b"abc", &mut outputs).unwrap_err().to_string(), "Not an integer: 'abc'");
//! ```

pub mod fix;

mod choice;
mod integer;
mod outputs;
mod refusal;
mod registry;

mod double;
mod fixrouter;
mod input_doubler;
mod marketspread;
mod passthrough;
mod pong;

pub use choice::Choice;
pub use outputs::{Draft, Outputs};
pub use refusal::Refusal;
pub use registry::{Entry, STATE_BYTES_MAX, find, names};

/// A function at work, with whatever it remembers. One call handles one message; what it sends goes into the
/// [`Outputs`], behind what is there already.
///
/// # Errors
/// A [`Refusal`] says why the function will not handle this message. It has sent nothing then and remembers nothing of
/// it, and it takes the next message as if this one had never come.
pub type Function = Box<dyn FnMut(&[u8], &mut Outputs) -> Result<(), Refusal> + Send>;
