//! Starts a worker.

mod args;

use std::{net::SocketAddr, process::ExitCode};

use args::{Args, OnErrorDo, OutputType, RouteBy};
use link::Guarantee;
use machine::Transmit;
use metrics::{Identity, LogOrder, Reports};
use runtime::{Address, Clock, Failure, Runs, UdpPort, World};
use worker::{LinkPlan, METRICS, OnError, OutputKind, Plan, Route, Worker};

fn main() -> ExitCode {
    runtime::run(work)
}

async fn work(args: Args) -> Result<(), Failure> {
    let function = functions::find(&args.function).ok_or_else(|| {
        let known: Vec<&str> = functions::names().collect();
        Failure::usage(format!("unknown function '{}'; there are: {}", args.function, known.join(", ")))
    })?;
    let (inputs, outputs) = (listed(&args.input_address), listed(&args.output_address));
    let first_input = args.input_address.first().map(Address::to_string).unwrap_or_default();
    let _log = args.logging.start(&format!("{}.{first_input}.{outputs}", function.name()))?;
    let vuid = args.reporting.vuid();
    tracing::info!("Starting worker...");
    tracing::info!("VUID: {vuid}");
    tracing::info!("FUNC_NAME: {}", function.name());
    tracing::info!("input_addr: {}", if args.input_address.len() == 1 { &first_input } else { &inputs });
    tracing::info!("output_addr: {outputs}");
    if args.output_type.is_none() {
        tracing::warn!("--output-type is not given: outputs leave as bare datagrams, which a queue would drop");
    }

    if function.keeps_state() {
        let name = function.name();
        tracing::info!(
            "{name} remembers messages, and forgets them with this process: across its death, at-least-once"
        );
    }
    let plan = plan(&args, function.name()).await?;
    let output_runs = match plan.output_kind {
        OutputKind::Queue => Runs::Joined,
        OutputKind::Socket => Runs::Apart,
    };
    let input = UdpPort::towards(&plan.inputs, Runs::Joined)?;
    let output = UdpPort::towards(&plan.outputs, output_runs)?;
    let (metrics, metrics_to) = args.reporting.port().await?;
    let clock = Clock::start();
    let identity = Identity { vuid, func: function.name().to_owned(), address: None };
    let metrics_to = metrics_to.map(|to| Transmit { port: METRICS, to });
    let reports = Reports::new(identity, LogOrder::TimeFirst, args.reporting.stats_period.0, metrics_to, clock.now());
    let mut worker = Worker::new(plan, function.start_within(args.state_bytes_max.0), reports);
    runtime::drive(&mut worker, World::new(vec![input, output, metrics]).clock(clock)).await?;
    if let Some(failure) = worker.failure() {
        return Err(Failure::new(failure));
    }
    match worker.stopped_by() {
        Some(refusal) => Err(Failure::new(format!("stopped at a message that the function refuses: {refusal}"))),
        None => Ok(()),
    }
}

async fn plan(args: &Args, function: &str) -> Result<Plan, Failure> {
    let inputs = resolve(&args.input_address).await?;
    let outputs = resolve(&args.output_address).await?;
    let output_kind = match args.output_type {
        Some(OutputType::Queue) => OutputKind::Queue,
        Some(OutputType::Socket) | None => OutputKind::Socket,
    };
    if output_kind == OutputKind::Socket && args.guarantee.is_some_and(|floor| floor > Guarantee::AtMostOnce) {
        return Err(Failure::usage("--guarantee: what goes to sockets is not confirmed; give --output-type queue"));
    }
    let link = LinkPlan {
        identity: runtime::random_seed(),
        stage: function.to_owned(),
        floor: args.guarantee,
        lease: args.lease.0,
        datagram_bytes_max: args.mtu.map_or_else(|| datagram_bytes_max(&inputs, &outputs), usize::from),
    };
    Ok(Plan {
        inputs,
        outputs,
        output_kind,
        route: match args.route {
            RouteBy::Choice => Route::Choice,
            RouteBy::Random => Route::random(args.seed.unwrap_or_else(runtime::random_seed), args.seed.unwrap_or(0)),
        },
        under_way_max: args.in_flight,
        rest_min: args.delay.0,
        on_error: match args.on_error {
            OnErrorDo::Continue => OnError::Continue,
            OnErrorDo::Stop => OnError::Stop,
        },
        link,
    })
}

/// On one machine as much as a datagram can hold; on a network what every path carries in one piece.
fn datagram_bytes_max(inputs: &[SocketAddr], outputs: &[SocketAddr]) -> usize {
    const ON_A_NETWORK: usize = 1_200;
    let is_near = inputs.iter().chain(outputs).all(|peer| peer.ip().is_loopback());
    if is_near { protocol::DATAGRAM_BYTES_MAX } else { ON_A_NETWORK }
}

async fn resolve(addresses: &[Address]) -> Result<Vec<SocketAddr>, Failure> {
    let mut found = Vec::with_capacity(addresses.len());
    for address in addresses {
        found.push(address.resolve_peer().await?);
    }
    Ok(found)
}

/// Addresses as a Python tuple, which is how log lines and log files of 2016 name them.
fn listed(addresses: &[Address]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("'{address}'")).collect();
    match quoted.as_slice() {
        [one] => format!("({one},)"),
        several => format!("({})", several.join(", ")),
    }
}
