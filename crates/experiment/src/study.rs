//! The built-in experiment: arms that differ in one thing, the same seeds, data and questions.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use deem::{DESCRIPTION, Description};
use deem_data::source::SourceSpec;
use deem_data::world::scene::WebCaptions;
use deem_model::deem::Deem;
use deem_model::weights::{self, StateTensor};
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use crate::built_in::BuiltIn;
use crate::standins::{StandIns, engine};
use deem_engine::config::StageConfig;
use deem_engine::evaluate::{Exam, Examiner, Record, RecordFile, Runner, Shard};
use deem_engine::task::DeemTask;
use deem_engine::train::{
    Observer, ParameterGroup, Run, RunIdentity, WEIGHTS_FROM, tokenizer_checksum, train,
    weights_checksum,
};
use deem_engine::{Compute, EngineError};

/// What is compared (spec: arms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// DEEM: encoder trained, diffusion frozen, feedback on.
    Feedback,
    /// The clean control: the same without feedback.
    NoFeedback,
    /// The paper's baseline: encoder frozen, UNet trained, no feedback.
    PaperBaseline,
    /// No alignment at all: the stages after the warm start that the others have in common.
    Before,
    /// An upper bound: no feedback, but captions that say everything.
    Oracle,
}

impl Arm {
    /// Name in results and paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Feedback => "feedback",
            Self::NoFeedback => "no-feedback",
            Self::PaperBaseline => "paper-baseline",
            Self::Before => "before",
            Self::Oracle => "oracle",
        }
    }

    /// Whether this arm has a stage: all of them, but `before` those in which feedback could act.
    pub fn has(self, stage: &StageConfig) -> bool {
        self != Self::Before || (stage.loss.feedback <= 0.0 && stage.loss.image <= 0.0)
    }

    /// A stage as this arm trains it.
    pub fn stage(self, stage: &StageConfig) -> StageConfig {
        let mut stage = stage.clone();
        if self == Self::Feedback {
            return stage;
        }
        stage.loss.feedback = 0.0;
        if self == Self::Oracle {
            stage.data.iter_mut().for_each(described);
        }
        if self == Self::PaperBaseline && stage.loss.image > 0.0 {
            let group = |pattern: &str, learning_rate| ParameterGroup {
                patterns: vec![pattern.into()],
                learning_rate,
                weight_decay: 0.0,
            };
            let encoder = |g: &&ParameterGroup| g.patterns.iter().any(|p| p.contains(".vision."));
            let rate = stage
                .train
                .groups
                .iter()
                .find(encoder)
                .map_or(1e-4, |g| g.learning_rate);
            // The first matching group wins: the encoder is frozen, the UNet takes its rate.
            stage
                .train
                .groups
                .insert(0, group("image_encoder.vision.*", 0.0));
            stage.train.groups.push(group("unet.*", rate));
        }
        stage
    }
}

/// Makes captions of the built-in scenes say everything.
fn described(spec: &mut SourceSpec) {
    let aligns = spec
        .options
        .get("task")
        .is_some_and(|task| task == "alignment");
    if spec.kind != "world" || !aligns {
        return;
    }
    let captions = serde_json::to_value(WebCaptions::EVERYTHING);
    let captions = captions.expect("numbers and a truth value have a JSON form");
    spec.options.insert("captions".into(), captions);
}

/// What training one arm with one seed gave.
pub struct ArmRun {
    /// The model after the stage before the last (which answers questions) and after the last (which
    /// describes regions), without gradient tracking.
    pub answering: Deem,
    /// See `answering`.
    pub describing: Deem,
    /// The model after the first stage, the one with feedback; before any stage in the arm that has none.
    pub aligned: Deem,
    /// Trained values in the arm's first stage.
    pub trainable: usize,
}

/// Where and with what an arm is trained.
pub struct Study<'a> {
    /// The foundation models.
    pub standins: &'a StandIns,
    /// The built-in world.
    pub data: &'a BuiltIn,
    /// Folder of the whole run.
    pub output: &'a Path,
    /// Where to compute.
    pub compute: Compute,
}

impl Study<'_> {
    /// Trains an arm through all stages, or picks up what an earlier run left.
    ///
    /// `observer` makes a watcher for each stage.
    ///
    /// # Errors
    /// Those of [`train`].
    pub fn train(
        &self,
        arm: Arm,
        seed: u64,
        observer: &mut dyn FnMut(&str) -> Box<dyn Observer>,
    ) -> Result<ArmRun, EngineError> {
        let folder = self.folder(arm, seed);
        let spec = self.standins.preset().spec();
        let device = self.compute.device.clone().autodiff();
        let mut model = self.standins.connected(&device)?;
        let start = self.standins.checksums()?;
        let mut before: Option<PathBuf> = None;
        let mut parts = self.standins.parts()?;
        let description = parts.describe(self.compute.precision).map_err(engine)?;
        let stages = &self.standins.experiment().stages;
        let own: Vec<StageConfig> = stages
            .iter()
            .filter(|stage| arm.has(stage))
            .map(|stage| arm.stage(stage))
            .collect();
        let aligned = own.first().map(|s| &s.name) == stages.first().map(|s| &s.name);
        let unaligned = (!aligned).then(|| model.valid());
        let mut snapshots: Vec<Deem> = Vec::new();
        let mut trainable = 0;
        for (number, stage) in own.into_iter().enumerate() {
            // Every arm sees the same data and noise.
            let samples = seed + 10_000;
            let batches = self.data.stage_batches(&stage, &spec, samples)?;
            let task = DeemTask::new(&stage, batches, seed, &self.compute);
            let mut weights = start.clone();
            if let Some(before) = &before {
                weights.insert(WEIGHTS_FROM.into(), weights_checksum(before)?);
            }
            let identity = RunIdentity {
                arm: Some(arm.name().into()),
                seed,
                sample_seed: samples,
                precision: self.compute.precision,
                weights,
                tokenizer: Some(tokenizer_checksum(&self.data.tokenizer)?),
                ..RunIdentity::of_stage(&stage, &spec)
            };
            let run = Run {
                carried: before.into_iter().collect(),
                ..Run::new(identity, &folder.join(&stage.name))
            };
            parts = parts
                .after(&stage.name, &stage.train.groups, &stage.train.lora)
                .map_err(engine)?;
            if run.checkpoint().newest().is_none() {
                let result = description.of(parts.trained());
                result.write(&run.folder).map_err(engine)?;
            }
            let name = format!("{} {seed} {}", arm.name(), stage.name);
            let trained = train(&task, model, &run, &mut *observer(&name))?;
            if number == 0 {
                trainable = trained.trainable;
            }
            snapshots.push(trained.model.valid());
            before = Some(trained.weights);
            model = trained.model;
        }
        self.save(&folder, &model, &description.of(parts.trained()))?;
        let Some(last) = snapshots.len().checked_sub(1) else {
            let arm = arm.name();
            let problem = format!("stages: expected one that the arm {arm} has, found none");
            return Err(EngineError::Config(problem));
        };
        Ok(ArmRun {
            aligned: unaligned.unwrap_or_else(|| snapshots[0].clone()),
            answering: snapshots[last.saturating_sub(1)].clone(),
            describing: snapshots[last].clone(),
            trainable,
        })
    }

    /// Answers the questions of all exams, keeping what an earlier run answered. Questions about a marked region are
    /// put to the model that has learnt to describe one.
    ///
    /// # Errors
    /// Those of [`Runner::run`].
    pub fn evaluate(
        &self,
        run: &ArmRun,
        arm: Arm,
        seed: u64,
        exams: &[Exam],
        tick: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<Record>, EngineError> {
        let mut file = RecordFile::open(&self.folder(arm, seed).join("records.jsonl"))?;
        for exam in exams {
            let marked = exam.items.iter().any(|item| item.mask.is_some());
            let model = if marked {
                &run.describing
            } else {
                &run.answering
            };
            self.runner(model)
                .run(exam, &mut file, Shard::WHOLE, tick)?;
        }
        Ok(file.all().cloned().collect())
    }

    /// Asks questions of a model with this study's settings.
    pub fn runner<'m>(&self, model: &'m Deem) -> Runner<'m> {
        let preset = self.standins.preset();
        Runner::new(
            model,
            self.data.tokenizer.clone(),
            preset.model.image_size as u32,
            preset.max_tokens,
            self.standins.experiment().evaluation.batch,
            self.compute.device.clone(),
        )
    }

    /// Folder of one arm and seed.
    pub fn folder(&self, arm: Arm, seed: u64) -> PathBuf {
        self.output.join(arm.name()).join(format!("seed-{seed}"))
    }

    /// Keeps what all stages trained, as a result that describes itself.
    fn save(
        &self,
        folder: &Path,
        model: &Deem,
        description: &Description,
    ) -> Result<(), EngineError> {
        let path = folder.join("model.safetensors");
        if path.is_file() && folder.join(DESCRIPTION).is_file() {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(EngineError::io(folder))?;
        let trained: HashSet<&str> = description
            .trained
            .parameters
            .iter()
            .map(String::as_str)
            .collect();
        let tensors: Vec<StateTensor> = weights::state(model)
            .into_iter()
            .filter(|tensor| trained.contains(tensor.name.as_str()))
            .collect();
        weights::write(&tensors, &path, Dtype::F32, HashMap::new())?;
        description.write(folder).map_err(engine)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn stages() -> Vec<StageConfig> {
        let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins/tiny");
        let standins = StandIns::open(&assets, &[]).unwrap();
        standins.experiment().stages.clone()
    }

    #[test]
    fn arms_differ_in_what_their_names_say() {
        let stages = stages();
        let first = &stages[0];
        assert_eq!(Arm::Feedback.stage(first), *first);
        let control = Arm::NoFeedback.stage(first);
        assert_eq!(
            (control.loss.feedback, control.loss.text),
            (0.0, first.loss.text)
        );
        assert_eq!(control.data, first.data);
        let oracle = Arm::Oracle.stage(first);
        assert_eq!(oracle.loss.feedback, 0.0);
        assert_eq!(oracle.data[0].options["captions"]["complete"], 1.0);
        assert_eq!(oracle.data[0].options["captions"]["web_styles"], true);
        assert_eq!(Arm::Oracle.stage(&stages[1]).data, stages[1].data);
        let had = |arm: Arm| -> Vec<bool> { stages.iter().map(|stage| arm.has(stage)).collect() };
        assert_eq!(had(Arm::Before), [false, true, true]);
        assert_eq!(had(Arm::Oracle), [true; 3]);
    }
}
