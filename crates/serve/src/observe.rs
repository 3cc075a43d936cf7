//! What is written down of a request: a line in the log, with nothing of its content, and the server's metrics. Both
//! come when the response has gone out, or the client has gone away.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use hyper::body::{Body as _, Frame, SizeHint};

use crate::{Metrics, Usage};

/// Status of a request whose client went away before there was one, as nginx has it.
const GONE: u16 = 499;

/// A request under way. Dropped by the last who holds it, it is written down.
#[derive(Debug)]
pub(crate) struct Record {
    metrics: Metrics,
    started: Instant,
    time: DateTime<Utc>,
    id: String,
    method: String,
    route: &'static str,
    address: Option<IpAddr>,
    /// The first digits of its key's hash.
    key: OnceLock<String>,
    status: AtomicU16,
    prompt: AtomicUsize,
    completion: AtomicUsize,
    whole: AtomicBool,
}

impl Record {
    pub fn new(
        metrics: Metrics,
        id: String,
        method: String,
        route: &'static str,
        address: Option<IpAddr>,
    ) -> Self {
        Self {
            metrics,
            started: Instant::now(),
            time: Utc::now(),
            id,
            method,
            route,
            address,
            key: OnceLock::new(),
            status: AtomicU16::new(GONE),
            prompt: AtomicUsize::new(0),
            completion: AtomicUsize::new(0),
            whole: AtomicBool::new(false),
        }
    }

    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    pub fn key(&self, key: String) {
        let _ = self.key.set(key); // asked once
    }

    pub fn answered(&self, status: u16) {
        self.status.store(status, Relaxed);
    }

    pub fn used(&self, used: Usage) {
        self.prompt.store(used.prompt, Relaxed);
        self.completion.store(used.completion, Relaxed);
    }

    pub fn error(&self, kind: &'static str) {
        self.metrics.error(kind);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (status, took) = (self.status.load(Relaxed), self.started.elapsed());
        self.metrics.request(self.route, status, took);
        tracing::info!(
            target: "audit",
            time = %self.time.to_rfc3339_opts(SecondsFormat::Millis, true),
            id = self.id,
            key = self.key.get().map_or("-", String::as_str),
            address = %self.address.map_or("-".to_owned(), |address| address.to_string()),
            method = self.method,
            route = self.route,
            status,
            prompt_tokens = self.prompt.load(Relaxed),
            completion_tokens = self.completion.load(Relaxed),
            milliseconds = took.as_millis() as u64,
            whole = self.whole.load(Relaxed),
            "request"
        );
    }
}

/// A response's body, which keeps a record until it has gone out.
pub(crate) struct Watched {
    body: Body,
    record: Arc<Record>,
}

impl Watched {
    pub fn new(body: Body, record: Arc<Record>) -> Self {
        record.whole.store(body.is_end_stream(), Relaxed);
        Self { body, record }
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.record.whole.store(true, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_record_ends_with_its_response() {
        let metrics = Metrics::new("m");
        let record = |route| {
            let (id, method) = ("req-1".to_owned(), "POST".to_owned());
            Arc::new(Record::new(metrics.clone(), id, method, route, None))
        };
        let count = |line: &str| metrics.text().unwrap().contains(line);
        let whole = record("/v1/score");
        whole.answered(200);
        let body = Body::new(Watched::new(Body::from("abc"), whole.clone()));
        drop(whole);
        assert!(!count("/v1/score"), "not yet");
        assert_eq!(axum::body::to_bytes(body, 10).await.unwrap(), "abc");
        assert!(count(
            "deem_http_requests_total{route=\"/v1/score\",status=\"200\"} 1"
        ));
        drop(record("/v1/restore"));
        assert!(count(
            "deem_http_requests_total{route=\"/v1/restore\",status=\"499\"} 1"
        ));
    }
}
