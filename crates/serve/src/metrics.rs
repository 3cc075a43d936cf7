//! What a server does, in numbers, for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// The media type of [`Metrics::text`].
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters of a server, for one of its models; copies count together.
#[derive(Clone)]
pub struct Metrics {
    server: Arc<Server>,
    model: Model,
    id: String,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("id", &self.id).finish()
    }
}

/// What is registered.
struct Server {
    registry: Registry,
    queued: Family<Labels, Gauge>,
    batch: Family<Labels, Gauge>,
    batches: Histograms,
    tokens: Counters,
    prompt_tokens: Counters,
    cached_tokens: Counters,
    first_token: Histograms,
    encoded: Counters,
    drawn: Counters,
    cache_hits: Counters,
    errors: Counters,
    requests: Counters,
    seconds: Histograms,
}

/// Those of a model, looked up once.
#[derive(Clone)]
struct Model {
    queued: Gauge,
    batch: Gauge,
    batches: Histogram,
    tokens: Counter,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    first_token: Histogram,
    encoded: Counter,
    drawn: Counter,
}

fn seconds() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}

fn sizes() -> Histogram {
    Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])
}

impl Server {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("deem");
        Self {
            queued: add(
                &mut registry,
                "queued_requests",
                "Requests that wait for a place in the batch",
                Family::default(),
            ),
            batch: add(
                &mut registry,
                "batch_requests",
                "Requests in the batch now",
                Family::default(),
            ),
            batches: add(
                &mut registry,
                "batch_size",
                "Requests in the batch, at each step",
                Family::new_with_constructor(sizes as _),
            ),
            tokens: add(
                &mut registry,
                "completion_tokens",
                "Tokens of answers",
                Family::default(),
            ),
            prompt_tokens: add(
                &mut registry,
                "prompt_tokens",
                "Tokens of prompts, visual tokens included",
                Family::default(),
            ),
            cached_tokens: add(
                &mut registry,
                "cached_prompt_tokens",
                "Tokens of prompts that were in the cache",
                Family::default(),
            ),
            first_token: add(
                &mut registry,
                "time_to_first_token_seconds",
                "From a job's arrival to the first token of its answer",
                Family::new_with_constructor(seconds as _),
            ),
            encoded: add(
                &mut registry,
                "encoded_pictures",
                "Pictures that the encoder has looked at",
                Family::default(),
            ),
            drawn: add(
                &mut registry,
                "drawn_pictures",
                "Pictures drawn",
                Family::default(),
            ),
            cache_hits: add(
                &mut registry,
                "cache_hits",
                "What was found in a cache, by kind",
                Family::default(),
            ),
            errors: add(
                &mut registry,
                "errors",
                "Errors, by kind",
                Family::default(),
            ),
            requests: add(
                &mut registry,
                "http_requests",
                "Requests, by route and status",
                Family::default(),
            ),
            seconds: add(
                &mut registry,
                "http_request_seconds",
                "From a request's arrival to the end of its response, by route",
                Family::new_with_constructor(seconds as _),
            ),
            registry,
        }
    }

    fn model(&self, id: &str) -> Model {
        let labels: Labels = vec![("model", id.to_owned())];
        Model {
            queued: self.queued.get_or_create_owned(&labels),
            batch: self.batch.get_or_create_owned(&labels),
            batches: self.batches.get_or_create_owned(&labels),
            tokens: self.tokens.get_or_create_owned(&labels),
            prompt_tokens: self.prompt_tokens.get_or_create_owned(&labels),
            cached_tokens: self.cached_tokens.get_or_create_owned(&labels),
            first_token: self.first_token.get_or_create_owned(&labels),
            encoded: self.encoded.get_or_create_owned(&labels),
            drawn: self.drawn.get_or_create_owned(&labels),
        }
    }
}

fn add<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// Those of a server whose first model has this name.
    pub fn new(id: &str) -> Self {
        let server = Server::new();
        Self {
            model: server.model(id),
            server: Arc::new(server),
            id: id.to_owned(),
        }
    }

    /// Those of the same server for another model.
    #[must_use]
    pub fn of(&self, id: &str) -> Self {
        Self {
            server: self.server.clone(),
            model: self.server.model(id),
            id: id.to_owned(),
        }
    }

    /// So many requests wait for a place in the batch.
    pub fn queued(&self, requests: usize) {
        self.model.queued.set(requests as i64);
    }

    /// A step is taken with so many requests; 0: nothing is left to do.
    pub fn batch(&self, requests: usize) {
        self.model.batch.set(requests as i64);
        if requests > 0 {
            self.model.batches.observe(requests as f64);
        }
    }

    /// So many tokens were said.
    pub fn tokens(&self, tokens: usize) {
        self.model.tokens.inc_by(tokens as u64);
    }

    /// A prompt of so many tokens was read, of which some were in the cache.
    pub fn prompt_tokens(&self, tokens: usize, cached: usize) {
        self.model.prompt_tokens.inc_by(tokens as u64);
        self.model.cached_tokens.inc_by(cached as u64);
    }

    /// An answer began so long after its job arrived.
    pub fn first_token(&self, after: Duration) {
        self.model.first_token.observe(after.as_secs_f64());
    }

    /// The encoder looked at a picture.
    pub fn encoded(&self) {
        self.model.encoded.inc();
    }

    /// Something was found in a cache: `picture`, `prefix`, …
    pub fn cache_hit(&self, kind: &'static str) {
        let labels = vec![("kind", kind.to_owned()), ("model", self.id.clone())];
        self.server.cache_hits.get_or_create(&labels).inc();
    }

    /// A picture was drawn.
    pub fn drawn(&self) {
        self.model.drawn.inc();
    }

    /// Something went wrong.
    pub fn error(&self, kind: &'static str) {
        let labels = vec![("kind", kind.to_owned())];
        self.server.errors.get_or_create(&labels).inc();
    }

    /// A request was answered.
    pub fn request(&self, route: &'static str, status: u16, took: Duration) {
        let route = ("route", route.to_owned());
        let labels = vec![route.clone(), ("status", status.to_string())];
        self.server.requests.get_or_create(&labels).inc();
        let seconds = self.server.seconds.get_or_create(&vec![route]);
        seconds.observe(took.as_secs_f64());
    }

    /// Everything in OpenMetrics' text format.
    ///
    /// # Errors
    /// That of the formatter, which never comes when writing to memory.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.server.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told() {
        let metrics = Metrics::new("a");
        let other = metrics.of("b");
        metrics.queued(3);
        metrics.batch(2);
        metrics.clone().tokens(5);
        metrics.prompt_tokens(10, 4);
        metrics.first_token(Duration::from_millis(20));
        metrics.encoded();
        metrics.cache_hit("picture");
        other.drawn();
        metrics.error("server_error");
        metrics.request("/v1/models", 200, Duration::from_millis(1));
        let text = metrics.text().unwrap();
        for line in [
            "deem_queued_requests{model=\"a\"} 3",
            "deem_batch_requests{model=\"a\"} 2",
            "deem_batch_size_sum{model=\"a\"} 2.0",
            "deem_completion_tokens_total{model=\"a\"} 5",
            "deem_prompt_tokens_total{model=\"a\"} 10",
            "deem_cached_prompt_tokens_total{model=\"a\"} 4",
            "deem_time_to_first_token_seconds_count{model=\"a\"} 1",
            "deem_encoded_pictures_total{model=\"a\"} 1",
            "deem_cache_hits_total{kind=\"picture\",model=\"a\"} 1",
            "deem_drawn_pictures_total{model=\"b\"} 1",
            "deem_errors_total{kind=\"server_error\"} 1",
            "deem_http_requests_total{route=\"/v1/models\",status=\"200\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
