//! `GET /v1/models`.

use serde_json::{Value, json};

use crate::Served;

/// All models, the default first.
pub(crate) fn list<'a>(models: impl Iterator<Item = &'a Served>, created: u64) -> Value {
    let data: Vec<Value> = models.map(|model| one(model, created)).collect();
    json!({ "object": "list", "data": data })
}

/// A model; `deem` holds what OpenAI has no field for.
pub(crate) fn one(model: &Served, created: u64) -> Value {
    json!({
        "id": model.id,
        "object": "model",
        "created": created,
        "owned_by": "deem",
        "deem": { "drawing_size": model.drawing_size, "context": model.context },
    })
}
