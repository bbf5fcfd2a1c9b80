//! The program itself, over HTTP: what it takes, what it answers, what it refuses, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The body that a receiver of 2016 posts.
const BODY: &str = r#"{"pipeline_key": "NTg2ODIx", "t1": 1458195070.3131151, "t0": 1458195068.309974, "topics": {"latency_bins": {"0.0001": 2449, "0.001": 227}, "throughput_out": {"1458195069": 1507, "1458195070": 1169}}}"#;

struct Program {
    child: Child,
    address: SocketAddr,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Program {
    fn start(args: &[&str]) -> Self {
        let mut child = command(args).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended");
        }
        Self { child, address: line.trim().rsplit(' ').next().unwrap().parse().unwrap() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let host = if headers.contains("Host: ") { String::new() } else { format!("Host: {}\r\n", self.address) };
        let length = if headers.contains("Transfer-Encoding") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
        write!(stream, "{line} HTTP/1.1\r\n{host}{headers}{length}Connection: close\r\n\r\n").unwrap();
        // One that refuses does not read to the end.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer { status: head[9..12].parse().unwrap(), head: head.to_lowercase(), body: body.to_owned() }
    }

    fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path}"), b"")
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        self.send(&format!("POST {path}"), body.as_bytes())
    }

    /// Ends it; its exit code.
    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hub"));
    command.args(["--address", "127.0.0.1:0"]).args(args).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// What it says when it does not start, and its exit code.
fn refusal(args: &[&str]) -> (String, Option<i32>) {
    let output = command(args).stderr(Stdio::piped()).output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code())
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hub-program-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_json_of_2016_is_taken_at_both_paths() {
    let hub = Program::start(&[]);
    for path in ["/post", "/"] {
        let answer = hub.post(path, BODY);
        assert_eq!((answer.status, answer.json()), (202, json!({"taken": 1})));
    }
    let node = hub.get("/api/v1/nodes/NTg2ODIx").json();
    assert_eq!((&node["latency"]["count"], &node["latency"]["p99"]), (&json!(5352), &json!(0.001)));
    assert_eq!(node["bins"][0]["percent"], 91.52);
    let array = format!("[{BODY}, {{\"pipeline_key\": 7}}, {BODY}]");
    let answer = hub.post("/post", &array);
    assert_eq!(answer.status, 400);
    assert_eq!(
        (&answer.json()["at"], &answer.json()["taken"], &answer.json()["refused"]),
        (&json!(1), &json!(2), &json!(1))
    );
    let name = "<script>alert(\"1\")</script> \u{7}\u{1F980}";
    assert_eq!(
        hub.post("/post", &json!({"pipeline_key": name, "t0": 1, "t1": 2, "topics": {}}).to_string()).status,
        202
    );
    assert_eq!(hub.get("/api/v1/state").json()["nodes"][0]["id"], name);
    assert_eq!(hub.end(Signal::TERM), Some(0));
}

#[test]
fn what_is_wrong_is_refused_with_a_reason() {
    let hub = Program::start(&[]);
    let large = vec![b' '; (1 << 20) + 1];
    let foreign = format!("POST /post\nOrigin: http://evil.example\r\nHost: {}", hub.address);
    let own = format!("POST /post\nOrigin: http://{0}\r\nHost: {0}", hub.address);
    for (head, body, status, reason) in [
        ("POST /post", &b"{bad"[..], 400, "not JSON"),
        ("POST /post", b"7", 400, "neither an object nor an array"),
        ("POST /post", b"", 400, "not JSON"),
        ("POST /post", br#"{"pipeline_key": "K", "t0": "x", "t1": 2, "topics": {}}"#, 400, "expected f64"),
        ("POST /post", &large, 413, "1 MiB"),
        ("GET /post", b"", 405, "method"),
        ("DELETE /", b"", 405, "method"),
        ("POST /api/v1/state", b"", 405, "method"),
        ("POST /style.css", b"", 405, "method"),
        ("GET /nothing", b"", 404, "nothing"),
        ("GET /../../etc/passwd", b"", 404, "nothing"),
        ("GET /api/v1/nodes/nobody", b"", 404, "no such node"),
        ("GET /api/v1/series?node=nobody", b"", 404, "no such node"),
        ("GET /api/v1/series", b"", 400, "?node=NAME"),
        ("GET /api/v1/series?node=x&name=beauty", b"", 400, "p999"),
        ("GET /api/v1/state?window=1y", b"", 400, "1m, 5m, 1h or 1d"),
        ("GET /api/v1/state\nHost: evil.example", b"", 421, "by address"),
        (&foreign, b"{}", 403, "another origin"),
        (&own, b"{}", 400, "missing field"),
    ] {
        let answer = hub.send(head, body);
        assert_eq!(answer.status, status, "{head}: {}", answer.body);
        assert!(answer.json()["error"].as_str().unwrap().contains(reason), "{head}: {}", answer.body);
    }
    let chunked = [format!("{:x}\r\n", large.len()).as_bytes(), &large, b"\r\n0\r\n\r\n"].concat();
    assert_eq!(hub.send("POST /post\nTransfer-Encoding: chunked", &chunked).status, 413);
    assert_eq!(hub.send("GET /api/v1/state\nHost: localhost:5555", b"").status, 200);
    assert_eq!(hub.get("/healthz").body, "ok");
}

#[test]
fn the_page_and_its_files_are_embedded_and_may_load_nothing_else() {
    let hub = Program::start(&[]);
    for (path, kind) in [
        ("/", "text/html"),
        ("/style.css", "text/css"),
        ("/main.js", "text/javascript"),
        ("/vendor/uPlot.iife.min.js", "text/javascript"),
        ("/vendor/uPlot.min.css", "text/css"),
        ("/vendor/dagre.min.js", "text/javascript"),
    ] {
        let answer = hub.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{path}: {}", answer.head);
        assert!(answer.head.contains("content-security-policy: default-src 'self'"), "{path}: {}", answer.head);
        let etag = answer.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let again = hub.send(&format!("GET {path}\nIf-None-Match: {etag}"), b"");
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
    for path in ["/package.json", "/package-lock.json", "/node_modules/uplot/package.json"] {
        assert_eq!(hub.get(path).status, 404, "{path}");
    }
}

#[test]
fn history_comes_as_json_and_as_csv() {
    let hub = Program::start(&[]);
    hub.post("/post", BODY);
    let series = hub.get("/api/v1/series?node=NTg2ODIx&window=1m").json();
    assert_eq!((&series["step"], series["t"].as_array().unwrap().len()), (&json!(1), 60));
    for name in ["in", "out", "p50", "p75", "p90", "p95", "p99", "p999", "depth", "age", "busy", "blocked", "drops"] {
        assert_eq!(series[name].as_array().unwrap().len(), 60, "{name}");
    }
    let csv = hub.get("/api/v1/series?node=NTg2ODIx&window=5m&name=out,p99&format=csv");
    assert!(csv.head.contains("content-type: text/csv"), "{}", csv.head);
    let rows: Vec<&str> = csv.body.split("\r\n").collect();
    assert_eq!((rows[0], rows.len()), ("t,out,p99", 302));
    assert!(rows.iter().any(|row| row.ends_with(",1169.0,0.001")), "{}", csv.body);
}

#[test]
fn prometheus_can_read_it() {
    let hub = Program::start(&[]);
    let name = "a\"b\\c\nd";
    let body = json!({"pipeline_key": name, "t0": 1, "t1": 2, "topics": {"latency_bins": {"0.1": 1, "inf": 2}},
        "report": {"t0": 1, "t1": 2, "func": "Sink", "VUID": name, "weir": {"ledger": {"received": 7},
        "gauges": {"depth": 1e300},
        "edges": [{"dir": "out", "index": 0, "peer": "127.0.0.1:9", "sent": 9}]}}});
    assert_eq!(hub.post("/post", &body.to_string()).status, 202);
    let text = hub.get("/metrics").body;
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.split(' ').skip(1);
            family = words.next().unwrap();
            assert!(rest.starts_with("HELP ") || ["counter", "gauge"].contains(&words.next().unwrap()), "{line}");
            continue;
        }
        let (name_and_labels, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = name_and_labels.split_once('{').unwrap_or((name_and_labels, "}"));
        assert_eq!(name, family, "{line}");
        check_labels(labels.strip_suffix('}').unwrap());
    }
    assert!(
        text.contains(r#"weir_ledger_total{node="a\"b\\c\nd",func="Sink",kind="sink",reason="received"} 7"#),
        "{text}"
    );
    assert!(text.contains(r#"weir_edge_messages_total{edge="a\"b\\c\nd>0",stage="sent"} 9"#), "{text}");
}

/// `name="text"`, parted by commas; in a text, quote, backslash and line end are escaped.
fn check_labels(mut labels: &str) {
    while !labels.is_empty() {
        let (name, rest) = labels.split_once("=\"").unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{labels}");
        let mut is_escaped = false;
        let end = rest.find(|character| {
            let ends = character == '"' && !is_escaped;
            is_escaped = character == '\\' && !is_escaped;
            ends
        });
        let (_, rest) = rest.split_at(end.unwrap() + 1);
        labels = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[test]
fn a_stream_begins_with_the_state_and_goes_on_with_ticks_until_the_end() {
    let hub = Program::start(&[]);
    hub.post("/post", BODY);
    let mut stream = hub.connect();
    write!(stream, "GET /api/v1/stream?window=1m HTTP/1.1\r\nHost: {}\r\n\r\n", hub.address).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut event = || -> Option<(String, Value)> {
        let kind = lines.by_ref().find_map(|line| line.strip_prefix("event: ").map(str::to_owned))?;
        let data = lines.by_ref().find_map(|line| line.strip_prefix("data: ").map(str::to_owned))?;
        Some((kind, serde_json::from_str(&data).unwrap()))
    };
    let (kind, state) = event().unwrap();
    assert_eq!(
        (kind.as_str(), &state["nodes"][0]["id"], &state["hub"]["streams"]),
        ("state", &json!("NTg2ODIx"), &json!(1))
    );
    hub.post("/post", &BODY.replace("NTg2ODIx", "another"));
    let new = std::iter::from_fn(&mut event)
        .find(|(_, tick)| tick["nodes"].as_array().is_some_and(|nodes| !nodes.is_empty()));
    let (kind, tick) = new.unwrap();
    assert_eq!((kind.as_str(), &tick["nodes"][0]["id"]), ("tick", &json!("another")));
    assert_eq!(tick["events"][0]["kind"], "came");
    assert_eq!(hub.end(Signal::INT), Some(0));
    assert!(std::iter::from_fn(&mut event).count() < 100, "the stream has an end");
}

#[test]
fn streams_have_a_limit() {
    let hub = Program::start(&[]);
    let ask = || {
        let mut stream = hub.connect();
        write!(stream, "GET /api/v1/stream HTTP/1.1\r\nHost: {}\r\n\r\n", hub.address).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        (line, reader)
    };
    let open: Vec<_> = (0..256).map(|_| ask()).collect();
    assert!(open.iter().all(|(line, _)| line.starts_with("HTTP/1.1 200")));
    assert!(ask().0.starts_with("HTTP/1.1 503"));
    assert_eq!(hub.get("/api/v1/state").json()["hub"]["streams"], 256);
    drop(open);
    while !ask().0.starts_with("HTTP/1.1 200") {}
    assert_eq!(hub.end(Signal::TERM), Some(0));
}

#[test]
fn history_is_back_after_a_restart() {
    let folder = Folder::new("restart");
    let hub = Program::start(&["--data", folder.path()]);
    hub.post("/post", BODY);
    let series = |hub: &Program| {
        let series = hub.get("/api/v1/series?node=NTg2ODIx&window=1d&name=out,p99").json();
        let rows = series["out"].as_array().unwrap().iter().filter(|value| !value.is_null()).count();
        (rows, hub.get("/api/v1/nodes/NTg2ODIx").json()["bins"].clone())
    };
    let before = series(&hub);
    assert_eq!(before.0, 1);
    let (error, code) = refusal(&["--data", folder.path()]);
    assert!(error.contains("in use by another hub") && code == Some(1), "{error}");
    assert_eq!(hub.end(Signal::TERM), Some(0));
    let hub = Program::start(&["--data", folder.path()]);
    assert_eq!(series(&hub), before);
    assert_eq!(hub.get("/api/v1/events").json()["events"][0]["kind"], "came");
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    let hub = Program::start(&[]);
    let taken = hub.address.to_string();
    let folder = Folder::new("foreign");
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.0.join("hub.redb"), "no history").unwrap();
    for (args, reason, code) in [
        (&["--address", &taken][..], "another hub is there", 1),
        (&["--address", "0.0.0.0:0"], "--allow CIDR", 2),
        (&["--address", "nowhere"], "no port", 2),
        (&["--nodes-max", "0"], "nodes-max", 2),
        (&["--data", folder.path()], "is no history of a hub", 1),
        (&["--data", "/proc/nothing"], "cannot make", 1),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_hub")).args(args).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(reason), "{args:?}: {error}");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_hub")).arg("--help").output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("curl 127.0.0.1:5555/api/v1/state"));
    let version = Command::new(env!("CARGO_BIN_EXE_hub")).arg("--version").output().unwrap();
    assert!(version.stdout.starts_with(b"hub 0."));
}

#[test]
fn a_client_that_is_slow_is_not_waited_for() {
    let hub = Program::start(&[]);
    let mut head = hub.connect();
    head.write_all(b"GET / HTTP/1.1\r\nHost: 127").unwrap();
    let mut body = hub.connect();
    write!(body, "POST /post HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\n{{", hub.address).unwrap();
    let mut answer = String::new();
    let _ = body.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut rest = Vec::new();
    // Closed, with or without a word.
    let _ = head.read_to_end(&mut rest);
    assert_eq!(hub.get("/healthz").status, 200);
}
