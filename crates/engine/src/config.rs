//! Configuration of runs: TOML, every field checked, every field overridable by `path=value`.

use std::path::Path;

use deem_data::image::Crop;
use deem_data::source::SourceSpec;
use deem_model::deem::DeemConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::EngineError;
use crate::objective::LossWeights;
use crate::train::TrainConfig;

/// The networks, and how long a sequence they read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Longest sequence in tokens.
    pub max_tokens: usize,
    /// The networks.
    pub model: DeemConfig,
}

/// One training stage of the whole model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Name, also of its directory.
    pub name: String,
    /// What it learns from, mixed by weight.
    pub data: Vec<SourceSpec>,
    /// Sequences per micro-batch.
    pub batch: usize,
    /// Samples packed into one sequence.
    #[serde(default = "one")]
    pub samples_per_row: usize,
    /// Whether the first image of a row counts in the image loss when it has context; the official recipe
    /// says no.
    #[serde(default)]
    pub count_first_image: bool,
    /// Largest share of samples that may be unreadable and be replaced by others; more of them stop the run.
    #[serde(default = "one_percent")]
    pub error_ceiling: f64,
    /// How squares are made of pictures: `"center"`, `"pad"` (the whole picture), `"squeeze"`, or `{ random = 0.8 }`
    /// for one of random place and of at least that share of the shorter side, another one each epoch.
    #[serde(default)]
    pub crop: Crop,
    /// Loss terms.
    pub loss: LossWeights,
    /// Weight of the alignment of visual tokens with the words of their caption (warm start only).
    #[serde(default)]
    pub align: f64,
    /// Optimizer, schedule, trained parts.
    pub train: TrainConfig,
}

/// Most rows of a batch, samples of a row and batches of a step; more is a slip of the finger.
const MOST: u64 = 1 << 20;

impl StageConfig {
    /// Checks what depends on how long sequences are.
    ///
    /// # Errors
    /// The field, its range and what was found.
    pub fn check_row(&self, max_tokens: usize) -> Result<(), String> {
        let found = self.samples_per_row;
        if found <= max_tokens {
            return Ok(());
        }
        Err(format!(
            "samples_per_row: expected 1 to {max_tokens} (`max_tokens`: each sample takes at least one token of its row), \
             found {found}"
        ))
    }

    /// Checks every number against its range.
    ///
    /// # Errors
    /// The field, its range and what was found.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |field: &str, expected: &str, found: &dyn std::fmt::Display| {
            Err(format!("{field}: expected {expected}, found {found}"))
        };
        let TrainConfig {
            schedule,
            optimizer,
            groups,
            ..
        } = &self.train;
        if self.data.is_empty() {
            let expected = "at least one source, as [{ kind = \"captions\", … }]";
            return wrong("data", expected, &"an empty list");
        }
        for (field, found) in [
            ("batch", self.batch as u64),
            ("samples_per_row", self.samples_per_row as u64),
            ("train.accumulate", self.train.accumulate),
            ("train.workers", self.train.workers as u64),
        ] {
            if !(1..=MOST).contains(&found) {
                return wrong(field, &format!("1 to {MOST}"), &found);
            }
        }
        for (index, lora) in self.train.lora.iter().enumerate() {
            lora.check()
                .map_err(|problem| format!("train.lora[{index}].{problem}"))?;
        }
        if schedule.steps == 0 {
            return wrong("train.schedule.steps", "at least 1", &0);
        }
        if schedule.warmup > schedule.steps {
            let most = format!("at most the {} steps of the run", schedule.steps);
            return wrong("train.schedule.warmup", &most, &schedule.warmup);
        }
        let rates = groups.iter().enumerate().flat_map(|(index, group)| {
            let name = move |field: &str| format!("train.groups[{index}].{field}");
            [
                (name("learning_rate"), group.learning_rate),
                (name("weight_decay"), group.weight_decay),
            ]
        });
        let weights = [
            ("align", self.align),
            ("loss.text", self.loss.text),
            ("loss.image", self.loss.image),
            ("loss.feedback", self.loss.feedback),
        ];
        let weights = weights.map(|(field, found)| (field.to_owned(), found));
        for (field, found) in weights.into_iter().chain(rates) {
            if !(found.is_finite() && found >= 0.0) {
                return wrong(&field, "a number from 0 on", &found);
            }
        }
        for (field, found) in [
            ("loss.condition_dropout", self.loss.condition_dropout),
            ("error_ceiling", self.error_ceiling),
            ("train.schedule.floor", schedule.floor),
        ] {
            if !(0.0..=1.0).contains(&found) {
                return wrong(field, "a number from 0 to 1", &found);
            }
        }
        for (field, found) in [
            ("train.optimizer.beta1", optimizer.beta1),
            ("train.optimizer.beta2", optimizer.beta2),
        ] {
            if !(0.0..1.0).contains(&found) {
                return wrong(field, "a number from 0 to below 1", &found);
            }
        }
        if !(optimizer.epsilon.is_finite() && optimizer.epsilon > 0.0) {
            return wrong(
                "train.optimizer.epsilon",
                "a number above 0",
                &optimizer.epsilon,
            );
        }
        Ok(())
    }
}

fn one() -> usize {
    1
}

fn one_percent() -> f64 {
    0.01
}

/// Reads a TOML file and applies overrides of the form `a.b=value`. A file that says `extends =
/// "other.toml"` (beside it) states only what differs: tables are merged, everything else replaced. Names in
/// `[weights]` that begin with `./` or `../` are seen from the folder of the file that says them, all others from
/// where the program runs.
///
/// # Errors
/// `Io` if it cannot be read; `Config` naming the field that is unknown, missing or mistyped.
pub fn read<T: DeserializeOwned>(path: &Path, overrides: &[String]) -> Result<T, EngineError> {
    let table = table(path, 0)?;
    resolve(table, overrides)
        .map_err(|message| EngineError::Config(format!("{}: {message}", path.display())))
}

/// Parses TOML and applies overrides; the message names the field.
///
/// # Errors
/// What is wrong, in words.
pub fn parse<T: DeserializeOwned>(text: &str, overrides: &[String]) -> Result<T, String> {
    let table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
    resolve(table, overrides)
}

/// Files that may extend one another; more is a circle.
const MAX_EXTENDS: usize = 8;

fn table(path: &Path, depth: usize) -> Result<toml::Table, EngineError> {
    let wrong = |message: String| EngineError::Config(format!("{}: {message}", path.display()));
    let text = std::fs::read_to_string(path).map_err(EngineError::io(path))?;
    let mut own: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| wrong(e.to_string()))?;
    if let Some(toml::Value::Table(weights)) = own.get_mut("weights") {
        let folder = path.parent().unwrap_or(Path::new(""));
        weights
            .iter_mut()
            .for_each(|(_, names)| beside(folder, names));
    }
    let base = match own.remove("extends") {
        None => return Ok(own),
        Some(toml::Value::String(base)) if depth < MAX_EXTENDS => base,
        Some(toml::Value::String(_)) => {
            return Err(wrong(format!(
                "extends: more than {MAX_EXTENDS} files extend one another; is it a circle?"
            )));
        }
        Some(other) => {
            return Err(wrong(format!(
                "extends: expected the name of a file, found {other}"
            )));
        }
    };
    let mut merged = table(&path.with_file_name(base), depth + 1)?;
    merge(&mut merged, own);
    Ok(merged)
}

/// Sees what begins with `./` or `../` from a folder.
fn beside(folder: &Path, names: &mut toml::Value) {
    match names {
        toml::Value::String(name) if name.starts_with("./") || name.starts_with("../") => {
            *name = folder
                .join(name.strip_prefix("./").unwrap_or(name))
                .display()
                .to_string();
        }
        toml::Value::Array(several) => several.iter_mut().for_each(|name| beside(folder, name)),
        _ => {}
    }
}

fn merge(base: &mut toml::Table, own: toml::Table) {
    for (name, value) in own {
        match (base.get_mut(&name), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(own)) => merge(base, own),
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
}

fn resolve<T: DeserializeOwned>(mut table: toml::Table, overrides: &[String]) -> Result<T, String> {
    for entry in overrides {
        let (path, value) = entry
            .split_once('=')
            .ok_or_else(|| format!("override {entry:?}: expected field.path=value"))?;
        set(&mut table, path.trim(), literal(value.trim()))
            .map_err(|reason| format!("override {entry:?}: {reason}"))?;
    }
    // Through text, so that errors point into something the reader can see.
    let resolved = toml::to_string(&table).map_err(|e| e.to_string())?;
    toml::from_str(&resolved).map_err(|e| e.to_string())
}

/// A value as TOML reads it, or else a string.
fn literal(value: &str) -> toml::Value {
    format!("v = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.into()))
}

fn set(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<(), String> {
    let (parents, field) = path
        .rsplit_once('.')
        .map_or((None, path), |(p, f)| (Some(p), f));
    let mut place = toml::Value::Table(std::mem::take(table));
    let mut current = &mut place;
    let mut problem = None;
    for part in parents.into_iter().flat_map(|p| p.split('.')) {
        let next = match (part.parse::<usize>(), &*current) {
            (Ok(index), toml::Value::Array(items)) if index < items.len() => {
                current.get_mut(index).expect("checked")
            }
            (_, toml::Value::Table(fields)) if fields.contains_key(part) => {
                current.get_mut(part).expect("checked")
            }
            _ => {
                problem = Some(format!("there is no {part:?} in the configuration"));
                break;
            }
        };
        current = next;
    }
    if problem.is_none() {
        match current {
            toml::Value::Table(fields) => {
                fields.insert(field.into(), value);
            }
            _ => problem = Some(format!("{path:?} does not lead to a field")),
        }
    }
    if let toml::Value::Table(whole) = place {
        *table = whole;
    }
    problem.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    const LOSS: &str = "text = 1.0\nimage = 5.0\nfeedback = 5.0\n";

    #[test]
    fn overrides_replace_fields() {
        let loss: LossWeights = parse(LOSS, &["feedback=0.0".into()]).unwrap();
        assert_eq!(loss.feedback, 0.0);
        let loss: LossWeights = parse(LOSS, &["timesteps=uniform".into()]).unwrap();
        assert_eq!(
            loss.timesteps,
            deem_model::scheduler::TimestepSampler::Uniform
        );
    }

    #[test]
    fn a_file_may_state_only_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        write("base.toml", LOSS);
        let own = write(
            "own.toml",
            "extends = \"base.toml\"\nimage = 0.0\ntimesteps = \"uniform\"\n",
        );
        let loss: LossWeights = read(&own, &["text=2.0".into()]).unwrap();
        assert_eq!((loss.text, loss.image, loss.feedback), (2.0, 0.0, 5.0));

        let circle = write("circle.toml", "extends = \"circle.toml\"\n");
        let error = read::<LossWeights>(&circle, &[]).unwrap_err().to_string();
        assert!(
            error.contains("circle.toml") && error.contains("extend"),
            "{error}"
        );
        let lost = write("lost.toml", "extends = \"nowhere.toml\"\n");
        let error = read::<LossWeights>(&lost, &[]).unwrap_err().to_string();
        assert!(error.contains("nowhere.toml"), "{error}");

        fs::create_dir(folder.path().join("base")).unwrap();
        write(
            "base/weights.toml",
            "[weights]\na = \"./a\"\nb = \"b\"\nc = [\"../c\", \"c\"]\nd = \"./d\"\n",
        );
        let own = write(
            "own.toml",
            "extends = \"base/weights.toml\"\nweights.d = \"./d\"\n",
        );
        let read: BTreeMap<String, toml::Table> = read(&own, &[]).unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let weights = &read["weights"];
        assert_eq!(weights["a"].as_str(), Some(place("base/a").as_str()));
        assert_eq!(weights["b"].as_str(), Some("b"));
        assert_eq!(weights["c"][0].as_str(), Some(place("base/../c").as_str()));
        assert_eq!(weights["c"][1].as_str(), Some("c"));
        assert_eq!(weights["d"].as_str(), Some(place("d").as_str()));

        let mut base = "[a]\nx = 1\ny = 2\n".parse().unwrap();
        merge(&mut base, "[a]\ny = 3\n[b]\n".parse().unwrap());
        assert_eq!(base, "[a]\nx = 1\ny = 3\n[b]\n".parse().unwrap());
    }

    #[test]
    fn unknown_and_mistyped_fields_are_named() {
        let error = parse::<LossWeights>(LOSS, &["feedbak=1.0".into()]).unwrap_err();
        assert!(error.contains("feedbak"), "{error}");
        let error = parse::<LossWeights>(LOSS, &["feedback=strong".into()]).unwrap_err();
        assert!(error.contains("feedback"), "{error}");
        let error = parse::<LossWeights>(LOSS, &["loss.feedback=1.0".into()]).unwrap_err();
        assert!(error.contains("loss"), "{error}");
        let error = parse::<LossWeights>(LOSS, &["feedback".into()]).unwrap_err();
        assert!(error.contains("expected field.path=value"), "{error}");
    }
}
