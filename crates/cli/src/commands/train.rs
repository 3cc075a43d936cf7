//! `deem train`: one stage from a TOML file, or the preset's stages in order.

use std::path::Path;

use anyhow::{Context, Result, bail};
use deem_engine::Precision;
use deem_engine::config;
use deem_engine::foundation::replace;
use deem_engine::run_config::RunConfig;
use deem_engine::task::DeemTask;
use deem_engine::train::{Checkpoint, train};
use deem_experiment::built_in::BuiltIn;
use deem_model::weights::WeightsFile;

use super::foundation::resolve;
use super::setup::Setup;
use crate::args::Train;
use crate::progress::TrainProgress;

/// Runs the command.
pub fn run(choice: &Setup, args: &Train) -> Result<()> {
    // Overrides belong to the stage here, not to the preset.
    let standins = choice.without_overrides().open()?;
    let default = &standins.preset().stages[0];
    let default = toml::to_string(default).context("the preset's first stage")?;
    let run = match &args.config {
        Some(path) => RunConfig::read(path, &choice.overrides)?,
        None => config::parse(&default, &choice.overrides).map_err(anyhow::Error::msg)?,
    };
    let resolved = toml::to_string(&run)?;
    if args.print_config {
        print!("{resolved}");
        return Ok(());
    }
    if args.resume && Checkpoint::of(&args.output).newest().is_none() {
        bail!("{}: no checkpoint to resume from", args.output.display());
    }
    let compute = choice.compute()?;
    let device = compute.device.clone().autodiff();
    let preset = standins.preset().of_run(&run);
    let (mut model, data, mut identity) = if run.model.is_some() {
        let foundation = resolve(&run, true, args.offline)?;
        let data = BuiltIn::with_tokenizer(&preset, foundation.language.tokenizer(&preset.model)?)?;
        let model = foundation.assemble(&preset.model, args.seed, &device)?;
        (model, data, format!("seed {} {foundation:?}", args.seed))
    } else {
        let identity = format!("seed {} {}", args.seed, standins.identity());
        (
            standins.connected(&device)?,
            BuiltIn::with_tokenizer(&preset, standins.tokenizer()?)?,
            identity,
        )
    };
    if let Some(path) = &args.from {
        identity.push_str(&WeightsFile::open(path)?.checksum());
        model = replace(model, path)?;
    }
    if compute.precision != Precision::F32 {
        identity.push_str(&format!(" {}", compute.precision));
    }
    let RunConfig { stage, .. } = run;
    let batches = data.stage_batches(&stage, &preset, args.seed)?;
    let task = DeemTask::new(&stage, batches, args.seed, &compute);
    write_config(&args.output, &resolved)?;
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

/// Keeps the configuration beside what it makes; one that has a checkpoint is left for `train` to compare.
fn write_config(output: &Path, resolved: &str) -> Result<()> {
    if Checkpoint::of(output).newest().is_some() {
        return Ok(());
    }
    std::fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let path = output.join("config.toml");
    std::fs::write(&path, resolved).with_context(|| path.display().to_string())
}
