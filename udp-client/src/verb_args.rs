//! The verbs of the link as subcommands.

use std::time::Duration;

use md5::{Digest as _, Md5};
use protocol::link::{GiveBack, Lease, Place, finishes};
use runtime::flags::{Bytes, Count, Period, Seconds};
use udp_client::{Letters, Verb, Want};

use crate::since::Since;

/// What finishes one request may name: more do not fit in a datagram.
const FINISHES_BYTES_MAX: usize = 60_000;

/// One verb.
#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "UPPER")]
pub(crate) enum VerbArgs {
    /// Who are you? Node, boot, room; `"link":false` for a queue of 2016
    #[command(name = "SIZE:?v2")]
    Discover,
    /// How do you stand? Counters and gauges, as JSON
    Stat,
    /// Begin an epoch of a producer, and learn the number of its next message
    #[command(after_help = "Who sent as this producer before is fenced: what it sends from now on is refused.")]
    Open(ProducerArgs),
    /// Put lines as a producer's messages, each of them once
    #[command(after_help = ENQ_EXAMPLES)]
    Enq(EnqArgs),
    /// A producer sends no more: its numbers may be forgotten
    #[command(after_help = "Should it come back, it begins at 0.")]
    End(ProducerArgs),
    /// Take messages on a lease
    #[command(after_help = DEQ_EXAMPLES)]
    Deq(DeqArgs),
    /// Finish leases: their messages are done
    #[command(after_help = ACK_HELP)]
    Ack {
        /// Leases as DEQ names them; `LEASE+0-3+7-7` finishes these of its messages only, counted from 0
        #[arg(value_name = "LEASE", required = true, value_parser = finish)]
        leases: Vec<String>,
    },
    /// Give a lease's messages back
    #[command(after_help = NAK_HELP)]
    Nak(NakArgs),
    /// Keep a lease for longer
    Touch {
        /// A lease as DEQ names it
        #[arg(value_parser = lease)]
        lease: Lease,
        /// How long from now (at most an hour)
        #[arg(long = "lease", value_name = "SECONDS", default_value = "30")]
        lease_time: Period,
    },
    /// Dead letters: messages that a function refused, or that failed five times
    #[command(subcommand, subcommand_value_name = "WHAT", disable_help_subcommand = true)]
    Dead(DeadArgs),
    /// Show what came, be it finished or not; nothing changes
    #[command(after_help = READ_HELP)]
    Read(ReadArgs),
    /// Have a queue deliver again what came, from a place on: an operator's act
    #[command(after_help = SEEK_HELP)]
    Seek(SeekArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReadArgs {
    /// From this offset on [default: the oldest that is kept]
    #[arg(long, value_name = "OFFSET", conflicts_with = "since")]
    from: Option<u64>,
    /// From what came at this time on: an age (90s, 10m, 2h, 7d) or a time (2026-11-22T14:30:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// At most so many [default: all]
    #[arg(long, value_name = "COUNT")]
    messages: Option<Count>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SeekArgs {
    /// From this offset on
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,
    /// From what came at this time on: an age (90s, 10m, 2h, 7d) or a time (2026-11-22T14:30:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ProducerArgs {
    /// Its name: any text, or the 32 hexadecimal digits that a feeder or ENQ tells
    #[arg(long, value_name = "NAME", value_parser = producer)]
    producer: u128,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EnqArgs {
    /// Who sends: any text, or 32 hexadecimal digits [default: drawn at random, and ended]
    #[arg(long, value_name = "NAME", value_parser = producer)]
    pub(crate) producer: Option<u128>,
    /// The number of the first line; what the server has of these is skipped [default: its next]
    #[arg(long, value_name = "N", requires = "producer")]
    pub(crate) sequence: Option<u64>,
    /// The producer sends no more after these lines
    #[arg(long)]
    pub(crate) end: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeqArgs {
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value = "1")]
    messages: Count,
    /// At most so many bytes of them
    #[arg(long, value_name = "BYTES", default_value = "60KiB")]
    bytes: Bytes,
    /// Wait so long for the first
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    wait: Seconds,
    /// How long they are yours (at most an hour)
    #[arg(long = "lease", value_name = "SECONDS", default_value = "30")]
    lease_time: Period,
    /// Finish this lease with the same request (several times, if need be)
    #[arg(long, value_name = "LEASE", value_parser = finish)]
    ack: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NakArgs {
    /// A lease as DEQ names it
    #[arg(value_parser = lease)]
    lease: Lease,
    /// It was not tried: no attempt is counted
    #[arg(long, conflicts_with = "dead")]
    quiet: bool,
    /// It will never do: to the dead letters
    #[arg(long)]
    dead: bool,
    /// Not to be given again before
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    delay: Seconds,
    /// Why, for people: 256 bytes of it are kept with a dead letter
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum DeadArgs {
    /// Show them: offset, attempts, reason and message, with tabs between
    List {
        /// From this offset on
        #[arg(long, value_name = "OFFSET", default_value = "0")]
        from: u64,
        /// At most so many [default: all]
        #[arg(long, value_name = "COUNT")]
        messages: Option<Count>,
    },
    /// Put them back into the queue, at its end; with --all as many as it has room for
    Requeue(LettersArgs),
    /// Drop them for good
    Drop(LettersArgs),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct LettersArgs {
    /// Offsets as `DEAD list` shows them
    #[arg(value_name = "OFFSET")]
    offsets: Vec<u64>,
    /// All there are
    #[arg(long)]
    all: bool,
}

impl LettersArgs {
    fn letters(self) -> Letters {
        if self.all { Letters::All } else { Letters::At(self.offsets) }
    }
}

impl VerbArgs {
    /// What to ask, or what to put. `since_epoch` is now, to which ages are given.
    ///
    /// # Errors
    /// A text for people where too much is asked at once.
    pub(crate) fn verb(self, since_epoch: Duration) -> Result<Result<Verb, EnqArgs>, String> {
        let verb = match self {
            Self::Discover => Verb::Discover,
            Self::Stat => Verb::Stat,
            Self::Open(ProducerArgs { producer }) => Verb::Open { producer },
            Self::End(ProducerArgs { producer }) => Verb::End { producer },
            Self::Enq(args) => return Ok(Err(args)),
            Self::Deq(DeqArgs { messages, bytes, wait, lease_time, ack }) => Verb::Deq(Want {
                messages: messages.0,
                bytes: bytes.0,
                wait: wait.0,
                lease_time: lease_time.0,
                finished: short(ack)?,
            }),
            Self::Ack { leases } => Verb::Ack { leases: short(leases)? },
            Self::Nak(NakArgs { lease, quiet, dead, delay, reason }) => {
                let how = match (quiet, dead) {
                    (_, true) => GiveBack::Dead,
                    (true, _) => GiveBack::Quiet,
                    _ => GiveBack::Counted,
                };
                let reason = if reason.is_empty() { "given back from a shell".to_owned() } else { reason };
                if reason.len() > FINISHES_BYTES_MAX {
                    return Err("--reason: 256 bytes of it are kept".to_owned());
                }
                Verb::Nak { lease, how, delay: delay.0, reason }
            }
            Self::Touch { lease, lease_time } => Verb::Touch { lease, lease_time: lease_time.0 },
            Self::Dead(DeadArgs::List { from, messages }) => {
                Verb::ListDead { from, max: messages.map_or(u64::MAX, |count| count.0) }
            }
            Self::Dead(DeadArgs::Requeue(letters)) => Verb::RequeueDead(letters.letters()),
            Self::Dead(DeadArgs::Drop(letters)) => Verb::DropDead(letters.letters()),
            Self::Read(ReadArgs { from, since, messages }) => {
                Verb::Read { from: place(from, since, since_epoch), max: messages.map_or(u64::MAX, |count| count.0) }
            }
            Self::Seek(SeekArgs { from, since }) => {
                Verb::Seek(place(from, since, since_epoch).unwrap_or(Place::Offset(0)))
            }
        };
        match &verb {
            Verb::Deq(Want { lease_time, .. }) | Verb::Touch { lease_time, .. }
                if *lease_time > Duration::from_hours(1) =>
            {
                Err("--lease: the longest is an hour; TOUCH keeps a lease for longer".to_owned())
            }
            _ => Ok(Ok(verb)),
        }
    }
}

fn place(from: Option<u64>, since: Option<Since>, since_epoch: Duration) -> Option<Place> {
    let since = since.map(|since| Place::Time(since.micros(since_epoch)));
    from.map(Place::Offset).or(since)
}

fn short(leases: Vec<String>) -> Result<Vec<String>, String> {
    let bytes: usize = leases.iter().map(|lease| lease.len() + 1).sum();
    if bytes > FINISHES_BYTES_MAX {
        return Err(format!("leases of {bytes} bytes do not fit in one request: give fewer at once"));
    }
    Ok(leases)
}

/// A name as it travels: 128 bits.
fn producer(name: &str) -> Result<u128, String> {
    if name.is_empty() {
        return Err("a producer needs a name".to_owned());
    }
    let is_id = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = u128::from_str_radix(name, 16).ok().filter(|_| is_id);
    Ok(id.unwrap_or_else(|| u128::from_be_bytes(Md5::digest(name).into())))
}

fn lease(text: &str) -> Result<Lease, String> {
    text.parse().map_err(|_| not_a_lease())
}

/// One entry of a finish list.
fn finish(text: &str) -> Result<String, String> {
    let mut entries = finishes(text.as_bytes());
    match (entries.next(), entries.next()) {
        (Some(Ok(finish)), None) if finish.offsets().next().is_some() && !text.contains(',') => Ok(text.to_owned()),
        _ => Err(not_a_lease()),
    }
}

fn not_a_lease() -> String {
    "a lease is four numbers with dots between, such as 1.0.10.1: DEQ names it".to_owned()
}

const ENQ_EXAMPLES: &str = "\
Each line of stdin is a message; an empty line is an empty message. The server numbers a producer's
messages from 0 and takes each once. Told at the end: how many are stored, how many it had already,
and the number of the next.

Examples:
  udp-client HOST:PORT ENQ < lines                             as a producer of no name
  udp-client HOST:PORT ENQ --producer me < lines               after what `me` has put before
  udp-client HOST:PORT ENQ --producer me --sequence 0 < lines  what is there of these is skipped
  udp-client HOST:PORT ENQ --producer me --end < lines         and `me` may be forgotten
To a sink each line is a JSON object with msg and feed_time.";

const DEQ_EXAMPLES: &str = "\
Messages go to stdout, a line each, and the lease to stderr; --json keeps apart messages that hold
line ends. Until the lease ends they are yours; finish them with ACK, give them back with NAK. What
is neither goes to the next who asks, and after five times to the dead letters. No message in time
is exit code 1.

Examples:
  udp-client HOST:PORT DEQ --messages 10 --lease 60
  udp-client HOST:PORT DEQ --wait 10 --json      {\"lease\": ..., \"offset\": ..., \"attempt\": ...,
                                                 \"origin_us\": ..., \"message\": ...} for each
  taken=$(udp-client HOST:PORT DEQ --json) && work \"$(jq -r .message <<<\"$taken\")\" &&
    udp-client HOST:PORT ACK \"$(jq -r .lease <<<\"$taken\")\"";

const ACK_HELP: &str = "\
Told for each lease: finished; finished late (the lease had ended, and nobody was first); finished
by another attempt, or forgotten; never given by this server. The last two are exit code 1. Asked
twice, the answer is the same.";

const NAK_HELP: &str = "\
Without --quiet and --dead it counts as a failed attempt: the messages go to the next who asks, the
later the more attempts have failed, and after five to the dead letters.

Example:
  udp-client HOST:PORT NAK 1.0.10.1 --dead --reason 'no price'";

const READ_HELP: &str = "\
For a queue that keeps a log (mq --data DIR); finished messages stay in it for as long as its
--keep-age and --keep-bytes say. Messages go to stdout, a line each, up to the end; the offset to go
on from goes to stderr. Nobody else notices: no lease, no count. What is older than what is kept is
exit code 1, and so is any queue in memory.

Examples:
  udp-client HOST:PORT READ                        all that is kept
  udp-client HOST:PORT READ --since 10m --json     {\"offset\": ..., \"origin_us\": ..., \"at_us\": when
                                                   it came, \"message\": ...} for each
  udp-client HOST:PORT READ --from 4711 --messages 1";

const SEEK_HELP: &str = "\
All from that place on is given to consumers again, finished or not; dead letters stay where they
are. What consumers work on now is given again, too, and what they make of it is not taken for
duplicates. Look first with READ where it begins. Told: how many messages are delivered again.

Examples:
  udp-client HOST:PORT SEEK --from 4711
  udp-client HOST:PORT SEEK --since 2026-11-22T14:30:00Z";
