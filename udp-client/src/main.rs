//! Asks a queue, and tells its answers.

mod args;
mod lines;
mod since;
mod verb_args;

use std::{
    io,
    net::SocketAddr,
    process::ExitCode,
    sync::mpsc::{self, Receiver, Sender},
};

use args::Args;
use lines::Lines;
use protocol::{DATAGRAM_BYTES_MAX, TEXT_BYTES_MAX, frame::TooLong};
use runtime::{
    Address, Clock, Closed, Failure, Input, LineSender, Outlet, Runs, UdpPort, World,
    flags::{LogLevel, Logging},
};
use udp_client::{Asker, Client, Counts, End, Enqueuer, Feed, Verb};
use verb_args::EnqArgs;

fn main() -> ExitCode {
    runtime::run(ask)
}

async fn ask(mut args: Args) -> Result<(), Failure> {
    let _log = Logging { console_log: false, file_log: false, log_level: LogLevel::Info }.start("udp-client")?;
    match args.verb.take().map(|verb| verb.verb(Clock::start().now().since_epoch)) {
        None => ask_as_in_2016(args).await,
        Some(Ok(Ok(verb))) => ask_on_the_link(args, verb).await,
        Some(Ok(Err(enq))) => put_lines(args, enq).await,
        Some(Err(usage)) => Err(Failure::usage(usage)),
    }
}

async fn ask_as_in_2016(args: Args) -> Result<(), Failure> {
    let (failed, failures) = mpsc::channel();
    let input = match args.request() {
        Some(request) if request.len() > TEXT_BYTES_MAX => {
            return Err(Failure::usage(TooLong { bytes: request.len() }.to_string()));
        }
        Some(request) => Input::spawn(move |lines| lines.push(&request)),
        None => Input::spawn(move |lines| read_stdin(lines, Blank::Skipped, &failed)),
    };
    let (queue, port) = port(&args).await?;
    let mut client = Client::new(queue, args.timeout.0, args.style());
    runtime::drive(&mut client, World::new(vec![port]).outlet(Outlet::stdout()).input(input)).await?;
    all_read(&failures)?;
    verdict(client.counts(), &args.address)
}

async fn ask_on_the_link(args: Args, verb: Verb) -> Result<(), Failure> {
    let (queue, port) = port(&args).await?;
    let mut asker = Asker::new(queue, verb, args.timeout.0, args.json, runtime::random_seed());
    runtime::drive(&mut asker, World::new(vec![port]).outlet(Outlet::stdout())).await?;
    for note in asker.notes() {
        runtime::say(note);
    }
    outcome(asker.end(), &args.address)
}

async fn put_lines(args: Args, enq: EnqArgs) -> Result<(), Failure> {
    let (failed, failures) = mpsc::channel();
    let (queue, port) = port(&args).await?;
    let feed = Feed {
        producer: enq.producer.unwrap_or_else(random_producer),
        sequence: enq.sequence,
        ends: enq.end || enq.producer.is_none(),
        datagram_bytes_max: if queue.ip().is_loopback() { DATAGRAM_BYTES_MAX } else { DATAGRAM_BYTES_ON_A_NETWORK },
    };
    let mut enqueuer = Enqueuer::new(queue, feed, args.timeout.0, runtime::random_seed());
    let input = Input::spawn(move |lines| read_stdin(lines, Blank::Kept, &failed));
    runtime::drive(&mut enqueuer, World::new(vec![port]).outlet(Outlet::stdout()).input(input)).await?;
    all_read(&failures)?;
    outcome(enqueuer.end(), &args.address)
}

/// What every path carries in one piece.
const DATAGRAM_BYTES_ON_A_NETWORK: usize = 1_200;

/// Of lines that nobody can go on with.
fn random_producer() -> u128 {
    u128::from(runtime::random_seed()) << 64 | u128::from(runtime::random_seed())
}

async fn port(args: &Args) -> Result<(SocketAddr, UdpPort), Failure> {
    let queue = args.address.resolve_peer().await?;
    Ok((queue, UdpPort::connected(queue, Runs::Apart)?))
}

/// What becomes of lines with nothing in them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blank {
    Kept,
    Skipped,
}

fn read_stdin(requests: &mut LineSender, blank: Blank, failed: &Sender<io::Error>) -> Result<(), Closed> {
    let mut lines = Lines::new(io::stdin().lock());
    loop {
        if lines.may_wait() {
            requests.flush()?;
        }
        match lines.next() {
            Ok(Some(b"")) if blank == Blank::Skipped => {}
            Ok(Some(line)) => requests.push(line)?,
            Ok(None) => return Ok(()),
            Err(error) => {
                // If nobody hears it, the client has ended already.
                let _ = failed.send(error);
                return Ok(());
            }
        }
    }
}

fn all_read(failures: &Receiver<io::Error>) -> Result<(), Failure> {
    failures.try_recv().map_or(Ok(()), |error| Err(Failure::new(format!("cannot read stdin: {error}"))))
}

fn outcome(end: Option<&End>, address: &Address) -> Result<(), Failure> {
    match end {
        Some(End::Done) => Ok(()),
        Some(End::Failed(why)) => Err(Failure::new(why)),
        Some(End::Refused) => Err(nobody_listens(address)),
        Some(End::Interrupted) | None => Err(Failure::new("")), // whoever did it knows
    }
}

fn nobody_listens(address: &Address) -> Failure {
    Failure::new(format!(
        "nobody listens at {address}: start a queue there (mq --address {address}), or give another address"
    ))
}

fn verdict(counts: Counts, address: &Address) -> Result<(), Failure> {
    if counts.is_success() {
        return Ok(());
    }
    if counts.refused > 0 {
        return Err(nobody_listens(address));
    }
    if counts.interrupted > 0 {
        return Err(Failure::new("")); // whoever did it knows
    }
    let ends = [
        ("not answered", counts.timed_out),
        ("refused by a full queue", counts.full),
        ("too long", counts.too_long),
        ("not sent", counts.unsent),
    ];
    let ends = ends.iter().filter(|(_, count)| *count > 0).map(|(end, count)| format!(", {end}: {count}"));
    Err(Failure::new(format!("requests: {}{}", counts.requests, ends.collect::<String>())))
}
