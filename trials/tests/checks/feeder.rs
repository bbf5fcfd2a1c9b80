//! The feeder.

use trials::{Client, Node, TempFolder, program};

use super::start_mq;

/// 15
#[test]
fn files_take_turns_and_lines_are_wrapped() {
    let folder = TempFolder::create();
    let files = [("A", "A1\n"), ("B", "B1\nB2\n"), ("C", "C1\nC2\n")];
    let paths = files.map(|(name, content)| folder.write(name, content));
    let mq = start_mq(&[]);
    let mut feeder = program("feeder");
    feeder.args(["--console-log", "--address", &mq.address().to_string()]);
    for path in &paths {
        feeder.args(["--path", path]);
    }
    let ended = Node::start(&mut feeder).wait();
    assert_eq!(ended.code, Some(0), "{}", ended.log());
    for path in &paths {
        assert!(ended.log().contains(&format!("Removing file {path}")), "{}", ended.log());
    }

    let client = Client::to(mq.address());
    let fed: Vec<String> = (0..client.size()).map(|_| client.get()).collect();
    let texts: Vec<&str> = fed.iter().map(|message| unwrapped(message)).collect();
    assert_eq!(texts, ["A1", "B1", "C1", "C2", "B2"]);
}

/// What stands in `"<text><SOH>999=<seconds since the epoch><SOH>"`.
fn unwrapped(message: &str) -> &str {
    let inner = message.strip_prefix('"').and_then(|rest| rest.strip_suffix("\x01\"")).unwrap();
    let (text, epoch) = inner.split_once("\x01999=").unwrap();
    let seconds: f64 = epoch.parse().unwrap();
    assert!(seconds > 1.7e9, "{seconds} is no time of today");
    text
}
