//! Many nodes: at one report a second, an hour of them at once, and more than there may be.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;
use trials::{http::connect, memory_peak_bytes, timed, wait_until};

use crate::{
    hub::{Stream, post, start_hub, state},
    invented::{now, of_2016, queue},
};

const NODES: usize = 200;
const MEMORY_MAX_BYTES: u64 = 128 << 20;

/// Whether the trials are to take an hour's worth, and to measure.
fn at_length() -> bool {
    std::env::var_os("WEIR_HUB_HOUR").is_some()
}

/// The time that a process has had of a core.
fn core_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let columns: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |column: usize| columns[column].parse::<u64>().unwrap();
    // A tick is a hundredth of a second, for every program.
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// Posts on one connection, which stays open.
fn post_all(hub: SocketAddr, bodies: impl Iterator<Item = String>) {
    let mut stream = BufReader::new(connect(hub));
    for body in bodies {
        let head = format!("POST /post HTTP/1.1\r\nHost: {hub}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        let (mut line, mut first, mut length) = (String::new(), String::new(), 0);
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "the hub hung up");
            if first.is_empty() {
                first.clone_from(&line);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).unwrap();
        assert!(first.contains(" 202 ") || first.contains(" 400 "), "{first}: {}", String::from_utf8_lossy(&answer));
    }
}

/// One second of all nodes.
fn second(t1: f64, uptime: u64) -> String {
    let reports: Vec<Value> = (0..NODES).map(|n| queue(&format!("NODE_{n}"), t1, uptime)).collect();
    Value::from(reports).to_string()
}

#[test]
fn an_hour_of_two_hundred_nodes_fits() {
    let hub = start_hub();
    let seconds: u32 = if at_length() { 3_600 } else { 20 };
    let start = now() - f64::from(seconds);
    let bodies: Vec<String> = (1..=seconds).map(|n| second(start + f64::from(n), n.into())).collect();
    let ((), took) = timed(|| post_all(hub.address(), bodies.into_iter()));
    let state = state(hub.address());
    assert_eq!(state["hub"]["reports"].as_u64(), Some(u64::from(seconds) * NODES as u64));
    assert_eq!(state["nodes"].as_array().unwrap().len(), NODES);
    assert_eq!(state["health"]["unaccounted"].as_u64(), Some(0));
    let memory = memory_peak_bytes(hub.id());
    if at_length() {
        eprintln!("{seconds} s of {NODES} nodes: {took:?}, {:?} of a core, {} MiB", core_time(hub.id()), memory >> 20);
    }
    assert!(memory < MEMORY_MAX_BYTES, "{memory} bytes");
}

#[test]
fn two_hundred_nodes_each_second_cost_little() {
    let hub = start_hub();
    let mut page = Stream::open(hub.address());
    page.wait_for("event: state");
    let seconds = if at_length() { 30 } else { 3 };
    let before = core_time(hub.id());
    let started = Instant::now();
    for uptime in 1..=seconds {
        // Each node posts for itself, when the hub's next second has come.
        let bodies = (0..NODES).map(|n| queue(&format!("NODE_{n}"), now(), uptime).to_string());
        post_all(hub.address(), bodies);
        page.wait_for("event: tick");
    }
    let share = core_time(hub.id()).saturating_sub(before).as_secs_f64() / started.elapsed().as_secs_f64();
    if at_length() {
        eprintln!("{NODES} nodes each second: {:.1} % of a core", share * 100.0);
    }
    assert!(!at_length() || share < 0.05, "{share} of a core");
    assert_eq!(state(hub.address())["nodes"].as_array().unwrap().len(), NODES);
}

#[test]
fn names_beyond_the_cap_are_refused_and_counted() {
    const CAP: usize = 1_000;
    const INVENTED: usize = 100_000;
    let hub = start_hub();
    let bins = serde_json::json!({"0.001": 1});
    let batch = |from: usize, count: usize| {
        let reports: Vec<Value> = (from..from + count).map(|n| of_2016(&format!("V{n}"), now(), &bins)).collect();
        Value::from(reports).to_string()
    };
    post_all(hub.address(), (0..CAP).step_by(500).map(|from| batch(from, 500)));
    wait_until("a full hub", || state(hub.address())["nodes"].as_array().unwrap().len() == CAP);
    post_all(hub.address(), (CAP..CAP + 10_000).step_by(500).map(|from| batch(from, 500)));
    let memory = memory_peak_bytes(hub.id());
    post_all(hub.address(), (CAP + 10_000..CAP + INVENTED).step_by(500).map(|from| batch(from, 500)));
    let state = state(hub.address());
    assert_eq!(state["nodes"].as_array().unwrap().len(), CAP);
    assert_eq!(state["hub"]["nodes_refused"].as_u64(), Some(INVENTED as u64));
    assert!(state["events"].as_array().unwrap().len() <= 1_000);
    let grown = memory_peak_bytes(hub.id()) - memory;
    assert!(grown < 8 << 20, "{grown} bytes more for names that are not kept");
    // One that is known is heard as ever.
    assert_eq!(post(hub.address(), of_2016("V0", now(), &bins).to_string()).status, 202);
}
