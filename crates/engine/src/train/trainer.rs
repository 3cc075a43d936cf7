//! One loop for everything that is trained here: the three stages and the stand-ins' pre-training.
//!
//! A [`Task`] is a pure function from (model, rows of the run) to a loss, so the loop's only state
//! is the step: resuming continues bit-identically.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::module::Module;
use deem_collective::{any, sum};

use super::batch_file::{BatchFile, HostBatch};
use super::checkpoint::State;
use super::config::TrainConfig;
use super::cost::{self, Cost};
use super::exchange::Exchange;
use super::log::{MetricsLog, read_metrics};
use super::lora::Adapters;
use super::optimizer::{AdamW, GradientSet};
use super::parameters::{ParameterInfo, select};
use super::piece::{Piece, Plan};
use super::prefetch::Prefetch;
use super::run::{Carried, Run};
use super::saving::{Saving, Snapshot};
use super::shares::{Counts, Shares};
use super::task::{Observer, StepReport, Task};
use crate::flops::Operations;
use crate::{EngineError, RunLock};

/// Folder with the adapters of a finished run, in PEFT's layout.
const ADAPTER: &str = "adapter";
/// Name in the log of the samples that could not be read.
const SKIPPED: &str = "skipped_samples";

/// A trained model and what training it cost.
pub struct Trained<M> {
    /// The model, with the trained parameters' final values and adapters folded into their layers. If processes share
    /// frozen weights: as it was trained, adapters beside their layers, and with weights that only all processes
    /// together can read.
    pub model: M,
    /// Trained values in all.
    pub trainable: usize,
    /// The file with everything trained so far.
    pub weights: PathBuf,
    /// Samples of the whole run that could not be read and were replaced.
    pub skipped: u64,
}

/// Trains `model` on `task` in a run directory, from its newest checkpoint if it has one. The processes of `run` share
/// each step; what comes of it does not depend on their number.
///
/// The directory is locked, and described by the run's identity (`run.json`) and configuration, once it is
/// clear that it is this run's.
///
/// # Errors
/// `Config` for settings that cannot be meant, `Locked` if another run trains there, `Pattern` for a pattern that
/// matches nothing, `OtherRun` for a directory of another identity, `NotFinite` when the loss or gradient is not a
/// number, `Interrupted` after the observer asked to stop, `Processes` if another process gave up, `Io`, `File` and
/// `Weights` naming a file.
pub fn train<T: Task>(
    task: &T,
    model: T::Model,
    run: &Run,
    observer: &mut dyn Observer,
) -> Result<Trained<T::Model>, EngineError> {
    let trained = train_together(task, model, run, observer);
    match &trained {
        // All processes stop alike, or know of it already.
        Err(EngineError::Interrupted { .. } | EngineError::Processes(_)) | Ok(_) => {}
        Err(error) => run.processes.abort(&error.to_string()),
    }
    trained
}

fn train_together<T: Task>(
    task: &T,
    model: T::Model,
    run: &Run,
    observer: &mut dyn Observer,
) -> Result<Trained<T::Model>, EngineError> {
    let config = &run.identity.train;
    config.check()?;
    let processes = &run.processes;
    if config.shard_frozen && processes.size() > 1 && run.frozen.is_none() {
        return Err(EngineError::Config(
            "train.shard_frozen: what is trained here keeps its frozen weights whole in every process; leave it out"
                .into(),
        ));
    }
    let plan = Plan::new(
        config.accumulate,
        task.rows(),
        (processes.rank(), processes.size()),
    )?;
    let first = processes.is_first();
    let lock = first.then(|| RunLock::acquire(&run.folder));
    let _lock = lock.transpose()?;
    let (mut state, parameters) = Training::start(task, model, run)?;
    if first {
        run.describe()?;
    }
    observer.on_start(state.step, config.schedule.steps, &parameters);
    if state.step < config.schedule.steps {
        state = state.advance(task, run, plan, observer)?;
    } else if run.checkpoint().newest().is_none() {
        // Nothing to train: the result is what it starts from.
        let snapshot = state.snapshot(task, run)?;
        run.checkpoint().write(snapshot.contents(), &**processes)?;
    }
    if let Some(store) = run.store.as_ref().filter(|_| !first) {
        store.pull(&run.folder)?; // what the others wrote of the result
    }
    let trained = parameters.iter().filter(|p| p.group.is_some());
    Ok(Trained {
        model: match run.frozen {
            Some(_) => state.model,
            None => state.model.materialize(),
        },
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
    pub(super) adapters: Adapters,
    /// What processes exchange, if there are several.
    exchange: Option<Exchange>,
    carried: Carried,
    /// What a step takes, if that is known.
    operations: Option<Operations>,
    /// Whether a loss has reached a trained parameter yet.
    reached: bool,
}

impl<M: Module> Training<M> {
    /// Where the run stands: its newest checkpoint on top of `model`, ready to be trained.
    pub fn start<T: Task<Model = M>>(
        task: &T,
        mut model: M,
        run: &Run,
    ) -> Result<(Self, Vec<ParameterInfo>), EngineError> {
        let config = &run.identity.train;
        let seed = run.identity.seed;
        let saved = run.saved()?;
        let adapters = Adapters::plan(&model, &config.lora)?;
        model = match &saved {
            Some(saved) => adapters.restore(model, &saved.model, &saved.optimizer, seed)?,
            None => adapters.attach(model, seed),
        };
        let (model, parameters) = select(model, &config.groups)?;
        let model = task.prepare(model);
        let mut optimizer = AdamW::new(config.optimizer, &config.groups, &parameters);
        let device = model.devices().first().map(|device| device.clone().inner());
        let exchange = device.clone().filter(|_| run.processes.size() > 1);
        let exchange = exchange.map(|device| {
            let before_cut = |path: &str| task.before_cut(path);
            let processes = run.processes.clone();
            Exchange::new(processes, config.gradients, &parameters, before_cut, device)
        });
        if let (Some(saved), Some(device)) = (&saved, device) {
            let own = exchange.as_ref().map(Exchange::own);
            optimizer.restore(own, |name| saved.moment(name), &device);
        }
        let training = Self {
            model,
            step: saved.map_or(0, |saved| saved.state.step),
            optimizer,
            adapters,
            exchange,
            carried: run.carried()?,
            operations: task.operations(&run.identity.model, &parameters),
            reached: false,
        };
        Ok((training, parameters))
    }

    /// A copy of what a checkpoint holds; adapters of a finished run are written on the way.
    fn snapshot<T: Task<Model = M>>(&self, task: &T, run: &Run) -> Result<Snapshot, EngineError> {
        let first = run.processes.is_first();
        let finished = self.step == run.identity.train.schedule.steps;
        if first && finished && !self.adapters.is_empty() {
            let key = |path: &str| task.published_layer(path);
            self.adapters
                .save(&self.model, &run.folder.join(ADAPTER), &key)?;
        }
        let mut optimizer = self.optimizer.state();
        let (mut trained, mut carried) = (Vec::new(), Vec::new());
        if first {
            let (parameters, factors) = self.adapters.split(&self.model);
            optimizer.extend(factors);
            carried = self.carried.beside(&parameters, &self.model);
            trained = parameters;
        }
        let state = State {
            step: self.step,
            identity: run.identity.clone(),
        };
        let about = (state, run.config.clone());
        Ok(Snapshot::of(trained, carried, optimizer, about))
    }

    fn advance<T: Task<Model = M>>(
        mut self,
        task: &T,
        run: &Run,
        plan: Plan,
        observer: &mut dyn Observer,
    ) -> Result<Self, EngineError> {
        let config = &run.identity.train;
        let processes = &*run.processes;
        let log = processes.is_first();
        let log = log.then(|| MetricsLog::open(&run.folder, self.step));
        let mut log = log.transpose()?;
        let each = plan.per_step();
        let counts = self.step * each..config.schedule.steps * each;
        let mut saving = Saving::default();
        let advanced = std::thread::scope(|scope| {
            let make = |count| task.batch(&plan.piece(count));
            let mut batches = Prefetch::start(scope, counts, config.workers, make);
            let mut stood = Duration::ZERO;
            while self.step < config.schedule.steps {
                processes.note(&format!("step {}", self.step));
                let (started, before) = (Instant::now(), processes.traffic());
                let mut waited = Duration::ZERO;
                let mut next = || {
                    let since = Instant::now();
                    let batch = batches.next();
                    waited += since.elapsed();
                    batch
                };
                let mut scalars;
                (self, scalars) = self.one_step(task, run, plan, &mut next)?;
                let cost = Cost {
                    step: started.elapsed(),
                    waited,
                    saving: std::mem::take(&mut stood),
                    traffic: processes.traffic() - before,
                };
                cost.add_to(&mut scalars, run)?;
                if let Some(log) = &mut log {
                    log.write(self.step - 1, &scalars)?;
                }
                observer.on_step(&StepReport {
                    step: self.step,
                    steps: config.schedule.steps,
                    scalars,
                });
                let mut flags = [observer.interrupted(), saving.is_writing()];
                any(processes, &mut flags)?;
                let [interrupted, writing] = flags;
                let since = Instant::now();
                let ends = interrupted || self.step == config.schedule.steps;
                let due = ends || self.step.is_multiple_of(config.save_every.max(1));
                if due || !writing {
                    saving.finish(run)?;
                }
                if due {
                    saving.begin(self.snapshot(task, run)?, run)?;
                }
                if ends {
                    saving.finish(run)?;
                }
                stood = since.elapsed();
                if interrupted && self.step < config.schedule.steps {
                    return Err(EngineError::Interrupted { step: self.step });
                }
            }
            Ok(self)
        });
        if advanced.is_err() {
            saving.settle(run);
        }
        advanced
    }

    fn one_step<T: Task<Model = M>>(
        mut self,
        task: &T,
        run: &Run,
        plan: Plan,
        next: &mut dyn FnMut() -> Result<T::Batch, EngineError>,
    ) -> Result<(Self, Vec<(String, f64)>), EngineError> {
        let config = &run.identity.train;
        let mut scalars: Vec<(String, f64)> = Vec::new();
        let mut add = |name: &str, value: f64| match scalars.iter_mut().find(|(n, _)| n == name) {
            Some((_, sum)) => *sum += value,
            None => scalars.push((name.to_owned(), value)),
        };
        let first = self.step * plan.per_step();
        let pieces = (first..first + plan.per_step()).map(|count| {
            let (piece, batch) = (plan.piece(count), next()?);
            let counts = task.counts(&self.model, &batch);
            Ok((piece, batch, counts))
        });
        let pieces: Vec<_> = pieces.collect::<Result<_, EngineError>>()?;
        let mut step = Counts::default();
        for (_, _, counts) in &pieces {
            step.add(counts);
        }
        let processes = &*run.processes;
        let mut counts = step.values();
        sum(processes, &mut counts)?;
        let step = step.with_values(&counts);
        let (mut gradient, mut norm) = (GradientSet::default(), 0.0);
        // What is left of the last backward pass is computed while gradients are exchanged.
        let mut left = None;
        let mut reached = self.reached;
        let (own, parts) = (pieces.len(), (pieces.len() * processes.size()) as u64);
        for (number, (piece, batch, counts)) in pieces.into_iter().enumerate() {
            if number == 0 && processes.is_first() && probes(config, self.step) {
                for (name, value) in task.probe(&self.model, &batch, &piece) {
                    add(&name, value);
                }
            }
            let load = task.load(&batch);
            for (name, value) in cost::amounts(&load, self.operations.as_ref()) {
                add(name, value);
            }
            if let Some(count) = task.skipped(&piece) {
                add(SKIPPED, count as f64);
            }
            let _dropping = self.adapters.during(&piece);
            let shares = Shares::new(&counts, &step, parts);
            let loss = task.loss(&self.model, &batch, &piece, &shares);
            let figures = loss.figures();
            run.gathered()?;
            let check = |what: &str, value: f64| {
                finite(task, &batch, run, self.step, &piece, (what, value))
            };
            check("the loss", figures[0].1)?;
            for (name, value) in figures {
                add(&name, value);
            }
            let Some((mut gradients, before)) = loss.behind_cut(&self.model) else {
                continue; // nothing in it counts
            };
            reached = true;
            let waits = self.exchange.is_some() && number + 1 == own;
            let before = if waits {
                Some(before)
            } else {
                gradients.add(before.gradients(&self.model));
                None
            };
            run.gathered()?;
            norm = gradients.norm(|_| true);
            check("the gradient norm", norm)?;
            gradient.add(gradients);
            left = before.map(|before| (before, piece, batch));
        }
        if let Some(frozen) = &run.frozen {
            frozen.finish()?;
        }
        if !self.reached {
            let mut found = [reached];
            any(processes, &mut found)?;
            if !found[0] {
                return Err(EngineError::Config(
                    "train.groups: no loss reaches what is trained; train parameters that a loss depends on, or give a \
                     weight to a loss that depends on them"
                        .into(),
                ));
            }
            self.reached = true;
        }
        let factor = config.schedule.factor(self.step);
        if let Some(exchange) = &self.exchange {
            let pace = (self.step, factor);
            let rest = |model: &M| {
                let Some((before, piece, batch)) = left else {
                    return Ok(GradientSet::default());
                };
                let _dropping = self.adapters.during(&piece);
                let gradients = before.gradients(model);
                let norm = ("the gradient norm", gradients.norm(|_| true));
                finite(task, &batch, run, self.step, &piece, norm)?;
                Ok(gradients)
            };
            let (module, optimizer) = (self.model, &mut self.optimizer);
            (self.model, norm) = exchange.step(module, gradient, rest, optimizer, pace)?;
            scalars = cost::totals(processes, &scalars)?;
        } else {
            if own > 1 {
                norm = gradient.norm(|_| true);
            }
            self.model = self
                .optimizer
                .step(self.model, gradient, norm, self.step, factor);
        }
        self.step += 1;
        scalars.push(("gradient_norm".into(), norm));
        scalars.push(("learning_rate_factor".into(), factor));
        Ok((self, scalars))
    }
}

fn probes(config: &TrainConfig, step: u64) -> bool {
    config.probe_every > 0 && step.is_multiple_of(config.probe_every)
}

/// Checks a figure of a batch. One that cannot be trained on is kept; the error says where, or why it could not be.
fn finite<T: Task>(
    task: &T,
    batch: &T::Batch,
    run: &Run,
    step: u64,
    piece: &Piece,
    (what, value): (&str, f64),
) -> Result<(), EngineError> {
    if value.is_finite() {
        return Ok(());
    }
    let saved = run.folder.join(format!("not-finite-step-{step}.json"));
    let file = BatchFile {
        task: run.identity.task.clone(),
        step,
        piece: piece.clone(),
        seed: run.identity.seed,
        what: what.into(),
        value: value.to_string(),
        texts: task.texts(batch),
        batch: batch.rest(),
    };
    file.write(batch, &saved)?;
    Err(EngineError::NotFinite {
        step,
        what: what.into(),
        value,
        saved,
    })
}
