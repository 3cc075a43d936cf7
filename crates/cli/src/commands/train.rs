//! `deem train`: one stage from a TOML file, or a list of stages, or the preset's, each from where the one before
//! it ended.

mod base;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use deem_data::LoaderStats;
use deem_engine::EngineError;
use deem_engine::config::{self, StageConfig};
use deem_engine::run_config::RunConfig;
use deem_engine::train::{
    BatchFile, Checkpoint, Replayed, Run, WEIGHTS_FROM, finished, replay, train, weights_checksum,
};
use deem_experiment::standins::StandIns;

use self::base::Base;
use super::setup::Setup;
use crate::args::Train;
use crate::interrupt;
use crate::progress::TrainProgress;

/// Runs the command.
pub fn run(setup: &Setup, args: &Train) -> Result<()> {
    // Overrides belong to the run here, not to the preset.
    let standins = setup.without_overrides().open()?;
    let all = run_config(setup, args, &standins)?;
    let config = match &args.stage {
        Some(name) => all.only(name)?,
        None => all.clone(),
    };
    if args.print_config {
        print!("{}", toml::to_string(&config)?);
        return Ok(());
    }
    let stages = Stages { all: &all, args };
    if args.resume && !config.stages().any(|stage| stages.is_begun(stage)) {
        bail!("{}: no checkpoint to resume from", args.output.display());
    }
    let base = Base::open(setup, &standins, &config, args)?;
    if let Some(path) = &args.replay {
        let replayed = stages.replay(&base, path)?;
        print!("{}", report(&replayed));
        return Ok(());
    }
    let weights = stages.train(&base, &config)?;
    println!("{}", weights.display());
    Ok(())
}

/// What the command line and the file or preset say. Overrides are of the one stage that is asked for, if one is:
/// they need no `stages.N` before them.
fn run_config(setup: &Setup, args: &Train, standins: &StandIns) -> Result<RunConfig> {
    let run = match (&args.config, &args.stage) {
        (Some(path), None) => return Ok(RunConfig::read(path, &setup.overrides)?),
        (Some(path), Some(_)) => RunConfig::read(path, &[])?,
        (None, _) => RunConfig::of_stages(&standins.preset().stages).context("the preset")?,
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

/// The stages of a run, of which some may be trained already.
struct Stages<'a> {
    /// All of them, also those that are not asked for.
    all: &'a RunConfig,
    args: &'a Train,
}

impl Stages<'_> {
    /// Where a stage goes: the output itself if there is only one.
    fn folder(&self, stage: &StageConfig) -> PathBuf {
        if self.all.following.is_empty() {
            self.args.output.clone()
        } else {
            self.args.output.join(&stage.name)
        }
    }

    fn is_begun(&self, stage: &StageConfig) -> bool {
        Checkpoint::of(&self.folder(stage)).newest().is_some()
    }

    /// Trains what is left of the stages of `config`; gives the last one's weights.
    fn train(&self, base: &Base, config: &RunConfig) -> Result<PathBuf> {
        let from = self.start(&config.stage)?;
        let mut weights = self.train_one(base, &config.stage, from)?;
        let mut before = &config.stage;
        for stage in &config.following {
            if interrupt::asked() {
                let step = before.train.schedule.steps;
                return Err(EngineError::Interrupted { step }.into());
            }
            weights = self.train_one(base, stage, Some(weights))?;
            before = stage;
        }
        Ok(weights)
    }

    fn train_one(
        &self,
        base: &Base,
        stage: &StageConfig,
        from: Option<PathBuf>,
    ) -> Result<PathBuf> {
        let run = self.describe(base, stage, from.as_ref())?;
        if let Some(weights) = finished(&run)? {
            return Ok(weights);
        }
        let (task, model) = base.assemble(stage, from.as_deref())?;
        let mut progress = TrainProgress::new(&stage.name, true);
        let trained = train(&task, model, &run, &mut progress)?;
        if trained.skipped > 0 {
            eprint!("{}", unreadable(trained.skipped, &task.batches.stats()));
        }
        Ok(trained.weights)
    }

    /// Computes a kept batch again, as the stage that it belongs to.
    fn replay(&self, base: &Base, path: &Path) -> Result<Replayed> {
        let stage = self.all.only(&BatchFile::describe(path)?.task)?.stage;
        let from = self.start(&stage)?;
        let run = self.describe(base, &stage, from.as_ref())?;
        let (task, model) = base.assemble(&stage, from.as_deref())?;
        Ok(replay(&task, model, &run, path)?)
    }

    /// The weights that a stage starts from, beside the base, if it is the first one to be trained: what `--from`
    /// names, else what the one before it trained.
    fn start(&self, stage: &StageConfig) -> Result<Option<PathBuf>> {
        let pairs = self.all.stages().zip(&self.all.following);
        let mut before = pairs.filter(|(_, own)| own.name == stage.name);
        let before = before.next().map(|(before, _)| before);
        match (&self.args.from, before) {
            (Some(from), None) => Ok(Some(weights_in(from)?)),
            (Some(from), Some(_)) if self.args.stage.is_some() => Ok(Some(weights_in(from)?)),
            (None, None) => Ok(None),
            (_, Some(before)) => {
                let folder = self.folder(before);
                let saved = Checkpoint::of(&folder)
                    .read()?
                    .filter(|saved| saved.state.step >= saved.state.identity.train.schedule.steps);
                let saved = saved.with_context(|| {
                    format!(
                        "{} starts from {}, which is not finished in {}: train that first, or name other weights \
                         with --from",
                        stage.name,
                        before.name,
                        folder.display()
                    )
                })?;
                Ok(Some(saved.model.path().to_owned()))
            }
        }
    }

    /// A stage as a run.
    fn describe(&self, base: &Base, stage: &StageConfig, from: Option<&PathBuf>) -> Result<Run> {
        let mut identity = base.identity(stage);
        if let Some(from) = from {
            identity
                .weights
                .insert(WEIGHTS_FROM.into(), weights_checksum(from)?);
        }
        let alone = self.all.only(&stage.name)?;
        Ok(Run {
            identity,
            folder: self.folder(stage),
            carried: base.trained().into_iter().chain(from.cloned()).collect(),
            config: Some(toml::to_string(&alone)?),
        })
    }
}

/// Weights in a run's folder, a checkpoint, or a file.
fn weights_in(path: &Path) -> Result<PathBuf> {
    let checkpoint = Checkpoint::of(path).weights();
    if checkpoint.is_file() {
        return Ok(checkpoint);
    }
    Ok(deem_model::weights::find(path)?)
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
        file.task, file.step, file.index, file.what, file.value, replayed.step
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
