//! What is at which path, and who may ask.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use hub::{Window, prometheus};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{assets, shared::Shared};

/// The largest body that is taken.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

type App = State<Arc<Shared>>;

/// All paths. `names` are the host names under which the hub may be asked, beside addresses and `localhost`.
pub(crate) fn routes(shared: Arc<Shared>, names: Vec<String>) -> Router {
    let names: Arc<[String]> = names.into();
    Router::new()
        .route("/", get(page).post(post))
        .route("/post", axum::routing::post(post))
        .route("/healthz", get(|| async { "ok" }))
        .route("/metrics", get(metrics))
        .route("/api/v1/state", get(async |app: App, query: Query<Asked>| part(&app, &query, None)))
        .route(
            "/api/v1/topology",
            get(async |app: App, query: Query<Asked>| part(&app, &query, Some(&["now", "nodes", "edges"]))),
        )
        .route("/api/v1/nodes", get(async |app: App, query: Query<Asked>| part(&app, &query, Some(&["now", "nodes"]))))
        .route("/api/v1/nodes/{id}", get(node))
        .route("/api/v1/events", get(events))
        .route("/api/v1/ledger", get(ledger))
        .route("/api/v1/series", get(series))
        .route("/api/v1/stream", get(stream))
        .fallback(other)
        .method_not_allowed_fallback(|| async {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "another method is meant here")
        })
        .layer(middleware::from_fn(move |request: Request, next: Next| guard(Arc::clone(&names), request, next)))
        .with_state(shared)
}

/// Looks who asks before anything is done, and says to browsers what they may do with the answer.
async fn guard(names: Arc<[String]>, request: Request, next: Next) -> Response {
    let mut response = match refused(&names, request.method(), request.uri(), request.headers()) {
        Some((status, reason)) => refusal(status, reason),
        None => next.run(request).await,
    };
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A page of somebody else's must neither read the hub, by a name that it lets point here, nor post to it.
fn refused(names: &[String], method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = uri.authority().map(axum::http::uri::Authority::as_str).or_else(|| text(header::HOST)).unwrap_or("");
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_known = address.parse::<std::net::IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|known| name.eq_ignore_ascii_case(known));
    // HTTP/1.0 knows no Host; browsers always send one.
    if !host.is_empty() && !is_known {
        return Some((StatusCode::MISDIRECTED_REQUEST, "ask by address, or by the name in --address"));
    }
    if method != Method::POST {
        return None;
    }
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, authority)| authority));
    let is_foreign = origin.is_some_and(|origin| !origin.eq_ignore_ascii_case(host));
    is_foreign.then_some((StatusCode::FORBIDDEN, "a page of another origin may not post"))
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    answer(status, &json!({"error": reason}))
}

fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn page(uri: Uri, headers: HeaderMap) -> Response {
    assets::serve(uri.path(), &headers).unwrap_or_else(not_found)
}

async fn other(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    match assets::serve(uri.path(), &headers) {
        Some(asset) if matches!(method, Method::GET | Method::HEAD) => asset,
        Some(_) => refusal(StatusCode::METHOD_NOT_ALLOWED, "another method is meant here"),
        None => not_found(),
    }
}

fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "there is nothing at this path; see docs/hub.md")
}

async fn post(State(shared): App, request: Request) -> Response {
    let promised = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let too_large = || refusal(StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 1 MiB");
    if promised.is_some_and(|promised: usize| promised > BODY_BYTES_MAX) {
        shared.lock().hub.refuse();
        return too_large();
    }
    let body = tokio::time::timeout(BODY_PATIENCE, to_bytes(request.into_body(), BODY_BYTES_MAX)).await;
    let now = shared.now();
    let mut inner = shared.lock();
    match body {
        Ok(Ok(body)) => match inner.hub.post(now, &body) {
            Ok(taken) => answer(StatusCode::ACCEPTED, &taken),
            Err(refused) => answer(StatusCode::BAD_REQUEST, &refused),
        },
        Ok(Err(error)) => {
            inner.hub.refuse();
            let is_length = std::error::Error::source(&error)
                .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
            if is_length { too_large() } else { refusal(StatusCode::BAD_REQUEST, "the body did not arrive whole") }
        }
        Err(_) => {
            inner.hub.refuse();
            refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long")
        }
    }
}

async fn metrics(State(shared): App) -> Response {
    let now = shared.now();
    let mut inner = shared.lock();
    let streams = inner.streams();
    inner.hub.look(now);
    let text = prometheus(&inner.hub, now, streams);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// What may be asked for. Members that are not known do no harm.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    window: Option<String>,
    node: Option<String>,
    name: Option<String>,
    format: Option<String>,
    since: Option<u64>,
}

impl Asked {
    fn window(&self) -> Result<Window, Box<Response>> {
        let window = self.window.as_deref().map_or(Ok(Window::default()), str::parse);
        window.map_err(|error: hub::WindowError| Box::new(refusal(StatusCode::BAD_REQUEST, &error.to_string())))
    }
}

fn part(State(shared): &App, Query(asked): &Query<Asked>, members: Option<&[&str]>) -> Response {
    let window = match asked.window() {
        Ok(window) => window,
        Err(refusal) => return *refusal,
    };
    let now = shared.now();
    let mut inner = shared.lock();
    let streams = inner.streams();
    inner.hub.look(now);
    let state = inner.hub.state(now, window, streams);
    drop(inner);
    let Some(members) = members else { return answer(StatusCode::OK, &state) };
    let mut value = serde_json::to_value(state).unwrap_or_default();
    if let Value::Object(object) = &mut value {
        object.retain(|name, _| members.contains(&name.as_str()));
    }
    answer(StatusCode::OK, &value)
}

async fn node(State(shared): App, Path(id): Path<String>, Query(asked): Query<Asked>) -> Response {
    let window = match asked.window() {
        Ok(window) => window,
        Err(refusal) => return *refusal,
    };
    let now = shared.now();
    let mut inner = shared.lock();
    inner.hub.look(now);
    match inner.hub.node_detail(&id, window) {
        Some(detail) => answer(StatusCode::OK, &detail),
        None => no_such_node(),
    }
}

fn no_such_node() -> Response {
    refusal(StatusCode::NOT_FOUND, "there is no such node")
}

async fn events(State(shared): App, Query(asked): Query<Asked>) -> Response {
    let now = shared.now();
    let (events, next) = shared.lock().hub.events_since(asked.since.unwrap_or(0));
    answer(StatusCode::OK, &json!({"now": now, "next": next, "events": events}))
}

async fn ledger(State(shared): App) -> Response {
    let now = shared.now();
    let mut inner = shared.lock();
    inner.hub.look(now);
    let state = inner.hub.state(now, Window::Minute, 0);
    drop(inner);
    let nodes = state.nodes.iter().map(|node| {
        json!({"id": node.id, "kind": node.kind, "ledger": node.ledger, "drops": node.drops, "unaccounted": node.unaccounted, "elsewhere": node.elsewhere})
    });
    let nodes: Vec<Value> = nodes.collect();
    answer(
        StatusCode::OK,
        &json!({"now": now, "unaccounted": state.health.unaccounted, "nodes": nodes, "edges": state.edges}),
    )
}

async fn series(State(shared): App, Query(asked): Query<Asked>) -> Response {
    let window = match asked.window() {
        Ok(window) => window,
        Err(refusal) => return *refusal,
    };
    let names: Vec<Cow<'_, str>> =
        asked.name.iter().flat_map(|names| names.split(',')).filter(|name| !name.is_empty()).map(Cow::from).collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    if names.iter().any(|name| !hub::NAMES.contains(name)) {
        return refusal(StatusCode::BAD_REQUEST, &format!("name takes some of: {}", hub::NAMES.join(",")));
    }
    let Some(id) = &asked.node else { return refusal(StatusCode::BAD_REQUEST, "say which node: ?node=NAME") };
    let now = shared.now();
    let Some(series) = shared.lock().hub.series(now, id, window, &names) else { return no_such_node() };
    match asked.format.as_deref() {
        None | Some("json") => answer(StatusCode::OK, &series),
        Some("csv") => ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], series.csv()).into_response(),
        Some(_) => refusal(StatusCode::BAD_REQUEST, "format is json or csv"),
    }
}

async fn stream(State(shared): App, Query(asked): Query<Asked>) -> Response {
    let window = match asked.window() {
        Ok(window) => window,
        Err(refusal) => return *refusal,
    };
    let now = shared.now();
    let body: Option<Body> = shared.lock().listen(now, window);
    match body {
        Some(body) => ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response(),
        None => refusal(StatusCode::SERVICE_UNAVAILABLE, "too many streams are open"),
    }
}
