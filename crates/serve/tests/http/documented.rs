//! The description of the interface says what the server does.

use deem_serve::Options;
use serde_json::Value;

use super::fake::{Fake, json};

/// Whether a value has a schema's types and required fields, as far as the document uses them; what is wrong, if not.
fn fits(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document
            .pointer(&reference[1..])
            .ok_or(format!("{reference}: not there"))?;
        return fits(document, target, value, place);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            let any = choices
                .iter()
                .any(|choice| fits(document, choice, value, place).is_ok());
            return if any {
                Ok(())
            } else {
                Err(format!("{place}: none of {key}: {value}"))
            };
        }
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = |name: &str| kind == name || (kind == "integer" && name == "number");
    let known = match &schema["type"] {
        Value::String(name) => allowed(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(allowed),
        _ => true,
    };
    let chosen = schema["enum"]
        .as_array()
        .is_none_or(|values| values.contains(value));
    if !known || !chosen {
        return Err(format!("{place}: {value} is not {schema}"));
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if value.get(name).is_none() && value.is_object() {
            return Err(format!("{place}.{name}: missing"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(schema) => fits(document, schema, inner, &format!("{place}.{name}"))?,
            None if schema.get("additionalProperties").is_some() => {}
            None => return Err(format!("{place}.{name}: not described")),
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        fits(document, &schema["items"], inner, &format!("{place}[]"))?;
    }
    Ok(())
}

#[tokio::test]
async fn every_example_is_answered_as_described() {
    let fake = Fake::start(Options::default()).await;
    let (_, document) = json(fake.get("/openapi.json").await).await;
    let mut sent = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let Some(post) = methods.get("post") else {
            continue;
        };
        let body = &post["requestBody"]["content"]["application/json"];
        for (name, example) in body["examples"].as_object().unwrap() {
            let place = format!("{path} {name}");
            let value = &example["value"];
            fits(&document, &body["schema"], value, &place).unwrap();
            let response = fake.post(path, value).await;
            assert_eq!(
                response.status(),
                200,
                "{place}: {}",
                response.text().await.unwrap()
            );
            sent += 1;
            if value["stream"] == true {
                let schema = serde_json::json!({ "$ref": "#/components/schemas/ChatChunk" });
                let text = response.text().await.unwrap();
                for data in text.lines().filter_map(|line| line.strip_prefix("data: {")) {
                    let chunk = serde_json::from_str(&format!("{{{data}")).unwrap();
                    fits(&document, &schema, &chunk, &place).unwrap();
                }
                continue;
            }
            let schema = &post["responses"]["200"]["content"]["application/json"]["schema"];
            let (_, told) = json(response).await;
            fits(&document, schema, &told, &place).unwrap();
        }
    }
    assert!(sent >= 15, "{sent} examples");
    for (path, schema) in [
        ("/v1/models", "/v1/models"),
        ("/v1/models/fake", "/v1/models/{id}"),
    ] {
        let described = &document["paths"][schema]["get"]["responses"]["200"]["content"]["application/json"]
            ["schema"];
        let (_, told) = json(fake.get(path).await).await;
        fits(&document, described, &told, path).unwrap();
    }
    let (_, wrong) = fake.ask("/v1/score", &serde_json::json!({})).await;
    let described = serde_json::json!({ "$ref": "#/components/schemas/Error" });
    fits(&document, &described, &wrong, "error").unwrap();
    fake.end().await;
}

#[tokio::test]
async fn every_described_path_is_there() {
    let fake = Fake::start(Options::default()).await;
    let (_, document) = json(fake.get("/openapi.json").await).await;
    for path in document["paths"].as_object().unwrap().keys() {
        let status = fake.get(&path.replace("{id}", "fake")).await.status();
        let post = document["paths"][path].get("post").is_some();
        assert_eq!(status, if post { 405 } else { 200 }, "{path}");
    }
    fake.end().await;
}
