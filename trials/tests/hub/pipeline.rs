//! The market spread of 2016 as its README starts it: three nodes that report once a second, and a feeder that does, too.

use std::net::SocketAddr;

use trials::{Node, demo_folder, program};

use crate::ANY_PORT;

/// What reports to a hub, through a metrics-receiver.
#[derive(Debug)]
pub(crate) struct Reporting {
    receiver: Node,
}

impl Reporting {
    pub(crate) fn to(hub: SocketAddr) -> Self {
        let uri = format!("http://{hub}/post");
        let mut command = program("metrics-receiver");
        Self { receiver: Node::listening(command.args(["--address", ANY_PORT, "--uri", &uri])) }
    }

    /// The flags of a node of this name.
    pub(crate) fn flags(&self, vuid: &str) -> [String; 6] {
        let address = self.receiver.address().to_string();
        ["--metrics-address", &address, "--stats-period", "1", "--vuid", vuid].map(str::to_owned)
    }

    pub(crate) fn server(&self, name: &str, vuid: &str, flags: &[&str]) -> Node {
        let mut command = program(name);
        Node::listening(command.args(["--address", ANY_PORT]).args(self.flags(vuid)).args(flags))
    }

    /// To a queue or a sink on the link.
    pub(crate) fn worker(&self, vuid: &str, function: &str, input: SocketAddr, output: SocketAddr) -> Node {
        self.worker_with(vuid, input, output, &["--function", function, "--output-type", "queue", "--lease", "1"])
    }

    pub(crate) fn worker_with(&self, vuid: &str, input: SocketAddr, output: SocketAddr, flags: &[&str]) -> Node {
        let mut command = program("worker");
        command.args(["--input-address", &input.to_string(), "--output-address", &output.to_string()]);
        Node::start(command.args(self.flags(vuid)).args(flags))
    }

    pub(crate) fn feeder(&self, vuid: &str, queue: SocketAddr, flags: &[&str]) -> Node {
        let mut command = program("feeder");
        command.args(["--quiet", "--address", &queue.to_string()]);
        Node::start(command.args(self.flags(vuid)).args(flags))
    }
}

/// The nodes by the names that the README of 2016 gives them.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) reporting: Reporting,
    pub(crate) sink: Node,
    pub(crate) queue: Node,
    /// The worker, and the feeder if there is one.
    others: Vec<Node>,
}

impl Pipeline {
    /// Fed without an end, so many messages a second.
    pub(crate) fn start(hub: SocketAddr, rate: &str) -> Self {
        let mut pipeline = Self::idle(hub);
        let path = |name: &str| demo_folder("marketspread").join(name).to_str().unwrap().to_owned();
        let flags = ["--loop", "--rate", rate, "--path", &path("nbbo.msg"), "--path", &path("trades.msg")];
        let feeder = pipeline.reporting.feeder("FEEDER", pipeline.queue.address(), &flags);
        pipeline.others.push(feeder);
        pipeline
    }

    /// Nobody feeds it.
    pub(crate) fn idle(hub: SocketAddr) -> Self {
        let reporting = Reporting::to(hub);
        let sink = reporting.server("sink", "MARKET_SPREAD", &["--quiet"]);
        let queue = reporting.server("mq", "NODE_1", &[]);
        let worker = reporting.worker("NODE_2", "marketspread", queue.address(), sink.address());
        Self { reporting, sink, queue, others: vec![worker] }
    }
}
