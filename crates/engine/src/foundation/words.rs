//! What the small files beside a language model say of conversations: how they are written, and what ends an answer.

use std::collections::BTreeMap;
use std::path::Path;

use deem_data::text::{ChatTemplate, Ends};
use deem_model::published::{Fields, fields};
use deem_model::weights::gguf::GgufFile;
use serde_json::{Value, json};

use super::language::{SPECIAL, gguf_at};
use crate::EngineError;

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const TEMPLATE: &str = "tokenizer.chat_template";
/// Fields of a GGUF file that hold ids of tokens which end an answer: of text, of a turn, of a message.
const GGUF_ENDS: [&str; 3] = [
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
];
/// Of several templates with names, the one for plain conversations.
const PLAIN: &str = "default";

/// The chat template of a GGUF file.
pub(super) fn chat_template(file: &GgufFile) -> Result<Option<ChatTemplate>, EngineError> {
    let Some(source) = file.text(TEMPLATE)? else {
        return Ok(None);
    };
    let tokens = file.texts(TOKENS)?.unwrap_or_default();
    let mut words = BTreeMap::new();
    for (name, field) in SPECIAL {
        let token = file.count(field)?.and_then(|id| tokens.get(id).copied());
        words.extend(token.map(|token| (name.to_owned(), token.to_owned())));
    }
    Ok(Some(ChatTemplate {
        source: source.to_owned(),
        words,
    }))
}

/// The chat template beside a `tokenizer.json`: in a file of its own, else in `tokenizer_config.json`, where there
/// may be several with names.
///
/// # Errors
/// `File` naming a file that is no JSON, or has templates with names but none for plain conversations.
pub(super) fn beside(json: &Path) -> Result<Option<ChatTemplate>, EngineError> {
    let read = |name: &str| object(&json.with_file_name(name));
    let config = read("tokenizer_config.json")?.unwrap_or_default();
    let map = read("special_tokens_map.json")?.unwrap_or_default();
    let own = json.with_file_name("chat_template.jinja");
    let source = if own.is_file() {
        Some(std::fs::read_to_string(&own).map_err(EngineError::io(&own))?)
    } else {
        let place = json.with_file_name("tokenizer_config.json");
        match plain(config.get("chat_template"), &place)? {
            Some(source) => Some(source),
            None => {
                let other = read("chat_template.json")?.unwrap_or_default();
                plain(
                    other.get("chat_template"),
                    &json.with_file_name("chat_template.json"),
                )?
            }
        }
    };
    let mut words = BTreeMap::new();
    for (name, token) in map.iter().chain(&config) {
        let content = token.as_str().or_else(|| token["content"].as_str());
        if let Some(content) = content.filter(|_| name.ends_with("_token")) {
            words.insert(name.clone(), content.to_owned());
        }
    }
    Ok(source.map(|source| ChatTemplate { source, words }))
}

/// The template for plain conversations.
fn plain(value: Option<&Value>, path: &Path) -> Result<Option<String>, EngineError> {
    let named: Vec<(&str, &str)> = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(source)) => return Ok(Some(source.clone())),
        Some(Value::Array(list)) => {
            let entries = list.iter();
            entries
                .filter_map(|entry| Some((entry["name"].as_str()?, entry["template"].as_str()?)))
                .collect()
        }
        Some(Value::Object(named)) => {
            let named = named.iter();
            named
                .filter_map(|(name, source)| Some((name.as_str(), source.as_str()?)))
                .collect()
        }
        Some(_) => Vec::new(),
    };
    let found = named.iter().find(|(name, _)| *name == PLAIN);
    let found = found.ok_or_else(|| {
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        EngineError::File {
            path: path.into(),
            problem: format!(
                "chat_template: expected a template, or several of which one is named \"{PLAIN}\", found {names:?}"
            ),
        }
    })?;
    Ok(Some(found.1.to_owned()))
}

/// What ends an answer of the language model in a folder or file, as transformers reads it: the list in
/// `generation_config.json`, else that in `config.json`.
///
/// # Errors
/// `File` naming a file that is no JSON, `Weights` naming a GGUF file that cannot be read.
pub(super) fn ends(path: &Path) -> Result<Ends, EngineError> {
    if let Some(file) = gguf_at(path) {
        return Ok(Ends {
            tokens: ends_of_gguf(&GgufFile::open(&file)?)?,
            texts: Vec::new(),
        });
    }
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(path)
    };
    let generation = object(&folder.join("generation_config.json"))?.unwrap_or_default();
    let config = object(&folder.join("config.json"))?.unwrap_or_default();
    let given = |fields: &Fields| {
        fields
            .get("eos_token_id")
            .filter(|ids| !ids.is_null())
            .cloned()
    };
    let ids = given(&generation)
        .or_else(|| given(&config))
        .unwrap_or_default();
    let texts = generation.get("stop_strings").cloned().unwrap_or_default();
    Ok(Ends {
        tokens: listed(&ids)
            .filter_map(|id| u32::try_from(id.as_u64()?).ok())
            .collect(),
        texts: listed(&texts)
            .filter_map(|text| text.as_str().map(str::to_owned))
            .filter(|text| !text.is_empty())
            .collect(),
    })
}

/// One value, or those of a list.
fn listed(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(values) => values.iter(),
        one => std::slice::from_ref(one).iter(),
    }
}

pub(super) fn ends_of_gguf(file: &GgufFile) -> Result<Vec<u32>, EngineError> {
    let mut ends = Vec::new();
    for field in GGUF_ENDS {
        ends.extend(file.count(field)?.and_then(|id| u32::try_from(id).ok()));
    }
    ends.dedup();
    Ok(ends)
}

/// The `generation_config.json` that says so.
pub(super) fn generation_config(ends: &[u32]) -> String {
    format!("{:#}\n", json!({ "eos_token_id": ends }))
}

/// The fields of a JSON file, if it is there.
fn object(path: &Path) -> Result<Option<Fields>, EngineError> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path).map_err(EngineError::io(path))?;
    let found = fields(&text).map_err(|problem| EngineError::File {
        path: path.into(),
        problem,
    })?;
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn template(files: &[(&str, &str)]) -> Result<Option<ChatTemplate>, String> {
        let folder = folder(files);
        let found = beside(&folder.path().join("tokenizer.json"));
        found.map_err(|error| error.to_string())
    }

    #[test]
    fn the_template_that_transformers_takes() {
        let source = |files: &[(&str, &str)]| template(files).unwrap().map(|found| found.source);
        let config = ("tokenizer_config.json", r#"{"chat_template": "old"}"#);
        assert_eq!(source(&[]), None);
        assert_eq!(source(&[config]).as_deref(), Some("old"));
        let own = ("chat_template.jinja", "new");
        assert_eq!(source(&[config, own]).as_deref(), Some("new"));
        assert_eq!(source(&[own]).as_deref(), Some("new"));
        let other = ("chat_template.json", r#"{"chat_template": "processor's"}"#);
        assert_eq!(source(&[other]).as_deref(), Some("processor's"));
        let named = r#"{"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]}"#;
        assert_eq!(
            source(&[("tokenizer_config.json", named)]).as_deref(),
            Some("d")
        );
        let without = r#"{"chat_template": [{"name": "rag", "template": "r"}]}"#;
        let error = template(&[("tokenizer_config.json", without)]).unwrap_err();
        assert!(
            error.contains("tokenizer_config.json") && error.contains("rag"),
            "{error}"
        );
    }

    #[test]
    fn words_of_special_tokens_stand_in_either_file() {
        let files = [
            ("chat_template.jinja", "x"),
            (
                "special_tokens_map.json",
                r#"{"bos_token": "<s>", "eos_token": {"content": "</old>"}}"#,
            ),
            (
                "tokenizer_config.json",
                r#"{"eos_token": "</s>", "pad_token": null, "model_max_length": NaN}"#,
            ),
        ];
        let words = template(&files).unwrap().unwrap().words;
        let expected = [("bos_token", "<s>"), ("eos_token", "</s>")];
        assert_eq!(
            words,
            expected
                .map(|(name, word)| (name.into(), word.into()))
                .into()
        );
    }

    #[test]
    fn ends_are_lists_or_one() {
        let ends_of = |files: &[(&str, &str)]| ends(folder(files).path()).unwrap();
        let config = ("config.json", r#"{"eos_token_id": 2}"#);
        assert_eq!(ends_of(&[config]).tokens, [2]);
        let list = (
            "generation_config.json",
            r#"{"eos_token_id": [7, 9], "stop_strings": "END"}"#,
        );
        let found = ends_of(&[config, list]);
        assert_eq!(
            (found.tokens, found.texts),
            (vec![7, 9], vec!["END".to_owned()])
        );
        let none = ("generation_config.json", "{}");
        assert_eq!(ends_of(&[config, none]).tokens, [2]);
        assert_eq!(ends_of(&[]), Ends::default());
    }
}
