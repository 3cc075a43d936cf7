//! `deem train`: one stage from a TOML file, or the preset's stages in order.

use std::path::Path;

use anyhow::{Context, Result, bail};
use deem::Connection;
use deem_engine::config;
use deem_engine::run_config::RunConfig;
use deem_engine::task::DeemTask;
use deem_engine::train::{Checkpoint, train};
use deem_experiment::built_in::BuiltIn;
use deem_model::weights::WeightsFile;

use super::setup::Setup;
use crate::args::Train;
use crate::progress::TrainProgress;

/// Runs the command.
pub fn run(setup: &Setup, args: &Train) -> Result<()> {
    let run = match &args.config {
        Some(path) => RunConfig::read(path, &setup.overrides)?,
        None => {
            // Overrides belong to the stage here, not to the preset.
            let standins = setup.without_overrides().open()?;
            let stage = &standins.experiment().stages[0];
            let stage = toml::to_string(stage).context("the preset's first stage")?;
            config::parse(&stage, &setup.overrides).map_err(anyhow::Error::msg)?
        }
    };
    let resolved = toml::to_string(&run)?;
    if args.print_config {
        print!("{resolved}");
        return Ok(());
    }
    if args.resume && Checkpoint::of(&args.output).newest().is_none() {
        bail!("{}: no checkpoint to resume from", args.output.display());
    }
    let compute = setup.compute()?;
    let (from, offline) = (args.from.as_deref(), args.offline);
    let parts = match &args.config {
        Some(file) => setup.model(Some(file), from, offline)?,
        None => setup.without_overrides().model(None, from, offline)?,
    };
    let parts = parts.find()?;
    if run.model.is_none() && parts.connection() == Connection::Untrained {
        bail!(
            "nothing connects the preset's parts yet; `deem pretrain connect` makes the warm start"
        );
    }
    let model = parts.assemble(args.seed, &compute.device.clone().autodiff())?;
    let data = BuiltIn::with_tokenizer(parts.spec(), parts.tokenizer()?)?;
    let RunConfig { stage, .. } = run;
    let batches = data.stage_batches(&stage, parts.spec(), args.seed)?;
    let task = DeemTask::new(&stage, batches, args.seed, &compute);
    let made_of = parts.describe(compute.precision)?;
    let made_of = serde_json::to_string(&(made_of.spec, made_of.base, made_of.precision))?;
    let mut identity = format!("seed {} {made_of}", args.seed);
    if let Some(path) = parts.weights() {
        identity.push_str(&WeightsFile::open(path)?.checksum());
    }
    // A directory that has a checkpoint is left for `train` to compare.
    if Checkpoint::of(&args.output).newest().is_none() {
        write_config(&args.output, &resolved)?;
        let trained = parts.after(&stage.name, &stage.train.groups)?;
        trained.describe(compute.precision)?.write(&args.output)?;
    }
    let mut progress = TrainProgress::new(&stage.name, true);
    train(
        &task,
        model,
        &stage.train,
        &identity,
        &args.output,
        &mut progress,
    )?;
    println!(
        "{}",
        args.output.join("checkpoint/model.safetensors").display()
    );
    Ok(())
}

/// Keeps the configuration beside what it makes.
fn write_config(output: &Path, resolved: &str) -> Result<()> {
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let path = output.join("config.toml");
    std::fs::write(&path, resolved).with_context(|| path.display().to_string())
}
