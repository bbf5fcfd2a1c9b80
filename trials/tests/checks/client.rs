//! The client.

use trials::run;

use super::start_mq;

/// 02
#[test]
fn the_client_asks_and_shows_what_it_hears() {
    let mq = start_mq(&[]);
    let address = mq.address().to_string();
    for (words, sent, received) in [
        (&["SIZE"][..], "'SIZE'", "'0'"),
        (&["PUT:ping"], "'PUT:ping'", "'PUT 4 bytes'"),
        (&["SIZE"], "'SIZE'", "'1'"),
        (&["GET"], "'GET'", "'ping'"),
        (&["GET"], "'GET'", "''"),
        (&["PUT:two", "words"], "'PUT:two words'", "'PUT 9 bytes'"),
        (&["GET"], "'GET'", "'two words'"),
    ] {
        let ended = run("udp-client", std::iter::once(address.as_str()).chain(words.iter().copied()));
        let shown = [format!("Data sent: {sent}"), format!("Data received: {received}"), "Socket closed.".into()];
        assert_eq!((ended.code, &ended.stdout[..]), (Some(0), &shown[..]), "{}", ended.log());
    }
}
