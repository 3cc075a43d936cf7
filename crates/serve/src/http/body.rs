//! Bodies of requests: JSON objects of bounded size, within bounded time.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;
use serde_json::Value;

use crate::Options;
use crate::error::ApiError;

/// The body of a request.
///
/// # Errors
/// 415 for another media type, 413 and 408 beyond the limits, 400 for what is no JSON object.
pub(super) async fn object(request: Request, options: &Options) -> Result<Value, ApiError> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let problem = "expected a body of JSON, and the header `Content-Type: application/json`";
        let error = ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem);
        return Err(error.code("unsupported_media_type"));
    }
    let told = parts.headers.get(header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|length| length > options.max_body) {
        return Err(large(options.max_body));
    }
    let read = tokio::time::timeout(options.patience, whole(body, options.max_body)).await;
    let bytes = read.map_err(|_| {
        let seconds = options.patience.as_secs();
        let problem =
            format!("the body did not arrive within {seconds} s (this server's --patience)");
        ApiError::new(StatusCode::REQUEST_TIMEOUT, problem).code("timeout")
    })??;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            format!("the body is no JSON: {error}"),
        )
        .code("invalid_json")
    })?;
    if value.is_object() {
        return Ok(value);
    }
    let problem = "expected a JSON object as body, found another value";
    Err(ApiError::new(StatusCode::BAD_REQUEST, problem).code("invalid_json"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn whole(body: Body, most: usize) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| {
            ApiError::new(StatusCode::BAD_REQUEST, "the body broke off").code("incomplete_body")
        })?;
        if bytes.len() + chunk.len() > most {
            return Err(large(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn large(most: usize) -> ApiError {
    let problem = format!("the body has more than {most} bytes (this server's --max-body)");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, problem).code("limit_exceeded")
}
