//! A published LLaMA with its tokenizer: a folder in transformers' layout, or a GGUF file.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use deem_data::text::{BytePairs, SpecialTokens, TextTokenizer, TokenKind};
use deem_model::deem::{Deem, DeemConfig};
use deem_model::llama::{Head, Llama, LlamaConfig};
use deem_model::weights::find;
use deem_model::weights::gguf::GgufFile;
use serde_json::{Map, Value, json};

use super::checksums::open_checked;
use super::config_file::check_llama;
use super::empty;
use super::words::{
    TEMPLATE, TOKENS, beside, chat_template, ends, ends_of_gguf, generation_config,
};
use crate::EngineError;

/// Where a language model and its tokenizer lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language {
    /// Weights: a folder in transformers' layout, a GGUF file, or a folder with one.
    pub llama: PathBuf,
    /// Tokenizer: a folder with `tokenizer.json`, that file, or as above; `None` is the built-in one.
    pub tokenizer: Option<PathBuf>,
    /// Whether quantised matrices stay so, see [`Llama::packed`]: for answers in 32 bits on the CPU.
    pub packed: bool,
}

impl Language {
    /// Both in one place, quantised matrices unpacked.
    pub fn at(path: &Path) -> Self {
        Self {
            llama: path.into(),
            tokenizer: Some(path.into()),
            packed: false,
        }
    }

    /// A model that can read and write text, and nothing else: of the other parts nothing is loaded.
    ///
    /// # Errors
    /// `Config` if the configuration is wrong, and those of [`Self::fill`].
    pub fn assemble(&self, config: &DeemConfig, device: &Device) -> Result<Deem, EngineError> {
        let mut model = empty(config, device)?;
        model.llama = self.fill(model.llama, &config.llama)?;
        Ok(model)
    }

    /// Fills a language model; what its checkpoint does not have (MMFS) stays as it is.
    ///
    /// # Errors
    /// `File` if the checkpoint says that it is another network, `Weights` naming keys that do not fit.
    pub fn fill(&self, llama: Llama, config: &LlamaConfig) -> Result<Llama, EngineError> {
        let file = open_checked(&find(&self.llama)?)?;
        let differ = |found: &LlamaConfig| Head::of(found, &file) == Head::Differs;
        check_llama(&self.llama, config, &differ)?;
        let mmfs = llama.mmfs_paths();
        let mmfs: Vec<&str> = mmfs.iter().map(String::as_str).collect();
        if differ(config) {
            return Err(EngineError::File {
                path: file.path().into(),
                problem: "its lm_head.weight differs from its embeddings, so that they are not one matrix, whatever \
                          its config.json says; set tie_word_embeddings = false in [model.llama]"
                    .into(),
            });
        }
        let llama = if self.packed {
            llama.packed(config, &file)?
        } else {
            llama
        };
        Ok(llama.filled(config, &file, &mmfs)?)
    }

    /// The tokenizer. Special tokens that it does not know get the ids that the model expects: `<ref>`,
    /// `</ref>`, `<box>`, `</box>` follow the image placeholder.
    ///
    /// # Errors
    /// `Data` if it is none, or does not fit the model.
    pub fn tokenizer(&self, config: &DeemConfig) -> Result<TextTokenizer, EngineError> {
        match &self.tokenizer {
            Some(path) => Ok(tokenizer_at(path, config)?.with_ends(ends(&self.llama)?)),
            None => {
                let tokenizer = TextTokenizer::builtin()?;
                tokenizer.check_model(config.llama.vocab_size + config.new_tokens)?;
                Ok(tokenizer)
            }
        }
    }
}

/// The tokenizer of a folder or file, see [`Language::tokenizer`].
///
/// # Errors
/// As there.
pub fn tokenizer_at(path: &Path, config: &DeemConfig) -> Result<TextTokenizer, EngineError> {
    let special = special(config)?;
    let json = if path.is_dir() {
        path.join("tokenizer.json")
    } else {
        path.to_owned()
    };
    let own = path.is_dir() && json.is_file();
    let gguf = (!own).then(|| gguf_at(path)).flatten();
    let (tokenizer, template) = match gguf {
        Some(file) => {
            let file = GgufFile::open(&file)?;
            let json = byte_pairs(&file)?.tokenizer_json()?;
            let name = file.path().display().to_string();
            let tokenizer = TextTokenizer::from_json(json.as_bytes(), &name, Some(special))?;
            (tokenizer, chat_template(&file)?)
        }
        None => (TextTokenizer::load(&json, Some(special))?, beside(&json)?),
    };
    tokenizer.check_model(config.llama.vocab_size + config.new_tokens)?;
    let tokenizer = tokenizer.with_ends(ends(path)?);
    Ok(match template {
        Some(template) => tokenizer.with_chat_template(template),
        None => tokenizer,
    })
}

/// How many tokens the tokenizer in a folder has, whatever model it belongs to, if its chat template can be read, too.
///
/// # Errors
/// `Data` or `File` naming what cannot be read.
pub fn tokenizer_file(folder: &Path) -> Result<usize, EngineError> {
    let json = folder.join("tokenizer.json");
    beside(&json)?;
    Ok(TextTokenizer::size(&json)?)
}

/// The GGUF file that a name means: itself, or the only one in a folder without safetensors.
pub(super) fn gguf_at(path: &Path) -> Option<PathBuf> {
    let found = find(path).ok()?;
    let extension = found.extension()?;
    extension.eq_ignore_ascii_case("gguf").then_some(found)
}

fn special(config: &DeemConfig) -> Result<SpecialTokens, EngineError> {
    let tokens = &config.tokens;
    let id = |id: i64| {
        u32::try_from(id)
            .map_err(|_| EngineError::Config(format!("model.tokens: {id} is no token id")))
    };
    let image = id(tokens.image)?;
    Ok(SpecialTokens {
        bos: id(tokens.bos)?,
        eos: id(tokens.eos)?,
        pad: id(tokens.pad)?,
        soi: id(tokens.soi)?,
        image,
        ref_open: image + 1,
        ref_close: image + 2,
        box_open: image + 3,
        box_close: image + 4,
    })
}

/// The small files of a transformers folder that say what a GGUF file says beside its weights: names and
/// contents.
///
/// # Errors
/// `Weights` or `Data` if the file lacks something, or holds what cannot be said there.
pub fn published_files(file: &GgufFile) -> Result<[(&'static str, String); 4], EngineError> {
    let config = serde_json::to_value(file.llama_config()?);
    let config = config.map_err(|error| EngineError::Config(error.to_string()))?;
    let mut fields = json!({ "architectures": ["LlamaForCausalLM"], "model_type": "llama" });
    let mut words = json!({ "tokenizer_class": "PreTrainedTokenizerFast" });
    for (name, value) in config.as_object().into_iter().flatten() {
        fields[name] = without_nulls(value.clone());
    }
    let tokens = file.texts(TOKENS)?.unwrap_or_default();
    for (name, field) in SPECIAL {
        let Some(id) = file.count(field)? else {
            continue;
        };
        fields[format!("{name}_id")] = json!(id);
        words[name] = json!(tokens.get(id));
    }
    if let Some(template) = file.text(TEMPLATE)? {
        words["chat_template"] = json!(template);
    }
    let tokenizer = byte_pairs(file)?.tokenizer_json()?;
    let pretty = |value: &Value| format!("{value:#}\n");
    Ok([
        ("config.json", pretty(&without_nulls(fields))),
        (
            "generation_config.json",
            generation_config(&ends_of_gguf(file)?),
        ),
        ("tokenizer_config.json", pretty(&words)),
        ("tokenizer.json", tokenizer),
    ])
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// transformers' names of special tokens, and the fields that hold their ids.
pub(super) const SPECIAL: [(&str, &str); 4] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
];

/// The vocabulary of a GGUF file.
fn byte_pairs(file: &GgufFile) -> Result<BytePairs<'_>, EngineError> {
    let need = |field: &str| file.wrong(format!("field {field}: not there"));
    let model = "tokenizer.ggml.model";
    let found = file.text(model)?.ok_or_else(|| need(model))?;
    if found != "gpt2" {
        return Err(EngineError::Weights(file.wrong(format!(
            "field {model}: expected gpt2 (byte pairs), found {found}; give the model's tokenizer.json instead"
        ))));
    }
    let lists = |field: &str| file.texts(field)?.ok_or_else(|| need(field));
    let kinds = file.integers("tokenizer.ggml.token_type")?;
    let kinds = kinds.unwrap_or_default().into_iter();
    Ok(BytePairs {
        name: file.path().display().to_string(),
        tokens: lists(TOKENS)?,
        kinds: kinds
            .map(|kind| match kind {
                2 | 3 => TokenKind::Control,
                4 => TokenKind::UserDefined,
                _ => TokenKind::Word,
            })
            .collect(),
        merges: lists("tokenizer.ggml.merges")?,
        splitting: file.text("tokenizer.ggml.pre")?.unwrap_or("gpt-2"),
    })
}
