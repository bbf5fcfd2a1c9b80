//! The page and what it needs, embedded when the hub is built.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};

/// One file of the page.
#[derive(Debug)]
struct Asset {
    path: &'static str,
    content_type: &'static str,
    etag: &'static str,
    bytes: &'static [u8],
}

const ASSETS: &[Asset] = &include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file at a path; `None` if there is none.
pub(crate) fn serve(path: &str, headers: &HeaderMap) -> Option<Response> {
    let path = if path == "/" { "/index.html" } else { path };
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    // A browser asks each time whether its copy is still the one, and seldom gets more than "yes".
    let known = [(header::ETAG, asset.etag), (header::CACHE_CONTROL, "no-cache")];
    let asked = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or("");
    if asked.split(',').any(|tag| tag.trim().trim_start_matches("W/") == asset.etag) {
        return Some((StatusCode::NOT_MODIFIED, known).into_response());
    }
    Some((known, [(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response())
}
