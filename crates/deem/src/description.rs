//! What a run's result says of itself: enough to open it as the model that it is, and to notice when it is not.
//!
//! A result holds the parameters that have been trained so far, in all stages. Everything else comes from the
//! parts that it was trained on, its base, which are named and identified by their checksums. An exported folder
//! holds everything and has no base.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use deem_engine::config::{self, ModelSpec};
use deem_engine::foundation::{CHECKSUMS, DIFFUSION, LLAMA, Needs, TOKENIZER, TRAINED, VISION};
use deem_model::weights::weight_files;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Name of the file that describes a result; it lies beside the weights, or beside the folder `checkpoint` in
/// which they lie.
pub const DESCRIPTION: &str = "model.json";

/// What is read of a folder that describes itself.
pub(crate) const RESULT: Needs = Needs {
    choose: |names| {
        let weights = weight_files(names, "safetensors");
        if weights.is_empty() {
            return weights;
        }
        let beside = |name: &&String| BESIDE.contains(&name.as_str());
        let beside = names.iter().filter(beside).cloned();
        weights.into_iter().chain(beside).collect()
    },
    expected: "weights in safetensors with the model.json that `deem export` writes",
};

/// What lies beside a model's weights and belongs to them.
const BESIDE: [&str; 5] = [
    DESCRIPTION,
    CHECKSUMS,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Version of the format.
const FORMAT: u32 = 1;

/// A part of a model, named as the field of `[weights]` that says where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Image tower.
    Vision,
    /// Language model.
    Llama,
    /// Tokenizer.
    Tokenizer,
    /// UNet and autoencoder.
    Diffusion,
    /// What connected them before the first stage.
    Trained,
    /// All of them: an exported folder.
    Whole,
}

impl Part {
    /// The field of `[weights]`, for all but `Whole`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Llama => "llama",
            Self::Tokenizer => "tokenizer",
            Self::Diffusion => "diffusion",
            Self::Trained => "trained",
            Self::Whole => "whole",
        }
    }

    /// Which of a folder's files it reads.
    pub(crate) fn needs(self) -> &'static Needs {
        match self {
            Self::Vision => &VISION,
            Self::Llama => &LLAMA,
            Self::Tokenizer => &TOKENIZER,
            Self::Diffusion => &DIFFUSION,
            Self::Trained => &TRAINED,
            Self::Whole => &RESULT,
        }
    }
}

/// A part that a result was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Which part.
    pub part: Part,
    /// Where it is found: a path, `hf://owner/name`, `preset:name/part`, or `built-in`.
    pub name: String,
    /// SHA-256 of each of its files.
    pub files: BTreeMap<String, String>,
}

/// What has been trained so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Names of the stages, in order; the last one may be unfinished.
    pub stages: Vec<String>,
    /// Optimizer steps of the last stage, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Paths of all parameters trained in any of them, sorted.
    pub parameters: Vec<String>,
}

impl Progress {
    /// What is trained once a further stage has trained `parameters`.
    #[must_use]
    pub fn after(&self, stage: &str, parameters: impl IntoIterator<Item = String>) -> Self {
        let mut all: Vec<String> = self.parameters.iter().cloned().chain(parameters).collect();
        all.sort();
        all.dedup();
        let mut stages = self.stages.clone();
        stages.push(stage.to_owned());
        Self {
            stages,
            step: None,
            parameters: all,
        }
    }
}

/// What a result is.
///
/// ```no_run
/// # fn main() -> Result<(), deem::Error> {
/// let description = deem::Description::read("runs/train/model.json".as_ref())?;
/// println!("{} after {:?}", description.name, description.trained.stages);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Version of this format.
    pub format: u32,
    /// Name of the model.
    pub name: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// Its commit, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Float type of activations it was trained in.
    pub precision: String,
    /// Networks and length.
    pub spec: ModelSpec,
    /// Whether the weights beside it are the whole model, so that nothing else is needed.
    pub whole: bool,
    /// What else the model is made of; empty if `whole`.
    pub base: Vec<Base>,
    /// What has been trained.
    pub trained: Progress,
}

impl Description {
    pub(crate) fn new(name: &str, spec: &ModelSpec, precision: &str) -> Self {
        Self {
            format: FORMAT,
            name: name.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            commit: option_env!("DEEM_COMMIT").map(str::to_owned),
            precision: precision.into(),
            spec: spec.clone(),
            whole: false,
            base: Vec::new(),
            trained: Progress::default(),
        }
    }

    /// The same base after other training: its files need not be read again.
    #[must_use]
    pub fn of(&self, trained: &Progress) -> Self {
        Self {
            trained: trained.clone(),
            ..self.clone()
        }
    }

    /// Checksums of the base, by part and file.
    pub fn checksums(&self) -> BTreeMap<String, String> {
        let files = self.base.iter().flat_map(|base| {
            let part = base.part.name();
            let files = base.files.iter();
            files.map(move |(file, sum)| (format!("{part}/{file}"), sum.clone()))
        });
        files.collect()
    }

    /// Reads a description.
    ///
    /// # Errors
    /// `Io`; `File` if it is none, or of a later program.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::io(path))?;
        let found: Self = serde_json::from_str(&text).map_err(|error| {
            let problem =
                format!("not the description of a model ({error}); restore it or train again");
            Error::file(path, problem)
        })?;
        if found.format > FORMAT {
            let problem = format!(
                "format {}, this program knows {FORMAT}; use the program that wrote it ({})",
                found.format, found.version
            );
            return Err(Error::file(path, problem));
        }
        Ok(found)
    }

    /// Writes the description into a folder, whole or not at all.
    ///
    /// # Errors
    /// `Io` naming the file.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let path = folder.join(DESCRIPTION);
        let part = folder.join("model.json.part");
        let text = serde_json::to_string_pretty(self).expect("plain data");
        fs::write(&part, text + "\n").map_err(Error::io(&part))?;
        fs::rename(&part, &path).map_err(Error::io(&path))?;
        Ok(path)
    }

    /// Its specification, with overrides as `max_tokens=128`.
    pub(crate) fn spec_with(&self, overrides: &[String], path: &Path) -> Result<ModelSpec, Error> {
        if overrides.is_empty() {
            return Ok(self.spec.clone());
        }
        let text =
            toml::to_string(&self.spec).map_err(|error| Error::file(path, error.to_string()))?;
        config::parse(&text, overrides).map_err(|problem| Error::file(path, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_add_up() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let first = Progress::default().after("one", names(&["b", "a"]));
        let second = first.after("two", names(&["c", "b"]));
        assert_eq!(second.stages, ["one", "two"]);
        assert_eq!(second.parameters, ["a", "b", "c"]);
    }
}
