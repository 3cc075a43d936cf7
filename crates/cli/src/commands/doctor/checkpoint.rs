//! What a folder or file of weights is, what fits, and what is missing or wrong, before anything is loaded.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn::tensor::Device;
use deem::Open;
use deem_engine::foundation::tokenizer_file;
use deem_engine::train::parameters::list;
use deem_model::autoencoder::AutoencoderConfig;
use deem_model::clip::config::ClipVisionConfig;
use deem_model::llama::{Llama, LlamaConfig};
use deem_model::published::{Fields, Published, fields};
use deem_model::scheduler::NoiseConfig;
use deem_model::unet::UNetConfig;
use deem_model::weights::gguf::GgufFile;
use deem_model::weights::torch::TorchFile;
use deem_model::weights::{WeightsFile, find, is_official};
use serde_json::json;

use super::{gib, memory};

/// What was found out.
#[derive(Default)]
struct Findings {
    /// What it is.
    is: Vec<String>,
    /// What is missing or wrong.
    wrong: Vec<String>,
    /// Bytes of weights.
    bytes: u64,
}

/// Runs the command.
pub fn run(path: &Path, as_json: bool) -> Result<()> {
    let mut found = Findings::default();
    if path.is_dir() {
        found.folder(path);
    } else if path.is_file() {
        found.file(path);
    } else {
        bail!("{}: not there", path.display());
    }
    if found.is.is_empty() && found.wrong.is_empty() {
        found.wrong.push("nothing in it is known".into());
    }
    let free = memory::free();
    let fits = free.map(|free| found.bytes <= free);
    if as_json {
        println!(
            "{}",
            json!({
                "path": path.display().to_string(), "is": found.is, "wrong": found.wrong,
                "weights": found.bytes, "free": free, "fits": fits,
            })
        );
    } else {
        println!("{}", path.display());
        for line in &found.is {
            println!("  {line}");
        }
        if found.bytes > 0 {
            let verdict = match (fits, free) {
                (Some(true), Some(free)) => {
                    format!("they fit in the {} GiB that are free", gib(free))
                }
                (Some(false), Some(free)) => {
                    format!("they do not fit in the {} GiB that are free", gib(free))
                }
                _ => "how much memory is free is unknown".into(),
            };
            println!("  weights: {} GiB; {verdict}", gib(found.bytes));
        }
        for line in &found.wrong {
            println!("  wrong: {line}");
        }
    }
    if found.wrong.is_empty() {
        return Ok(());
    }
    bail!("{}: {} problems", path.display(), found.wrong.len())
}

impl Findings {
    fn wrong(&mut self, problem: impl Display) {
        self.wrong.push(problem.to_string());
    }

    fn file(&mut self, path: &Path) {
        let ending = path
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        match ending.as_str() {
            "bin" | "pt" | "pth" | "ckpt" => match TorchFile::open(path) {
                Ok(file) => {
                    let keys: Vec<&str> = file.tensors().iter().map(|t| t.name.as_str()).collect();
                    let official = is_official(keys.iter().copied());
                    let kind = if official {
                        "an official training checkpoint"
                    } else {
                        "a pickle"
                    };
                    self.is.push(format!(
                        "{kind} of {} tensors; `deem convert` makes safetensors of it",
                        keys.len()
                    ));
                    for (what, names) in [
                        ("no tensors", file.skipped()),
                        ("classes not read", file.foreign()),
                    ] {
                        if !names.is_empty() {
                            self.is.push(format!("{what}: {}", names.join(", ")));
                        }
                    }
                }
                Err(error) => self.wrong(error),
            },
            "gguf" => self.gguf(path),
            "json" if !path.to_string_lossy().contains(".index.") => {
                self.wrong("a JSON file; name its folder")
            }
            _ => drop(self.weights(path)),
        }
    }

    fn folder(&mut self, path: &Path) {
        let has = |name: &str| path.join(name).is_file();
        if has("model.json") {
            self.is.push("a result of deem: `--model` opens it".into());
        }
        if has("model.toml") {
            self.is.push("a preset: `--standins` opens it".into());
            // Its configurations stand in model.toml; its parts lie where that says.
            if let Err(error) = Open::folder(path).find() {
                self.wrong(error);
            }
            return;
        }
        if path.join("unet").is_dir() {
            self.is.push("a diffusion model (diffusers)".into());
            self.part::<UNetConfig>(&path.join("unet"), "config.json");
            self.part::<AutoencoderConfig>(&path.join("vae"), "config.json");
            let schedule = path.join("scheduler/scheduler_config.json");
            self.configuration::<NoiseConfig>(&schedule);
            return;
        }
        if let Ok(found) = find(path)
            && found
                .extension()
                .is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
        {
            return self.gguf(&found);
        }
        match self.read(&path.join("config.json")) {
            Some(fields)
                if fields.contains_key("vision_config") || says(&fields, "clip_vision_model") =>
            {
                self.is.push("an image tower (CLIP)".into());
                self.published::<ClipVisionConfig>(&path.join("config.json"), fields);
                self.weights_of(path);
            }
            Some(fields) => self.language(path, fields),
            None if has("open_clip_config.json") => {
                self.is.push("an image tower (open_clip)".into());
                self.weights_of(path);
            }
            None if self.is.is_empty() && self.wrong.is_empty() && !has("tokenizer.json") => {
                drop(self.weights_of(path))
            }
            None => {}
        }
        if has("tokenizer.json") {
            match tokenizer_file(path) {
                Ok(tokens) => self.is.push(format!("a tokenizer of {tokens} tokens")),
                Err(error) => self.wrong(error),
            }
        }
    }

    /// A language model in transformers' layout.
    fn language(&mut self, path: &Path, fields: Fields) {
        let place = path.join("config.json");
        let Some(config) = self.published::<LlamaConfig>(&place, fields) else {
            return drop(self.weights_of(path));
        };
        if let Err(error) = config.validate() {
            return self.wrong(error);
        }
        self.is.push(format!(
            "a language model ({:?}): {} layers of width {}, {} positions",
            config.model_type,
            config.num_hidden_layers,
            config.hidden_size,
            config.max_position_embeddings
        ));
        let Some(file) = self.weights_of(path) else {
            return;
        };
        let expected = list(&Llama::new(&config, None, &Device::flex()));
        let expected: BTreeSet<&str> = expected.iter().map(|(key, ..)| key.as_str()).collect();
        let keys: BTreeSet<&str> = file.keys().collect();
        let tied = ["lm_head.weight", "model.embed_tokens.weight"];
        let either = config.tie_word_embeddings && tied.iter().any(|key| keys.contains(key));
        let apart =
            |key: &str| either && tied.contains(&key) || key.ends_with("rotary_emb.inv_freq");
        let counts = |key: &&&str| !apart(key);
        for (what, few) in [
            (
                "missing",
                expected
                    .difference(&keys)
                    .filter(counts)
                    .copied()
                    .collect::<Vec<_>>(),
            ),
            (
                "not part of this network",
                keys.difference(&expected).filter(counts).copied().collect(),
            ),
        ] {
            if let Some(first) = few.first() {
                self.wrong(format!("{} keys are {what}: {first}, …", few.len()));
            }
        }
    }

    fn gguf(&mut self, path: &Path) {
        let config = GgufFile::open(path).and_then(|file| file.llama_config());
        match config {
            Ok(config) => {
                self.is.push(format!(
                    "a language model (GGUF): {} layers of width {}",
                    config.num_hidden_layers, config.hidden_size
                ));
                self.weights(path);
            }
            Err(error) => self.wrong(error),
        }
    }

    /// One part of a diffusers folder.
    fn part<C: Published>(&mut self, folder: &Path, name: &str) {
        self.configuration::<C>(&folder.join(name));
        self.weights_of(folder);
    }

    fn configuration<C: Published>(&mut self, path: &Path) {
        match self.read(path) {
            Some(fields) => drop(self.published::<C>(path, fields)),
            None if path.is_file() => {}
            None => self.wrong(format!("{}: not there", path.display())),
        }
    }

    fn read(&mut self, path: &Path) -> Option<Fields> {
        let text = std::fs::read_to_string(path).ok()?;
        let found = fields(&text);
        found
            .map_err(|problem| self.wrong(format!("{}: {problem}", path.display())))
            .ok()
    }

    fn published<C: Published>(&mut self, path: &Path, fields: Fields) -> Option<C> {
        match C::published(fields) {
            Ok(config) => Some(config),
            Err(problems) => {
                for problem in problems {
                    self.wrong(format!("{}: {problem}", path.display()));
                }
                None
            }
        }
    }

    /// The weights of a folder: all shards are there, and sound.
    fn weights_of(&mut self, folder: &Path) -> Option<WeightsFile> {
        let found: Result<PathBuf, _> = find(folder);
        match found {
            Ok(path) => self.weights(&path),
            Err(error) => {
                self.wrong(error);
                None
            }
        }
    }

    fn weights(&mut self, path: &Path) -> Option<WeightsFile> {
        match WeightsFile::open(path) {
            Ok(file) => {
                let count = file.keys().count();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                self.is.push(format!("{name}: {count} tensors"));
                if count == 0 {
                    self.wrong(format!("{}: it holds no tensors", path.display()));
                }
                self.bytes += file.stored_bytes();
                Some(file)
            }
            Err(error) => {
                self.wrong(error);
                None
            }
        }
    }
}

fn says(fields: &Fields, kind: &str) -> bool {
    fields.get("model_type").is_some_and(|own| own == kind)
}
