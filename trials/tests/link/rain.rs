//! Bad weather on every edge.

use std::fs;

use rustix::process::Signal;
use trials::{Node, demo_folder, wait_until};

use crate::{feeder, listening, rain, worker};

#[test]
fn rain_on_every_edge_changes_no_line() {
    let (sink, queue) = (listening("sink", &[]), listening("mq", &[]));
    let rains = [rain(sink.address(), "1"), rain(queue.address(), "2"), rain(queue.address(), "3")];
    let [to_sink, to_queue, from_queue] = rains.each_ref().map(Node::address);
    let _worker = worker("marketspread", from_queue, to_sink);
    let folder = demo_folder("marketspread");
    for file in ["nbbo.msg", "trades.msg"] {
        let path = folder.join(file);
        let fed = feeder(to_queue, &["--path", path.to_str().unwrap()]).wait();
        assert_eq!(fed.code, Some(0), "{}", fed.log());
    }
    let expected = fs::read_to_string(folder.join("expected.txt")).unwrap();
    let expected: Vec<&str> = expected.lines().collect();
    wait_until("all answers", || sink.stdout.count() >= expected.len());
    let printed = sink.stop(Signal::TERM).stdout;
    assert!(printed == expected, "the printed lines are others, or in another order");
}
