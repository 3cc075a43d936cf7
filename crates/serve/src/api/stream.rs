//! Answers as they come: server-sent events in OpenAI's shapes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};

use super::chat::{picture_part, reason};
use super::heard::{Heard, sum};
use super::{Head, tokens, usage};
use crate::error::ApiError;
use crate::observe::Record;
use crate::{Event, Usage};

/// How long the first event is waited for, so that what is wrong from the start has its own status.
const FIRST: Duration = Duration::from_secs(10);

/// Silence after which a comment tells proxies that the server lives.
const ALIVE: Duration = Duration::from_secs(15);

/// Makes chunks of events.
pub(crate) trait Chunks: Send + 'static {
    /// The chunks of an event of one of the request's jobs.
    ///
    /// # Errors
    /// If a picture cannot be written.
    fn of(&mut self, job: usize, event: Event) -> Result<Vec<Value>, ApiError>;

    /// What all of them have in common.
    fn frame(&self) -> &Frame;
}

/// What the chunks of a stream have in common.
#[derive(Debug)]
pub(crate) struct Frame {
    head: Head,
    kind: &'static str,
    include_usage: bool,
}

impl Frame {
    fn chunk(&self, choices: Value) -> Value {
        let mut chunk = self.head.object(self.kind);
        chunk["choices"] = choices;
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// The chunk that tells the tokens used, if the client wants one.
    fn usage(&self, used: Usage) -> Option<Value> {
        let mut chunk = self.chunk(json!([]));
        chunk["usage"] = usage(used);
        self.include_usage.then_some(chunk)
    }
}

/// Chunks of `/v1/chat/completions`.
#[derive(Debug)]
pub(crate) struct ChatChunks {
    frame: Frame,
    logprobs: bool,
    /// Which choices have begun.
    begun: Vec<bool>,
}

impl ChatChunks {
    pub fn new(head: Head, n: usize, include_usage: bool, logprobs: bool) -> Self {
        let frame = Frame {
            head,
            kind: "chat.completion.chunk",
            include_usage,
        };
        Self {
            frame,
            logprobs,
            begun: vec![false; n],
        }
    }

    fn delta(&self, choice: usize, delta: Value, logprobs: Value, reason: Value) -> Value {
        let choice = json!({
            "index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason,
        });
        self.frame.chunk(json!([choice]))
    }

    /// The first chunk of a choice says whose the answer is.
    fn begin(&mut self, choice: usize) -> Option<Value> {
        let begun = std::mem::replace(&mut self.begun[choice], true);
        let delta = json!({ "role": "assistant", "content": "", "refusal": null });
        (!begun).then(|| self.delta(choice, delta, Value::Null, Value::Null))
    }
}

impl Chunks for ChatChunks {
    fn of(&mut self, _job: usize, event: Event) -> Result<Vec<Value>, ApiError> {
        let (choice, delta, logprobs, reason) = match event {
            Event::Text {
                choice,
                text,
                tokens,
            } => {
                let logprobs = self.logprobs.then(|| tokens::of_chat(&tokens));
                (
                    choice,
                    json!({ "content": text }),
                    json!(logprobs),
                    Value::Null,
                )
            }
            Event::Picture { choice, picture } => {
                let delta = json!({ "images": [picture_part(&picture)?] });
                (choice, delta, Value::Null, Value::Null)
            }
            Event::End {
                choice,
                reason: why,
            } => (choice, json!({}), Value::Null, reason(why).into()),
            Event::Scores(_) | Event::Done(_) | Event::Failed(_) => return Ok(Vec::new()),
        };
        let mut chunks: Vec<Value> = self.begin(choice).into_iter().collect();
        chunks.push(self.delta(choice, delta, logprobs, reason));
        Ok(chunks)
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// Chunks of `/v1/completions`.
#[derive(Debug)]
pub(crate) struct TextChunks {
    frame: Frame,
    n: usize,
    /// With `logprobs`: characters so far of each choice, its prompt included.
    offsets: Option<Vec<usize>>,
}

impl TextChunks {
    /// - `lengths`: characters of each prompt, with `logprobs`
    pub fn new(head: Head, n: usize, include_usage: bool, lengths: Option<&[usize]>) -> Self {
        let offsets = lengths.map(|lengths| {
            let each = lengths
                .iter()
                .flat_map(|length| std::iter::repeat_n(*length, n));
            each.collect()
        });
        let frame = Frame {
            head,
            kind: "text_completion",
            include_usage,
        };
        Self { frame, n, offsets }
    }
}

impl Chunks for TextChunks {
    fn of(&mut self, job: usize, event: Event) -> Result<Vec<Value>, ApiError> {
        let first = job * self.n;
        let (index, text, logprobs, reason) = match event {
            Event::Text {
                choice,
                text,
                tokens,
            } => {
                let index = first + choice;
                let logprobs = self.offsets.as_mut().map(|offsets| {
                    let told = tokens::of_text(&tokens, offsets[index]);
                    offsets[index] += text.chars().count();
                    told
                });
                (index, text, json!(logprobs), Value::Null)
            }
            Event::End {
                choice,
                reason: why,
            } => (
                first + choice,
                String::new(),
                Value::Null,
                reason(why).into(),
            ),
            Event::Picture { .. } | Event::Scores(_) | Event::Done(_) | Event::Failed(_) => {
                return Ok(Vec::new());
            }
        };
        let choice = json!({
            "text": text, "index": index, "logprobs": logprobs, "finish_reason": reason,
        });
        Ok(vec![self.frame.chunk(json!([choice]))])
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// A stream that is under way. When the client goes away it is dropped, and with it the jobs' events.
struct Streaming<C> {
    heard: Heard,
    chunks: C,
    record: Arc<Record>,
    used: Usage,
    waiting: VecDeque<String>,
    ended: bool,
}

impl<C: Chunks> Streaming<C> {
    /// Turns an event, or the end, into what is sent.
    fn take(&mut self, heard: Option<Result<(usize, Event), ApiError>>) {
        let sent = match heard {
            Some(Ok((job, event))) => {
                if let Event::Done(used) = &event {
                    self.used = sum(self.used, *used);
                }
                self.chunks.of(job, event)
            }
            Some(Err(error)) => Err(error),
            None => {
                self.record.used(self.used);
                self.ended = true;
                let usage = self
                    .chunks
                    .frame()
                    .usage(self.used)
                    .map(|chunk| chunk.to_string());
                self.waiting
                    .extend(usage.into_iter().chain(["[DONE]".to_owned()]));
                return;
            }
        };
        match sent {
            Ok(chunks) => self.waiting.extend(chunks.iter().map(Value::to_string)),
            Err(error) => {
                // Too late for a status: the stream ends with the error and without `[DONE]`.
                self.record.error(error.kind());
                self.waiting.push_back(error.json().to_string());
                self.ended = true;
            }
        }
    }

    async fn next(mut self) -> Option<(Result<Sent, Infallible>, Self)> {
        loop {
            if let Some(data) = self.waiting.pop_front() {
                return Some((Ok(Sent::default().data(data)), self));
            }
            if self.ended {
                return None;
            }
            let heard = self.heard.next().await;
            self.take(heard);
        }
    }
}

/// The response to a request whose answer is to be streamed.
///
/// # Errors
/// If a job fails at once.
pub(crate) async fn respond(
    heard: Heard,
    chunks: impl Chunks,
    record: Arc<Record>,
) -> Result<Response, ApiError> {
    let mut streaming = Streaming {
        heard,
        chunks,
        record,
        used: Usage::default(),
        waiting: VecDeque::new(),
        ended: false,
    };
    if let Ok(first) = tokio::time::timeout(FIRST, streaming.heard.next()).await {
        if let Some(Err(error)) = first {
            return Err(error);
        }
        streaming.take(first);
    }
    let events = stream::unfold(streaming, Streaming::next);
    let alive = KeepAlive::new().interval(ALIVE);
    let mut response = Sse::new(events).keep_alive(alive).into_response();
    // nginx would collect the events otherwise.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    response
        .headers_mut()
        .insert(unbuffered, HeaderValue::from_static("no"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EndReason, TokenSaid};

    fn text(choice: usize, text: &str) -> Event {
        Event::Text {
            choice,
            text: text.into(),
            tokens: vec![TokenSaid {
                text: text.into(),
                log_probability: -1.0,
                top: vec![],
            }],
        }
    }

    #[test]
    fn a_conversations_chunks() {
        let mut chunks = ChatChunks::new(Head::new("chatcmpl", "m"), 2, true, false);
        let first = chunks.of(0, text(1, "a")).unwrap();
        assert_eq!(first.len(), 2);
        assert_eq!(first[0]["object"], "chat.completion.chunk");
        assert_eq!(first[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(first[1]["choices"][0]["index"], 1);
        assert_eq!(first[1]["choices"][0]["delta"], json!({ "content": "a" }));
        assert_eq!(first[1]["choices"][0]["finish_reason"], Value::Null);
        assert_eq!(first[1]["choices"][0]["logprobs"], Value::Null);
        assert_eq!(first[1]["usage"], Value::Null);
        assert_eq!(
            chunks.of(0, text(1, "b")).unwrap().len(),
            1,
            "begun already"
        );
        let picture = Event::Picture {
            choice: 1,
            picture: image::RgbImage::new(1, 1),
        };
        let picture = chunks.of(0, picture).unwrap();
        let part = &picture[0]["choices"][0]["delta"]["images"][0];
        assert_eq!(part["type"], "image_url");
        assert!(
            part["image_url"]["url"]
                .as_str()
                .unwrap()
                .starts_with("data:image/png")
        );
        let end = Event::End {
            choice: 1,
            reason: EndReason::Stop,
        };
        let end = chunks.of(0, end).unwrap();
        assert_eq!(end[0]["choices"][0]["finish_reason"], "stop");
        assert_eq!(end[0]["choices"][0]["delta"], json!({}));
        let used = Usage {
            prompt: 2,
            cached: 0,
            completion: 3,
        };
        let usage = chunks.frame().usage(used).unwrap();
        assert_eq!(usage["choices"], json!([]));
        assert_eq!(usage["usage"]["total_tokens"], 5);
        let silent = ChatChunks::new(Head::new("chatcmpl", "m"), 1, false, false);
        assert!(silent.frame().usage(used).is_none());
    }

    #[test]
    fn log_probabilities_in_chunks() {
        let mut chat = ChatChunks::new(Head::new("chatcmpl", "m"), 1, false, true);
        let chunk = &chat.of(0, text(0, "a")).unwrap()[1];
        assert_eq!(
            chunk["choices"][0]["logprobs"]["content"][0]["logprob"],
            -1.0
        );
        assert!(chunk.get("usage").is_none());
        let mut texts = TextChunks::new(Head::new("cmpl", "m"), 2, false, Some(&[3, 5]));
        let offset = |chunk: &Value| chunk["choices"][0]["logprobs"]["text_offset"][0].clone();
        assert_eq!(offset(&texts.of(0, text(1, "ab")).unwrap()[0]), 3);
        assert_eq!(offset(&texts.of(0, text(1, "ab")).unwrap()[0]), 5);
        let other = &texts.of(1, text(1, "ab")).unwrap()[0];
        assert_eq!(offset(other), 5);
        assert_eq!(other["choices"][0]["index"], 3);
        assert_eq!(other["object"], "text_completion");
    }
}
