//! Ping-pong on queues that are full.

use rustix::process::Signal;
use trials::{Client, Node, wait_until};

use crate::{listening, worker};

const BALLS: u64 = 4;
const ROUNDS: u64 = 400;

/// A queue with as many balls as it has room for.
fn full_queue() -> Node {
    let queue = listening("mq", &["--messages-max", "4"]);
    let client = Client::to(queue.address());
    (0..BALLS).for_each(|_| client.put("ping"));
    assert_eq!(client.ask("PUT:one too many"), "FULL");
    queue
}

/// Plays for some rounds, and counts the balls.
fn check(queues: &[&Node], players: Vec<Node>) {
    let asked: Vec<Client> = queues.iter().map(|queue| Client::to(queue.address())).collect();
    for queue in &asked {
        let start = queue.stat().count("done");
        wait_until("rounds", || queue.stat().count("done") >= start + ROUNDS);
    }
    for player in players {
        assert_eq!(player.stop(Signal::TERM).code, Some(0));
    }
    let ledgers: Vec<_> = asked.iter().map(Client::stat).collect();
    ledgers.iter().for_each(trials::Ledger::assert_balanced);
    assert_eq!(ledgers.iter().map(|ledger| ledger.sum(&["ready", "leased"])).sum::<u64>(), BALLS);
    assert_eq!(ledgers.iter().map(|ledger| ledger.sum(&["dead", "discarded", "popped"])).sum::<u64>(), 0);
}

/// What is made from a queue's own messages finds its room in it.
#[test]
fn a_full_table_keeps_playing() {
    let table = full_queue();
    let players = (0..2).map(|_| worker("pong", table.address(), table.address())).collect();
    check(&[&table], players);
}

/// Two queues, with as many balls between them as one has room for.
#[test]
fn two_tables_keep_playing() {
    let (here, there) = (full_queue(), listening("mq", &["--messages-max", "4"]));
    let players =
        vec![worker("pong", here.address(), there.address()), worker("pong", there.address(), here.address())];
    check(&[&here, &there], players);
}
