//! One TOML file for one run: a stage, and, unless it concerns the stand-ins, the model that it
//! trains and where that model's weights come from.
//!
//! The same file serves `deem train`, `params`, `doctor` and every command that uses a model.

use std::path::Path;

use deem_model::deem::DeemConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::EngineError;
use crate::config::{self, ModelSpec, StageConfig};

/// A run: the fields of [`StageConfig`], and what is here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table")]
pub struct RunConfig {
    /// What is trained, on what, how.
    #[serde(flatten)]
    pub stage: StageConfig,
    /// Longest sequence in tokens; absent: the stand-ins'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Where the model's weights come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightSources>,
    /// The networks; absent: the stand-ins'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<DeemConfig>,
}

/// Where the weights of a model come from. Each is the name of a file or folder on this machine, or
/// `hf://owner/name[/sub]`; of several names the first one that is there serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightSources {
    /// CLIP: transformers layout for a ViT, open_clip layout for a ConvNeXt.
    pub vision: Alternatives,
    /// Language model, transformers layout.
    pub llama: Alternatives,
    /// Folder of `tokenizer.json`, or `built-in`, the tokenizer of the built-in world; absent: the language
    /// model's.
    pub tokenizer: Option<Alternatives>,
    /// Diffusion model, diffusers layout: folders `unet`, `vae`, `scheduler`.
    pub diffusion: Alternatives,
    /// What an earlier stage trained, or a converted official checkpoint: replaces what the others
    /// provide.
    pub trained: Option<Alternatives>,
    /// Hubs to ask, in order, when `HF_ENDPOINT` has not got a name.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// What to do if something is not there, for the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One name, or several of which the first one that is there serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Alternatives {
    /// One name.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Alternatives {
    /// All names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl RunConfig {
    /// Reads a file, see [`config::read`].
    ///
    /// # Errors
    /// As [`config::read`], and a model whose numbers do not fit together.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, EngineError> {
        let run: Self = config::read(path, overrides)?;
        if let Some(Err(error)) = run.model.as_ref().map(DeemConfig::validate) {
            return Err(EngineError::Config(format!("{}: {error}", path.display())));
        }
        Ok(run)
    }

    /// This run's model and length; what it does not say is as in `default`.
    pub fn spec(&self, default: &ModelSpec) -> ModelSpec {
        ModelSpec {
            max_tokens: self.max_tokens.unwrap_or(default.max_tokens),
            model: self.model.as_ref().unwrap_or(&default.model).clone(),
        }
    }
}

/// serde cannot refuse unknown fields of flattened structs, so the fields are told apart here.
impl TryFrom<Table> for RunConfig {
    type Error = String;

    fn try_from(mut table: Table) -> Result<Self, String> {
        Ok(Self {
            max_tokens: take(&mut table, "max_tokens")?,
            weights: take(&mut table, "weights")?,
            model: take(&mut table, "model")?,
            stage: Value::Table(table)
                .try_into()
                .map_err(|e: toml::de::Error| e.to_string())?,
        })
    }
}

fn take<T: DeserializeOwned>(table: &mut Table, field: &str) -> Result<Option<T>, String> {
    let value = table.remove(field);
    value
        .map(|value| value.try_into())
        .transpose()
        .map_err(|e: toml::de::Error| format!("in `{field}`: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: &str = r#"
name = "s"
data = [{ kind = "world", task = "alignment" }]
batch = 2
loss = { text = 1.0, image = 0.0, feedback = 0.0 }
train = { save_every = 1, schedule = { steps = 2, warmup = 1 }, groups = [] }
"#;

    fn parse(extra: &str) -> Result<RunConfig, String> {
        config::parse(&format!("max_tokens = 7\n{STAGE}\n{extra}"), &[])
    }

    #[test]
    fn a_run_is_a_stage_with_a_model_and_its_weights() {
        let run =
            parse(r#"weights = { vision = "a", llama = ["b", "hf://c/d"], diffusion = "e" }"#)
                .unwrap();
        let weights = run.weights.as_ref().unwrap();
        assert_eq!(weights.llama.names(), ["b", "hf://c/d"]);
        assert_eq!(weights.vision.names(), ["a"]);
        assert_eq!((run.stage.batch, run.max_tokens), (2, Some(7)));
        let text = toml::to_string(&run).unwrap();
        assert_eq!(config::parse::<RunConfig>(&text, &[]), Ok(run));
    }

    #[test]
    fn unknown_fields_are_named_wherever_they_are() {
        for (extra, field) in [
            ("bach = 3", "bach"),
            ("weights = { lama = \"x\" }", "lama"),
            ("[model]\nimage_sise = 2", "image_sise"),
            ("max_tokens = 7", "max_tokens"),
        ] {
            let error = parse(extra).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
    }
}
