//! `POST /v1/score`: how probable given answers are.

use serde::Deserialize;
use serde_json::{Value, json};

use super::conversation::{Draft, Message};
use super::fields::read;
use super::heard::Told;
use super::{Head, usage};
use crate::error::ApiError;
use crate::{Likely, Options};

#[derive(Debug, Deserialize)]
struct Fields {
    model: Option<String>,
    messages: Vec<Message>,
    answers: Vec<String>,
}

/// Answers to be compared.
#[derive(Debug)]
pub(crate) struct ScoreRequest {
    pub model: Option<String>,
    pub draft: Draft,
    pub answers: Vec<String>,
}

impl ScoreRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn of(body: &Value, options: &Options) -> Result<Self, ApiError> {
        let fields: Fields = read(body, "")?;
        let (count, most) = (fields.answers.len(), options.max_answers);
        if count == 0 || fields.answers.iter().any(String::is_empty) {
            return Err(ApiError::field(
                "answers",
                "expected at least one, and none that is empty",
            ));
        }
        if count > most {
            let problem = format!("expected at most {most}, found {count}");
            return Err(ApiError::limit("answers", problem, "--max-answers"));
        }
        Ok(Self {
            model: fields.model,
            draft: Draft::of(fields.messages)?,
            answers: fields.answers,
        })
    }
}

/// The response; `probability` is that among the given answers.
pub(crate) fn response(head: &Head, answers: &[String], told: &Told) -> Value {
    let probabilities = normalised(&told.scores);
    let scores = answers
        .iter()
        .zip(&told.scores)
        .zip(probabilities)
        .enumerate();
    let scores = scores.map(|(index, ((answer, scored), probability))| {
        json!({
            "index": index,
            "answer": answer,
            "log_probability": scored.log_probability,
            "tokens": scored.tokens,
            "probability": probability,
        })
    });
    let mut response = head.object("score");
    response["scores"] = scores.collect();
    response["usage"] = usage(told.usage);
    response
}

/// Probabilities that sum to 1.
fn normalised(scores: &[Likely]) -> Vec<f64> {
    let logs = scores.iter().map(|scored| scored.log_probability);
    let highest = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logs.map(|log| libm::exp(log - highest)).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests() {
        let of = |answers: Value| {
            let body =
                json!({ "messages": [{ "role": "user", "content": "a" }], "answers": answers });
            ScoreRequest::of(&body, &Options::default())
        };
        assert_eq!(of(json!(["yes", "no"])).unwrap().answers, ["yes", "no"]);
        for wrong in [
            json!([]),
            json!(["yes", ""]),
            json!("yes"),
            json!(vec!["a"; 65]),
            Value::Null,
        ] {
            let error = of(wrong.clone()).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("answers"), "{wrong}");
        }
    }

    #[test]
    fn probabilities_by_hand() {
        let scored = |log_probability| Likely {
            log_probability,
            tokens: 2,
        };
        // exp(-1000) is 0 in f64; the ratio is not.
        let scores = [scored(-1000.0), scored(-1000.0 - std::f64::consts::LN_2)];
        let found = normalised(&scores);
        assert!(
            (found[0] - 2.0 / 3.0).abs() < 1e-9 && (found[1] - 1.0 / 3.0).abs() < 1e-9,
            "{found:?}"
        );
    }
}
