//! Nonsense, too much of it, and clients that hold still.

use std::{
    fmt::Write as _,
    io::{Read as _, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use trials::{
    http::{connect, get, request},
    memory_peak_bytes, wait_until,
};

use crate::{
    hub::{Stream, node, post, start_hub, state},
    invented::{now, of_2016, queue},
};

const MEMORY_MAX_BYTES: u64 = 128 << 20;

/// A good report is still taken and shown at once.
#[track_caller]
fn assert_well(hub: SocketAddr, key: &str) {
    let started = Instant::now();
    assert_eq!(post(hub, queue(key, now(), 10).to_string()).status, 202);
    node(hub, key);
    assert!(started.elapsed() < Duration::from_secs(2), "others wait: {:?}", started.elapsed());
}

/// One good report with one member changed.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut report = queue("BAD", now(), 10);
    change(&mut report);
    report.to_string().into_bytes()
}

#[test]
fn a_bad_body_is_refused_with_a_reason() {
    let hub = start_hub();
    let good = queue("BAD", now(), 10).to_string();
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV*J-.\xcd)Q\xb2R\x00\x00".to_vec();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("no JSON", b"hello".to_vec()),
        ("cut off", good.as_bytes()[..good.len() / 2].to_vec()),
        ("two objects", [good.as_bytes(), good.as_bytes()].concat()),
        ("a number", b"7".to_vec()),
        ("null", b"null".to_vec()),
        ("no UTF-8", [&b"{\"pipeline_key\": \"\xff\xfe\", "[..], &good.as_bytes()[1..]].concat()),
        ("NaN", good.replace("\"t0\":", "\"t0\":NaN,\"x\":").into_bytes()),
        ("infinity", good.replace("\"t0\":", "\"t0\":1e999,\"x\":").into_bytes()),
        ("deep", [&[b'['; 100_000][..], &[b']'; 100_000]].concat()),
        ("deep members", format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000)).into_bytes()),
        ("gzip", gzip),
        ("no key", changed(|report| drop(report.as_object_mut().unwrap().remove("pipeline_key")))),
        ("an empty key", changed(|report| report["pipeline_key"] = json!(""))),
        ("a number for a key", changed(|report| report["pipeline_key"] = json!(7))),
        ("a long key", changed(|report| report["pipeline_key"] = json!("k".repeat(100_000)))),
        ("no t1", changed(|report| drop(report.as_object_mut().unwrap().remove("t1")))),
        ("a text for a time", changed(|report| report["t1"] = json!("now"))),
        ("a huge time", changed(|report| report["t1"] = json!(1e300))),
        ("a time before time", changed(|report| report["t1"] = json!(-1e300))),
        ("topics of text", changed(|report| report["topics"] = json!("latency_bins"))),
        ("a bin of text", changed(|report| report["topics"]["latency_bins"] = json!({"0.001": "many"}))),
        ("a bin below nothing", changed(|report| report["topics"]["latency_bins"] = json!({"0.001": -3}))),
        ("a bin without a bound", changed(|report| report["topics"]["latency_bins"] = json!({"soon": 3}))),
        ("a second of text", changed(|report| report["topics"]["throughput_out"] = json!({"today": 3}))),
    ];
    for (what, body) in &bodies {
        let answer = post(hub.address(), body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        let reason = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(!reason.is_empty(), "{what}: {}", answer.text());
        assert!(reason.len() < 1_000, "{what}: the reason repeats what came: {} bytes", reason.len());
    }
    let state = state(hub.address());
    assert_eq!(state["nodes"], json!([]), "nobody was named well");
    assert!(state["hub"]["refused"].as_u64() >= Some(bodies.len() as u64), "{}", state["hub"]);
    assert_well(hub.address(), "GOOD");
}

/// What the report says beyond 2016 may be of a later version, or wrong: whatever is shown is a number, and the hub lives.
#[test]
fn strange_members_of_a_report_do_no_harm() {
    let hub = start_hub();
    let strange =
        [json!(null), json!("text"), json!(-5), json!(1e308), json!([1, 2]), json!({"a": {"b": 1}}), json!(u64::MAX)];
    let places = [
        "/report",
        "/report/weir",
        "/report/weir/ledger",
        "/report/weir/ledger/accepted",
        "/report/weir/gauges",
        "/report/weir/gauges/depth",
        "/report/weir/share",
        "/report/weir/share/busy",
        "/report/weir/latency_hdr",
        "/report/weir/uptime_s",
        "/report/weir/node",
        "/report/weir/boot",
        "/report/weir/edges",
        "/report/weir/address",
        "/report/latency_count",
        "/report/throughput_in",
        "/topics/throughput_out",
        "/topics/latency_bins",
    ];
    for place in places {
        for value in &strange {
            let body = changed(|report| {
                report["report"]["weir"]["edges"] = json!([]);
                *report.pointer_mut(place).unwrap() = value.clone();
            });
            let answer = post(hub.address(), body);
            assert!([202, 400].contains(&answer.status), "{place} = {value}: {} {}", answer.status, answer.text());
        }
    }
    let edges = json!([
        {"dir": "out", "index": 0, "peer": "127.0.0.1:1", "sent": u64::MAX, "confirmed": u64::MAX, "waits": true},
        {"dir": "out", "index": 0, "peer": "127.0.0.1:1", "sent": u64::MAX, "confirmed": u64::MAX, "waits": true},
        {"dir": "in", "index": 0, "peer": "127.0.0.1:1", "taken": u64::MAX, "finished": 0},
        {"dir": "sideways", "index": -1, "peer": "<b>", "sent": -1},
    ]);
    let many: Vec<Value> =
        (0..5_000).map(|n| json!({"dir": "out", "index": n, "peer": format!("127.0.0.1:{n}"), "sent": n})).collect();
    for edges in [edges, json!(many)] {
        let answer = post(hub.address(), changed(|report| report["report"]["weir"]["edges"] = edges));
        assert!([202, 400].contains(&answer.status), "{}", answer.text());
    }
    for path in
        ["/api/v1/state", "/api/v1/topology", "/api/v1/nodes", "/api/v1/nodes/BAD", "/api/v1/ledger", "/api/v1/events"]
    {
        let answer = get(hub.address(), path);
        assert_eq!(answer.status, 200, "{path}");
        // JSON knows no NaN: whatever was computed of this is a number or nothing.
        answer.json();
    }
    assert!(state(hub.address())["edges"].as_array().unwrap().len() <= 64, "at most 64 edges a node");
    assert_well(hub.address(), "GOOD");
}

#[test]
fn what_is_too_large_is_not_read_to_its_end() {
    let hub = start_hub();
    let answer = post(hub.address(), vec![b' '; (1 << 20) + 1]);
    assert_eq!(answer.status, 413, "{}", answer.text());
    // It says that much will come, and may go on sending for ever.
    let mut stream = connect(hub.address());
    write!(stream, "POST /post HTTP/1.1\r\nHost: {}\r\nContent-Length: 100000000000\r\n\r\n", hub.address()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    // It does not say how much will come.
    let mut stream = connect(hub.address());
    write!(stream, "POST /post HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", hub.address()).unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let sent = (0..1_000).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 1_000, "64 MiB were read of a body of at most one");
    assert!(memory_peak_bytes(hub.id()) < MEMORY_MAX_BYTES);
    assert_well(hub.address(), "GOOD");
}

#[test]
fn a_wrong_method_or_path_is_answered_so() {
    let hub = start_hub();
    for (head, status) in [
        ("GET /post", 405),
        ("DELETE /post", 405),
        ("PUT /", 405),
        ("POST /healthz", 405),
        ("POST /api/v1/state", 405),
        ("POST /metrics", 405),
        ("GET /nosuch", 404),
        ("GET /api/v1/nosuch", 404),
        ("GET /api/v1/nodes/nosuch", 404),
        ("GET /api/v1/series?node=nosuch", 404),
        ("GET /../../etc/passwd", 404),
        ("GET /%2e%2e/%2e%2e/etc/passwd", 404),
        ("POST /nosuch", 404),
    ] {
        let answer = request(hub.address(), head, b"{}");
        assert_eq!(answer.status, status, "{head}: {}", answer.text());
    }
    assert_eq!(post(hub.address(), queue("N", now(), 1).to_string()).status, 202);
    for query in ["window=never", "window=-5m", "window=99999999999h", "node=N&window=x", "format=exe&node=N"] {
        let path = format!("GET /api/v1/series?node=N&{query}");
        let answer = request(hub.address(), &path, b"");
        assert!([200, 400].contains(&answer.status), "{query}: {}", answer.status);
    }
    assert_well(hub.address(), "GOOD");
}

/// Pages whose readers have fallen asleep, and a post that comes byte by byte: bounded, and nobody else waits.
#[test]
fn who_holds_still_holds_nobody_up() {
    let hub = start_hub();
    for n in 0..50 {
        post(hub.address(), queue(&format!("N{n}"), now(), 1).to_string());
    }
    let asleep: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = connect(hub.address());
            write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: {}\r\n\r\n", hub.address()).unwrap();
            stream
        })
        .collect();
    let slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = connect(hub.address());
            write!(stream, "POST /post HTTP/1.1\r\nHost: {}\r\nContent-Length: 100000\r\n\r\n{{", hub.address())
                .unwrap();
            stream
        })
        .collect();
    wait_until("the open pages", || state(hub.address())["hub"]["streams"].as_u64() == Some(100));
    let mut awake = Stream::open(hub.address());
    awake.wait_for("event: state");
    for _ in 0..3 {
        awake.wait_for("event: tick");
        assert_well(hub.address(), "GOOD");
    }
    assert!(memory_peak_bytes(hub.id()) < MEMORY_MAX_BYTES);
    drop((asleep, slow));
    wait_until("the end of what was closed", || state(hub.address())["hub"]["streams"].as_u64() == Some(1));
}

#[test]
fn one_page_too_many_is_told_so() {
    let hub = start_hub();
    let mut open: Vec<Stream> = (0..256).map(|_| Stream::open(hub.address())).collect();
    for stream in &mut open {
        stream.wait_for("event: state");
    }
    let answer = get(hub.address(), "/api/v1/stream");
    assert_eq!(answer.status, 503, "{}", answer.text());
    for stream in &mut open {
        stream.wait_for("event: tick");
    }
    drop(open);
    wait_until("room again", || state(hub.address())["hub"]["streams"].as_u64() == Some(0));
    Stream::open(hub.address()).wait_for("event: state");
}

/// A text is a text: in the answer, too, it is JSON or is escaped.
#[test]
fn names_are_only_names() {
    let hub = start_hub();
    for key in ["<script>alert(1)</script>", "a/b?c#d%20", "\u{202e}\u{0}\r\n", "日本語"] {
        let answer = post(hub.address(), of_2016(key, now(), &json!({"0.001": 1})).to_string());
        if answer.status == 202 {
            node(hub.address(), key);
            let mut encoded = String::new();
            key.bytes().for_each(|byte| write!(encoded, "%{byte:02x}").unwrap());
            let answer = get(hub.address(), &format!("/api/v1/nodes/{encoded}"));
            assert_eq!((answer.status, &answer.json()["id"]), (200, &json!(key)));
        } else {
            assert_eq!(answer.status, 400, "{key:?}");
        }
    }
}
