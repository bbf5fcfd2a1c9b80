//! A hub, and what it is asked.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;
use trials::{
    Node,
    http::{Answer, connect, get, request},
    program, wait_for,
};

use crate::ANY_PORT;

/// A hub of the trial's own.
pub(crate) fn start_hub() -> Node {
    start_hub_at(ANY_PORT, &[])
}

pub(crate) fn start_hub_at(address: &str, flags: &[&str]) -> Node {
    Node::listening(program("hub").args(["--address", address]).args(flags))
}

#[track_caller]
pub(crate) fn post(hub: SocketAddr, body: impl AsRef<[u8]>) -> Answer {
    request(hub, "POST /post", body.as_ref())
}

/// All that the hub says of now.
#[track_caller]
pub(crate) fn state(hub: SocketAddr) -> Value {
    let answer = get(hub, "/api/v1/state");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The node of this name, once the hub knows it.
#[track_caller]
pub(crate) fn node(hub: SocketAddr, id: &str) -> Value {
    wait_for(&format!("the node {id}"), || node_in(&state(hub), id))
}

pub(crate) fn node_in(state: &Value, id: &str) -> Option<Value> {
    state["nodes"].as_array().unwrap().iter().find(|node| node["id"] == id).cloned()
}

/// A page that is open: a stream of events.
#[derive(Debug)]
pub(crate) struct Stream(TcpStream, String);

impl Stream {
    pub(crate) fn open(hub: SocketAddr) -> Self {
        let mut stream = connect(hub);
        write!(stream, "GET /api/v1/stream HTTP/1.0\r\nHost: {hub}\r\n\r\n").unwrap();
        Self(stream, String::new())
    }

    /// Reads on until this text has come; gives what came since the last time.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let mut part = vec![0; 1 << 16];
        loop {
            if let Some(at) = self.1.find(text) {
                let rest = self.1.split_off(at + text.len());
                return std::mem::replace(&mut self.1, rest);
            }
            let len = self.0.read(&mut part).unwrap();
            assert!(len > 0, "the stream ended before {text:?}: {}", self.1);
            self.1.push_str(&String::from_utf8_lossy(&part[..len]));
        }
    }
}
