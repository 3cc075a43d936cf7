//! What the stages of a run have in common: the model before any of them, its words, its data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use deem_engine::Compute;
use deem_engine::config::StageConfig;
use deem_engine::foundation::{Foundation, replace};
use deem_engine::run_config::RunConfig;
use deem_engine::task::DeemTask;
use deem_engine::train::{RunIdentity, tokenizer_checksum, weights_checksum};
use deem_experiment::built_in::BuiltIn;
use deem_experiment::config::Preset;
use deem_experiment::standins::StandIns;
use deem_model::deem::Deem;

use crate::args::Train;
use crate::commands::foundation::resolve;
use crate::commands::setup::Setup;

/// Where a model's weights come from.
enum Origin {
    StandIns(Box<StandIns>),
    Published(Box<Foundation>),
}

/// The model that the first stage starts from, and what all stages read.
pub struct Base {
    preset: Preset,
    origin: Origin,
    data: BuiltIn,
    compute: Compute,
    seed: u64,
    /// Of the weights.
    checksums: BTreeMap<String, String>,
    /// Of the tokenizer.
    tokenizer: String,
}

impl Base {
    /// Finds everything, without loading the model.
    pub fn open(setup: &Setup, standins: &StandIns, run: &RunConfig, args: &Train) -> Result<Self> {
        let compute = setup.compute()?;
        let preset = standins.preset().of_run(run);
        let (origin, tokenizer, checksums) = if run.model.is_some() {
            let foundation = resolve(run, true, args.offline)?;
            let tokenizer = foundation.language.tokenizer(&preset.model)?;
            let checksums = published(&foundation)?;
            (
                Origin::Published(Box::new(foundation)),
                tokenizer,
                checksums,
            )
        } else {
            (
                Origin::StandIns(Box::new(standins.clone())),
                standins.tokenizer()?,
                standins.checksums()?,
            )
        };
        Ok(Self {
            tokenizer: tokenizer_checksum(&tokenizer)?,
            data: BuiltIn::with_tokenizer(&preset, tokenizer)?,
            seed: args.seed,
            preset,
            origin,
            compute,
            checksums,
        })
    }

    /// What a stage is, but for the weights that it starts from beside this base.
    pub fn identity(&self, stage: &StageConfig) -> RunIdentity {
        RunIdentity {
            seed: self.seed,
            sample_seed: self.seed,
            precision: self.compute.precision,
            weights: self.checksums.clone(),
            tokenizer: Some(self.tokenizer.clone()),
            ..RunIdentity::of_stage(stage, &self.preset.spec())
        }
    }

    /// What `weights.trained` names.
    pub fn trained(&self) -> Option<PathBuf> {
        match &self.origin {
            Origin::StandIns(_) => None,
            Origin::Published(foundation) => foundation.trained.clone(),
        }
    }

    /// A stage's task, and the model with what was trained before.
    pub fn assemble(&self, stage: &StageConfig, from: Option<&Path>) -> Result<(DeemTask, Deem)> {
        let device = self.compute.device.clone().autodiff();
        let batches = self.data.stage_batches(stage, &self.preset, self.seed)?;
        let task = DeemTask::new(stage, batches, self.seed, &self.compute);
        let model = match &self.origin {
            Origin::StandIns(standins) => standins.connected(&device)?,
            Origin::Published(foundation) => {
                foundation.assemble(&self.preset.model, self.seed, &device)?
            }
        };
        let model = match from {
            Some(path) => replace(model, path)?,
            None => model,
        };
        Ok((task, model))
    }
}

/// Checksums of published weights by part.
fn published(foundation: &Foundation) -> Result<BTreeMap<String, String>> {
    let diffusion = foundation.diffusion.as_ref();
    let parts = [
        ("vision", Some(foundation.vision.clone())),
        ("llama", Some(foundation.language.llama.clone())),
        ("unet", diffusion.map(|folder| folder.join("unet"))),
        ("autoencoder", diffusion.map(|folder| folder.join("vae"))),
        ("trained", foundation.trained.clone()),
    ];
    let mut sums = BTreeMap::new();
    for (name, path) in parts {
        if let Some(path) = path {
            sums.insert(name.to_owned(), weights_checksum(&path)?);
        }
    }
    Ok(sums)
}
