//! Who is let in: hosts, origins, keys, rates.

use std::net::IpAddr;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::ApiError;
use crate::observe::Record;

/// How long a browser may remember what a preflight said, in seconds.
const REMEMBERED: &str = "600";

/// Lets a request in.
///
/// # Errors
/// 403 for a foreign host, 401 without a key, 429 if the client asks too often.
pub(super) fn admit(app: &App, request: &Request, record: &Record) -> Result<(), ApiError> {
    let (path, headers) = (request.uri().path(), request.headers());
    // Without keys, a page elsewhere must not reach this machine under a name of its own that leads here.
    if app.keys.is_none() && app.options.host.is_loopback() && !is_local(headers) {
        let problem = "this server answers only its own machine's names: open it at http://127.0.0.1 or http://localhost";
        return Err(ApiError::new(StatusCode::FORBIDDEN, problem).code("foreign_host"));
    }
    let interface = path.starts_with("/v1/");
    if !interface && path != "/metrics" {
        return Ok(());
    }
    let address = || {
        record
            .address()
            .map_or("-".to_owned(), |address| address.to_string())
    };
    let client = match &app.keys {
        None => address(),
        Some(keys) => match bearer(headers).and_then(|key| keys.accept(key)) {
            Some(key) => {
                record.key(key.clone());
                key
            }
            None => {
                rated(app, &address())?;
                let problem =
                    "no key, or one that is not accepted here; send `Authorization: Bearer KEY`";
                let error = ApiError::new(StatusCode::UNAUTHORIZED, problem);
                return Err(error.code("invalid_api_key"));
            }
        },
    };
    if interface {
        rated(app, &client)
    } else {
        Ok(())
    }
}

fn rated(app: &App, client: &str) -> Result<(), ApiError> {
    app.limiter.take(client, Instant::now()).map_err(|seconds| {
        let most = app.options.rate.unwrap_or_default();
        let problem = format!(
            "more than {most} requests a minute (this server's --rate); try again in {seconds} s"
        );
        ApiError {
            retry_after: Some(seconds),
            ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, problem).code("rate_limit_exceeded")
        }
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// Whether a request is made to this machine by a name that only it has.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true; // no browser leaves it out
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let name = bare.to_ascii_lowercase();
    let address = name
        .parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback());
    address || name == "localhost" || name.ends_with(".localhost")
}

/// The origin of a page that may use the server, if that sent the request.
pub(super) fn origin(allowed: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    allowed
        .iter()
        .any(|allowed| origin == allowed.as_str())
        .then(|| origin.clone())
}

/// Whether a browser asks if it may ask.
pub(super) fn is_preflight(request: &Request) -> bool {
    let asked = request
        .headers()
        .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    request.method() == Method::OPTIONS && asked
}

/// Says that it may.
pub(super) fn preflight(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let answer = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST");
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    answer.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static(REMEMBERED),
    );
    // OpenAI's clients send many headers of their own.
    if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn names_of_this_machine() {
        for local in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:8080",
            "LOCALHOST",
            "a.localhost:1",
        ] {
            assert!(is_local(&headers(header::HOST, local)), "{local}");
        }
        for foreign in [
            "example.org",
            "localhost.example.org",
            "10.0.0.1:80",
            "127.0.0.1.nip.io",
            "[::2]:80",
            "",
        ] {
            assert!(!is_local(&headers(header::HOST, foreign)), "{foreign}");
        }
    }

    #[test]
    fn keys_are_bearers() {
        let key = |value| bearer(&headers(header::AUTHORIZATION, value)).map(str::to_owned);
        assert_eq!(key("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(key("bearer  abc").as_deref(), Some("abc"));
        assert_eq!(key("Basic abc"), None);
        assert_eq!(key("abc"), None);
    }
}
