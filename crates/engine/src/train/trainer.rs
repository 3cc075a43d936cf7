//! One loop for everything that is trained here: the three stages and the stand-ins' pre-training.
//!
//! A [`Task`] is a pure function from (model, micro-batch index) to a loss, so the loop's only state
//! is the step: resuming continues bit-identically.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use deem_model::weights::{self, LoadOptions};

use super::batch_file::{BatchFile, HostBatch};
use super::checkpoint::{Contents, State};
use super::config::TrainConfig;
use super::log::{MetricsLog, read_metrics};
use super::optimizer::{AdamW, GradientSet};
use super::parameters::{ParameterInfo, select};
use super::prefetch::Prefetch;
use super::run::{Carried, Run};
use super::task::{Observer, StepReport, Task};
use crate::{EngineError, RunLock};

/// Name in the log of the samples that could not be read.
const SKIPPED: &str = "skipped_samples";

/// A trained model and what training it cost.
pub struct Trained<M> {
    /// The model, with the trained parameters' final values.
    pub model: M,
    /// Trained values in all.
    pub trainable: usize,
    /// The file with everything trained so far.
    pub weights: PathBuf,
    /// Samples of the whole run that could not be read and were replaced.
    pub skipped: u64,
}

/// Trains `model` on `task` in a run directory, from its newest checkpoint if it has one.
///
/// The directory is locked, and described by the run's identity (`run.json`) and configuration, once it is
/// clear that it is this run's.
///
/// # Errors
/// `Config` for settings that cannot be meant, `Locked` if another process trains there, `Pattern` for a pattern that
/// matches nothing, `OtherRun` for a directory of another identity, `NotFinite` when the loss or gradient is not a
/// number, `Interrupted` after the observer asked to stop, `Io`, `File` and `Weights` naming a file.
pub fn train<T: Task>(
    task: &T,
    model: T::Model,
    run: &Run,
    observer: &mut dyn Observer,
) -> Result<Trained<T::Model>, EngineError> {
    let config = &run.identity.train;
    config.check()?;
    let _lock = RunLock::acquire(&run.folder)?;
    let (mut state, parameters) = Training::start(task, model, run)?;
    run.describe()?;
    observer.on_start(state.step, config.schedule.steps, &parameters);
    if state.step < config.schedule.steps {
        state = state.advance(task, run, observer)?;
    } else if run.checkpoint().newest().is_none() {
        // Nothing to train: the result is what it starts from.
        state.save(run)?;
    }
    let trained = parameters.iter().filter(|p| p.group.is_some());
    Ok(Trained {
        model: state.model,
        trainable: trained.map(|p| p.count).sum(),
        weights: run.checkpoint().weights(),
        skipped: skipped(&run.folder)?,
    })
}

/// Samples that a run's log counts as unreadable.
fn skipped(folder: &Path) -> Result<u64, EngineError> {
    let lines = read_metrics(&folder.join("metrics.jsonl"))?;
    let counts = lines.iter().filter_map(|line| line[SKIPPED].as_f64());
    Ok(counts.sum::<f64>() as u64)
}

/// A run in progress.
pub(super) struct Training<M> {
    pub model: M,
    pub step: u64,
    optimizer: AdamW,
    carried: Carried,
}

impl<M: Module> Training<M> {
    /// Where the run stands: its newest checkpoint on top of `model`, ready to be trained.
    pub fn start<T: Task<Model = M>>(
        task: &T,
        mut model: M,
        run: &Run,
    ) -> Result<(Self, Vec<ParameterInfo>), EngineError> {
        let config = &run.identity.train;
        let saved = run.saved()?;
        if let Some(saved) = &saved {
            let rest_stays = LoadOptions {
                allow_missing: &[""],
                ..LoadOptions::default()
            };
            model = weights::load(model, &saved.model, &rest_stays)?;
        }
        let (model, parameters) = select(model, &config.groups)?;
        let model = task.prepare(model);
        let mut optimizer = AdamW::new(config.optimizer, &config.groups, &parameters);
        if let (Some(saved), Some(device)) = (&saved, model.devices().first()) {
            optimizer.restore(|name| saved.optimizer.f32(name), &device.clone().inner());
        }
        let training = Self {
            model,
            step: saved.map_or(0, |saved| saved.state.step),
            optimizer,
            carried: run.carried()?,
        };
        Ok((training, parameters))
    }

    fn save(&self, run: &Run) -> Result<(), EngineError> {
        run.checkpoint().write(Contents {
            model: self.carried.with_trained(&self.model),
            optimizer: self.optimizer.state(),
            state: &State {
                step: self.step,
                identity: run.identity.clone(),
            },
            config: run.config.as_deref(),
        })
    }

    fn advance<T: Task<Model = M>>(
        mut self,
        task: &T,
        run: &Run,
        observer: &mut dyn Observer,
    ) -> Result<Self, EngineError> {
        let config = &run.identity.train;
        let mut log = MetricsLog::open(&run.folder, self.step)?;
        let (first, last) = (
            self.step * config.accumulate,
            config.schedule.steps * config.accumulate,
        );
        std::thread::scope(|scope| {
            let make = |index| task.batch(index);
            let mut batches = Prefetch::start(scope, first..last, config.workers, make);
            while self.step < config.schedule.steps {
                let started = Instant::now();
                let mut scalars;
                (self, scalars) = self.one_step(task, run, &mut || batches.next())?;
                scalars.push(("seconds".into(), started.elapsed().as_secs_f64()));
                log.write(self.step - 1, &scalars)?;
                observer.on_step(&StepReport {
                    step: self.step,
                    steps: config.schedule.steps,
                    scalars,
                });
                let interrupted = observer.interrupted();
                let finished = self.step == config.schedule.steps;
                if interrupted || finished || self.step.is_multiple_of(config.save_every.max(1)) {
                    self.save(run)?;
                }
                if interrupted && !finished {
                    return Err(EngineError::Interrupted { step: self.step });
                }
            }
            Ok(self)
        })
    }

    fn one_step<T: Task<Model = M>>(
        mut self,
        task: &T,
        run: &Run,
        next: &mut dyn FnMut() -> Result<T::Batch, EngineError>,
    ) -> Result<(Self, Vec<(String, f64)>), EngineError> {
        let config = &run.identity.train;
        let (mut sum, mut norm) = (GradientSet::default(), 0.0);
        let mut scalars: Vec<(String, f64)> = Vec::new();
        let mut add = |name: &str, value: f64| match scalars.iter_mut().find(|(n, _)| n == name) {
            Some((_, sum)) => *sum += value,
            None => scalars.push((name.to_owned(), value)),
        };
        let share = 1.0 / config.accumulate as f64;
        for micro in 0..config.accumulate {
            let index = self.step * config.accumulate + micro;
            let batch = next()?;
            if micro == 0 && probes(config, self.step) {
                for (name, value) in task.probe(&self.model, &batch, index) {
                    add(&name, value);
                }
            }
            if let Some(count) = task.skipped(index) {
                add(SKIPPED, count as f64);
            }
            let loss = task.loss(&self.model, &batch, index);
            let figures = loss.figures();
            let check = |what: &str, value: f64| {
                if value.is_finite() {
                    return Ok(());
                }
                let place = (self.step, index);
                Err(not_finite(task, &batch, run, place, (what, value)))
            };
            check("the loss", figures[0].1)?;
            for (name, value) in figures {
                add(&name, value * share);
            }
            let gradients = loss.total.backward();
            let mut gradients = GradientSet::collect(&self.model, &gradients);
            if config.accumulate > 1 {
                gradients.scale(share);
            }
            norm = gradients.norm(|_| true);
            check("the gradient norm", norm)?;
            sum.add(gradients);
        }
        if config.accumulate > 1 {
            norm = sum.norm(|_| true);
        }
        let factor = config.schedule.factor(self.step);
        self.model = self
            .optimizer
            .step(self.model, sum, norm, self.step, factor);
        self.step += 1;
        scalars.push(("gradient_norm".into(), norm));
        scalars.push(("learning_rate_factor".into(), factor));
        Ok((self, scalars))
    }
}

fn probes(config: &TrainConfig, step: u64) -> bool {
    config.probe_every > 0 && step.is_multiple_of(config.probe_every)
}

/// Keeps a batch that cannot be trained on; the error says where, or why it could not be kept.
fn not_finite<T: Task>(
    task: &T,
    batch: &T::Batch,
    run: &Run,
    (step, index): (u64, u64),
    (what, value): (&str, f64),
) -> EngineError {
    let saved = run.folder.join(format!("not-finite-step-{step}.json"));
    let file = BatchFile {
        task: run.identity.task.clone(),
        step,
        index,
        seed: run.identity.seed,
        what: what.into(),
        value: value.to_string(),
        texts: task.texts(batch),
        batch: batch.rest(),
    };
    match file.write(batch, &saved) {
        Ok(()) => EngineError::NotFinite {
            step,
            what: what.into(),
            value,
            saved,
        },
        Err(error) => error,
    }
}
