//! One loop for everything that is trained here: the three stages and the stand-ins' pre-training.
//!
//! A [`Task`] is a pure function from (model, micro-batch index) to a loss, so the loop's only state
//! is the step: resuming continues bit-identically.

use std::fs;
use std::path::Path;
use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use deem_model::weights::{self, LoadOptions, StateTensor, sha256};
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, Position};
use super::log::MetricsLog;
use super::optimizer::{AdamW, AdamWConfig, GradientSet};
use super::parameters::{ParameterGroup, ParameterInfo, select};
use super::schedule::Schedule;
use crate::EngineError;

/// What is learned: data and loss, both functions of the micro-batch index alone.
pub trait Task: Sync {
    /// The network.
    type Model: Module;
    /// Host data of one micro-batch.
    type Batch: Send + Serialize;

    /// Called once, when it is known what of the model is trained.
    fn prepare(&self, model: Self::Model) -> Self::Model {
        model
    }

    /// Makes a micro-batch; called ahead of time on another thread.
    ///
    /// # Errors
    /// Whatever makes the data unusable.
    fn batch(&self, index: u64) -> Result<Self::Batch, EngineError>;

    /// The loss of a micro-batch.
    fn loss(&self, model: &Self::Model, batch: &Self::Batch, index: u64) -> Loss;

    /// Extra figures that are too dear for every step (gradient ratios), asked for every
    /// [`TrainConfig::probe_every`] steps.
    fn probe(&self, model: &Self::Model, batch: &Self::Batch, index: u64) -> Vec<(String, f64)> {
        let _ = (model, batch, index);
        Vec::new()
    }
}

/// A loss and what it is made of.
pub struct Loss {
    /// Weighted sum to minimise, `[1]`.
    pub total: Tensor<1>,
    /// Unweighted terms by name, for the log.
    pub terms: Vec<(&'static str, Tensor<1>)>,
}

/// How a task is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Learning-rate schedule and number of optimizer steps.
    pub schedule: Schedule,
    /// Optimizer constants.
    #[serde(default)]
    pub optimizer: AdamWConfig,
    /// Trained parameters; everything else is frozen.
    pub groups: Vec<ParameterGroup>,
    /// Micro-batches per optimizer step.
    #[serde(default = "one")]
    pub accumulate: u64,
    /// Optimizer steps between checkpoints.
    pub save_every: u64,
    /// Optimizer steps between probes; 0 means never.
    #[serde(default)]
    pub probe_every: u64,
}

fn one() -> u64 {
    1
}

/// Figures of one finished step.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Steps finished so far.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Loss, terms, learning-rate factor, gradient norm, seconds, probes.
    pub scalars: Vec<(String, f64)>,
}

/// Watches a run and may stop it.
pub trait Observer {
    /// The run starts (or resumes) at `step` with these parameters.
    fn on_start(&mut self, step: u64, steps: u64, parameters: &[ParameterInfo]) {
        let _ = (step, steps, parameters);
    }

    /// A step is finished.
    fn on_step(&mut self, report: &StepReport) {
        let _ = report;
    }

    /// Whether to save a checkpoint and stop now.
    fn interrupted(&self) -> bool {
        false
    }
}

/// An observer that does nothing.
pub struct Silent;

impl Observer for Silent {}

/// A trained model and what training it cost.
pub struct Trained<M> {
    /// The model, with the trained parameters' final values.
    pub model: M,
    /// Trained values in all.
    pub trainable: usize,
}

/// Trains `model` on `task` in a run directory, from its newest checkpoint if it has one.
///
/// `seed` and everything else that shapes the run besides `config` belong into `identity`; a run
/// directory of another identity is refused.
///
/// # Errors
/// `Pattern` for a pattern that matches nothing, `OtherRun` for a foreign directory, `NotFinite` when
/// the loss or gradient is not a number, `Interrupted` after the observer asked to stop, `Io` and
/// `Weights` naming a file.
pub fn train<T: Task>(
    task: &T,
    model: T::Model,
    config: &TrainConfig,
    identity: &str,
    run: &Path,
    observer: &mut dyn Observer,
) -> Result<Trained<T::Model>, EngineError> {
    fs::create_dir_all(run).map_err(EngineError::io(run))?;
    let (model, parameters) = select(model, &config.groups)?;
    let model = task.prepare(model);
    let trainable = parameters
        .iter()
        .filter(|p| p.group.is_some())
        .map(|p| p.count)
        .sum();
    let mut state = Run {
        optimizer: AdamW::new(config.optimizer, &config.groups, &parameters),
        model,
        checkpoint: Checkpoint::of(run),
        fingerprint: fingerprint(config, identity),
        step: 0,
    };
    state = state.resume(run)?;
    observer.on_start(state.step, config.schedule.steps, &parameters);
    if state.step < config.schedule.steps {
        state = state.advance(task, config, run, observer)?;
    }
    Ok(Trained {
        model: state.model,
        trainable,
    })
}

fn fingerprint(config: &TrainConfig, identity: &str) -> String {
    // How often to save does not shape the result.
    let shape = TrainConfig {
        save_every: 0,
        ..config.clone()
    };
    let text = serde_json::to_string(&shape).expect("plain data");
    sha256(format!("{text}\n{identity}").as_bytes())
}

struct Run<M> {
    model: M,
    optimizer: AdamW,
    checkpoint: Checkpoint,
    fingerprint: String,
    step: u64,
}

impl<M: Module> Run<M> {
    fn resume(mut self, run: &Path) -> Result<Self, EngineError> {
        let Some((position, model, optimizer)) = self.checkpoint.read()? else {
            return Ok(self);
        };
        if position.fingerprint != self.fingerprint {
            return Err(EngineError::OtherRun {
                path: run.into(),
                difference: "training settings, seed or starting weights".into(),
            });
        }
        let frozen = LoadOptions {
            allow_missing: &[""],
            ..LoadOptions::default()
        };
        self.model = weights::load(self.model, &model, &frozen)?;
        if let Some(device) = self.model.devices().first() {
            self.optimizer
                .restore(|name| optimizer.f32(name), &device.clone().inner());
        }
        self.step = position.step;
        Ok(self)
    }

    fn save(&self) -> Result<(), EngineError> {
        self.checkpoint.write(
            &trained_state(&self.model),
            &self.optimizer.state(),
            &Position {
                step: self.step,
                fingerprint: self.fingerprint.clone(),
            },
        )
    }

    fn advance<T: Task<Model = M>>(
        mut self,
        task: &T,
        config: &TrainConfig,
        run: &Path,
        observer: &mut dyn Observer,
    ) -> Result<Self, EngineError> {
        let mut log = MetricsLog::open(run, self.step)?;
        let (first, last) = (
            self.step * config.accumulate,
            config.schedule.steps * config.accumulate,
        );
        std::thread::scope(|scope| {
            let (sender, batches) = std::sync::mpsc::sync_channel(2);
            scope.spawn(move || {
                for index in first..last {
                    let batch = task.batch(index);
                    let failed = batch.is_err();
                    if sender.send(batch).is_err() || failed {
                        break;
                    }
                }
            });
            let mut next = || {
                batches
                    .recv()
                    .expect("the loader sends until the last step")
            };
            while self.step < config.schedule.steps {
                let started = Instant::now();
                let mut scalars;
                (self, scalars) = self.one_step(task, config, run, &mut next)?;
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
                    self.save()?;
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
        config: &TrainConfig,
        run: &Path,
        next: &mut dyn FnMut() -> Result<T::Batch, EngineError>,
    ) -> Result<(Self, Vec<(String, f64)>), EngineError> {
        let (mut sum, mut norm) = (GradientSet::default(), 0.0);
        let mut scalars: Vec<(String, f64)> = Vec::new();
        let share = 1.0 / config.accumulate as f64;
        for micro in 0..config.accumulate {
            let index = self.step * config.accumulate + micro;
            let batch = next()?;
            if micro == 0 && config.probe_every > 0 && self.step.is_multiple_of(config.probe_every)
            {
                scalars.extend(task.probe(&self.model, &batch, index));
            }
            let loss = task.loss(&self.model, &batch, index);
            let total = host(&loss.total);
            check(self.step, "the loss", total, &batch, run)?;
            let mut figures = vec![("loss".to_owned(), total)];
            figures.extend(
                loss.terms
                    .iter()
                    .map(|(n, t)| (format!("loss/{n}"), host(t))),
            );
            for (name, value) in figures {
                match scalars.iter_mut().find(|(n, _)| *n == name) {
                    Some((_, sum)) => *sum += value * share,
                    None => scalars.push((name, value * share)),
                }
            }
            let gradients = loss.total.backward();
            let mut gradients = GradientSet::collect(&self.model, &gradients);
            if config.accumulate > 1 {
                gradients.scale(share);
            }
            norm = gradients.norm(|_| true);
            check(self.step, "the gradient norm", norm, &batch, run)?;
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

fn host(scalar: &Tensor<1>) -> f64 {
    scalar
        .to_data()
        .iter::<f64>()
        .next()
        .expect("a loss has one element")
}

fn check<B: Serialize>(
    step: u64,
    what: &str,
    value: f64,
    batch: &B,
    run: &Path,
) -> Result<(), EngineError> {
    if value.is_finite() {
        return Ok(());
    }
    let saved = run.join(format!("not-finite-step-{step}.json"));
    let text = serde_json::to_vec(batch).expect("plain data");
    fs::write(&saved, text).map_err(EngineError::io(&saved))?;
    Err(EngineError::NotFinite {
        step,
        what: what.into(),
        value,
        saved,
    })
}

/// Parameters that are being trained, with their values.
fn trained_state<M: Module>(model: &M) -> Vec<StateTensor> {
    #[derive(Default)]
    struct Collect {
        path: Vec<String>,
        tensors: Vec<StateTensor>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if value.is_require_grad() {
                self.tensors.push(StateTensor {
                    name: self.path.join("."),
                    shape: param.lazy_shape().to_vec(),
                    values: value
                        .into_data()
                        .convert::<f32>()
                        .try_into_vec()
                        .expect("converted to f32"),
                });
            }
        }
    }
    let mut collect = Collect::default();
    model.visit(&mut collect);
    collect.tensors
}
