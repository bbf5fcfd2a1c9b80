//! The verbs of the link, as a shell says them. [`Asker`] asks one thing until it is answered; [`Enqueuer`] puts lines.

mod asker;
mod enqueuer;
mod past;
mod told;
mod verb;

pub use asker::{Asker, End};
pub use enqueuer::{Enqueuer, Feed};
pub use verb::{Letters, Verb, Want};
