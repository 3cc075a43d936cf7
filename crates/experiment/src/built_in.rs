//! The built-in data of every stage and stand-in.

use std::sync::Arc;

use deem_data::Batches;
use deem_data::image::{Crop, ImageLimits};
use deem_data::source::{Source, SourceContext, SourceRegistry};
use deem_data::text::TextTokenizer;
use deem_data::world::scene::{SceneConfig, WebCaptions};
use deem_data::world::source::{
    ClipSource, Curriculum, DiffusionSource, Gathered, LanguageConfig, LanguageSource,
};
use deem_data::world::{SceneFeed, World};
use deem_engine::EngineError;
use deem_engine::batches::{self, BatchForm, check_tokenizer};
use deem_engine::config::{ModelSpec, StageConfig};

/// The built-in world and the views a model takes of it.
pub struct BuiltIn {
    /// Corpus, split, renderer.
    pub world: World,
    /// Words to ids.
    pub tokenizer: TextTokenizer,
    resolution: u32,
}

impl BuiltIn {
    /// The world at a model's resolution, in the words of a language model.
    ///
    /// # Errors
    /// `Data` or `Config` if the tokenizer does not fit the model, `Data` if the compiled-in corpus is damaged.
    pub fn with_tokenizer(spec: &ModelSpec, tokenizer: TextTokenizer) -> Result<Self, EngineError> {
        check_tokenizer(&tokenizer, spec)?;
        Ok(Self {
            world: World::builtin()?,
            tokenizer,
            resolution: spec.model.image_size as u32,
        })
    }

    fn scenes(&self) -> SceneConfig {
        self.world.design().scenes.clone()
    }

    /// Side of the pictures that the encoder sees.
    pub fn resolution(&self) -> u32 {
        self.resolution
    }

    /// Training scenes in captioned styles for one purpose.
    ///
    /// # Errors
    /// Those of the scene sampler.
    pub fn feed(&self, purpose: &'static str, seed: u64) -> Result<SceneFeed, EngineError> {
        Ok(self
            .world
            .training_feed(self.scenes(), purpose, seed, self.resolution)?)
    }

    /// Training scenes drawn as they are, in all styles that are trained on: for the diffusion model, and for measuring.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn plain_feed(&self, purpose: &'static str, seed: u64) -> Result<SceneFeed, EngineError> {
        Ok(self
            .world
            .described_feed(self.scenes(), purpose, seed, self.resolution)?)
    }

    /// Pictures with captions that name what is there, or some of it.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn clip(&self, seed: u64) -> Result<Arc<dyn Source>, EngineError> {
        Ok(Arc::new(ClipSource::new(self.feed("clip", seed)?)))
    }

    /// Other pictures of the same kind, with captions that say and leave out what `captions` says.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn captioned(
        &self,
        captions: WebCaptions,
        gathered: Gathered,
        seed: u64,
    ) -> Result<Arc<dyn Source>, EngineError> {
        let feed = self.feed("captioned", seed)?.with_captions(captions);
        Ok(Arc::new(ClipSource::new(feed).gathered(gathered)))
    }

    /// Pictures with captions that say everything; the first are those of the curriculum, if there is one.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn diffusion(
        &self,
        seed: u64,
        curriculum: Option<Curriculum>,
    ) -> Result<Arc<dyn Source>, EngineError> {
        let source = DiffusionSource::new(self.plain_feed("diffusion", seed)?);
        Ok(Arc::new(match curriculum {
            Some(curriculum) => source.with_curriculum(curriculum)?,
            None => source,
        }))
    }

    /// Text documents about scenes of all concepts: nouns reach the language model, drawings do not.
    ///
    /// # Errors
    /// As [`Self::feed`].
    pub fn language(
        &self,
        documents: LanguageConfig,
        seed: u64,
    ) -> Result<Arc<dyn Source>, EngineError> {
        let feed = self.world.language_feed(SceneConfig::default(), seed)?;
        Ok(Arc::new(LanguageSource::new(feed, documents)))
    }

    /// Token ids of singular and plural of each concept's noun, where they are words of their own.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn word_forms(&self) -> Result<Vec<(usize, usize)>, EngineError> {
        let mut forms = Vec::new();
        for concept in self.world.corpus().concepts() {
            let [noun, plural] =
                [&concept.noun, &concept.plural].map(|word| self.tokenizer.encode(word));
            if let ([noun], [plural]) = (&noun?[..], &plural?[..])
                && noun != plural
            {
                forms.push((*noun as usize, *plural as usize));
            }
        }
        Ok(forms)
    }

    /// Batches of a stage of the whole model; `seed` chooses the samples.
    ///
    /// # Errors
    /// Those of the stage's sources.
    pub fn stage_batches(
        &self,
        stage: &StageConfig,
        spec: &ModelSpec,
        seed: u64,
    ) -> Result<Batches, EngineError> {
        let context = SourceContext {
            seed,
            image_size: self.resolution,
            root: ".".into(),
            limits: ImageLimits::default(),
        };
        let sources = SourceRegistry::standard();
        batches::stage_batches(stage, spec, &self.tokenizer, &sources, &context)
    }

    /// Right-padded batches of text: `form` is rows and samples per row.
    ///
    /// # Errors
    /// `Data` for impossible sizes.
    pub fn text_batches(
        &self,
        source: Arc<dyn Source>,
        form: (usize, usize),
        spec: &ModelSpec,
    ) -> Result<Batches, EngineError> {
        let form = BatchForm {
            rows: form.0,
            samples_per_row: form.1,
            queries: 1,
            diffusion: false,
            count_first_image: false,
            error_ceiling: 0.0,
            crop: Crop::Center,
            seed: 0,
        };
        batches::batches(source, spec, &self.tokenizer, form)
    }
}
