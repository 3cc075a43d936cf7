//! OpenAI's requests and responses, and what is added to them.
//!
//! A request is read into a JSON object first: fields that would change the meaning of an answer and that are not
//! supported are refused by name, before the rest is read into a struct of its own.

pub(crate) mod chat;
pub(crate) mod completion;
pub(crate) mod conversation;
pub(crate) mod fields;
pub(crate) mod heard;
pub(crate) mod image;
pub(crate) mod models;
pub(crate) mod sampling;
pub(crate) mod score;
pub(crate) mod stream;
pub(crate) mod tokens;

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::Usage;

/// What every response of a request bears.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub id: String,
    pub created: u64,
    pub model: String,
}

impl Head {
    /// - `prefix`: what the id begins with
    pub fn new(prefix: &str, model: &str) -> Self {
        Self {
            id: format!("{prefix}-{:016x}{:016x}", random(), random()),
            created: now(),
            model: model.to_owned(),
        }
    }

    /// The response's first fields.
    pub fn object(&self, kind: &str) -> Value {
        json!({ "id": self.id, "object": kind, "created": self.created, "model": self.model })
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A number that nobody else has: for ids, and for seeds that a client leaves open. The standard library's hashers
/// are seeded by the system.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// OpenAI's `usage`.
pub(crate) fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": { "cached_tokens": usage.cached },
    })
}
