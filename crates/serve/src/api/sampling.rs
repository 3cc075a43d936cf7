//! How tokens are chosen: the fields that `/v1/chat/completions` and `/v1/completions` share.

use deem::Sampling;
use serde::Deserialize;
use serde_json::Value;

use super::fields::{Refused, check, empty, read, refuse, up_to, within};
use super::random;
use crate::error::ApiError;
use crate::{AnswerOptions, Choice, Options};

/// Most stop texts of a request, as OpenAI has it.
const STOPS: usize = 4;

/// OpenAI's fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SamplingFields {
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    stop: Option<Stop>,
    n: Option<u64>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    /// Not OpenAI's: tokens before which no answer ends, as vLLM has it.
    min_tokens: Option<u64>,
}

/// One stop text, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts")]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// What would change how tokens are chosen, and this server cannot do.
const REFUSED: &[Refused] = &[
    refuse("logit_bias", empty),
    refuse("frequency_penalty", empty),
    refuse("presence_penalty", empty),
    refuse("top_k", |value| empty(value) || *value == -1),
    refuse("min_p", empty),
    refuse("repetition_penalty", |value| value.as_f64() == Some(1.0)),
];

impl SamplingFields {
    /// Reads them from a request's body.
    ///
    /// # Errors
    /// The field that is of another kind or not supported.
    pub fn of(body: &Value) -> Result<Self, ApiError> {
        if let Some(body) = body.as_object() {
            check(body, REFUSED)?;
        }
        read(body, "")
    }

    /// - `top`: most probable tokens that are told with each, if log-probabilities are asked for
    ///
    /// # Errors
    /// The field that is out of its range.
    pub fn choice(&self, top: Option<usize>, options: &Options) -> Result<Choice, ApiError> {
        let max_tokens = match (self.max_completion_tokens, self.max_tokens) {
            (Some(most), _) => Some(("max_completion_tokens", most)),
            (None, Some(most)) => Some(("max_tokens", most)),
            (None, None) => None,
        };
        let max_tokens = max_tokens
            .map(|(field, most)| up_to(field, most, options.max_tokens, "--max-tokens"))
            .transpose()?;
        let n = up_to(
            "n",
            self.n.unwrap_or(1),
            options.max_choices,
            "--max-choices",
        )?;
        let options = AnswerOptions {
            max_tokens,
            ceiling: options.max_tokens,
            min_tokens: self.least(max_tokens, options)?,
            sampling: self.sampling()?,
            stop: self.stops()?,
            top,
        };
        Ok(Choice { options, n })
    }

    fn least(&self, most: Option<usize>, options: &Options) -> Result<usize, ApiError> {
        let least = self.min_tokens.unwrap_or(1).max(1);
        let least = up_to("min_tokens", least, options.max_tokens, "--max-tokens")?;
        match most {
            Some(most) if most < least => {
                let problem = format!("expected at most max_tokens ({most}), found {least}");
                Err(ApiError::field("min_tokens", problem))
            }
            _ => Ok(least),
        }
    }

    /// Differs from OpenAI: without `temperature` and `top_p` the most probable token is chosen, as by `deem ask`;
    /// OpenAI's default is a temperature of 1.
    fn sampling(&self) -> Result<Sampling, ApiError> {
        if let Some(temperature) = self.temperature {
            within("temperature", temperature, 0.0..=2.0)?;
        }
        if let Some(top_p) = self.top_p {
            within("top_p", top_p, 0.0..=1.0)?;
        }
        let greedy = self.temperature == Some(0.0)
            || self.top_p == Some(0.0)
            || (self.temperature, self.top_p) == (None, None);
        if greedy {
            return Ok(Sampling::Greedy);
        }
        Ok(Sampling::Nucleus {
            temperature: self.temperature.unwrap_or(1.0) as f32,
            top_p: self.top_p.unwrap_or(1.0) as f32,
            seed: self.seed.map_or_else(random, |seed| seed as u64),
        })
    }

    fn stops(&self) -> Result<Vec<String>, ApiError> {
        let stops = match &self.stop {
            None => Vec::new(),
            Some(Stop::One(text)) => vec![text.clone()],
            Some(Stop::Several(texts)) => texts.clone(),
        };
        if stops.len() > STOPS {
            let problem = format!("expected at most {STOPS} texts, found {}", stops.len());
            return Err(ApiError::field("stop", problem));
        }
        if stops.iter().any(String::is_empty) {
            return Err(ApiError::field("stop", "expected texts that are not empty"));
        }
        Ok(stops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn choice(body: Value) -> Result<Choice, ApiError> {
        let options = Options {
            max_tokens: 50,
            max_choices: 3,
            ..Options::default()
        };
        SamplingFields::of(&body)?.choice(None, &options)
    }

    #[test]
    fn nothing_said_is_greedy() {
        let options = AnswerOptions {
            max_tokens: None,
            ceiling: 50,
            min_tokens: 1,
            sampling: Sampling::Greedy,
            stop: vec![],
            top: None,
        };
        let expected = Choice { options, n: 1 };
        assert_eq!(choice(json!({})).unwrap(), expected);
        let nulls =
            json!({ "temperature": null, "top_p": null, "stop": null, "n": null, "seed": null });
        assert_eq!(choice(nulls).unwrap(), expected);
        for greedy in [
            json!({ "temperature": 0 }),
            json!({ "top_p": 0.0, "temperature": 1 }),
            json!({ "seed": 3 }),
        ] {
            assert_eq!(choice(greedy).unwrap().options.sampling, Sampling::Greedy);
        }
    }

    #[test]
    fn every_field_arrives() {
        let body = json!({
            "temperature": 0.5, "top_p": 0.25, "seed": 7, "stop": ["a", "b"], "n": 2, "max_tokens": 9,
        });
        let options = AnswerOptions {
            max_tokens: Some(9),
            ceiling: 50,
            min_tokens: 1,
            sampling: Sampling::Nucleus {
                temperature: 0.5,
                top_p: 0.25,
                seed: 7,
            },
            stop: vec!["a".into(), "b".into()],
            top: None,
        };
        let expected = Choice { options, n: 2 };
        assert_eq!(choice(body).unwrap(), expected);
        assert_eq!(choice(json!({ "stop": "x" })).unwrap().options.stop, ["x"]);
        let both = json!({ "max_tokens": 9, "max_completion_tokens": 5 });
        assert_eq!(choice(both).unwrap().options.max_tokens, Some(5));
        let seed = |body| match choice(body).unwrap().options.sampling {
            Sampling::Nucleus { seed, .. } => seed,
            Sampling::Greedy => panic!("greedy"),
        };
        assert_eq!(seed(json!({ "top_p": 0.5, "seed": -1 })), u64::MAX);
        assert_ne!(seed(json!({ "top_p": 0.5 })), seed(json!({ "top_p": 0.5 })));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (body, param) in [
            (json!({ "temperature": 2.1 }), "temperature"),
            (json!({ "temperature": "hot" }), "temperature"),
            (json!({ "top_p": -0.1 }), "top_p"),
            (json!({ "n": 0 }), "n"),
            (json!({ "n": 4 }), "n"),
            (json!({ "n": 1.5 }), "n"),
            (json!({ "max_tokens": 0 }), "max_tokens"),
            (json!({ "max_tokens": 51 }), "max_tokens"),
            (
                json!({ "max_completion_tokens": 51 }),
                "max_completion_tokens",
            ),
            (json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop"),
            (json!({ "stop": "" }), "stop"),
            (json!({ "stop": 5 }), "stop"),
            (json!({ "seed": 0.5 }), "seed"),
        ] {
            let error = choice(body.clone()).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{body}");
            assert_eq!(error.status, 400);
        }
    }
}
