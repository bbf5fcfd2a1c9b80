//! Balls that go round and round through queues that are full of them.

use std::collections::BTreeSet;

use rustix::process::Signal;
use trials::{Client, Node, wait_until};

use crate::{listening, worker_command};

/// How many messages a queue has room for.
const ROOM: usize = 4;

/// In so many rounds a ball leaves the game once, on average.
const ROUNDS: usize = 500;

/// The fewest rounds of all balls together. That they all leave sooner happens once in two hundred thousand games.
fn rounds_min(balls: usize) -> u64 {
    50 * balls.saturating_sub(3) as u64
}

/// A queue that is told how many messages it has room for.
fn table(room: usize) -> Node {
    listening("mq", &["--messages-max", &room.to_string()])
}

/// Tables in a ring, each with these many balls, and these many players who take from one and put into the next. Now and
/// then a ball leaves at the last table. Plays until all have left.
fn play(balls: &[usize], players: usize) {
    let tables: Vec<Node> = balls.iter().map(|_| table(ROOM)).collect();
    let basket = table(10_000);
    let asked: Vec<Client> = tables.iter().map(|table| Client::to(table.address())).collect();
    let mut named = BTreeSet::new();
    for (table, &balls) in asked.iter().zip(balls) {
        for _ in 0..balls {
            let name = format!("ball {}", named.len());
            table.put(&name);
            named.insert(name);
        }
        if balls == ROOM {
            assert_eq!(table.ask("PUT:one too many"), "FULL");
        }
    }
    let mut playing = Vec::new();
    let next = tables.iter().cycle().skip(1);
    for (number, (from, next)) in (1..).zip(tables.iter().zip(next)) {
        let next = next.address();
        let is_last = number == tables.len();
        let outputs = if is_last { [&[next; ROUNDS][..], &[basket.address()]].concat() } else { vec![next] };
        for _ in 0..players {
            let mut command = worker_command("passthrough", from.address(), &outputs);
            playing.push(Node::start(command.args(["--route", "random", "--seed", "1"])));
        }
    }
    let basket = Client::to(basket.address());
    wait_until("all balls", || basket.size() == named.len() as u64);
    for player in playing {
        assert_eq!(player.stop(Signal::TERM).code, Some(0));
    }
    for ledger in asked.iter().map(Client::stat) {
        ledger.assert_balanced();
        assert_eq!(ledger.sum(&["ready", "leased", "dead", "discarded", "popped"]), 0, "all have left it");
        assert!(ledger.count("done") >= rounds_min(named.len()), "{ledger:?}");
    }
    basket.stat().assert_balanced();
    let mut found = BTreeSet::new();
    while basket.size() > 0 {
        assert!(found.insert(basket.get()), "each once");
    }
    assert_eq!(found, named);
}

#[test]
fn a_full_table_keeps_playing() {
    play(&[ROOM], 2);
}

/// With as many balls as one has room for, and with one less than both have.
#[test]
fn two_tables_keep_playing() {
    play(&[ROOM, 0], 1);
    play(&[ROOM, ROOM - 1], 1);
}

/// What a worker has taken makes room for what is put back, so a ring without any room plays, too.
#[test]
fn three_full_tables_keep_playing() {
    play(&[ROOM, ROOM, ROOM - 1], 1);
    play(&[ROOM; 3], 2);
}
