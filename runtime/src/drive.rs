//! The loop that keeps a machine running over real sockets.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use machine::{LogLimit, Machine, Now, Port, STDOUT, WorkResult};
use tokio::{
    io::Interest,
    sync::mpsc,
    time::{Instant, Sleep},
};

use crate::{
    Clock, Failure, Input, Outlet, UdpPort, beside::Beside, outbox::Outbox, port::Socket, receive::Burst,
    signals::Signals,
};

/// How often the kernel's drop counts are read.
const DROPS_EVERY: Duration = Duration::from_secs(1);

/// How long a node that is to end still takes what its sockets hold, and waits for what is under way.
const LAST_DATAGRAMS: Duration = Duration::from_millis(300);

/// After so many bytes of datagrams a machine is asked for its answers: so many are in the processor's nearest memory.
const BYTES_A_TURN: usize = 60_000;

/// How many lines of input a machine that wants so many is handed before its sockets are looked at again: a few of the
/// largest datagrams' worth of short lines, and well below a millisecond's work.
const LINES_A_TURN: usize = 1_024;

/// Outlets a turn's bytes can go to.
const OUTLETS_MAX: usize = 4;

/// All that a machine can reach.
#[derive(Debug)]
pub struct World {
    ports: Vec<UdpPort>,
    outlets: Vec<Outlet>,
    input: Option<Input>,
    clock: Clock,
}

impl World {
    /// A world with these ports: `Port(0)` is the first.
    pub fn new(ports: Vec<UdpPort>) -> Self {
        Self { ports, outlets: Vec::new(), input: None, clock: Clock::start() }
    }

    /// Adds the next outlet: `Outlet(0)` is the first.
    #[must_use]
    pub fn outlet(mut self, outlet: Outlet) -> Self {
        self.outlets.push(outlet);
        self
    }

    /// Adds the input.
    #[must_use]
    pub fn input(mut self, input: Input) -> Self {
        self.input = Some(input);
        self
    }

    /// Uses a clock that was started before, so that what was made with it agrees.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

/// Runs the machine until its work is done or SIGINT or SIGTERM comes; then its last words go out.
///
/// # Errors
/// When signals cannot be heard, or stdout fails for another reason than a reader that has gone.
pub async fn drive(machine: &mut impl Machine, world: World) -> Result<(), Failure> {
    let World { ports, mut outlets, input, clock } = world;
    let written = outlets.first_mut().and_then(|outlet| outlet.written.take());
    let mut turn = Turn {
        machine,
        outbox: Outbox::default(),
        outputs: Default::default(),
        unsent: Default::default(),
        ports: &ports,
        outlets: &outlets,
        clock,
    };
    let mut wait =
        Wait::new(&ports, input, written).map_err(|error| Failure::new(format!("cannot hear signals: {error}")))?;
    let mut burst = Burst::new();
    loop {
        // Else tokio's budget runs out in a busy loop, and sockets look silent while lines still come.
        tokio::task::coop::consume_budget().await;
        turn.pass_time().await;
        if turn.machine.is_done() {
            break;
        }
        turn.start_work(&mut wait.beside);
        let events = wait.next(&turn, clock).await;
        if events.end {
            turn.machine.handle_stopping(clock.now());
            turn.settle(&mut burst, &mut wait).await;
            turn.read_drops();
            turn.machine.handle_stop(clock.now());
            break;
        }
        if let Some(result) = events.result {
            turn.machine.handle_result(clock.now(), result);
            // The next work begins before this thread takes datagrams in and sends, which may take as long.
            turn.start_work(&mut wait.beside);
        }
        if events.refused {
            turn.take_refusals(&mut wait.log_limit);
        }
        if events.readable != 0 {
            turn.receive(&mut burst, events.readable, &mut wait.log_limit).await;
        }
        match events.lines {
            Some(Lines::Here) => turn.take_lines(&mut wait.input),
            Some(Lines::Ended) => turn.machine.handle_input(clock.now(), None),
            None => {}
        }
        if let Some(bytes) = events.written {
            turn.machine.handle_written(clock.now(), STDOUT, bytes);
        }
        if events.drops {
            turn.read_drops();
        }
    }
    turn.pass_time().await;
    turn.last_outputs().await;
    for outlet in outlets {
        outlet.close().await.map_err(|error| Failure::new(format!("cannot write the output: {error}")))?;
    }
    Ok(())
}

/// What one turn of the loop works with.
struct Turn<'a, M> {
    machine: &'a mut M,
    outbox: Outbox,
    outputs: [Vec<u8>; OUTLETS_MAX],
    unsent: [Option<Vec<u8>>; OUTLETS_MAX],
    ports: &'a [UdpPort],
    outlets: &'a [Outlet],
    clock: Clock,
}

impl<M: Machine> Turn<'_, M> {
    /// Tells the machine the time if it asked to hear it, and takes out all that it gives.
    async fn pass_time(&mut self) {
        let now = self.clock.now();
        if self.machine.poll_timeout().is_some_and(|deadline| deadline <= now.since_start) {
            self.machine.handle_timeout(now);
        }
        self.take_datagrams(now).await;
        self.outbox.flush(self.machine, now, self.ports).await;
        self.take_outputs();
    }

    async fn receive(&mut self, burst: &mut Burst, readable: u64, log_limit: &mut LogLimit) {
        let sockets =
            self.ports.iter().enumerate().flat_map(|(id, port)| port.sockets().map(move |socket| (id, socket)));
        for (n, (id, socket)) in sockets.enumerate() {
            if readable & (1 << n) == 0 {
                continue;
            }
            let port = Port(u8::try_from(id).unwrap_or(u8::MAX));
            match burst.receive(socket) {
                Ok(()) => self.handle_burst(burst, port).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.machine.handle_refused(self.clock.now(), port);
                }
                Err(error) => {
                    if log_limit.pass(self.clock.now()).is_some() {
                        tracing::warn!("cannot receive: {error}");
                    }
                }
            }
        }
    }

    fn start_work(&mut self, beside: &mut Beside) {
        if !beside.is_busy()
            && let Some(work) = self.machine.poll_work()
        {
            beside.start(work);
        }
    }

    /// What came before the end is still taken, since it would be counted nowhere else, and what is under way comes to its
    /// end. A peer that goes on sending does not put the end off.
    async fn settle(&mut self, burst: &mut Burst, wait: &mut Wait<'_>) {
        let deadline = self.clock.now().since_start + LAST_DATAGRAMS;
        while self.clock.now().since_start < deadline {
            let mut readable = 0;
            for (n, socket) in self.ports.iter().flat_map(UdpPort::sockets).enumerate() {
                readable |= u64::from(socket.has_more()) << n;
            }
            if readable != 0 {
                // tokio must look at the sockets before it lets them be read.
                tokio::task::yield_now().await;
                self.receive(burst, readable, &mut wait.log_limit).await;
            } else if self.machine.is_settled() {
                return;
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            while let Some(bytes) = wait.written.as_mut().and_then(|written| written.try_recv().ok()) {
                self.machine.handle_written(self.clock.now(), STDOUT, bytes);
            }
            if let Some(result) = wait.beside.take() {
                self.machine.handle_result(self.clock.now(), result);
            }
            self.pass_time().await;
            self.start_work(&mut wait.beside);
        }
    }

    /// What connected sockets have heard, which may be a refusal. It does not make them readable.
    fn take_refusals(&mut self, log_limit: &mut LogLimit) {
        for (id, port) in self.ports.iter().enumerate() {
            for socket in port.sockets().filter(|socket| socket.connected) {
                while let Some(error) = socket.take_error() {
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        self.machine.handle_refused(self.clock.now(), Port(u8::try_from(id).unwrap_or(u8::MAX)));
                    } else if log_limit.pass(self.clock.now()).is_some() {
                        tracing::warn!("cannot receive: {error}");
                    }
                }
            }
        }
    }

    /// What the machine gives is taken out after some bytes of the burst, so that what goes to one peer lies together and
    /// can be joined, and sent after the burst.
    async fn handle_burst(&mut self, burst: &Burst, port: Port) {
        let mut now = self.clock.now();
        let mut bytes = 0;
        let allow = self.ports.get(usize::from(port.0)).map(|port| &port.allow);
        for (from, datagram) in burst.datagrams() {
            if !allow.is_some_and(|allow| allow.hears(from)) {
                self.machine.handle_outsider(now, port, from);
                continue;
            }
            tracing::debug!("Received datagram from {from}");
            self.machine.handle_datagram(now, port, from, datagram);
            // A latency is the time between this and the next datagram's turn: what was done with this one.
            now = self.clock.later(now);
            bytes += datagram.len();
            if bytes >= BYTES_A_TURN {
                bytes = 0;
                self.take_datagrams(now).await;
            }
        }
        self.take_datagrams(now).await;
    }

    async fn take_datagrams(&mut self, now: Now) {
        while self.outbox.fill(self.machine, now, self.ports) {
            self.outbox.flush(self.machine, now, self.ports).await;
        }
    }

    fn take_lines(&mut self, input: &mut Option<Input>) {
        let now = self.clock.now();
        let Some(lines) = input else { return };
        for _ in 0..LINES_A_TURN {
            if !self.machine.wants_input() {
                return;
            }
            let Some(line) = lines.line() else { return };
            self.machine.handle_input(now, Some(line));
        }
    }

    fn read_drops(&mut self) {
        let sockets = || {
            self.ports
                .iter()
                .enumerate()
                .flat_map(|(id, port)| port.sockets().filter_map(move |socket| Some((id, socket.inode?))))
        };
        let inodes: Vec<u64> = sockets().map(|(_, inode)| inode).collect();
        let drops = crate::drops::read(&inodes);
        for (id, port) in self.ports.iter().enumerate() {
            debug_assert!(port.sockets().count() <= 2, "one socket a family");
            let total = sockets().zip(&drops).filter(|((of, _), _)| *of == id).map(|(_, drops)| drops).sum();
            self.machine.handle_kernel_drops(Port(u8::try_from(id).unwrap_or(u8::MAX)), total);
        }
    }

    /// One chunk a turn and outlet, so that a burst of lines is one write.
    fn take_outputs(&mut self) {
        let mut bytes = Vec::new();
        while let Some(outlet) = self.machine.poll_output(&mut bytes) {
            // What goes to an outlet that nobody serves goes nowhere.
            let served = self.outputs.iter_mut().zip(self.outlets).nth(usize::from(outlet.0));
            if let Some((output, _)) = served {
                if output.is_empty() {
                    std::mem::swap(output, &mut bytes);
                } else {
                    output.append(&mut bytes);
                }
            }
            bytes.clear();
        }
        for ((output, unsent), outlet) in self.outputs.iter_mut().zip(&mut self.unsent).zip(self.outlets) {
            if let Some(chunk) = unsent.take() {
                *unsent = try_send(outlet, chunk);
            }
            if unsent.is_none() && !output.is_empty() {
                *unsent = try_send(outlet, std::mem::take(output));
            }
        }
    }

    /// Whether an outlet that the node waits for has a chunk left over.
    fn is_held_back(&self) -> bool {
        self.unsent.iter().any(Option::is_some)
    }

    async fn last_outputs(&mut self) {
        let last = Duration::from_millis(300);
        for (unsent, (output, outlet)) in self.unsent.iter_mut().zip(self.outputs.iter_mut().zip(self.outlets)) {
            for chunk in unsent.take().into_iter().chain((!output.is_empty()).then(|| std::mem::take(output))) {
                // A reader that does not read loses the end of what it asked for; closing the outlet says so.
                let _ = outlet.sender.send_timeout(chunk, last).await;
            }
        }
    }
}

/// The chunk, if the node has to wait with it.
fn try_send(outlet: &Outlet, chunk: Vec<u8>) -> Option<Vec<u8>> {
    use tokio::sync::mpsc::error::TrySendError;
    match outlet.sender.try_send(chunk) {
        Err(TrySendError::Full(chunk)) if outlet.waits => Some(chunk),
        Ok(()) | Err(TrySendError::Full(_) | TrySendError::Closed(_)) => None,
    }
}

/// What there is to do.
#[derive(Default)]
struct Events {
    /// A signal came, or nobody reads stdout any more.
    end: bool,
    /// A bit for each socket, counted through all ports.
    readable: u64,
    /// A connected socket has heard of an error.
    refused: bool,
    lines: Option<Lines>,
    /// So many bytes have been written to stdout in all.
    written: Option<u64>,
    /// What the work beside the sockets gave.
    result: Option<WorkResult>,
    /// It is time to read the kernel's drop counts.
    drops: bool,
}

#[derive(Debug)]
enum Lines {
    Here,
    /// There will be no more.
    Ended,
}

/// What the loop waits for.
struct Wait<'a> {
    sockets: Vec<&'a Socket>,
    input: Option<Input>,
    written: Option<mpsc::Receiver<u64>>,
    beside: Beside,
    signals: Signals,
    sleep: Pin<Box<Sleep>>,
    drops_at: Duration,
    log_limit: LogLimit,
}

impl<'a> Wait<'a> {
    fn new(ports: &'a [UdpPort], input: Option<Input>, written: Option<mpsc::Receiver<u64>>) -> io::Result<Self> {
        Ok(Self {
            sockets: ports.iter().flat_map(UdpPort::sockets).collect(),
            input,
            written,
            beside: Beside::default(),
            signals: Signals::take()?,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            drops_at: DROPS_EVERY,
            log_limit: LogLimit::default(),
        })
    }

    async fn next<M: Machine>(&mut self, turn: &Turn<'_, M>, clock: Clock) -> Events {
        let deadline = turn.machine.poll_timeout().map_or(self.drops_at, |at| at.min(self.drops_at));
        let wants_input = turn.machine.wants_input();
        let held_back = turn.is_held_back();
        let wake_at = if held_back { clock.now().since_start + Duration::from_millis(1) } else { deadline };
        let wake_at = Instant::from_std(clock.instant(wake_at));
        if self.sleep.deadline() != wake_at {
            self.sleep.as_mut().reset(wake_at);
        }
        let mut refused = std::pin::pin!(refused(self.sockets.iter().copied().find(|socket| socket.connected)));
        let mut events = std::future::poll_fn(|context| {
            if refused.as_mut().poll(context).is_ready() {
                return Poll::Ready(Events { refused: true, ..Events::default() });
            }
            self.poll(context, turn, wants_input, held_back)
        })
        .await;
        let now = clock.now().since_start;
        if now >= self.drops_at {
            self.drops_at = now + DROPS_EVERY;
            events.drops = true;
        }
        events
    }

    fn poll<M: Machine>(
        &mut self,
        context: &mut Context<'_>,
        turn: &Turn<'_, M>,
        wants_input: bool,
        held_back: bool,
    ) -> Poll<Events> {
        let signalled = self.signals.poll(context);
        let unread = turn.outlets.iter().any(|outlet| outlet.waits && outlet.sender.is_closed());
        let mut events = Events { end: signalled || unread, ..Events::default() };
        if !held_back {
            for (n, socket) in self.sockets.iter().enumerate() {
                let ready = socket.io.poll_recv_ready(context).is_ready();
                events.readable |= u64::from(ready) << n;
            }
            if wants_input && let Some(input) = &mut self.input {
                match input.poll_more(context) {
                    Poll::Ready(true) => events.lines = Some(Lines::Here),
                    Poll::Ready(false) => {
                        self.input = None;
                        events.lines = Some(Lines::Ended);
                    }
                    Poll::Pending => {}
                }
            }
        }
        if let Some(written) = &mut self.written {
            // Only the latest total counts.
            while let Poll::Ready(Some(bytes)) = written.poll_recv(context) {
                events.written = Some(bytes);
            }
        }
        if let Poll::Ready(result) = self.beside.poll(context) {
            events.result = Some(result);
        }
        let due = self.sleep.as_mut().poll(context).is_ready();
        let inside = events.lines.is_some() || events.written.is_some() || events.result.is_some();
        if events.end || events.readable != 0 || inside || due {
            return Poll::Ready(events);
        }
        Poll::Pending
    }
}

/// Ends once the socket has heard of an error; never, if there is no socket.
async fn refused(connected: Option<&Socket>) {
    match connected {
        // An error here means that the runtime has ended.
        Some(socket) => drop(socket.io.ready(Interest::ERROR).await),
        None => std::future::pending().await,
    }
}
