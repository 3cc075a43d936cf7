//! What a folder or file of weights is, what fits, and what is missing or wrong, before anything is loaded.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use deem::{DESCRIPTION, Description, Open};
use deem_engine::encoder_feedback::encoder_at;
use deem_engine::foundation::tokenizer_file;
use deem_model::published::{Fields, fields};
use deem_model::weights::gguf::GgufFile;
use deem_model::weights::torch::TorchFile;
use deem_model::weights::{WeightsFile, find, is_official};
use serde_json::{Value, json};

use super::{gib, memory};

mod kind;
mod published;

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
        if has("model.toml") {
            self.is.push("a preset: `--standins` opens it".into());
            // Its configurations stand in model.toml; its parts lie where that says.
            if let Err(error) = Open::folder(path).find() {
                self.wrong(error);
            }
            return;
        }
        if has(DESCRIPTION) {
            self.result(path);
            return self.tokenizer(path);
        }
        if path.join("unet").is_dir() {
            return self.diffusion(path);
        }
        let corrected = encoder_at(path);
        if corrected != path && !has("config.json") {
            self.is
                .push("a run of `deem feedback`: `--encoder` and `deem convert` take it".into());
            return self.folder(&corrected);
        }
        if let Ok(found) = find(path)
            && found
                .extension()
                .is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
        {
            return self.gguf(&found);
        }
        if has("config.json") {
            if let Some(fields) = self.read(&path.join("config.json")) {
                self.described(path, fields);
            }
        } else if has("open_clip_config.json") {
            self.encoder(path);
        } else if has("scheduler_config.json") {
            self.is.push("a noise schedule (diffusers)".into());
            self.schedule(&path.join("scheduler_config.json"));
        } else if let Some(index) = self.read(&path.join("model_index.json")) {
            let class = index.get("_class_name").and_then(Value::as_str);
            self.wrong(format!(
                "model_index.json: {} without a folder unet; only diffusion models with one are computed here",
                class.unwrap_or("a pipeline")
            ));
        } else if stages(path) {
            self.is
                .push("a run of several stages: `--model` opens it".into());
            self.opens(path);
        } else if !has("tokenizer.json") {
            drop(self.weights_of(path));
        }
        self.tokenizer(path);
    }

    fn tokenizer(&mut self, path: &Path) {
        if path.join("tokenizer.json").is_file() {
            match tokenizer_file(path) {
                Ok(tokens) => self.is.push(format!("a tokenizer of {tokens} tokens")),
                Err(error) => self.wrong(error),
            }
        }
    }

    /// What a run of deem trained, or an exported folder.
    fn result(&mut self, path: &Path) {
        if let Err(error) = Description::read(&path.join(DESCRIPTION)) {
            return self.wrong(error);
        }
        self.is.push("a result of deem: `--model` opens it".into());
        let places = [path.to_owned(), path.join("checkpoint")];
        let place = places.iter().find(|place| find(place).is_ok());
        if self
            .weights_of(place.map_or(path, PathBuf::as_path))
            .is_some()
        {
            self.opens(path);
        }
    }

    /// Whether everything that a result is made of is there, and is what it was trained on.
    fn opens(&mut self, path: &Path) {
        let name = path.to_string_lossy();
        if let Err(error) = Open::named(&name).offline(true).find() {
            self.wrong(error);
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
                let file = self.weights(path);
                if let Err(error) = config.validate() {
                    self.wrong(error);
                } else if let Some(file) = file {
                    self.language_fits(&config, &file);
                }
            }
            Err(error) => self.wrong(error),
        }
    }

    fn read(&mut self, path: &Path) -> Option<Fields> {
        let text = std::fs::read_to_string(path).ok()?;
        let found = fields(&text);
        found
            .map_err(|problem| self.wrong(format!("{}: {problem}", path.display())))
            .ok()
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

/// Whether a folder holds the results of stages.
fn stages(path: &Path) -> bool {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .any(|stage| stage.join(DESCRIPTION).is_file())
}
