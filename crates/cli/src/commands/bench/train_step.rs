//! `deem bench train-step`: whole optimizer steps of a stage.

use anyhow::{Context, Result};
use deem::Preset;
use deem_data::Batch;
use deem_engine::EngineError;
use deem_engine::config::StageConfig;
use deem_engine::objective::{DeemBatch, Draws, Purpose, image_targets};
use deem_engine::task::DeemTask;
use deem_engine::train::parameters::{ParameterInfo, prepare};
use deem_engine::train::{
    Counts, GradientSet, Loss, Observer, Piece, Run, RunIdentity, Shares, StepReport, Task, train,
};
use deem_model::deem::Deem;
use deem_model::scheduler::TimestepSampler;
use deem_model::weights::StateTensor;
use serde_json::{Value, json};

use super::dump::{Dump, tensor};
use super::{SEED, Timed, cpu_seconds, current_memory, peak_memory, since};
use crate::args::{Bench, BenchTrainStep};
use crate::commands::setup::Setup;

/// Forward and backward pass, clipping and update: of one batch made beforehand, or data included.
pub fn run(setup: &Setup, args: &Bench, part: &BenchTrainStep) -> Result<Value> {
    let standins = setup.open()?;
    let preset = standins.preset();
    let stages = &standins.experiment().stages;
    let names = || stages.iter().map(|s| &s.name).collect::<Vec<_>>();
    let found = stages.iter().find(|s| s.name == part.stage);
    let mut stage = found
        .with_context(|| {
            let (stage, names) = (&part.stage, names());
            format!("no stage {stage:?} in the preset; it has {names:?}")
        })?
        .clone();
    let steps = (args.warmup + args.runs) as u64;
    stage.train.schedule.steps = steps;
    stage.train.save_every = steps;
    stage.train.probe_every = 0;
    let compute = setup.compute()?;
    let device = compute.device.clone().autodiff();
    let data = standins.data()?;
    let task = DeemTask::new(
        &stage,
        data.stage_batches(&stage, &preset.spec(), SEED)?,
        SEED,
        &compute,
    );
    let batch = task.batch(&Piece::whole(0, task.rows()))?;
    let before = current_memory();
    let model = standins.random(SEED, &device)?;
    if let Some(folder) = &part.dump {
        dump(
            &Dump::create(folder)?,
            preset,
            &stage,
            &task,
            &batch,
            &model,
        )?;
    }
    let (rows, tokens, images) = (batch.batch, batch.seq, batch.images.len());
    let task = Repeated {
        task,
        batch: (!part.data).then_some(batch),
    };
    let folder = std::env::temp_dir().join(format!("deem-bench-{}", std::process::id()));
    let mut seen = Steps::new(args.profile.then_some(args.warmup as u64));
    let run = Run::new(RunIdentity::of_stage(&stage, &preset.spec()), &folder);
    let trained = train(&task, model, &run, &mut seen);
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let trainable = trained?.trainable;
    let timed = Timed::of(seen.seconds.split_off(args.warmup));
    let cpu = Timed::of(seen.cpu_seconds.split_off(args.warmup));
    Ok(json!({
        "bench": "train-step",
        "preset": preset.name,
        "stage": stage.name,
        "data_included": part.data,
        "rows": rows,
        "tokens_per_row": tokens,
        "images": images,
        "trainable": trainable,
        "seconds_median": timed.median,
        "seconds_fastest": timed.fastest,
        "cpu_seconds_median": cpu.median,
        "memory_before_bytes": before,
        "peak_memory_bytes": seen.peak,
    }))
}

/// A task whose batches are all the same, unless there is none to repeat.
struct Repeated {
    task: DeemTask,
    batch: Option<Batch>,
}

impl Task for Repeated {
    type Model = Deem;
    type Batch = Batch;

    fn prepare(&self, model: Deem) -> Deem {
        self.task.prepare(model)
    }

    fn rows(&self) -> usize {
        self.task.rows()
    }

    fn counts(&self, model: &Deem, batch: &Batch) -> Counts {
        self.task.counts(model, batch)
    }

    fn batch(&self, piece: &Piece) -> Result<Batch, EngineError> {
        match &self.batch {
            Some(batch) => Ok(batch.clone()),
            None => self.task.batch(piece),
        }
    }

    fn loss(&self, model: &Deem, batch: &Batch, piece: &Piece, shares: &Shares) -> Loss {
        self.task.loss(model, batch, piece, shares)
    }
}

/// Wall and processor seconds of each step, and the most memory held until the last one (saving comes
/// after it).
struct Steps {
    seconds: Vec<f64>,
    cpu_seconds: Vec<f64>,
    cpu: Option<f64>,
    peak: Option<u64>,
    /// Steps before operations are counted, if they shall be.
    profile_after: Option<u64>,
}

impl Steps {
    fn new(profile_after: Option<u64>) -> Self {
        Self {
            profile_after,
            seconds: Vec::new(),
            cpu_seconds: Vec::new(),
            cpu: cpu_seconds(),
            peak: None,
        }
    }
}

impl Observer for Steps {
    fn on_start(&mut self, step: u64, _steps: u64, _parameters: &[ParameterInfo]) {
        if self.profile_after == Some(step) {
            deem_kernels::profile(true);
        }
    }

    fn on_step(&mut self, report: &StepReport) {
        let seconds = report.scalars.iter().find(|(name, _)| name == "seconds");
        self.seconds.extend(seconds.map(|(_, value)| *value));
        self.cpu_seconds.push(since(self.cpu));
        self.cpu = cpu_seconds();
        self.peak = peak_memory();
        if self.profile_after == Some(report.step) {
            deem_kernels::profile(true);
        }
    }
}

/// Writes the first step: weights, batch, noise, and what came out.
fn dump(
    dump: &Dump,
    preset: &Preset,
    stage: &StageConfig,
    task: &DeemTask,
    batch: &Batch,
    model: &Deem,
) -> Result<()> {
    let device = &task.device;
    let (model, parameters) = prepare(model.clone(), &stage.train, SEED)?;
    let model = task.prepare(model);
    dump.weights(&model)?;
    let on_device = DeemBatch::new(batch, &model, device);
    let counted: Vec<bool> = batch.images.iter().map(|i| i.counted_nip).collect();
    let targets = image_targets(&on_device.layout, &counted);

    // The draws of `deem_loss`.
    let (images, count) = (batch.images.len(), targets.len());
    let steps = model.diffusion().schedule.steps();
    let draws = |purpose| Draws::of_pictures(SEED, purpose, 0, batch);
    let mut inputs = Vec::new();
    inputs.extend(on_device.pixels.clone().map(|x| tensor("pixels", x)));
    inputs.extend(on_device.targets.clone().map(|x| tensor("targets", x)));
    inputs.extend(on_device.masks.clone().map(|x| tensor("masks", x)));
    let mut feedback_steps = Vec::new();
    if stage.loss.feedback > 0.0 {
        let mut draws = draws(Purpose::Feedback);
        let noise = draws.noise(model.latent_shape(images), device);
        inputs.push(tensor("feedback.noise", noise));
        feedback_steps = draws.timesteps(stage.loss.timesteps, images, steps);
    }
    let (mut image_steps, mut drop) = (Vec::new(), Vec::new());
    if stage.loss.image > 0.0 && count > 0 {
        let mut draws = draws(Purpose::Image).select(&targets);
        let noise = draws.noise(model.latent_shape(count), device);
        inputs.push(tensor("image.noise", noise));
        image_steps = draws.timesteps(TimestepSampler::Uniform, count, steps);
        drop = draws.events(stage.loss.condition_dropout, count);
    }
    dump.tensors("inputs", &inputs)?;

    let loss = task.loss(
        &model,
        batch,
        &Piece::whole(0, batch.batch),
        &Shares::whole(),
    );
    let gradients = GradientSet::collect(&model, &loss.total.backward());
    let flat = parameters.iter().filter_map(|parameter| {
        let gradient = gradients.get(&parameter.path)?.clone();
        Some(tensor(&parameter.path, gradient))
    });
    dump.tensors("gradients", &flat.collect::<Vec<StateTensor>>())?;
    let figure = |x: burn::tensor::Tensor<1>| x.into_data().iter::<f64>().sum::<f64>();
    let terms = loss
        .terms()
        .map(|(name, term)| (name, figure(term.clone())));
    let groups: serde_json::Map<String, Value> = parameters
        .iter()
        .filter_map(|p| Some((p.path.clone(), json!(p.group?))))
        .collect();
    dump.json(
        "step",
        &json!({
            "preset": preset.name,
            "model": preset.model,
            "stage": stage,
            "parameter_groups": groups,
            "batch": {
                "rows": batch.batch,
                "seq": batch.seq,
                "tokens": batch.tokens,
                "labels": batch.labels,
            },
            "feedback": { "timesteps": feedback_steps },
            "image": { "targets": targets, "timesteps": image_steps, "drop": drop },
            "result": {
                "total": figure(loss.total.clone()),
                "terms": terms.collect::<std::collections::BTreeMap<_, _>>(),
                "gradient_norm": gradients.norm(|_| true),
            },
        }),
    )
}
