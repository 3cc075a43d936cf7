//! What can go wrong: with a server as a whole, and with a request, of which the client is told in OpenAI's form.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use deem_data::DataError;
use serde_json::{Value, json};

use crate::Refused;

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It would answer everybody.
    #[error(
        "--host {0}: other machines reach this address, and no keys are asked for; name a file of keys with --keys, or \
         say --no-keys"
    )]
    Open(IpAddr),
    /// An origin that no browser sends.
    #[error(
        "--cors {0:?}: expected an origin as browsers send it, as `https://example.org`, without a path"
    )]
    Origin(String),
    /// A host that no address names.
    #[error("--allow-fetch {0:?}: expected a host's name, as `example.org` or `example.org:8443`")]
    Host(String),
    /// The keys cannot be read.
    #[error("--keys {}: {problem}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Nothing can listen there.
    #[error(
        "{address}: cannot listen ({cause}); is another server running? --port chooses another port"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// There is nothing to serve.
    #[error("no model to serve")]
    NoModel,
}

/// Longest text of an error that a client is sent, in characters: what it sent may be part of it.
const LONGEST: usize = 600;

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    pub message: String,
    /// Field of the request.
    pub param: Option<String>,
    pub code: Option<&'static str>,
    /// Seconds after which it may be tried again.
    pub retry_after: Option<u64>,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            param: None,
            code: None,
            retry_after: None,
        }
    }

    /// A field that is not what it should be.
    pub fn field(param: impl Into<String>, problem: impl Display) -> Self {
        let param = param.into();
        let message = format!("{param}: {problem}");
        Self {
            param: Some(param),
            ..Self::new(StatusCode::BAD_REQUEST, message)
        }
    }

    /// A field that is more than a limit of this server, which `option` sets.
    pub fn limit(param: impl Into<String>, what: impl Display, option: &str) -> Self {
        Self::field(param, format!("{what} (this server's {option})")).code("limit_exceeded")
    }

    /// Something that is the server's fault: the log knows it, the client does not.
    pub fn internal(cause: &dyn Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server failed to answer; its log says why",
        )
        .code("internal_error")
    }

    pub fn code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// What kind of error it is, for clients and metrics.
    pub fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// OpenAI's error object.
    pub fn json(&self) -> Value {
        let message: String = self.message.chars().take(LONGEST).collect();
        json!({ "error": {
            "message": message, "type": self.kind(), "param": self.param, "code": self.code,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.json())).into_response();
        if let Some(seconds) = self.retry_after {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response.extensions_mut().insert(Kind(self.kind()));
        response
    }
}

/// The kind of error that a response reports.
#[derive(Clone, Copy)]
pub(crate) struct Kind(pub &'static str);

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Full(_) => Self {
                retry_after: Some(1),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, message).code("queue_full")
            },
            Refused::Closing => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, message).code("shutting_down")
            }
        }
    }
}

impl From<deem::Error> for ApiError {
    /// Pictures bear names that the server gave them; whatever else names files stays in the log.
    fn from(error: deem::Error) -> Self {
        match &error {
            deem::Error::TooLong { .. } => Self {
                param: Some("messages".into()),
                ..Self::new(StatusCode::BAD_REQUEST, error.to_string())
                    .code("context_length_exceeded")
            },
            deem::Error::Option { option, .. } => Self {
                param: Some((*option).into()),
                ..Self::new(StatusCode::BAD_REQUEST, error.to_string())
            },
            deem::Error::NotLoaded { asked, .. } => Self::new(
                StatusCode::BAD_REQUEST,
                format!("this model is not made for {asked}"),
            )
            .code("unsupported"),
            deem::Error::Data(
                DataError::Image { .. }
                | DataError::ImageTooLarge { .. }
                | DataError::MaskSize { .. }
                | DataError::EmptyMask { .. },
            ) => Self::new(StatusCode::BAD_REQUEST, error.to_string()).code("invalid_image"),
            _ => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_fault_is_told_and_the_servers_is_not() {
        let long = deem::Error::TooLong {
            tokens: 9,
            answer: 2,
            limit: 10,
        };
        let told = ApiError::from(long);
        assert_eq!(told.status, 400);
        assert_eq!(told.json()["error"]["code"], "context_length_exceeded");
        assert!(told.message.contains("9 tokens"));

        let secret = deem::Error::Io {
            path: "/srv/weights.safetensors".into(),
            cause: std::io::Error::other("gone"),
        };
        let told = ApiError::from(secret);
        assert_eq!(told.status, 500);
        assert!(!told.json().to_string().contains("/srv"));
        let tokenizer = deem::Error::Data(DataError::Tokenizer {
            name: "/srv/tokenizer.json".into(),
            reason: "no".into(),
        });
        assert!(
            !ApiError::from(tokenizer)
                .json()
                .to_string()
                .contains("/srv")
        );
    }

    #[test]
    fn what_was_sent_is_not_sent_back_whole() {
        let error = ApiError::field("model", "x".repeat(10_000));
        assert!(error.json().to_string().len() < 800);
    }

    #[test]
    fn a_full_queue_says_when_to_come_back() {
        let response = ApiError::from(Refused::Full(3)).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "1");
    }
}
