//! `deem feedback`: correct a bare encoder on pictures alone, stage after stage, and give it back as it came. Processes that
//! are started together share each step.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use deem::Locator;
use deem_collective::Collective;
use deem_data::Batches;
use deem_data::image::ImageLimits;
use deem_data::source::SourceContext;
use deem_engine::encoder_feedback::{
    ENCODER, EncoderFoundation, FeedbackRun, FeedbackStage, FeedbackTask, Reference,
    picture_batches, pictures_at, save_encoder,
};
use deem_engine::foundation::{DIFFUSION, DUAL_ENCODER, Needs, VAE};
use deem_engine::train::parameters::prepare;
use deem_engine::train::{Run, RunIdentity, WEIGHTS_FROM, finished, train, weights_checksum};
use deem_engine::{Compute, DualEncoder, EngineError};
use deem_model::encoder_feedback::FeedbackModel;

use super::setup::{Setup, downloads, folder_of};
use super::together;
use crate::args::Feedback;
use crate::interrupt;
use crate::progress::{self, TrainProgress};

/// Runs the command.
pub fn run(setup: &Setup, args: &Feedback) -> Result<()> {
    let mut run = FeedbackRun::read(&args.config, &setup.overrides)?;
    if let Some(folder) = &args.data {
        run.data = vec![pictures_at(folder)?];
    }
    if args.print_config {
        print!("{}", toml::to_string(&run)?);
        return Ok(());
    }
    let processes = together::join(Duration::from_secs(args.timeout), &setup.device)?;
    let corrected = correct(setup, args, run, processes.clone());
    together::trained(&*processes, corrected)
}

/// Trains, and gives the encoder back.
fn correct(
    setup: &Setup,
    args: &Feedback,
    run: FeedbackRun,
    processes: Arc<dyn Collective>,
) -> Result<()> {
    if !processes.is_first() {
        progress::log_to(&args.output.join(format!("rank-{}.log", processes.rank())))?;
    }
    let corrector = Corrector {
        foundation: locate(&run, args.offline)?,
        compute: setup.compute()?,
        root: folder_of(&args.config),
        run,
        args,
        processes,
    };
    let weights = corrector.train()?;
    if corrector.processes.is_first() {
        let target = args.output.join(ENCODER);
        save_encoder(&corrector.foundation.encoder, &weights, &target)?;
        println!("{}", target.display());
    }
    Ok(())
}

/// Finds encoder and diffusion model, downloading what is missing.
fn locate(run: &FeedbackRun, offline: bool) -> Result<EncoderFoundation> {
    let weights = &run.weights;
    let locator = Locator::new(&weights.mirrors, offline);
    let mut tell = downloads();
    let encoder = locator
        .first("encoder", &weights.encoder, &DUAL_ENCODER, &mut tell)?
        .path;
    let needs: &Needs = if run.model.fresh_denoiser {
        &VAE
    } else {
        &DIFFUSION
    };
    Ok(EncoderFoundation {
        encoder,
        diffusion: locator
            .first("diffusion", &weights.diffusion, needs, &mut tell)?
            .path,
        trained: None,
    })
}

struct Corrector<'a> {
    run: FeedbackRun,
    foundation: EncoderFoundation,
    compute: Compute,
    /// Folder that relative paths of the file start from.
    root: PathBuf,
    args: &'a Feedback,
    /// Who corrects it together.
    processes: Arc<dyn Collective>,
}

impl Corrector<'_> {
    /// Trains what is left of the stages; gives the last one's weights.
    fn train(&self) -> Result<PathBuf> {
        // What is wrong with a later stage is told before the first one is trained.
        for stage in &self.run.stages {
            self.check(stage)
                .with_context(|| format!("stage {:?}", stage.name))?;
        }
        let mut before: Option<PathBuf> = None;
        for stage in &self.run.stages {
            if interrupt::asked() {
                return Err(EngineError::Interrupted { step: 0 }.into());
            }
            before = Some(self.stage(stage, before)?);
        }
        before.context("a run has stages")
    }

    /// Whether a stage can be trained, as far as its pictures, texts and trained parameters go.
    fn check(&self, stage: &FeedbackStage) -> Result<()> {
        self.batches(stage)?;
        stage.texts().map(|name| self.texts(name)).transpose()?;
        let model = FeedbackModel::new(&self.run.model, &Device::flex())?;
        prepare(model, &stage.train, self.args.seed)?;
        Ok(())
    }

    fn batches(&self, stage: &FeedbackStage) -> Result<Batches> {
        let model = &self.run.model;
        let context = SourceContext {
            seed: self.args.seed,
            image_size: model.encoder.side() as u32,
            root: self.root.clone(),
            limits: ImageLimits::default(),
        };
        Ok(picture_batches(stage, &self.run.data, model, &context)?)
    }

    fn stage(&self, stage: &FeedbackStage, before: Option<PathBuf>) -> Result<PathBuf> {
        let model = &self.run.model;
        let foundation = EncoderFoundation {
            trained: before.clone(),
            ..self.foundation.clone()
        };
        let run = self.describe(stage, before.as_deref())?;
        if let Some(weights) = finished(&run)? {
            return Ok(weights);
        }
        let batches = self.batches(stage)?;
        let reference = stage.retains().then(|| self.reference(stage)).transpose()?;
        let seed = self.args.seed;
        let task = FeedbackTask::new(stage, batches, reference, seed, &self.compute);
        let device = self.compute.device.clone().autodiff();
        let start = foundation.assemble(model, seed, &device)?;
        let first = self.processes.is_first();
        let mut progress = if first {
            TrainProgress::new(&stage.name, true)
        } else {
            TrainProgress::silent()
        };
        let trained = train(&task, start, &run, &mut progress)?;
        if first && trained.skipped > 0 {
            eprintln!(
                "{} pictures could not be read and were replaced by others",
                trained.skipped
            );
            for example in &task.batches().stats().examples {
                eprintln!("  {example}");
            }
        }
        Ok(trained.weights)
    }

    /// The original encoder, and its embeddings of the texts that are to keep their meaning.
    fn reference(&self, stage: &FeedbackStage) -> Result<Reference> {
        let device = self.compute.device.clone().autodiff();
        let reference = Reference::new(self.foundation.original(&self.run.model, &device)?);
        let Some(name) = stage.texts() else {
            return Ok(reference);
        };
        let texts = self.texts(name)?;
        let encoder = DualEncoder::open(&self.foundation.encoder, &self.compute.device)?;
        Ok(reference.with_texts(&encoder, &texts, &device)?)
    }

    fn texts(&self, name: &str) -> Result<Vec<String>> {
        let path = self.root.join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        if lines.len() < 2 {
            bail!(
                "{}: expected two texts or more, one a line, found {}",
                path.display(),
                lines.len()
            );
        }
        Ok(lines)
    }

    fn describe(&self, stage: &FeedbackStage, before: Option<&Path>) -> Result<Run> {
        let FeedbackRun {
            data,
            model,
            stages,
            ..
        } = &self.run;
        let mut weights = self.foundation.checksums(model)?;
        if let Some(before) = before {
            weights.insert(WEIGHTS_FROM.into(), weights_checksum(before)?);
        }
        let texts = stage.texts().map(|name| self.texts(name)).transpose()?;
        let identity = RunIdentity {
            seed: self.args.seed,
            sample_seed: self.args.seed,
            precision: self.compute.precision,
            weights,
            data: data.clone(),
            ..RunIdentity::of_feedback(stage, model, texts.as_deref())
        };
        let folder = match stages.len() {
            1 => self.args.output.clone(),
            _ => self.args.output.join(&stage.name),
        };
        Ok(Run {
            carried: before.map(Path::to_owned).into_iter().collect(),
            config: Some(toml::to_string(&self.run)?),
            processes: self.processes.clone(),
            ..Run::new(identity, &folder)
        })
    }
}
