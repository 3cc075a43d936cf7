//! Trains the arms: each stage on the same pictures and noise as those of other arms with the same seed.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use deem_data::image::ImageLimits;
use deem_data::source::PicturesOnly;
use deem_data::source::{SourceContext, SourceSpec};
use deem_engine::encoder_feedback::{
    FeedbackStage, FeedbackTask, Reference, batches_of, picture_batches, pictures_at,
};
use deem_engine::foundation::replace;
use deem_engine::train::{
    Observer, Run, RunIdentity, WEIGHTS_FROM, finished, train, weights_checksum,
};
use deem_engine::{Compute, EngineError};
use deem_model::clip::pyramid::VisionTower;
use deem_model::clip::tower::ImageTower;
use deem_model::encoder_feedback::{FeedbackConfig, FeedbackModel};
use deem_model::weights::init::{Fill, initialize_rest};

use super::EncoderExam;
use super::config::{EncoderArm, EncoderStudyConfig, UNTOUCHED};
use super::scores::{self, EncoderAnswer};
use crate::built_in::BuiltIn;
use crate::standins::StandIns;

/// Added to a seed, it chooses the pictures, as in the other study.
const SAMPLES: u64 = 10_000;
/// File of an encoder's answers.
const ANSWERS: &str = "answers.json";

/// Where and with what arms are trained.
pub struct EncoderStudy<'a> {
    /// The foundation models.
    pub standins: &'a StandIns,
    /// The built-in world.
    pub data: &'a BuiltIn,
    /// The arms.
    pub config: &'a EncoderStudyConfig,
    /// What every encoder is asked.
    pub exam: &'a EncoderExam,
    /// Folder of the whole run.
    pub output: &'a Path,
    /// Where to compute.
    pub compute: Compute,
}

impl EncoderStudy<'_> {
    /// Trains an arm through all stages, or picks up what an earlier run left. Gives it as it was before its last stage (the
    /// encoder untouched, where only that one trains it) and after it, without gradient tracking.
    ///
    /// `observer` makes a watcher for each stage.
    ///
    /// # Errors
    /// Those of [`train`].
    pub fn train(
        &self,
        arm: &EncoderArm,
        retains: bool,
        seed: u64,
        observer: &mut dyn FnMut(&str) -> Box<dyn Observer>,
    ) -> Result<[FeedbackModel; 2], EngineError> {
        let model = arm.model(self.standins)?;
        let stages = arm.stages(retains);
        let mut trained: Vec<PathBuf> = Vec::new();
        for (number, stage) in stages.iter().enumerate() {
            let before = trained.last().cloned();
            // Stages before the last are those of the arm without retention.
            let title = arm.title(retains && number + 1 == stages.len());
            let run = self.describe(&title, stage, &model, seed, before.as_deref())?;
            let weights = match finished(&run)? {
                Some(weights) => weights,
                None => {
                    let task = self.task(stage, &model, seed)?;
                    let device = self.compute.device.clone().autodiff();
                    let start = self.assemble(&model, before.as_deref(), seed, &device)?;
                    let name = format!("{title} {seed} {}", stage.name);
                    train(&task, start, &run, &mut *observer(&name))?.weights
                }
            };
            trained.push(weights);
        }
        let device = &self.compute.device;
        let model = |trained: Option<&PathBuf>| -> Result<FeedbackModel, EngineError> {
            let path = trained.map(PathBuf::as_path);
            Ok(self.assemble(&model, path, seed, device)?.no_grad())
        };
        let before = trained.len().checked_sub(2).and_then(|at| trained.get(at));
        Ok([model(before)?, model(trained.last())?])
    }

    /// Asks an encoder, or reads what an earlier run was answered; without a seed the untouched one.
    ///
    /// # Errors
    /// Those of [`EncoderExam::ask`], and of a file that is damaged.
    pub fn ask(
        &self,
        title: &str,
        seed: Option<u64>,
        tower: &ImageTower,
        tick: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<EncoderAnswer>, EngineError> {
        let path = match seed {
            Some(seed) => self.folder(title, seed),
            None => self.output.join(UNTOUCHED),
        }
        .join(ANSWERS);
        if let Some(answers) = scores::read(&path)? {
            return Ok(answers);
        }
        let answers = self.exam.ask(tower, &self.compute.device, tick)?;
        scores::write(&path, &answers)?;
        Ok(answers)
    }

    /// The encoder as it was.
    ///
    /// # Errors
    /// Those of [`StandIns::contrastive`].
    pub fn untouched(&self, device: &Device) -> Result<ImageTower, EngineError> {
        let encoder = self
            .standins
            .contrastive(self.config.encoder.name(), device)?;
        Ok(match encoder.vision {
            VisionTower::ConvNext(tower) => ImageTower::ConvNext(tower.visual),
            VisionTower::Vit(tower) => ImageTower::Vit(tower.vision_model),
        })
    }

    /// Folder of one arm and seed.
    pub fn folder(&self, title: &str, seed: u64) -> PathBuf {
        self.output.join(title).join(format!("seed-{seed}"))
    }

    fn task(
        &self,
        stage: &FeedbackStage,
        model: &FeedbackConfig,
        seed: u64,
    ) -> Result<FeedbackTask, EngineError> {
        let batches = match self.photographs()? {
            Some(photographs) => {
                let context = SourceContext {
                    seed: seed + SAMPLES,
                    image_size: self.data.resolution(),
                    root: ".".into(),
                    limits: ImageLimits::default(),
                };
                picture_batches(stage, &photographs, model, &context)?
            }
            // Captions are not read.
            None => {
                let source = PicturesOnly::of(self.data.diffusion(seed + SAMPLES, None)?);
                batches_of(source, stage, model, seed)?
            }
        };
        let reference = stage.retains().then(|| self.reference(stage)).transpose()?;
        Ok(FeedbackTask::new(
            stage,
            batches,
            reference,
            seed,
            &self.compute,
        ))
    }

    fn photographs(&self) -> Result<Option<Vec<SourceSpec>>, EngineError> {
        let folder = self.config.photographs.as_ref().map(|p| &p.train);
        let source = folder.map(|folder| Ok(vec![pictures_at(folder)?]));
        source.transpose()
    }

    fn reference(&self, stage: &FeedbackStage) -> Result<Reference, EngineError> {
        let device = self.compute.device.clone().autodiff();
        let reference = Reference::new(self.untouched(&device)?);
        if stage.texts().is_none() {
            return Ok(reference);
        }
        let name = self.config.encoder.name();
        let encoder = self.standins.encoder(name, &self.compute.device)?;
        reference.with_texts(&encoder, self.exam.sentences(), &device)
    }

    fn assemble(
        &self,
        config: &FeedbackConfig,
        trained: Option<&Path>,
        seed: u64,
        device: &Device,
    ) -> Result<FeedbackModel, EngineError> {
        let mut model = FeedbackModel::new(config, device)
            .map_err(|error| EngineError::Config(error.to_string()))?;
        model.vision_model = self.untouched(device)?;
        if !config.fresh_denoiser {
            model.unet = self.standins.unet(device)?;
        }
        model.autoencoder = self.standins.autoencoder(device)?;
        if let Some(path) = trained {
            model = replace(model, path)?;
        }
        let rules = [("null_condition", Fill::Normal(0.02))];
        Ok(initialize_rest(model, seed, &rules))
    }

    fn describe(
        &self,
        title: &str,
        stage: &FeedbackStage,
        model: &FeedbackConfig,
        seed: u64,
        before: Option<&Path>,
    ) -> Result<Run, EngineError> {
        let mut weights = self.standins.checksums()?;
        if let Some(before) = before {
            weights.insert(WEIGHTS_FROM.into(), weights_checksum(before)?);
        }
        let texts = stage.texts().map(|_| self.exam.sentences());
        let identity = RunIdentity {
            arm: Some(title.to_owned()),
            seed,
            sample_seed: seed + SAMPLES,
            precision: self.compute.precision,
            weights,
            data: self.photographs()?.unwrap_or_default(),
            ..RunIdentity::of_feedback(stage, model, texts)
        };
        let folder = self.folder(title, seed).join(&stage.name);
        Ok(Run {
            carried: before.map(Path::to_owned).into_iter().collect(),
            ..Run::new(identity, &folder)
        })
    }
}
