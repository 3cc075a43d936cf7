//! `POST /v1/completions`: texts that are continued as they stand.

use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::{StreamOptions, reason};
use super::fields::{Refused, check, empty, read, refuse, within};
use super::heard::Told;
use super::sampling::SamplingFields;
use super::{Head, tokens, usage};
use crate::error::ApiError;
use crate::{Choice, EndReason, Options};

/// Tokens told in the place of each at most, as OpenAI has it.
const TOP: u64 = 5;

const REFUSED: &[Refused] = &[
    refuse("suffix", empty),
    refuse("echo", empty),
    refuse("best_of", |value| *value == 1),
];

#[derive(Debug, Deserialize)]
struct Fields {
    model: Option<String>,
    prompt: Prompt,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    logprobs: Option<u64>,
}

/// One text, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts")]
enum Prompt {
    One(String),
    Several(Vec<String>),
}

/// Texts to be continued.
#[derive(Debug)]
pub(crate) struct CompletionRequest {
    pub model: Option<String>,
    pub prompts: Vec<String>,
    pub choice: Choice,
    pub stream: bool,
    pub include_usage: bool,
}

impl CompletionRequest {
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
        let top = fields
            .logprobs
            .map(|top| within("logprobs", top, 0..=TOP))
            .transpose()?;
        let choice = sampling.choice(top.map(|top| top as usize), options)?;
        let prompts = match fields.prompt {
            Prompt::One(text) => vec![text],
            Prompt::Several(texts) => texts,
        };
        if prompts.is_empty() || prompts.iter().any(String::is_empty) {
            return Err(ApiError::field(
                "prompt",
                "expected texts that are not empty",
            ));
        }
        let (count, most) = (prompts.len() * choice.n, options.max_choices);
        if count > most {
            let problem = format!("{count} answers are asked for, expected at most {most}");
            return Err(ApiError::limit("prompt", problem, "--max-choices"));
        }
        Ok(Self {
            model: fields.model,
            prompts,
            choice,
            stream: fields.stream.unwrap_or(false),
            include_usage: StreamOptions::usage(fields.stream_options),
        })
    }
}

/// The whole response.
///
/// - `lengths`: characters of each prompt, with `logprobs`
pub(crate) fn response(head: &Head, told: &Told, n: usize, lengths: Option<&[usize]>) -> Value {
    let answers = told.answers.iter().enumerate();
    let choices = answers.map(|(index, answer)| {
        json!({
            "text": answer.text(),
            "index": index,
            "logprobs": lengths.map(|lengths| tokens::of_text(&answer.tokens, lengths[index / n])),
            "finish_reason": reason(answer.reason.unwrap_or(EndReason::Stop)),
        })
    });
    let mut response = head.object("text_completion");
    response["choices"] = choices.collect();
    response["usage"] = usage(told.usage);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: Value) -> Result<CompletionRequest, ApiError> {
        CompletionRequest::of(&body, &Options::default())
    }

    #[test]
    fn one_prompt_or_several() {
        let one = request(json!({ "prompt": "a", "max_tokens": 3, "logprobs": 2 })).unwrap();
        assert_eq!(one.prompts, ["a"]);
        assert_eq!(
            (one.choice.options.max_tokens, one.choice.options.top),
            (Some(3), Some(2))
        );
        let harmless = json!({ "prompt": ["a", "b"], "echo": false, "best_of": 1, "suffix": null, "user": "u" });
        assert_eq!(request(harmless).unwrap().prompts, ["a", "b"]);
    }

    #[test]
    fn wrong_fields_are_named() {
        for (body, param) in [
            (json!({}), "prompt"),
            (json!({ "prompt": "" }), "prompt"),
            (json!({ "prompt": [] }), "prompt"),
            (json!({ "prompt": [1, 2] }), "prompt"),
            (json!({ "prompt": ["a", "b", "c"], "n": 3 }), "prompt"),
            (json!({ "prompt": "a", "logprobs": 6 }), "logprobs"),
            (json!({ "prompt": "a", "echo": true }), "echo"),
            (json!({ "prompt": "a", "suffix": "b" }), "suffix"),
            (json!({ "prompt": "a", "best_of": 2 }), "best_of"),
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
}
