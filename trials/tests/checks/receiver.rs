//! The metrics receiver.

use std::process::Command;

use trials::{Client, Hub, Node, program};

use super::ANY_PORT;

const SAMPLE: &str = r#"{"t0": 1458195068.309974, "t1": 1458195070.3131151, "func": "Marketspread", "VUID": "NTg2ODIx",
 "latency_time": {"0.000100000 s": 0.13107776641845703, "0.001000000 s": 0.033399105072021484},
 "latency_count": {"0.000100000 s": 2449, "0.001000000 s": 227},
 "throughput_in": {"1458195069": 1507, "1458195070": 1169},
 "throughput_out": {"1458195069": 1507, "1458195070": 1169}}"#;

/// The lines of the report, and the empty one that printing adds.
const SHOWN: [&str; 14] = [
    "",
    "    Vertex: NTg2ODIx",
    "    Function: Marketspread",
    "    Measurement Period: (2016-03-17 06:11:08.309974, 2016-03-17 06:11:10.313115]",
    "    Throughput:",
    "        TIME           IN        OUT",
    "        06:11:09       1507      1507      ",
    "        06:11:10       1169      1169      ",
    "    Latency:",
    "        BIN (max)           MEAN            PCT    COUNT    SUM            ",
    "        0.000100000 s       0.000053523     91.52  2449     0.131077766    ",
    "        0.001000000 s       0.000147133      8.48  227      0.033399105    ",
    "",
    "    ",
];

const POSTED: &str = concat!(
    r#"{"pipeline_key": "NTg2ODIx", "t1": 1458195070.3131151, "t0": 1458195068.309974, "topics": {"#,
    r#""latency_bins": {"0.0001": 2449, "0.001": 227}, "throughput_out": {"1458195069": 1507, "1458195070": 1169}}}"#
);

fn receiver(uri: &str) -> Command {
    let mut command = program("metrics-receiver");
    command.args(["--address", ANY_PORT, "--uri", uri]).env("TZ", "UTC");
    command
}

/// 20
#[test]
fn a_report_is_printed_and_posted_byte_for_byte() {
    let hub = Hub::open();
    let receiver = Node::listening(&mut receiver(&hub.uri()));
    Client::to(receiver.address()).send(SAMPLE.as_bytes());
    let (head, body) = hub.next_request();
    assert!(head.starts_with("POST /post HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("\r\ncontent-type: application/json\r\n"), "{head}");
    assert_eq!(body, POSTED);
    assert_eq!(receiver.stdout.wait_for_count(SHOWN.len()), SHOWN);
}

/// 21
#[test]
fn without_its_hub_a_receiver_goes_on_printing() {
    let uri = Hub::open().uri();
    let mut receiver = Node::listening(&mut receiver(&uri));
    let client = Client::to(receiver.address());
    for times in 1..=2 {
        client.send(SAMPLE.as_bytes());
        receiver.stdout.wait_for_count(times * SHOWN.len());
        receiver.stderr.wait_for(&uri);
    }
    let errors = receiver.stderr.all().iter().filter(|line| line.contains(&uri)).count();
    assert_eq!((errors, receiver.is_running()), (1, true), "{:?}", receiver.stderr.all());
}

/// 22, for its second half.
#[test]
fn an_idle_report_is_posted_only_for_nodes_of_ours() {
    let hub = Hub::open();
    let receiver = Node::listening(&mut receiver(&hub.uri()));
    let client = Client::to(receiver.address());
    let idle = |vuid: &str, more: &str| {
        format!(
            "{{\"t0\": 1.0, \"t1\": 2.0, \"func\": \"Messagequeue\", \"VUID\": \"{vuid}\", \"latency_time\": null, \
             \"latency_count\": null, \"throughput_in\": null, \"throughput_out\": null{more}}}"
        )
    };
    client.send(idle("2016", "").as_bytes());
    client.send(idle("OURS", ", \"weir\": {}").as_bytes());
    let (_, body) = hub.next_request();
    assert!(body.starts_with("{\"pipeline_key\": \"OURS\""), "{body}");
}
