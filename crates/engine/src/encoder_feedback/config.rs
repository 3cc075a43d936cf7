use std::collections::BTreeSet;
use std::path::Path;

use deem_data::image::Crop;
use deem_data::source::SourceSpec;
use deem_model::encoder_feedback::FeedbackConfig;
use deem_model::scheduler::TimestepSampler;
use serde::{Deserialize, Serialize};

use crate::EngineError;
use crate::config;
use crate::objective::{Objective, Sampling};
use crate::run_config::Alternatives;
use crate::train::TrainConfig;

/// A run that corrects an encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackRun {
    /// Pictures, mixed by weight; what else samples say is left alone. `--data` replaces them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<SourceSpec>,
    /// Where weights come from.
    pub weights: FeedbackWeights,
    /// The networks.
    pub model: FeedbackConfig,
    /// What is trained, on which objectives, one stage after the other.
    pub stages: Vec<FeedbackStage>,
}

/// Where the weights of an encoder and of a diffusion model come from; names as in
/// [`WeightSources`](crate::run_config::WeightSources).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackWeights {
    /// The encoder: transformers' `CLIPModel`.
    pub encoder: Alternatives,
    /// Diffusion model, diffusers layout: folders `unet` (unless it is trained from scratch), `vae`, `scheduler`.
    pub diffusion: Alternatives,
    /// Hubs to ask, in order, when `HF_ENDPOINT` has not got a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackStage {
    /// Name, also of its directory.
    pub name: String,
    /// Pictures of a micro-batch.
    pub batch: usize,
    /// Largest share of pictures that may be unreadable and be replaced by others; more of them stop the run.
    #[serde(default = "one_percent")]
    pub error_ceiling: f64,
    /// How squares are cut from pictures.
    #[serde(default)]
    pub crop: Crop,
    /// Distribution of timesteps.
    #[serde(default)]
    pub timesteps: TimestepSampler,
    /// Share of patches that the condition tells of, where it tells of patches.
    #[serde(default = "all")]
    pub density: f64,
    /// Probability that a picture's condition is replaced by the null condition.
    #[serde(default)]
    pub condition_dropout: f64,
    /// Terms of the loss.
    pub objectives: Vec<Objective>,
    /// Optimizer, schedule, trained parts.
    pub train: TrainConfig,
}

fn one_percent() -> f64 {
    0.01
}

fn all() -> f64 {
    1.0
}

impl FeedbackRun {
    /// Whether a file is of such a run: it has a table `[model.encoder]`.
    ///
    /// # Errors
    /// As [`config::read`].
    pub fn is(path: &Path) -> Result<bool, EngineError> {
        let table: toml::Table = config::read(path, &[])?;
        let encoder = table.get("model").and_then(|model| model.get("encoder"));
        Ok(encoder.is_some())
    }

    /// Reads a file, see [`config::read`].
    ///
    /// # Errors
    /// As [`config::read`], and everything that does not fit together, naming its field.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, EngineError> {
        let run: Self = config::read(path, overrides)?;
        let wrong = |problem: String| EngineError::Config(format!("{}: {problem}", path.display()));
        run.check().map_err(wrong)?;
        Ok(run)
    }

    fn check(&self) -> Result<(), String> {
        check_stages(&self.model, &self.stages)
    }
}

/// Checks networks and the stages in which they are trained.
///
/// # Errors
/// Everything that does not fit together, naming its field.
pub fn check_stages(model: &FeedbackConfig, stages: &[FeedbackStage]) -> Result<(), String> {
    model.validate().map_err(|error| error.to_string())?;
    if stages.is_empty() {
        return Err("stages: expected at least one, found none".into());
    }
    let mut names = BTreeSet::new();
    for (index, stage) in stages.iter().enumerate() {
        let place = |problem: String| format!("stages[{index}].{problem}");
        let name = stage.name.as_str();
        if !is_folder_name(name) {
            return Err(place(format!(
                "name: expected the name of a folder, found {name:?}"
            )));
        }
        if !names.insert(name) {
            let problem =
                format!("name: expected a name of its own for each stage, found {name:?}");
            return Err(place(problem));
        }
        stage.check(model).map_err(place)?;
    }
    Ok(())
}

/// Whether something can be called so without leaving its folder.
pub fn is_folder_name(name: &str) -> bool {
    !(name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']))
}

impl FeedbackStage {
    /// How its condition and noise are drawn.
    pub fn sampling(&self) -> Sampling {
        Sampling {
            timesteps: self.timesteps,
            density: self.density,
            condition_dropout: self.condition_dropout,
        }
    }

    /// Whether it is held to the original encoder.
    pub fn retains(&self) -> bool {
        let mut terms = self.objectives.iter();
        terms.any(|term| matches!(term, Objective::Retention { weight, .. } if *weight > 0.0))
    }

    /// The file of texts whose similarities are retained.
    pub fn texts(&self) -> Option<&str> {
        self.objectives.iter().find_map(|term| match term {
            Objective::Retention {
                texts, image_text, ..
            } if *image_text > 0.0 => texts.as_deref(),
            _ => None,
        })
    }

    fn check(&self, model: &FeedbackConfig) -> Result<(), String> {
        if self.batch == 0 {
            return Err("batch: expected at least 1, found 0".into());
        }
        for (field, found) in [
            ("density", self.density),
            ("condition_dropout", self.condition_dropout),
            ("error_ceiling", self.error_ceiling),
        ] {
            if !(0.0..=1.0).contains(&found) {
                return Err(format!(
                    "{field}: expected a number from 0 to 1, found {found}"
                ));
            }
        }
        if !self.objectives.iter().any(|term| term.weight() > 0.0) {
            return Err("objectives: expected a term with a weight above 0, found none".into());
        }
        let retention = |term: &&Objective| matches!(term, Objective::Retention { .. });
        if self.objectives.iter().filter(retention).count() > 1 {
            return Err(
                "objectives: expected at most one of kind \"retention\", found more".into(),
            );
        }
        for (index, term) in self.objectives.iter().enumerate() {
            let place = |problem: String| format!("objectives[{index}].{problem}");
            term.check(model.condition, self.batch).map_err(place)?;
        }
        if self.train.schedule.steps == 0 {
            return Err("train.schedule.steps: expected at least 1, found 0".into());
        }
        self.train.check().map_err(|error| error.to_string())
    }
}
