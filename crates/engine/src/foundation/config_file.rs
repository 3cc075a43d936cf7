//! A checkpoint's `config.json` against the run's configuration.

use std::path::Path;

use deem_model::clip::config::ClipVisionConfig;
use deem_model::clip::pyramid::VisionConfig;
use deem_model::llama::LlamaConfig;
use deem_model::weights::gguf::GgufFile;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::language::gguf_at;
use crate::EngineError;

/// Checks that a file says what the configuration says, in every field that concerns the network. No
/// file is no contradiction.
pub(super) fn check<C: Serialize + DeserializeOwned>(
    path: &Path,
    config: &C,
) -> Result<(), EngineError> {
    match read::<C>(path)? {
        Some(found) => compare(path, &found, config),
        None => Ok(()),
    }
}

/// As [`check`], with absent fields filled in on both sides; a GGUF file says the same in its own way.
pub(super) fn check_llama(folder: &Path, config: &LlamaConfig) -> Result<(), EngineError> {
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
        Some(found) => compare(&path, &full(&found), &full(config)),
        None => Ok(()),
    }
}

/// As [`check`]; of a whole CLIP, the part on images. open_clip's file says nothing that shapes do not.
pub(super) fn check_vision(folder: &Path, config: &VisionConfig) -> Result<(), EngineError> {
    let VisionConfig::Vit { trunk, .. } = config else {
        return Ok(());
    };
    let path = folder.join("config.json");
    let Some(mut whole) = read::<Map<String, Value>>(&path)? else {
        return Ok(());
    };
    let own = whole
        .remove("vision_config")
        .unwrap_or(Value::Object(whole));
    let found: ClipVisionConfig =
        serde_json::from_value(own).map_err(|error| unreadable(&path, &error))?;
    compare(&path, &found, trunk)
}

fn read<C: DeserializeOwned>(path: &Path) -> Result<Option<C>, EngineError> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| unreadable(path, &error)),
        Err(_) if !path.is_file() => Ok(None),
        Err(error) => Err(EngineError::io(path)(error)),
    }
}

fn unreadable(path: &Path, error: &serde_json::Error) -> EngineError {
    EngineError::File {
        path: path.into(),
        problem: format!("not the configuration of this kind of network ({error})"),
    }
}

fn compare<C: Serialize>(path: &Path, found: &C, config: &C) -> Result<(), EngineError> {
    let fields = |config: &C| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let expected = fields(config);
    let different: Vec<String> = fields(found)
        .iter()
        .filter(|(field, value)| expected.get(*field) != Some(*value))
        .map(|(field, value)| {
            let expected = expected.get(field).unwrap_or(&Value::Null);
            format!("{field} is {value}, the run's configuration says {expected}")
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
        let error = check_llama(file.path(), &config).unwrap_err().to_string();
        for word in ["config.json", "rms_norm_eps is", "500000"] {
            assert!(error.contains(word), "{error}");
        }
        assert!(!error.contains("num_key_value_heads"), "{error}");
        let same = LlamaConfig {
            rms_norm_eps: 1e-5,
            rope_theta: Some(500_000.0),
            ..config
        };
        check_llama(file.path(), &same).unwrap();
        check_llama(Path::new("nowhere"), &same).unwrap();
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
