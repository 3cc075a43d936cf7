//! `deem bench train-step`: whole optimizer steps of a stage.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use deem::{Parts, Preset};
use deem_collective::{CAN_JOIN, Collective, Launch};
use deem_data::Batch;
use deem_engine::EngineError;
use deem_engine::config::StageConfig;
use deem_engine::flops::{Load, Operations};
use deem_engine::objective::{DeemBatch, Draws, Purpose, image_targets};
use deem_engine::task::DeemTask;
use deem_engine::train::parameters::{ParameterInfo, prepare};
use deem_engine::train::{
    Counts, FrozenShards, Loss, Observer, Piece, Plan, Run, RunIdentity, Shares, StepReport, Task,
    train,
};
use deem_model::deem::Deem;
use deem_model::scheduler::TimestepSampler;
use deem_model::weights::StateTensor;
use serde_json::{Value, json};

use super::dump::{Dump, tensor};
use super::{SEED, Timed, cpu_seconds, current_memory, peak_memory, since};
use crate::args::{Bench, BenchTrainStep};
use crate::commands::setup::Setup;
use crate::commands::together;

/// How long a process waits for another one.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Forward and backward pass, clipping and update: of one batch made beforehand, or data included. Of several processes the
/// first one speaks; nothing for the others, and for whoever only started them.
pub fn run(setup: &Setup, args: &Bench, part: &BenchTrainStep) -> Result<Option<Value>> {
    let launched = Launch::of_environment().map_or(1, |launch| launch.size);
    match part.processes {
        Some(asked) if launched == 1 && asked > 1 => {
            start(asked)?;
            return Ok(None);
        }
        Some(asked) if launched > 1 && asked != launched => bail!(
            "--processes {asked}: the launcher started {launched}; leave the option out, or start {asked}"
        ),
        _ => {}
    }
    let processes = together::join(PATIENCE, &setup.device)?;
    let report = measure(setup, args, part, &processes);
    let report = together::trained(&*processes, report)?;
    Ok(processes.is_first().then_some(report))
}

/// Starts this very command several times over, each with its share of the cores.
fn start(processes: usize) -> Result<()> {
    if !CAN_JOIN {
        bail!(
            "--processes {processes}: this program was built without the feature `mpi`; build it with `--features mpi` \
             (docs/cluster.md)"
        );
    }
    let program = std::env::current_exe().context("this program's own file")?;
    let mut launcher = Command::new("mpirun");
    launcher.arg("-n").arg(processes.to_string()).arg(program);
    launcher.args(std::env::args_os().skip(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (cores / processes).max(1).to_string();
    // Open MPI binds each process to one core unless told otherwise, and counts cores; others do not know these.
    for (name, value) in [
        ("RAYON_NUM_THREADS", threads.as_str()),
        ("OMPI_MCA_hwloc_base_binding_policy", "none"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
    ] {
        if std::env::var_os(name).is_none() {
            launcher.env(name, value);
        }
    }
    let ended = launcher.status().context(
        "mpirun: cannot be started; install Open MPI or MPICH (docs/cluster.md), or start the processes with the launcher \
         that there is",
    )?;
    if !ended.success() {
        bail!("mpirun ended with {ended}");
    }
    Ok(())
}

/// A folder that all processes find: that of the first one.
fn shared_folder(processes: &dyn Collective) -> Result<PathBuf> {
    let own = format!("deem-bench-{}", std::process::id());
    let all = processes.all_gather(own.as_bytes())?;
    let name = String::from_utf8_lossy(&all[0]).into_owned();
    Ok(std::env::temp_dir().join(name))
}

fn measure(
    setup: &Setup,
    args: &Bench,
    part: &BenchTrainStep,
    processes: &Arc<dyn Collective>,
) -> Result<Value> {
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
    let blocks = preset.model.checkpoint_blocks;
    let model = FrozenShards::share(
        Deem::new(&preset.model, &device)?,
        &stage.train,
        blocks,
        compute.precision,
        processes,
    );
    let (model, frozen) = model?;
    let model = Parts::randomized(model, SEED);
    if let Some(folder) = &part.dump {
        if frozen.is_some() {
            bail!("--dump: needs the whole model in each process; leave train.shard_frozen out");
        }
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
    let accumulate = stage.train.accumulate;
    let place = (processes.rank(), processes.size());
    let task = if part.data {
        Repeated::none(task)
    } else {
        let plan = Plan::new(accumulate, task.rows(), place)?;
        Repeated::first_step(task, plan, accumulate)?
    };
    let folder = shared_folder(&**processes)?;
    let mut seen = Steps::new(args.profile.then_some(args.warmup as u64));
    let run = Run {
        processes: processes.clone(),
        peak_flops: part.peak_tflops.map(|tera| tera * 1e12),
        frozen: frozen.clone(),
        ..Run::new(RunIdentity::of_stage(&stage, &preset.spec()), &folder)
    };
    let trained = train(&task, model, &run, &mut seen);
    if processes.is_first() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let trainable = trained?.trainable;
    let timed = Timed::of(seen.seconds.split_off(args.warmup));
    let cpu = Timed::of(seen.cpu_seconds.split_off(args.warmup));
    let mut report = json!({
        "bench": "train-step",
        "preset": preset.name,
        "stage": stage.name,
        "data_included": part.data,
        "processes": processes.size(),
        "rows": rows,
        "tokens_per_row": tokens,
        "images": images,
        "trainable": trainable,
        "seconds_median": timed.median,
        "seconds_fastest": timed.fastest,
        "cpu_seconds_median": cpu.median,
        "shared_weights_bytes": frozen.map(|frozen| frozen.own_bytes()),
        "memory_before_bytes": before,
        "peak_memory_bytes": seen.peak,
    });
    for (name, values) in seen.costs {
        let counted = values.into_iter().skip(args.warmup).collect();
        report[format!("{name}_median")] = json!(Timed::of(counted).median);
    }
    Ok(report)
}

/// What of a step's log is reported, too.
const COSTS: [&str; 8] = [
    "data_seconds",
    "communication_seconds",
    "communication_bytes",
    "straggler_seconds",
    "tokens_per_second",
    "images_per_second",
    "model_teraflops_per_second",
    "model_flops_utilization",
];

/// A task whose steps all have the batches of the first, unless there are none to repeat.
struct Repeated {
    task: DeemTask,
    batches: Vec<(Piece, Batch)>,
    /// Micro-batches of a step.
    accumulate: u64,
}

impl Repeated {
    /// Makes a batch for every step.
    fn none(task: DeemTask) -> Self {
        Self {
            task,
            batches: Vec::new(),
            accumulate: 1,
        }
    }

    /// Repeats this process's share of the first step.
    fn first_step(task: DeemTask, plan: Plan, accumulate: u64) -> Result<Self> {
        let pieces = (0..plan.per_step()).map(|count| {
            let piece = plan.piece(count);
            let batch = task.batch(&piece)?;
            Ok((piece, batch))
        });
        Ok(Self {
            batches: pieces.collect::<Result<_>>()?,
            task,
            accumulate,
        })
    }
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
        let number = piece.index % self.accumulate;
        let same = |own: &Piece| own.index == number && own.rows == piece.rows;
        match self.batches.iter().find(|(own, _)| same(own)) {
            Some((_, batch)) => Ok(batch.clone()),
            None => self.task.batch(piece),
        }
    }

    fn load(&self, batch: &Batch) -> Load {
        self.task.load(batch)
    }

    fn operations(&self, model: &Value, parameters: &[ParameterInfo]) -> Option<Operations> {
        self.task.operations(model, parameters)
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
    /// Other costs of each step, by their name in the log.
    costs: Vec<(&'static str, Vec<f64>)>,
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
            costs: Vec::new(),
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
        let figure = |name: &str| {
            let found = report.scalars.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| *value)
        };
        self.seconds.extend(figure("seconds"));
        for name in COSTS {
            let Some(value) = figure(name) else {
                continue;
            };
            match self.costs.iter_mut().find(|(own, _)| *own == name) {
                Some((_, values)) => values.push(value),
                None => self.costs.push((name, vec![value])),
            }
        }
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
    let figure = |x: burn::tensor::Tensor<1>| x.into_data().iter::<f64>().sum::<f64>();
    let total = figure(loss.total.clone());
    let terms = loss.terms();
    let terms: std::collections::BTreeMap<_, _> = terms
        .map(|(name, term)| (name, figure(term.clone())))
        .collect();
    let gradients = loss.gradients(&model);
    let flat = parameters.iter().filter_map(|parameter| {
        let gradient = gradients.get(&parameter.path)?.clone();
        Some(tensor(&parameter.path, gradient))
    });
    dump.tensors("gradients", &flat.collect::<Vec<StateTensor>>())?;
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
                "total": total,
                "terms": terms,
                "gradient_norm": gradients.norm(|_| true),
            },
        }),
    )
}
