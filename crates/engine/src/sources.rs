//! The built-in data of every stage, as sources.

use std::sync::Arc;

use deem_data::corpus::Subset;
use deem_data::image::{Crop, ViewConfig};
use deem_data::scene::SceneConfig;
use deem_data::source::{
    ClipSource, DiffusionSource, InstructConfig, InstructSource, InterleavedConfig,
    InterleavedSource, LanguageConfig, LanguageSource, RegionSource, SceneFeed, Source, World,
};
use deem_data::text::TextTokenizer;
use deem_data::{BatchConfig, Batches, Collator, LoaderConfig, PackConfig, Padding};
use deem_model::layout::StructureTokens;

use crate::EngineError;
use crate::config::{Preset, StageConfig, StageData};

/// The built-in world and the views a preset takes of it.
pub struct BuiltIn {
    /// Corpus, split, renderer.
    pub world: World,
    /// Words to ids.
    pub tokenizer: TextTokenizer,
    resolution: u32,
}

impl BuiltIn {
    /// The built-in world at a preset's resolution.
    ///
    /// # Errors
    /// `Data` if the compiled-in corpus or tokenizer does not fit the preset.
    pub fn new(preset: &Preset) -> Result<Self, EngineError> {
        Self::with_tokenizer(preset, TextTokenizer::builtin()?)
    }

    /// As [`Self::new`], with the words of another language model.
    ///
    /// # Errors
    /// `Data` or `Config` if the tokenizer does not fit the preset.
    pub fn with_tokenizer(preset: &Preset, tokenizer: TextTokenizer) -> Result<Self, EngineError> {
        tokenizer.check_model(preset.model.llama.vocab_size + preset.model.new_tokens)?;
        let special = tokenizer.special();
        let ids = [
            special.bos,
            special.eos,
            special.pad,
            special.soi,
            special.image,
        ];
        let StructureTokens {
            bos,
            eos,
            pad,
            soi,
            image,
        } = preset.model.tokens;
        if ids.map(i64::from) != [bos, eos, pad, soi, image] {
            return Err(EngineError::Config(format!(
                "model.tokens: expected the tokenizer's bos, eos, pad, soi, image {ids:?}, found {:?}",
                [bos, eos, pad, soi, image]
            )));
        }
        Ok(Self {
            world: World::builtin(Subset::Core)?,
            tokenizer,
            resolution: preset.model.image_size as u32,
        })
    }

    /// Training scenes for one purpose.
    ///
    /// # Errors
    /// Those of the scene sampler.
    pub fn feed(&self, purpose: &'static str, seed: u64) -> Result<SceneFeed, EngineError> {
        let scenes = SceneConfig::default();
        Ok(self
            .world
            .training_feed(scenes, purpose, seed, self.resolution)?)
    }

    /// Pictures with captions that name what is there.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn clip(&self, seed: u64) -> Result<Arc<dyn Source>, EngineError> {
        Ok(Arc::new(ClipSource::new(self.feed("clip", seed)?)))
    }

    /// Pictures with captions that say everything.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn diffusion(&self, seed: u64) -> Result<Arc<dyn Source>, EngineError> {
        Ok(Arc::new(DiffusionSource::new(
            self.feed("diffusion", seed)?,
        )))
    }

    /// Text documents about scenes of all concepts: nouns reach the language model, drawings do not.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn language(&self, seed: u64) -> Result<Arc<dyn Source>, EngineError> {
        let feed = self.world.language_feed(SceneConfig::default(), seed)?;
        Ok(Arc::new(LanguageSource::new(
            feed,
            LanguageConfig::default(),
        )))
    }

    /// The data of a stage of the whole model.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn stage(&self, data: StageData, seed: u64) -> Result<Arc<dyn Source>, EngineError> {
        Ok(match data {
            StageData::Alignment => Arc::new(InterleavedSource::new(
                self.feed("alignment", seed)?,
                InterleavedConfig::default(),
            )),
            StageData::Description => Arc::new(InterleavedSource::new(
                self.feed("description", seed)?,
                InterleavedConfig {
                    full_captions: 1.0,
                    ..InterleavedConfig::default()
                },
            )),
            StageData::Instruction => Arc::new(InstructSource::new(
                self.feed("instruction", seed)?,
                InstructConfig::default(),
            )),
            StageData::Region => Arc::new(RegionSource::new(self.feed("region", seed)?)),
        })
    }

    /// Batches of a stage of the whole model.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn stage_batches(
        &self,
        stage: &StageConfig,
        preset: &Preset,
        seed: u64,
    ) -> Result<Batches, EngineError> {
        let source = self.stage(stage.data, seed)?;
        let diffusion = stage.loss.image > 0.0 || stage.loss.feedback > 0.0;
        self.batches(
            source,
            (stage.batch, stage.samples_per_row),
            preset,
            preset.model.image_encoder.queries,
            diffusion,
        )
    }

    /// Right-padded batches of a source: `form` is rows and samples per row.
    ///
    /// # Errors
    /// `Data` for impossible sizes.
    pub fn batches(
        &self,
        source: Arc<dyn Source>,
        form: (usize, usize),
        preset: &Preset,
        queries: usize,
        diffusion: bool,
    ) -> Result<Batches, EngineError> {
        let config = BatchConfig {
            pack: PackConfig {
                max_tokens: preset.max_tokens,
                image_tokens: queries,
                // Captions that come before their only image are what L_NIP learns from here.
                count_first_image: true,
            },
            views: ViewConfig {
                encoder: preset.model.image_size as u32,
                diffusion: if diffusion {
                    preset.model.diffusion_size as u32
                } else {
                    0
                },
                crop: Crop::Center,
            },
            padding: Padding::Right,
            fixed_length: None,
            seed: 0,
        };
        let collator = Collator::new(config, self.tokenizer.clone());
        let loader = LoaderConfig {
            batch: form.0,
            samples_per_row: form.1,
            ..LoaderConfig::default()
        };
        Ok(Batches::new(source, collator, loader)?)
    }
}
