//! Asks a queue, and tells its answers.

mod args;
mod lines;

use std::{
    io,
    process::ExitCode,
    sync::mpsc::{self, Sender},
};

use args::Args;
use lines::Lines;
use protocol::{TEXT_BYTES_MAX, frame::TooLong};
use runtime::{
    Address, Closed, Failure, Input, LineSender, Outlet, Runs, UdpPort, World,
    flags::{LogLevel, Logging},
};
use udp_client::{Client, Counts};

fn main() -> ExitCode {
    runtime::run(ask)
}

async fn ask(args: Args) -> Result<(), Failure> {
    let _log = Logging { console_log: false, file_log: false, log_level: LogLevel::Info }.start("udp-client")?;
    let (failed, failures) = mpsc::channel();
    let input = match args.request() {
        Some(request) if request.len() > TEXT_BYTES_MAX => {
            return Err(Failure::usage(TooLong { bytes: request.len() }.to_string()));
        }
        Some(request) => Input::spawn(move |lines| lines.push(&request)),
        None => Input::spawn(move |lines| read_stdin(lines, &failed)),
    };
    let queue = args.address.resolve_peer().await?;
    let port = UdpPort::connected(queue, Runs::Apart)?;
    let mut client = Client::new(queue, args.timeout.0, args.style());
    runtime::drive(&mut client, World::new(vec![port]).outlet(Outlet::stdout()).input(input)).await?;
    match failures.try_recv() {
        Ok(error) => Err(Failure::new(format!("cannot read stdin: {error}"))),
        Err(_) => verdict(client.counts(), &args.address),
    }
}

fn read_stdin(requests: &mut LineSender, failed: &Sender<io::Error>) -> Result<(), Closed> {
    let mut lines = Lines::new(io::stdin().lock());
    loop {
        if lines.may_wait() {
            requests.flush()?;
        }
        match lines.next() {
            Ok(Some(b"")) => {}
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

fn verdict(counts: Counts, address: &Address) -> Result<(), Failure> {
    if counts.is_success() {
        return Ok(());
    }
    if counts.refused > 0 {
        return Err(Failure::new(format!(
            "nobody listens at {address}: start a queue there (mq --address {address}), or give another address"
        )));
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
