//! Routes, and what is done before and after all of them.

mod admit;
mod body;
mod handlers;
mod listen;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::api::random;
use crate::app::App;
use crate::error::{ApiError, Kind};
use crate::observe::{Record, Watched};
use crate::{metrics, page};
pub use listen::serve;

/// The client's address, put beside each request of its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub std::net::SocketAddr);

/// The routes by which requests are counted; others are `other`.
const ROUTES: &[&str] = &[
    "/",
    "/docs",
    "/health",
    "/metrics",
    "/openapi.json",
    "/ready",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/images/generations",
    "/v1/models",
    "/v1/restore",
    "/v1/score",
];

/// Everything that a server answers.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/models", get(handlers::models))
        .route("/v1/models/{*id}", get(handlers::model))
        .route("/v1/chat/completions", post(handlers::chat))
        .route("/v1/completions", post(handlers::completion))
        .route("/v1/images/generations", post(handlers::draw))
        .route("/v1/restore", post(handlers::restore))
        .route("/v1/score", post(handlers::score))
        .route("/health", get(|| async { "alive\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(told))
        .route("/openapi.json", get(openapi))
        .route("/docs", get(docs))
        .route("/docs/{file}", get(reference))
        .fallback(other)
        .method_not_allowed_fallback(|| async {
            let problem = "not this way: see the methods of this address at /docs";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, problem).code("method_not_allowed")
        })
        .layer(middleware::from_fn_with_state(app.clone(), around))
        .with_state(app)
}

/// Lets a request in, and writes down what became of it.
async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let route = if path.starts_with("/v1/models/") {
        "/v1/models"
    } else {
        ROUTES
            .iter()
            .find(|route| **route == path)
            .copied()
            .unwrap_or("other")
    };
    let id = format!("req-{:016x}", random());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let method = request.method().to_string();
    let record = Arc::new(Record::new(
        app.metrics.clone(),
        id.clone(),
        method,
        route,
        peer,
    ));
    request.extensions_mut().insert(record.clone());
    let origin = admit::origin(&app.options.cors, request.headers());
    let mut response = if origin.is_some() && admit::is_preflight(&request) {
        admit::preflight(request.headers())
    } else {
        match admit::admit(&app, &request, &record) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    record.answered(response.status().as_u16());
    if let Some(Kind(kind)) = response.extensions().get() {
        record.error(kind);
    }
    finish(response.headers_mut(), origin, &id);
    response.map(|body| Body::new(Watched::new(body, record)))
}

/// Headers of every response.
fn finish(headers: &mut HeaderMap, origin: Option<HeaderValue>, id: &str) {
    const ALWAYS: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(nothing);
    let fresh = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(fresh);
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.closing.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    "ready\n".into_response()
}

async fn told(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app
        .metrics
        .text()
        .map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response())
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], page::OPENAPI).into_response()
}

async fn docs(headers: HeaderMap) -> Result<Response, ApiError> {
    page::reference("index.html", &headers).ok_or_else(nothing)
}

async fn reference(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    page::reference(&file, &headers).ok_or_else(nothing)
}

/// Files of the page, and nothing else.
async fn other(request: Request) -> Result<Response, ApiError> {
    let path = request.uri().path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(nothing());
    }
    page::page(path.trim_start_matches('/'), request.headers()).ok_or_else(nothing)
}

fn nothing() -> ApiError {
    let problem = "nothing here; /docs describes what is there";
    ApiError::new(StatusCode::NOT_FOUND, problem).code("not_found")
}
