//! The language model of a preset: a stand-in, or a published one.

use std::path::Path;

use burn::tensor::Device;
use deem_data::text::TextTokenizer;
use deem_model::llama::Llama;
use deem_model::weights::{LoadOptions, load};

use super::StandIns;
use crate::built_in::BuiltIn;
use deem_engine::EngineError;
use deem_engine::foundation::Language;

impl StandIns {
    /// The language model, without MMFS layers.
    ///
    /// # Errors
    /// Those of [`Self::file`], and weights that do not fit.
    pub fn llm(&self, device: &Device) -> Result<Llama, EngineError> {
        self.language(Llama::new(&self.preset.model.llama, None, device))
    }

    /// Fills a language model; MMFS layers stay as they are.
    pub(super) fn language(&self, model: Llama) -> Result<Llama, EngineError> {
        if let Some(path) = &self.preset.language_model {
            return Language::at(present(path)?).fill(model, &self.preset.model.llama);
        }
        let new_layers = model.mmfs_paths();
        let new_layers: Vec<&str> = new_layers.iter().map(String::as_str).collect();
        let options = LoadOptions {
            allow_missing: &new_layers,
            ..LoadOptions::default()
        };
        Ok(load(model, &self.file("llm")?, &options)?)
    }

    /// The language model's tokenizer.
    ///
    /// # Errors
    /// `File` if a published language model is not there, `Data` if its tokenizer does not fit.
    pub fn tokenizer(&self) -> Result<TextTokenizer, EngineError> {
        match &self.preset.language_model {
            Some(path) => Language::at(present(path)?).tokenizer(&self.preset.model),
            None => Ok(TextTokenizer::builtin()?),
        }
    }

    /// The built-in data in the language model's words.
    ///
    /// # Errors
    /// Those of [`Self::tokenizer`], and ids that do not fit the preset.
    pub fn data(&self) -> Result<BuiltIn, EngineError> {
        BuiltIn::with_tokenizer(&self.preset, self.tokenizer()?)
    }
}

/// A published language model's place, which must be there.
fn present(path: &Path) -> Result<&Path, EngineError> {
    if path.exists() {
        return Ok(path);
    }
    Err(EngineError::File {
        path: path.into(),
        problem: "no language model here; `deem data fetch smollm2` gets SmolLM2, \
                  `--set language_model=PATH` names another place"
            .into(),
    })
}
