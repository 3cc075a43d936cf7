//! Log-probabilities of tokens: OpenAI's shape for conversations, and the older one for texts.

use serde_json::{Map, Value, json};

use crate::TokenSaid;

/// Of a conversation: a list under `content`.
pub(crate) fn of_chat(tokens: &[TokenSaid]) -> Value {
    let one = |text: &str, log_probability: f64| json!({ "token": text, "logprob": log_probability, "bytes": text.as_bytes() });
    let token = |said: &TokenSaid| {
        let top = said.top.iter().map(|(text, log)| one(text, *log));
        let mut token = one(&said.text, said.log_probability);
        token["top_logprobs"] = top.collect();
        token
    };
    let content: Vec<Value> = tokens.iter().map(token).collect();
    json!({ "content": content, "refusal": null })
}

/// Of a text: lists side by side.
///
/// - `offset`: characters before the first token, counted from the beginning of the prompt
pub(crate) fn of_text(tokens: &[TokenSaid], mut offset: usize) -> Value {
    let mut offsets = Vec::with_capacity(tokens.len());
    for token in tokens {
        offsets.push(offset);
        offset += token.text.chars().count();
    }
    let top = |token: &TokenSaid| {
        let top = token
            .top
            .iter()
            .map(|(text, log)| (text.clone(), json!(log)));
        top.collect::<Map<String, Value>>()
    };
    json!({
        "tokens": tokens.iter().map(|token| &token.text).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| token.log_probability).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Vec<TokenSaid> {
        let token = |text: &str, log_probability, top: &[(&str, f64)]| TokenSaid {
            text: text.into(),
            log_probability,
            top: top
                .iter()
                .map(|(text, log)| ((*text).into(), *log))
                .collect(),
        };
        vec![
            token("é", -0.5, &[("é", -0.5), ("e", -1.0)]),
            token(" b", -0.25, &[]),
        ]
    }

    #[test]
    fn both_shapes() {
        let expected = json!({ "refusal": null, "content": [
            { "token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [
                { "token": "é", "logprob": -0.5, "bytes": [195, 169] },
                { "token": "e", "logprob": -1.0, "bytes": [101] },
            ]},
            { "token": " b", "logprob": -0.25, "bytes": [32, 98], "top_logprobs": [] },
        ]});
        assert_eq!(of_chat(&tokens()), expected);
        let expected = json!({
            "tokens": ["é", " b"],
            "token_logprobs": [-0.5, -0.25],
            "top_logprobs": [{ "é": -0.5, "e": -1.0 }, {}],
            "text_offset": [4, 5],
        });
        assert_eq!(of_text(&tokens(), 4), expected);
    }
}
