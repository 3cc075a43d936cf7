//! A checkpoint's `config.json` against the run's configuration.

use std::path::Path;

use deem_model::clip::pyramid::VisionConfig;
use deem_model::llama::LlamaConfig;
use deem_model::published::{Published, fields};
use deem_model::weights::gguf::GgufFile;
use serde::Serialize;
use serde_json::{Map, Value};

use super::language::gguf_at;
use crate::EngineError;

/// Checks that a file says what the configuration says, in every field that concerns the network, and nothing that
/// cannot be computed. No file is no contradiction.
pub(super) fn check<C: Serialize + Published>(path: &Path, config: &C) -> Result<(), EngineError> {
    match read::<C>(path)? {
        Some(found) => compare(path, &found, config),
        None => Ok(()),
    }
}

/// As [`check`], with absent fields filled in on both sides; a GGUF file says the same in its own way. A file may say
/// that embeddings and head are one matrix where, as `differ` says of a configuration, its weights are two.
pub(super) fn check_llama(
    folder: &Path,
    config: &LlamaConfig,
    differ: &dyn Fn(&LlamaConfig) -> bool,
) -> Result<(), EngineError> {
    let full = |config: &LlamaConfig| LlamaConfig {
        num_key_value_heads: Some(config.kv_heads()),
        head_dim: Some(config.head_width()),
        rope_theta: None,
        rope_scaling: None,
        rope_parameters: Some(config.rope()),
        ..config.clone()
    };
    if let Some(path) = gguf_at(folder) {
        let found = GgufFile::open(&path)?.llama_config()?;
        return compare(&path, &full(&found), &full(config));
    }
    let path = folder.join("config.json");
    match read::<LlamaConfig>(&path)? {
        Some(mut found) => {
            if !config.tie_word_embeddings && differ(&found) {
                found.tie_word_embeddings = false;
            }
            compare(&path, &full(&found), &full(config))
        }
        None => Ok(()),
    }
}

/// As [`check`]; of a whole CLIP, the part on images. open_clip's file says nothing that shapes do not.
pub(super) fn check_vision(folder: &Path, config: &VisionConfig) -> Result<(), EngineError> {
    let VisionConfig::Vit { trunk, .. } = config else {
        return Ok(());
    };
    check(&folder.join("config.json"), trunk)
}

fn read<C: Published>(path: &Path) -> Result<Option<C>, EngineError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(_) if !path.is_file() => return Ok(None),
        Err(error) => return Err(EngineError::io(path)(error)),
    };
    let wrong = |problem: String| EngineError::File {
        path: path.into(),
        problem,
    };
    let fields = fields(&text).map_err(wrong)?;
    let found = C::published(fields);
    found
        .map(Some)
        .map_err(|problems| wrong(problems.join("; ")))
}

/// Compares what a published file says with what the run's configuration does.
///
/// # Errors
/// `File` naming every field that differs.
pub(crate) fn compare<C: Serialize>(path: &Path, found: &C, config: &C) -> Result<(), EngineError> {
    let fields = |config: &C| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (found, expected) = (fields(found), fields(config));
    // What is not written is at its default, as null is.
    let absent = expected.keys().filter(|field| !found.contains_key(*field));
    let value = |fields: &Map<String, Value>, field: &str| {
        fields.get(field).cloned().unwrap_or(Value::Null)
    };
    let different: Vec<String> = found
        .keys()
        .chain(absent)
        .map(|field| (field, value(&found, field), value(&expected, field)))
        .filter(|(_, found, expected)| found != expected)
        .map(|(field, found, expected)| {
            format!("{field} is {found}, the run's configuration says {expected}")
        })
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    Err(EngineError::File {
        path: path.into(),
        problem: format!(
            "{}; use the checkpoint that the configuration means, or change its [model]",
            different.join("; ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(config: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        folder
    }

    #[test]
    fn fields_that_shapes_do_not_show_are_compared() {
        let file = folder(
            r#"{"num_hidden_layers": 32, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
                "num_key_value_heads": 32, "torch_dtype": "float16"}"#,
        );
        let config = LlamaConfig::default();
        let error = check_llama(file.path(), &config, &|_| false)
            .unwrap_err()
            .to_string();
        for word in ["config.json", "rms_norm_eps is", "500000"] {
            assert!(error.contains(word), "{error}");
        }
        assert!(!error.contains("num_key_value_heads"), "{error}");
        let same = LlamaConfig {
            rms_norm_eps: 1e-5,
            rope_theta: Some(500_000.0),
            ..config
        };
        check_llama(file.path(), &same, &|_| false).unwrap();
        check_llama(Path::new("nowhere"), &same, &|_| false).unwrap();
        let tied = folder(r#"{"tie_word_embeddings": true}"#);
        let own = LlamaConfig::default();
        assert!(check_llama(tied.path(), &own, &|_| false).is_err());
        check_llama(tied.path(), &own, &|found| found.tie_word_embeddings).unwrap();
        let window = folder(r#"{"model_type": "mistral", "sliding_window": 8}"#);
        let error = check_llama(window.path(), &own, &|_| false)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sliding_window is 8") && error.contains("model_type"),
            "{error}"
        );
    }

    #[test]
    fn the_image_part_of_a_whole_clip_is_compared() {
        let json = r#"{"tower": "vit", "trunk": {"patch_size": 16}, "pyramid_dim": 8}"#;
        let config: VisionConfig = serde_json::from_str(json).unwrap();
        let same = folder(r#"{"projection_dim": 512, "vision_config": {"patch_size": 16}}"#);
        check_vision(same.path(), &config).unwrap();
        let other = folder(r#"{"vision_config": {"patch_size": 14}}"#);
        let error = check_vision(other.path(), &config).unwrap_err().to_string();
        assert!(error.contains("patch_size is 14"), "{error}");
        let none = folder("[]");
        assert!(check_vision(none.path(), &config).is_err());
    }
}
