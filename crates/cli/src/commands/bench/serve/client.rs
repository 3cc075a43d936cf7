//! One question to a server, answered as a stream.

use std::io::Cursor;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use deem_data::storage::choose_tls_provider;
use image::{ImageFormat, Rgb, RgbImage};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::TOLERANCE;
use crate::args::BenchServe;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Waits for the whole answer.
    Patient,
    /// Goes away after the first piece.
    HangsUp,
    /// Reads a piece every 50 milliseconds.
    Slow,
}

/// A question as it is sent.
pub(super) struct Asked {
    path: &'static str,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    text: String,
    log_probability: f64,
    pub(super) tokens: u64,
    pub(super) first: Duration,
    pub(super) whole: Duration,
}

impl Answer {
    /// Whether both are the same answer: in words, and in how sure the model is of the first.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.text == other.text && self.apart(other) < TOLERANCE
    }

    /// How far the first tokens' log-probabilities are apart.
    pub(super) fn apart(&self, other: &Self) -> f64 {
        (self.log_probability - other.log_probability).abs()
    }
}

pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
}

impl Client {
    pub(super) fn new(part: &BenchServe) -> Result<Self> {
        choose_tls_provider();
        let http = reqwest::Client::builder()
            .build()
            .context("an HTTP client")?;
        Ok(Self {
            http,
            url: part.url.trim_end_matches('/').to_owned(),
            key: part.key.clone(),
        })
    }

    fn post(&self, asked: &Asked) -> RequestBuilder {
        let request = self.http.post(format!("{}{}", self.url, asked.path));
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        let request = request.header("content-type", "application/json");
        request.body(asked.body.clone())
    }

    /// The answer; nothing if the server is busy.
    pub(super) async fn ask(&self, asked: &Asked, manner: Manner) -> Result<Option<Answer>> {
        let started = Instant::now();
        let mut response = self
            .post(asked)
            .send()
            .await
            .context("sending a question")?;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            return Ok(None);
        }
        if !response.status().is_success() {
            bail!(
                "{}: {}",
                response.status(),
                response.text().await.unwrap_or_default()
            );
        }
        let mut answer = Answer {
            text: String::new(),
            log_probability: f64::NAN,
            tokens: 0,
            first: Duration::ZERO,
            whole: Duration::ZERO,
        };
        let mut lines = Lines::default();
        while let Some(line) = lines.next(&mut response).await? {
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            if data == "[DONE]" {
                answer.whole = started.elapsed();
                return Ok(Some(answer));
            }
            let event: Value = serde_json::from_str(data).context("an event of the stream")?;
            if answer.take(&event)? && answer.first.is_zero() {
                answer.first = started.elapsed();
                if manner == Manner::HangsUp {
                    return Ok(Some(answer));
                }
            }
            if manner == Manner::Slow {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        bail!("the stream ended before `[DONE]`, after {:?}", answer.text)
    }
}

impl Answer {
    /// Takes in an event of a chat or a completion; whether it had text.
    fn take(&mut self, event: &Value) -> Result<bool> {
        if let Some(error) = event.get("error") {
            bail!("the server: {error}");
        }
        if let Some(tokens) = event["usage"]["completion_tokens"].as_u64() {
            self.tokens = tokens;
        }
        let choice = &event["choices"][0];
        if self.log_probability.is_nan() {
            let chat = &choice["logprobs"]["content"][0]["logprob"];
            let told = chat
                .as_f64()
                .or(choice["logprobs"]["token_logprobs"][0].as_f64());
            self.log_probability = told.unwrap_or(f64::NAN);
        }
        let text = choice["delta"]["content"]
            .as_str()
            .or(choice["text"].as_str());
        self.text.push_str(text.unwrap_or_default());
        Ok(text.is_some_and(|text| !text.is_empty()))
    }
}

/// Lines of a response as they come.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
}

impl Lines {
    async fn next(&mut self, response: &mut Response) -> Result<Option<String>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            match response.chunk().await.context("reading the answer")? {
                Some(chunk) => self.bytes.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

impl Asked {
    /// The question about picture `index`, or the text to be continued if there are no pictures.
    pub(super) fn new(part: &BenchServe, index: usize) -> Result<Self> {
        let mut body = json!({
            "stream": true,
            "stream_options": { "include_usage": true },
            "max_tokens": part.tokens,
            "min_tokens": if part.exactly { part.tokens } else { 1 },
        });
        let path = if part.pictures == 0 {
            body["prompt"] = json!(part.question);
            body["logprobs"] = json!(0);
            "/v1/completions"
        } else {
            let url = picture(index)?;
            body["messages"] = json!([{ "role": "user", "content": [
                { "type": "image_url", "image_url": { "url": url } },
                { "type": "text", "text": part.question },
            ]}]);
            body["logprobs"] = json!(true);
            "/v1/chat/completions"
        };
        if let Some(model) = &part.served {
            body["model"] = json!(model);
        }
        Ok(Self {
            path,
            body: serde_json::to_vec(&body)?,
        })
    }
}

/// A picture in colours of its own: a disc on a plain ground, as a data URL.
fn picture(index: usize) -> Result<String> {
    let hue = |shift: usize| ((index * 67 + shift * 101) % 256) as u8;
    let (ground, disc) = ([hue(0), hue(1), hue(2)], [hue(5), hue(7), hue(9)]);
    let pixels = RgbImage::from_fn(96, 96, |x, y| {
        let [dx, dy] = [x, y].map(|v| i64::from(v) - 48);
        let radius = 12 + (index % 24) as i64;
        Rgb(if dx * dx + dy * dy < radius * radius {
            disc
        } else {
            ground
        })
    });
    let mut png = Cursor::new(Vec::new());
    pixels
        .write_to(&mut png, ImageFormat::Png)
        .context("a PNG in memory")?;
    let data = BASE64_STANDARD.encode(png.into_inner());
    Ok(format!("data:image/png;base64,{data}"))
}
