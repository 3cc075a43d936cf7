//! What a run is: everything that shapes its result, as one value.
//!
//! It is written into the run directory (`run.json`) and into every checkpoint, and compared field by field
//! before a run goes on. Not in it, because they change nothing: the device and the number of threads (an operation's
//! order depends on neither), and the share of unreadable samples at which a run stops.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use deem_data::image::Crop;
use deem_data::source::SourceSpec;
use deem_data::text::TextTokenizer;
use deem_model::encoder_feedback::FeedbackConfig;
use deem_model::weights::{Checksum, WeightsFile, find, sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::TrainConfig;
use crate::config::{ModelSpec, StageConfig};
use crate::encoder_feedback::FeedbackStage;
use crate::objective::LossWeights;
use crate::{EngineError, Precision};

/// Fields of a [`RunIdentity`] that may differ between a run and its continuation, and why. One more may, see
/// [`RunIdentity::differences`]: the number of steps of a schedule that can be extended.
pub const MAY_DIFFER: [(&str, &str); 5] = [
    ("train.save_every", "a checkpoint changes nothing"),
    ("train.keep", "older checkpoints change nothing"),
    ("train.probe_every", "a probe measures and changes nothing"),
    (
        "train.workers",
        "batches come in the same order from any number of workers",
    ),
    (
        "train.shard_frozen",
        "frozen weights are the same wherever they lie",
    ),
];

/// Key of [`RunIdentity::weights`] for what `--from` names, or the stage before trained.
pub const WEIGHTS_FROM: &str = "from";

/// Everything that shapes a run's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunIdentity {
    /// What is learned: the name of a stage, or of a stand-in.
    pub task: String,
    /// Arm of a study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    /// Seed of fresh parameters, noise and timesteps.
    pub seed: u64,
    /// Seed of the samples and their order.
    pub sample_seed: u64,
    /// Float type of activations.
    pub precision: Precision,
    /// Checksums of the weights that it starts from, by part; [`WEIGHTS_FROM`] is what was trained before.
    pub weights: BTreeMap<String, Checksum>,
    /// Checksum of the tokenizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Checksum>,
    /// Sources of samples, mixed by weight; a stand-in has its own.
    pub data: Vec<SourceSpec>,
    /// Version of the built-in world, [`deem_data::world::VERSION`].
    pub generator: u32,
    /// Rows of a micro-batch.
    pub batch: usize,
    /// Samples offered to each row.
    pub samples_per_row: usize,
    /// Whether the first image of a row counts in the image loss.
    pub count_first_image: bool,
    /// How squares are cut from pictures.
    #[serde(default)]
    pub crop: Crop,
    /// Longest sequence in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Loss terms; a stand-in has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<LossWeights>,
    /// Weight of the alignment loss.
    pub align: f64,
    /// What a bare encoder is corrected on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Value>,
    /// Optimizer, schedule, trained parts.
    pub train: TrainConfig,
    /// Configuration of the networks.
    pub model: Value,
}

/// A field in which two runs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its path, as `loss.feedback`.
    pub field: String,
    /// Its value in the run directory.
    pub there: String,
    /// Its value now.
    pub now: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, there, now } = self;
        write!(f, "{field}: {there} there, {now} now")?;
        if field == STEPS {
            f.write_str(" (only a rate that stays, floor = 1.0, can be extended)")?;
        }
        Ok(())
    }
}

/// Path of the number of steps.
const STEPS: &str = "train.schedule.steps";

impl RunIdentity {
    /// A run of which nothing is known but its training; fill in the rest.
    pub fn new(task: &str, train: &TrainConfig) -> Self {
        Self {
            task: task.to_owned(),
            arm: None,
            seed: 0,
            sample_seed: 0,
            precision: Precision::F32,
            weights: BTreeMap::new(),
            tokenizer: None,
            data: Vec::new(),
            generator: deem_data::world::VERSION,
            batch: 0,
            samples_per_row: 1,
            count_first_image: false,
            crop: Crop::Center,
            max_tokens: None,
            loss: None,
            align: 0.0,
            objective: None,
            train: train.clone(),
            model: Value::Null,
        }
    }

    /// A stage of a whole model; seeds, precision, starting weights and tokenizer are to be filled in.
    pub fn of_stage(stage: &StageConfig, spec: &ModelSpec) -> Self {
        // Every field by name: a new one is in the identity, or says here that it shapes nothing.
        let StageConfig {
            name,
            data,
            batch,
            samples_per_row,
            count_first_image,
            crop,
            error_ceiling: _,
            loss,
            align,
            train,
        } = stage;
        Self {
            data: data.clone(),
            batch: *batch,
            samples_per_row: *samples_per_row,
            count_first_image: *count_first_image,
            crop: *crop,
            max_tokens: Some(spec.max_tokens),
            loss: Some(*loss),
            align: *align,
            model: json(&spec.model),
            ..Self::new(name, train)
        }
    }

    /// A stage that corrects a bare encoder, with the texts that it is held to, if any; seeds, precision, starting
    /// weights and pictures are to be filled in.
    pub fn of_feedback(
        stage: &FeedbackStage,
        model: &FeedbackConfig,
        texts: Option<&[String]>,
    ) -> Self {
        // Every field by name, as above.
        let FeedbackStage {
            name,
            batch,
            error_ceiling: _,
            crop,
            timesteps,
            density,
            condition_dropout,
            objectives,
            train,
        } = stage;
        Self {
            batch: *batch,
            crop: *crop,
            objective: Some(serde_json::json!({
                "terms": objectives, "timesteps": timesteps, "density": density,
                "condition_dropout": condition_dropout, "texts": texts,
            })),
            model: json(model),
            ..Self::new(name, train)
        }
    }

    /// Every field in which `there`, the run that a checkpoint belongs to, differs from this one and must not,
    /// in alphabetical order; `trained` is the checkpoint's number of steps.
    ///
    /// What may differ is listed in [`MAY_DIFFER`]. The number of steps may as well if the learning rate does not
    /// depend on it (`floor = 1.0`: constant after the warm-up; a cosine stretches with the number of steps) and
    /// is not less than what has been trained.
    pub fn differences(&self, there: &Self, trained: u64) -> Vec<Difference> {
        let (mut now_fields, mut there_fields) = (BTreeMap::new(), BTreeMap::new());
        flatten(String::new(), json(self), &mut now_fields);
        flatten(String::new(), json(there), &mut there_fields);
        let extended = self.train.schedule.is_constant() && self.train.schedule.steps >= trained;
        let fields = now_fields.keys().chain(there_fields.keys());
        let fields: BTreeSet<&String> = fields.collect();
        fields
            .into_iter()
            .filter(|field| !MAY_DIFFER.iter().any(|(free, _)| free == field))
            .filter(|field| !(extended && *field == STEPS))
            .filter_map(|field| {
                let (now, there) = (now_fields.get(field), there_fields.get(field));
                (!same(now, there)).then(|| Difference {
                    field: field.clone(),
                    there: shown(there),
                    now: shown(now),
                })
            })
            .collect()
    }
}

/// SHA-256 of weights: of a file, or of the shards of a folder.
///
/// # Errors
/// `Weights` if there are none.
pub fn weights_checksum(path: &Path) -> Result<Checksum, EngineError> {
    Ok(WeightsFile::open(&find(path)?)?.checksum())
}

/// SHA-256 of a tokenizer.
///
/// # Errors
/// `Data` if it cannot be written.
pub fn tokenizer_checksum(tokenizer: &TextTokenizer) -> Result<Checksum, EngineError> {
    Ok(sha256(tokenizer.to_json()?.as_bytes()))
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("plain data")
}

/// Leaves of a value by path; lists without objects in them are leaves.
fn flatten(path: String, value: Value, leaves: &mut BTreeMap<String, Value>) {
    let below = |name: &str| match path.as_str() {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(below(&name), value, leaves);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, value) in items.into_iter().enumerate() {
                flatten(format!("{path}[{index}]"), value, leaves);
            }
        }
        leaf => {
            leaves.insert(path, leaf);
        }
    }
}

/// Whether two leaves mean the same. JSON's reader is off by a last digit for some numbers.
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (Some(Value::Number(a)), Some(Value::Number(b))) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64(), b.as_f64());
            a.zip(b)
                .is_some_and(|(a, b)| (a - b).abs() <= 4.0 * f64::EPSILON * a.abs().max(b.abs()))
        }
        (a, b) => a == b,
    }
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const STAGE: &str = r#"
name = "s"
data = [{ kind = "world", task = "alignment" }, { kind = "captions", file = "a.jsonl" }]
batch = 2
loss = { text = 1.0, image = 0.0, feedback = 5.0 }
train.save_every = 1
train.schedule = { steps = 20, warmup = 1 }
train.groups = [{ patterns = ["llama.*"], learning_rate = 0.1 }]
"#;

    fn identity(overrides: &[&str]) -> RunIdentity {
        let overrides: Vec<String> = overrides.iter().map(|o| (*o).to_owned()).collect();
        let stage: StageConfig = config::parse(STAGE, &overrides).unwrap();
        RunIdentity {
            data: stage.data.clone(),
            batch: stage.batch,
            samples_per_row: stage.samples_per_row,
            loss: Some(stage.loss),
            align: stage.align,
            ..RunIdentity::new(&stage.name, &stage.train)
        }
    }

    fn differences(overrides: &[&str], trained: u64) -> Vec<String> {
        let there: RunIdentity =
            serde_json::from_str(&serde_json::to_string(&identity(&[])).unwrap()).unwrap();
        let found = identity(overrides).differences(&there, trained);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_field_that_differs_is_named_with_both_values() {
        assert_eq!(differences(&[], 5), [""; 0]);
        assert_eq!(
            differences(&["loss.feedback=40.0", "batch=3", "align=0.5"], 5),
            [
                "align: 0.0 there, 0.5 now",
                "batch: 2 there, 3 now",
                "loss.feedback: 5.0 there, 40.0 now"
            ]
        );
        assert_eq!(
            differences(
                &[
                    "data.1.file=b.jsonl",
                    "train.groups.0.learning_rate=0.2",
                    "samples_per_row=4"
                ],
                5
            ),
            [
                "data[1].file: \"a.jsonl\" there, \"b.jsonl\" now",
                "samples_per_row: 1 there, 4 now",
                "train.groups[0].learning_rate: 0.1 there, 0.2 now",
            ]
        );
    }

    #[test]
    fn weights_seeds_and_model_count() {
        let there = identity(&[]);
        let now = RunIdentity {
            sample_seed: 1,
            generator: there.generator + 1,
            weights: [("from".to_owned(), "ab".to_owned())].into(),
            model: serde_json::json!({ "image_size": 64 }),
            ..there.clone()
        };
        let fields: Vec<String> = now
            .differences(&there, 0)
            .into_iter()
            .map(|d| d.field)
            .collect();
        assert_eq!(
            fields,
            [
                "generator",
                "model.image_size",
                "sample_seed",
                "weights.from"
            ]
        );
        let found = &now.differences(&there, 0)[3];
        assert_eq!(found.to_string(), "weights.from: nothing there, \"ab\" now");
    }

    #[test]
    fn what_changes_nothing_may_differ() {
        let free = [
            "train.save_every=7",
            "train.keep=2",
            "train.probe_every=3",
            "train.workers=9",
            "train.shard_frozen=true",
        ];
        assert_eq!(free.len(), MAY_DIFFER.len());
        assert_eq!(differences(&free, 5), [""; 0]);
    }

    #[test]
    fn only_a_rate_that_stays_can_be_extended() {
        let found = differences(&["train.schedule.steps=30"], 20);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("train.schedule.steps: 20 there, 30 now"));
        let constant = |steps: u64| {
            identity(&[
                "train.schedule.floor=1.0",
                &format!("train.schedule.steps={steps}"),
            ])
        };
        assert!(constant(30).differences(&constant(20), 20).is_empty());
        assert!(constant(15).differences(&constant(20), 12).is_empty());
        assert_eq!(constant(15).differences(&constant(20), 16).len(), 1);
    }

    /// 0.1 + 0.2 and its like come back from JSON with another last digit.
    #[test]
    fn rounding_of_json_is_no_difference() {
        let mut there = identity(&[]);
        there.align = 0.1 + 0.2;
        let mut now = there.clone();
        now.align = 0.3;
        assert!(now.differences(&there, 0).is_empty());
        now.align = 0.300_000_1;
        assert_eq!(now.differences(&there, 0).len(), 1);
    }
}
