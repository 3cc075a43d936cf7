//! `deem train`: one stage from a TOML file, or a list of stages, or the preset's, each from where the one before
//! it ended.

mod base;
mod place;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use deem::Parts;
use deem_collective::{Alone, Collective};
use deem_data::{Batches, LoaderStats};
use deem_engine::EngineError;
use deem_engine::config::{self, StageConfig};
use deem_engine::run_config::RunConfig;
use deem_engine::train::{BatchFile, Checkpoint, Replayed, Run, finished, replay, train};

use self::base::Base;
use self::place::Place;
use super::setup::Setup;
use super::together;
use crate::args::Train;
use crate::interrupt;
use crate::progress::{self, TrainProgress};

/// Runs the command.
pub fn run(setup: &Setup, args: &Train) -> Result<()> {
    let all = run_config(setup, args)?;
    let config = match &args.stage {
        Some(name) => all.only(name)?,
        None => all.clone(),
    };
    if args.print_config {
        print!("{}", toml::to_string(&config)?);
        return Ok(());
    }
    let processes = together::join(Duration::from_secs(args.timeout), &setup.device)?;
    let trained = train_together(setup, args, (&all, &config), processes.clone());
    together::trained(&*processes, trained)
}

/// Trains the stages of `config`, which are among `all`, or computes a batch again.
fn train_together(
    setup: &Setup,
    args: &Train,
    (all, config): (&RunConfig, &RunConfig),
    processes: Arc<dyn Collective>,
) -> Result<()> {
    let place = Place::of(args, &*processes)?;
    let given = &args.output;
    let args = &Train {
        output: place.folder.clone(),
        ..args.clone()
    };
    for stage in all.stages() {
        // What another machine left there.
        if let Some(store) = place.store(own_name(all, stage))? {
            store.pull(&folder(all, args, stage))?;
        }
    }
    let begun = |stage| Checkpoint::of(&folder(all, args, stage)).newest().is_some();
    if args.resume && !config.stages().any(begun) {
        bail!("{}: no checkpoint to resume from", given.display());
    }
    let base = Base::open(setup, args)?;
    if !processes.is_first() {
        progress::log_to(&args.output.join(format!("rank-{}.log", processes.rank())))?;
    }
    let stages = Stages {
        all,
        args,
        place,
        processes,
    };
    if let Some(path) = &args.replay {
        let replayed = stages.replay(&base, path)?;
        print!("{}", report(&replayed));
        return Ok(());
    }
    let weights = stages.train(&base, config)?;
    if stages.processes.is_first() {
        println!("{}", weights.display());
    }
    Ok(())
}

/// What the command line and the file or preset say. Overrides are of the one stage that is asked for, if one is:
/// they need no `stages.N` before them.
fn run_config(setup: &Setup, args: &Train) -> Result<RunConfig> {
    let run = match (&args.config, &args.stage) {
        (Some(path), None) => return Ok(RunConfig::read(path, &setup.overrides)?),
        (Some(path), Some(_)) => RunConfig::read(path, &[])?,
        // Overrides belong to the run here, not to the preset.
        (None, _) => {
            let standins = setup.without_overrides().open()?;
            RunConfig::of_stages(&standins.experiment().stages).context("the preset")?
        }
    };
    let overridden = |run: &RunConfig| -> Result<RunConfig> {
        config::parse(&toml::to_string(run)?, &setup.overrides).map_err(anyhow::Error::msg)
    };
    let Some(name) = &args.stage else {
        return overridden(&run);
    };
    let only = overridden(&run.only(name)?)?;
    let stages = run.stages().map(|stage| {
        let asked = stage.name == *name;
        if asked { &only.stage } else { stage }
    });
    Ok(RunConfig {
        max_tokens: only.max_tokens,
        weights: only.weights.clone(),
        model: only.model.clone(),
        ..RunConfig::of_stages(&stages.cloned().collect::<Vec<_>>())?
    })
}

/// Where a stage of a run goes: the output itself if there is only one.
fn folder(all: &RunConfig, args: &Train, stage: &StageConfig) -> PathBuf {
    let below = own_name(all, stage);
    below.map_or_else(|| args.output.clone(), |name| args.output.join(name))
}

/// What a stage of a run is called there, if there are several.
fn own_name<'a>(all: &RunConfig, stage: &'a StageConfig) -> Option<&'a str> {
    (!all.following.is_empty()).then_some(stage.name.as_str())
}

/// The stages of a run, of which some may be trained already.
struct Stages<'a> {
    /// All of them, also those that are not asked for.
    all: &'a RunConfig,
    args: &'a Train,
    place: Place,
    /// Who trains them together.
    processes: Arc<dyn Collective>,
}

impl Stages<'_> {
    fn folder(&self, stage: &StageConfig) -> PathBuf {
        folder(self.all, self.args, stage)
    }

    fn is_trained(&self, stage: &StageConfig) -> bool {
        let newest = Checkpoint::of(&self.folder(stage)).newest();
        let state = newest.and_then(|folder| Checkpoint::state(&folder).ok());
        state.is_some_and(|state| state.step >= stage.train.schedule.steps)
    }

    fn is_begun(&self, stage: &StageConfig) -> bool {
        Checkpoint::of(&self.folder(stage)).newest().is_some()
    }

    /// Trains what is left of the stages of `config`; gives the last one's weights.
    fn train(&self, base: &Base, config: &RunConfig) -> Result<PathBuf> {
        let mut parts = self.start(base, &config.stage)?;
        // What is wrong with a later stage is told before the first one is trained.
        let mut data = Vec::new();
        let mut checked = parts.clone();
        for stage in config.stages() {
            let mut opened = || -> Result<Option<Batches>> {
                checked = after(&checked, stage)?;
                let trained = self.is_trained(stage);
                (!trained).then(|| base.batches(&parts, stage)).transpose()
            };
            data.push(opened().with_context(|| format!("stage {:?}", stage.name))?);
        }
        let mut data = data.into_iter();
        let mut batches = || data.next().flatten();
        let mut weights = self.train_one(base, &parts, &config.stage, batches())?;
        let mut before = &config.stage;
        for stage in &config.following {
            if interrupt::asked() {
                let step = before.train.schedule.steps;
                return Err(EngineError::Interrupted { step }.into());
            }
            parts = after(&parts, before)?.with_weights(&weights);
            weights = self.train_one(base, &parts, stage, batches())?;
            before = stage;
        }
        Ok(weights)
    }

    fn train_one(
        &self,
        base: &Base,
        parts: &Parts,
        stage: &StageConfig,
        batches: Option<Batches>,
    ) -> Result<PathBuf> {
        let run = self.describe(base, parts, stage)?;
        if let Some(weights) = finished(&run)? {
            return Ok(weights);
        }
        let batches = match batches {
            Some(batches) => batches,
            None => base.batches(parts, stage)?,
        };
        let (task, model, frozen) = base.assemble(parts, stage, batches, &self.processes)?;
        let run = Run { frozen, ..run };
        // A directory that has a checkpoint is left for `train` to compare.
        let first = self.processes.is_first();
        if first && !self.is_begun(stage) {
            base.describe(parts, stage, &run.folder)?;
        }
        let mut progress = if first {
            TrainProgress::new(&stage.name, true)
        } else {
            TrainProgress::silent()
        };
        let trained = train(&task, model, &run, &mut progress)?;
        if trained.skipped > 0 {
            eprint!("{}", unreadable(trained.skipped, &task.batches.stats()));
        }
        Ok(trained.weights)
    }

    /// Computes a kept batch again, as the stage that it belongs to.
    fn replay(&self, base: &Base, path: &Path) -> Result<Replayed> {
        let stage = self.all.only(&BatchFile::describe(path)?.task)?.stage;
        let parts = self.start(base, &stage)?;
        let run = self.describe(base, &parts, &stage)?;
        let batches = base.batches(&parts, &stage)?;
        let alone: Arc<dyn Collective> = Arc::new(Alone);
        let (task, model, _) = base.assemble(&parts, &stage, batches, &alone)?;
        Ok(replay(&task, model, &run, path)?)
    }

    /// What a stage starts from if it is the first one to be trained: what `--from` names, else what the ones before
    /// it trained.
    fn start(&self, base: &Base, stage: &StageConfig) -> Result<Parts> {
        let stages = self.all.stages();
        let earlier: Vec<&StageConfig> = stages.take_while(|own| own.name != stage.name).collect();
        let Some(before) = earlier.last() else {
            return Ok(base.parts().clone());
        };
        if self.args.from.is_some() && self.args.stage.is_some() {
            return Ok(base.parts().clone());
        }
        let folder = self.folder(before);
        let saved = Checkpoint::of(&folder)
            .read()?
            .filter(|saved| saved.state.step >= saved.state.identity.train.schedule.steps);
        let saved = saved.with_context(|| {
            format!(
                "{} starts from {}, which is not finished in {}: train that first, or name another model with --from",
                stage.name,
                before.name,
                folder.display()
            )
        })?;
        let start = base.parts().clone();
        let parts = earlier
            .iter()
            .try_fold(start, |parts, stage| after(&parts, stage))?;
        Ok(parts.with_weights(saved.model.path()))
    }

    /// A stage as a run.
    fn describe(&self, base: &Base, parts: &Parts, stage: &StageConfig) -> Result<Run> {
        let alone = self.all.only(&stage.name)?;
        Ok(Run {
            identity: base.identity(parts, stage)?,
            folder: self.folder(stage),
            carried: parts.weights().map(Path::to_owned).into_iter().collect(),
            config: Some(toml::to_string(&alone)?),
            processes: self.processes.clone(),
            peak_flops: self.args.peak_tflops.map(|tera| tera * 1e12),
            frozen: None,
            store: self.place.store(own_name(self.all, stage))?,
        })
    }
}

/// The model once a stage has been trained.
fn after(parts: &Parts, stage: &StageConfig) -> Result<Parts> {
    Ok(parts.after(&stage.name, &stage.train.groups, &stage.train.lora)?)
}

/// What could not be read, with the first causes.
fn unreadable(skipped: u64, stats: &LoaderStats) -> String {
    let mut text = format!("{skipped} samples could not be read and were replaced by others\n");
    for example in &stats.examples {
        text.push_str(&format!("  {example}\n"));
    }
    text
}

/// Every figure of a batch that was computed again, and which of them is not finite.
fn report(replayed: &Replayed) -> String {
    let file = &replayed.file;
    let mut text = format!(
        "{} step {}, micro-batch {}: {} was {}; weights of step {}\n",
        file.task, file.step, file.piece.index, file.what, file.value, replayed.step
    );
    for (name, value) in &replayed.figures {
        let verdict = if value.is_finite() {
            ""
        } else {
            "  not finite"
        };
        text.push_str(&format!("{name:<24}{value:>14.6}{verdict}\n"));
    }
    for path in &replayed.broken_gradients {
        text.push_str(&format!("gradient of {path}: not finite\n"));
    }
    if replayed.broken_gradients.is_empty() && replayed.figures.iter().all(|(_, v)| v.is_finite()) {
        text.push_str("everything is finite with these weights\n");
    }
    text
}
