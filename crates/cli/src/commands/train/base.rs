//! What the stages of a run have in common: the model before any of them, its words, where its data lies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use deem::{Connection, Description, Parts};
use deem_collective::Collective;
use deem_data::Batches;
use deem_data::image::ImageLimits;
use deem_data::source::{SourceContext, SourceRegistry};
use deem_data::text::TextTokenizer;
use deem_engine::Compute;
use deem_engine::batches::stage_batches;
use deem_engine::config::StageConfig;
use deem_engine::task::DeemTask;
use deem_engine::train::{
    FrozenShards, RunIdentity, WEIGHTS_FROM, tokenizer_checksum, weights_checksum,
};
use deem_model::deem::Deem;

use crate::args::Train;
use crate::commands::setup::{Setup, folder_of};

/// The model that the first stage starts from, and what all stages read.
pub struct Base {
    parts: Parts,
    tokenizer: TextTokenizer,
    compute: Compute,
    seed: u64,
    /// Folder that relative paths of `[[data]]` start from.
    root: PathBuf,
    /// What is to be said of the result, but for what is trained; has the checksums of the base.
    description: Description,
}

impl Base {
    /// Finds everything, without loading the model.
    pub fn open(setup: &Setup, args: &Train) -> Result<Self> {
        let (from, offline) = (args.from.as_deref(), args.offline);
        let open = match &args.config {
            Some(file) => setup.model(Some(file), from, offline)?,
            // Overrides belong to the run, not to the preset.
            None => setup.without_overrides().model(None, from, offline)?,
        };
        let parts = open.find()?;
        let published = args.config.is_some();
        if !published && parts.connection() == Connection::Untrained {
            bail!(
                "nothing connects the preset's parts yet; `deem pretrain connect` makes the warm start, its --install puts it there"
            );
        }
        let compute = setup.compute()?;
        Ok(Self {
            tokenizer: parts.tokenizer()?,
            root: args.config.as_deref().map_or_else(|| ".".into(), folder_of),
            seed: args.seed,
            description: parts.describe(compute.precision)?,
            parts,
            compute,
        })
    }

    /// What the model is made of before the first stage.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What a stage upon `parts` is.
    pub fn identity(&self, parts: &Parts, stage: &StageConfig) -> Result<RunIdentity> {
        let mut weights = self.description.checksums();
        if let Some(from) = parts.weights() {
            weights.insert(WEIGHTS_FROM.into(), weights_checksum(from)?);
        }
        Ok(RunIdentity {
            seed: self.seed,
            sample_seed: self.seed,
            precision: self.compute.precision,
            weights,
            tokenizer: Some(tokenizer_checksum(&self.tokenizer)?),
            ..RunIdentity::of_stage(stage, parts.spec())
        })
    }

    /// Writes what the result of a stage upon `parts` is going to be beside it.
    pub fn describe(&self, parts: &Parts, stage: &StageConfig, folder: &Path) -> Result<()> {
        let result = parts.after(&stage.name, &stage.train.groups, &stage.train.lora)?;
        self.description.of(result.trained()).write(folder)?;
        Ok(())
    }

    /// A stage's data.
    pub fn batches(&self, parts: &Parts, stage: &StageConfig) -> Result<Batches> {
        let context = SourceContext {
            seed: self.seed,
            image_size: parts.spec().model.image_size as u32,
            root: self.root.clone(),
            limits: ImageLimits::default(),
        };
        let sources = SourceRegistry::standard();
        Ok(stage_batches(
            stage,
            parts.spec(),
            &self.tokenizer,
            &sources,
            &context,
        )?)
    }

    /// A stage's task, and the model with what was trained before, of which these processes share frozen weights if the
    /// stage says so.
    pub fn assemble(
        &self,
        parts: &Parts,
        stage: &StageConfig,
        batches: Batches,
        processes: &Arc<dyn Collective>,
    ) -> Result<(DeemTask, Deem, Option<FrozenShards>)> {
        let task = DeemTask::new(stage, batches, self.seed, &self.compute);
        let device = self.compute.device.clone().autodiff();
        let blocks = parts.spec().model.checkpoint_blocks;
        let precision = self.compute.precision;
        let model = parts.empty(&device)?;
        let (model, frozen) =
            FrozenShards::share(model, &stage.train, blocks, precision, processes)?;
        Ok((task, parts.fill(model, self.seed)?, frozen))
    }
}
