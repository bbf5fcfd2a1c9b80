//! Starts a spike.

mod args;

use std::{
    io::{self, BufRead as _, Read as _},
    net::SocketAddr,
    process::ExitCode,
};

use args::Args;
use runtime::{Closed, Failure, Input, LineSender, Outlet, Runs, UdpPort, World};
use spike::{Limits, Plan, Spike};

/// The longest command; what is longer falls into pieces, none of which is one.
const COMMAND_BYTES_MAX: u64 = 1_000;

fn main() -> ExitCode {
    runtime::run(relay)
}

async fn relay(args: Args) -> Result<(), Failure> {
    let (mode, partitions) = (args.mode()?, args.partitions()?);
    let _log = args.logging.start(&format!("spike.{}.{}", args.listen, args.server))?;
    let server = canonical(args.server.resolve_peer().await?);
    // Apart, so that each datagram has its own fate, and none rides through the kernel with others.
    let clients = UdpPort::listen(&args.listen, Runs::Apart, &args.allow).await?;
    let listening = clients.address();
    if is_loop(listening, server) {
        return Err(Failure::usage(format!("{listening} would send to itself: give another OUT_ADDR")));
    }
    let mut ports = vec![clients];
    for _ in 0..args.clients {
        // Connected, so that it is told when nobody listens there.
        ports.push(UdpPort::connected(server, Runs::Apart)?);
    }
    runtime::announce("listening on", listening);

    let mut spike = Spike::new(Plan {
        listening,
        server,
        clients: usize::from(args.clients),
        mode,
        suffers: args.suffers(),
        seed: args.seed.unwrap_or_else(runtime::random_seed),
        delays: args.delay_ms,
        garbling: args.garbling(),
        partitions,
        frames_only: args.frames_only,
        answers: args.answers(),
        prints: args.prints(),
        limits: Limits::USUAL,
    });
    let world = World::new(ports).outlet(Outlet::stdout()).outlet(Outlet::stderr());
    let world = if args.commands { world.input(Input::spawn(read_commands)) } else { world };
    runtime::drive(&mut spike, world).await
}

/// One form for one address, as the runtime gives those of peers.
fn canonical(address: SocketAddr) -> SocketAddr {
    let ip = address.ip().to_canonical();
    if ip.is_ipv4() { SocketAddr::new(ip, address.port()) } else { address }
}

fn is_loop(listening: SocketAddr, server: SocketAddr) -> bool {
    let (here, there) = (listening.ip().to_canonical(), server.ip());
    listening.port() == server.port() && (here == there || here.is_unspecified() && there.is_loopback())
}

fn read_commands(lines: &mut LineSender) -> Result<(), Closed> {
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    while (&mut stdin).take(COMMAND_BYTES_MAX).read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        lines.push(&line)?;
        lines.flush()?;
        line.clear();
    }
    Ok(())
}
