//! The page, the reference and what they consist of, from within the program.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

/// What a page may do: nothing that this server has not sent. Pictures and cameras are the user's own.
pub(crate) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
     connect-src 'self' data: blob:; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'",
);

/// The description of the interface.
pub(crate) const OPENAPI: &str = include_str!("../openapi.json");

/// Talk to the model.
#[derive(RustEmbed)]
#[folder = "page/"]
struct Page;

/// Renders the description of the interface.
#[derive(RustEmbed)]
#[folder = "reference/"]
struct Reference;

/// A file of the page; `path` without the slash at its beginning, empty for the page itself.
pub(crate) fn page(path: &str, headers: &HeaderMap) -> Option<Response> {
    let path = if path.is_empty() { "index.html" } else { path };
    Page::get(path).map(|file| respond(path, file, headers))
}

/// A file of the reference.
pub(crate) fn reference(path: &str, headers: &HeaderMap) -> Option<Response> {
    Reference::get(path).map(|file| respond(path, file, headers))
}

fn respond(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let hash = file.metadata.sha256_hash();
    let digits: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{digits}\"");
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known == tag.as_str());
    let about = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    // A browser takes the policy of an answer that sends nothing new instead of the one it knows.
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY)];
    if known {
        return (StatusCode::NOT_MODIFIED, about, policy).into_response();
    }
    let kind = [(header::CONTENT_TYPE, media_type(path))];
    (about, kind, policy, Body::from(file.data)).into_response()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_there_and_remembered() {
        let first = page("", &HeaderMap::new()).unwrap();
        assert_eq!(first.status(), 200);
        assert_eq!(first.headers()["content-type"], "text/html; charset=utf-8");
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()["etag"].clone());
        let again = page("index.html", &headers).unwrap();
        assert_eq!(again.status(), 304);
        assert_eq!(again.headers()["content-security-policy"], POLICY);
        for outside in ["../Cargo.toml", "/etc/passwd", "..", "nothing.js"] {
            assert!(page(outside, &headers).is_none(), "{outside}");
        }
    }
}
