//! Processes that are killed, again and again.

use std::{collections::VecDeque, fmt::Write as _};

use rustix::process::Signal;
use trials::{Client, Node, TempFolder, wait_until};

use crate::{feeder, listening, worker, worker_of};

#[test]
fn what_is_killed_loses_and_doubles_nothing() {
    const LINES: usize = 20_000;
    let folder = TempFolder::create();
    let mut text = String::new();
    (0..LINES).for_each(|n| writeln!(text, "{n}").unwrap());
    let path = folder.write("lines", text);
    let (first, last) = (listening("mq", &[]), listening("mq", &[]));
    let feed = || feeder(first.address(), &["--format", "lines", "--rate", "20k", "--path", &path]);
    let work = || worker("passthrough", first.address(), last.address());
    let (mut fed, mut worked) = (feed(), work());
    let (asked, drained) = (Client::to(last.address()), Client::to(last.address()));
    // A message whose worker dies five times is taken for the reason: three deaths are bearable.
    for death in 1..=3 {
        wait_until("some messages", || asked.size() >= death * LINES as u64 / 6);
        worked.stop(Signal::KILL);
        worked = work();
        fed.stop(Signal::KILL);
        fed = feed();
    }
    let ended = fed.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    wait_until("all messages", || asked.size() >= LINES as u64);
    assert_eq!(worked.stop(Signal::TERM).code, Some(0));
    assert_eq!((Client::to(first.address()).size(), asked.size()), (0, LINES as u64));
    let mut numbers: Vec<usize> = (0..LINES).map(|_| drained.get().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..LINES), "a line is missing or came twice");
}

/// How many processes are killed in the trial of the tree; twelve, unless `WEIR_KILLS` says otherwise.
fn kills() -> usize {
    std::env::var_os("WEIR_KILLS").map_or(12, |count| count.to_str().unwrap().parse().unwrap())
}

/// A worker of the tree: its process, the queue that it takes from, and how many messages that had when it last died.
struct Branch {
    start: Box<dyn Fn() -> Node>,
    node: Node,
    input: Client,
    had: u64,
}

impl Branch {
    fn grow(start: impl Fn() -> Node + 'static, input: &Node) -> Self {
        let node = start();
        Self { start: Box::new(start), node, input: Client::to(input.address()), had: 0 }
    }

    /// Kills it and starts it again. What it had dies with it at most once before: a message whose worker dies five times
    /// is taken for the reason.
    fn kill(mut self) -> Self {
        wait_until("the rest of the last death", || self.input.stat().count("done") >= self.had);
        let node = (self.start)();
        self.node.stop(Signal::KILL);
        self.node = node;
        self.had = self.input.stat().count("accepted");
        self
    }
}

#[test]
fn a_tree_passes_every_line_once_while_its_nodes_are_killed() {
    const LINES_A_KILL: usize = 1_200;
    let lines = LINES_A_KILL * kills();
    let folder = TempFolder::create();
    let mut text = String::new();
    (0..lines).for_each(|n| writeln!(text, "\"8=FIX.4.2\u{1}35=S\u{1}55=S{}\u{1}117={n}\u{1}\"", n % 23).unwrap());
    let path = folder.write("quotes", text);
    let [trunk, left, right, answers] = [(); 4].map(|()| listening("mq", &[]));
    let feed = || feeder(trunk.address(), &["--format", "lines", "--rate", "3k", "--path", &path]);
    let (from, left_to, right_to, to) = (trunk.address(), left.address(), right.address(), answers.address());
    let mut fed = feed();
    let mut branches: VecDeque<Branch> = VecDeque::from([
        Branch::grow(move || worker_of("fixrouter", from, &[left_to, right_to]), &trunk),
        Branch::grow(move || worker("passthrough", left_to, to), &left),
        Branch::grow(move || worker("passthrough", right_to, to), &right),
    ]);
    let arrived = Client::to(answers.address());
    for kill in 0..kills() {
        let progress = (LINES_A_KILL * kill) as u64;
        wait_until("progress", || arrived.size() >= progress);
        if kill % 4 == 3 && fed.is_running() {
            fed.stop(Signal::KILL);
            fed = feed();
        } else if let Some(branch) = branches.pop_front() {
            branches.push_back(branch.kill());
        }
    }
    wait_until("the end of the feed", || !fed.is_running());
    let ended = fed.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    let count = lines as u64;
    wait_until("all lines", || arrived.stat().count("accepted") >= count);
    let inner = [&trunk, &left, &right].map(|node| Client::to(node.address()));
    wait_until("the last finishes", || inner.iter().all(|queue| queue.stat().sum(&["ready", "leased"]) == 0));
    for branch in branches {
        assert_eq!(branch.node.stop(Signal::TERM).code, Some(0));
    }
    let inner = inner.map(|queue| queue.stat());
    let last = arrived.stat();
    inner.iter().chain([&last]).for_each(trials::Ledger::assert_balanced);
    let done = inner.each_ref().map(|ledger| ledger.count("done"));
    assert_eq!((done[0], done[1] + done[2]), (count, count), "{done:?}");
    assert_eq!((last.count("accepted"), last.count("ready")), (count, count));
    let number = |message: &str| -> usize {
        message.split('\u{1}').find_map(|field| field.strip_prefix("117=")?.parse().ok()).unwrap()
    };
    let mut numbers: Vec<usize> = (0..lines).map(|_| number(&arrived.get())).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..lines), "a line is missing or came twice");
}
