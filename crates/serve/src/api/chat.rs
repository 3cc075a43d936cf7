//! `POST /v1/chat/completions`.

use deem::ImageOptions;
use serde::Deserialize;
use serde_json::{Value, json};

use super::conversation::{Draft, Message};
use super::fields::{Refused, check, empty, is_auto, read, refuse, within};
use super::heard::{Answer, Part, Told};
use super::image::Drawing;
use super::sampling::SamplingFields;
use super::{Head, tokens, usage};
use crate::error::ApiError;
use crate::picture::data_url;
use crate::{Choice, EndReason, Options};

/// Tokens told in the place of each at most, as OpenAI has it.
const TOP: u64 = 20;

/// What OpenAI's clients may send that would change an answer, and this server cannot do.
const REFUSED: &[Refused] = &[
    refuse("tools", empty),
    refuse("tool_choice", is_auto),
    refuse("functions", empty),
    refuse("function_call", is_auto),
    refuse("response_format", |value| value["type"] == "text"),
    refuse("modalities", |value| {
        *value == json!(["text"]) || empty(value)
    }),
    refuse("audio", empty),
    refuse("prediction", empty),
    refuse("web_search_options", |_| false),
    refuse("reasoning_effort", |value| value == "none"),
];

#[derive(Debug, Deserialize)]
struct Fields {
    model: Option<String>,
    messages: Vec<Message>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    logprobs: Option<bool>,
    top_logprobs: Option<u64>,
    adapt: Option<u64>,
    images: Option<Images>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct StreamOptions {
    include_usage: Option<bool>,
}

impl StreamOptions {
    pub fn usage(this: Option<Self>) -> bool {
        this.and_then(|options| options.include_usage)
            .unwrap_or(false)
    }
}

/// What happens where the model wants to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Images {
    Draw,
    Never,
}

/// A conversation to be answered, whose pictures are still to be read.
#[derive(Debug)]
pub(crate) struct ChatRequest {
    pub model: Option<String>,
    pub draft: Draft,
    pub choice: Choice,
    pub adapt: usize,
    pub drawing: Option<ImageOptions>,
    pub stream: bool,
    pub include_usage: bool,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The field that is wrong or not supported.
    pub fn of(body: &Value, options: &Options) -> Result<Self, ApiError> {
        if let Some(body) = body.as_object() {
            check(body, REFUSED)?;
        }
        let fields: Fields = read(body, "")?;
        let sampling = SamplingFields::of(body)?;
        let drawing: Drawing = read(body, "")?;
        let top = match (fields.logprobs.unwrap_or(false), fields.top_logprobs) {
            (true, top) => Some(within("top_logprobs", top.unwrap_or(0), 0..=TOP)? as usize),
            (false, None | Some(0)) => None,
            (false, Some(_)) => {
                return Err(ApiError::field(
                    "top_logprobs",
                    "expected `logprobs` to be true with it",
                ));
            }
        };
        let (adapt, most) = (fields.adapt.unwrap_or(0), options.max_adapt as u64);
        if adapt > most {
            let problem = format!("expected at most {most}, found {adapt}");
            return Err(ApiError::limit("adapt", problem, "--max-adapt"));
        }
        let draft = Draft::of(fields.messages)?;
        if adapt > 0 && !draft.shows_picture() {
            let problem = "expected a picture in the last message, which the encoder adapts to";
            return Err(ApiError::field("adapt", problem));
        }
        let drawing = match fields.images {
            Some(Images::Draw) => Some(drawing.options(ImageOptions::default().guidance, options)?),
            Some(Images::Never) | None => None,
        };
        Ok(Self {
            model: fields.model,
            draft,
            choice: sampling.choice(top, options)?,
            adapt: adapt as usize,
            drawing,
            stream: fields.stream.unwrap_or(false),
            include_usage: StreamOptions::usage(fields.stream_options),
        })
    }
}

/// The whole response.
///
/// # Errors
/// If a picture cannot be written.
pub(crate) fn response(head: &Head, told: &Told, logprobs: bool) -> Result<Value, ApiError> {
    let choices: Result<Vec<Value>, ApiError> = told
        .answers
        .iter()
        .enumerate()
        .map(|(index, answer)| {
            Ok(json!({
                "index": index,
                "message": { "role": "assistant", "content": content(answer)?, "refusal": null },
                "logprobs": logprobs.then(|| tokens::of_chat(&answer.tokens)),
                "finish_reason": reason(answer.reason.unwrap_or(EndReason::Stop)),
            }))
        })
        .collect();
    let mut response = head.object("chat.completion");
    response["choices"] = Value::Array(choices?);
    response["usage"] = usage(told.usage);
    Ok(response)
}

/// The words, as OpenAI has them; with pictures, a list of parts.
fn content(answer: &Answer) -> Result<Value, ApiError> {
    if !answer
        .parts
        .iter()
        .any(|part| matches!(part, Part::Picture(_)))
    {
        return Ok(answer.text().into());
    }
    let parts = answer.parts.iter().map(|part| match part {
        Part::Text(text) => Ok(json!({ "type": "text", "text": text })),
        Part::Picture(picture) => picture_part(picture),
    });
    parts.collect()
}

/// A picture as a part of a message, which may be sent back as it is.
pub(crate) fn picture_part(picture: &image::RgbImage) -> Result<Value, ApiError> {
    Ok(json!({ "type": "image_url", "image_url": { "url": data_url(picture)? } }))
}

/// OpenAI's `finish_reason`.
pub(crate) fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Stop => "stop",
        EndReason::Length => "length",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TokenSaid, Usage};
    use image::RgbImage;

    fn request(more: Value) -> Result<ChatRequest, ApiError> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ChatRequest::of(&body, &Options::default())
    }

    #[test]
    fn every_field_arrives() {
        let plain = request(json!({})).unwrap();
        assert_eq!(plain.model.as_deref(), Some("m"));
        assert!(!plain.stream && !plain.include_usage);
        assert_eq!(
            (plain.adapt, plain.drawing, plain.choice.options.top),
            (0, None, None)
        );
        let full = request(json!({
            "stream": true, "stream_options": { "include_usage": true }, "logprobs": true, "top_logprobs": 3,
            "images": "draw", "steps": 7, "guidance": 2.5, "seed": 9, "temperature": 1,
        }))
        .unwrap();
        assert!(full.stream && full.include_usage);
        assert_eq!(full.choice.options.top, Some(3));
        let drawing = full.drawing.unwrap();
        assert_eq!((drawing.steps, drawing.guidance, drawing.seed), (7, 2.5, 9));
        assert_eq!(
            request(json!({ "logprobs": true }))
                .unwrap()
                .choice
                .options
                .top,
            Some(0)
        );
        assert_eq!(request(json!({ "images": "never" })).unwrap().drawing, None);
        let picture = json!([{ "role": "user", "content": [
            { "type": "text", "text": "a" }, { "type": "image_url", "image_url": { "url": "data:" } },
        ]}]);
        let adapted = request(json!({ "messages": picture, "adapt": 2 })).unwrap();
        assert_eq!(adapted.adapt, 2);
    }

    #[test]
    fn what_clients_send_and_changes_nothing_is_accepted() {
        request(json!({
            "user": "u", "metadata": { "a": "b" }, "store": false, "service_tier": "auto",
            "parallel_tool_calls": true, "tools": [], "tool_choice": "none", "logit_bias": {},
            "frequency_penalty": 0, "presence_penalty": 0.0, "response_format": { "type": "text" },
            "modalities": ["text"], "safety_identifier": "x", "prompt_cache_key": "y", "made_up": 1,
            "repetition_penalty": 1.0, "top_k": -1, "reasoning_effort": null,
        }))
        .unwrap();
    }

    #[test]
    fn what_would_change_the_meaning_is_refused_by_name() {
        for (body, param) in [
            (json!({ "tools": [{ "type": "function" }] }), "tools"),
            (json!({ "tool_choice": "required" }), "tool_choice"),
            (json!({ "functions": [{}] }), "functions"),
            (json!({ "function_call": { "name": "f" } }), "function_call"),
            (
                json!({ "response_format": { "type": "json_object" } }),
                "response_format",
            ),
            (
                json!({ "response_format": { "type": "json_schema" } }),
                "response_format",
            ),
            (json!({ "modalities": ["text", "audio"] }), "modalities"),
            (json!({ "audio": { "voice": "a" } }), "audio"),
            (json!({ "prediction": { "type": "content" } }), "prediction"),
            (json!({ "web_search_options": {} }), "web_search_options"),
            (json!({ "logit_bias": { "5": 1 } }), "logit_bias"),
            (json!({ "frequency_penalty": 0.5 }), "frequency_penalty"),
            (json!({ "presence_penalty": -0.5 }), "presence_penalty"),
            (json!({ "reasoning_effort": "high" }), "reasoning_effort"),
            (json!({ "top_k": 5 }), "top_k"),
            (json!({ "min_p": 0.1 }), "min_p"),
            (json!({ "repetition_penalty": 1.2 }), "repetition_penalty"),
            (json!({ "top_logprobs": 2 }), "top_logprobs"),
            (
                json!({ "logprobs": true, "top_logprobs": 21 }),
                "top_logprobs",
            ),
            (json!({ "adapt": 1 }), "adapt"),
            (json!({ "adapt": 17 }), "adapt"),
            (json!({ "images": "always" }), "images"),
            (json!({ "images": "draw", "steps": 0 }), "steps"),
            (json!({ "images": "draw", "steps": 101 }), "steps"),
            (json!({ "stream": "yes" }), "stream"),
            (json!({ "messages": "a" }), "messages"),
        ] {
            let error = request(body.clone()).unwrap_err();
            assert_eq!(
                error.param.as_deref(),
                Some(param),
                "{body}: {}",
                error.message
            );
        }
    }

    fn answer(parts: Vec<Part>) -> Told {
        let said = TokenSaid {
            text: "hi".into(),
            log_probability: -0.5,
            top: vec![],
        };
        let answer = Answer {
            parts,
            tokens: vec![said],
            reason: Some(EndReason::Length),
        };
        Told {
            answers: vec![answer],
            usage: Usage {
                prompt: 3,
                cached: 1,
                completion: 2,
            },
            ..Told::default()
        }
    }

    #[test]
    fn words_are_a_text_and_pictures_make_parts() {
        let head = Head::new("chatcmpl", "m");
        let words = answer(vec![Part::Text("hi".into())]);
        let body = response(&head, &words, false).unwrap();
        assert_eq!(body["object"], "chat.completion");
        assert_eq!(body["choices"][0]["message"]["content"], "hi");
        assert_eq!(body["choices"][0]["finish_reason"], "length");
        assert_eq!(body["choices"][0]["logprobs"], Value::Null);
        assert_eq!(body["usage"]["total_tokens"], 5);
        assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
        let body = response(&head, &words, true).unwrap();
        assert_eq!(body["choices"][0]["logprobs"]["content"][0]["token"], "hi");

        let drawn = answer(vec![
            Part::Text("hi".into()),
            Part::Picture(RgbImage::new(2, 2)),
        ]);
        let body = response(&head, &drawn, false).unwrap();
        let content = &body["choices"][0]["message"]["content"];
        assert_eq!(content[0], json!({ "type": "text", "text": "hi" }));
        let url = content[1]["image_url"]["url"].as_str().unwrap();
        assert!(url.starts_with("data:image/png;base64,iVBOR"), "{url}");
    }
}
