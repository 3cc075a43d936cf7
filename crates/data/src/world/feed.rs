//! The built-in world: corpus, split, renderer, and feeds of scenes from parts of the split.

use std::sync::Arc;

use image::RgbImage;

use crate::DataError;
use crate::dice::Dice;
use crate::sample::SampleImage;
use crate::world::corpus::{Corpus, Role, Split, Style, Subset};
use crate::world::scene::{Captioner, Facts, Pool, Renderer, Scene, SceneConfig, SceneSampler};

/// Corpus, split and renderer, shared by all built-in sources and benchmarks.
#[derive(Clone, Debug)]
pub struct World {
    corpus: Arc<Corpus>,
    split: Arc<Split>,
    renderer: Renderer,
}

impl World {
    /// The world of the compiled-in corpus.
    ///
    /// # Errors
    /// As [`Corpus::builtin`].
    pub fn builtin(subset: Subset) -> Result<Self, DataError> {
        Ok(Self::new(Corpus::builtin(subset)?))
    }

    /// The world of any corpus.
    pub fn new(corpus: Corpus) -> Self {
        let corpus = Arc::new(corpus);
        let split = Arc::new(Split::new(&corpus));
        Self {
            renderer: Renderer::new(corpus.clone()),
            corpus,
            split,
        }
    }

    /// The corpus.
    pub fn corpus(&self) -> &Arc<Corpus> {
        &self.corpus
    }

    /// The split.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// The renderer.
    pub fn renderer(&self) -> &Renderer {
        &self.renderer
    }

    /// A captioner for the corpus.
    pub fn captioner(&self) -> Captioner {
        Captioner::new(self.corpus.clone())
    }

    /// Drawings with this role whose style satisfies `style`.
    pub fn pool(&self, role: Role, style: impl Fn(Style) -> bool) -> Pool {
        let drawings = self
            .split
            .drawings(role, |d| style(self.corpus.drawings()[d].style));
        Pool::new(&self.corpus, &drawings)
    }

    /// An endless feed of training scenes: drawings with [`Role::Train`] only.
    ///
    /// # Errors
    /// As [`SceneSampler::new`].
    pub fn training_feed(
        &self,
        scenes: SceneConfig,
        purpose: &'static str,
        seed: u64,
        resolution: u32,
    ) -> Result<SceneFeed, DataError> {
        self.feed(
            self.pool(Role::Train, |_| true),
            scenes,
            purpose,
            seed,
            resolution,
        )
    }

    /// An endless feed of scenes of all concepts for text without pictures: a language model may know
    /// every noun, whoever drew the thing. One artist's drawings stand for all, so that documents stay as they
    /// are when others join; they decide no more than which backgrounds a thing stands out from.
    ///
    /// # Errors
    /// As [`SceneSampler::new`].
    pub fn language_feed(&self, scenes: SceneConfig, seed: u64) -> Result<SceneFeed, DataError> {
        let drawings = self.corpus.drawings();
        let noto: Vec<usize> = (0..drawings.len())
            .filter(|drawing| drawings[*drawing].style == Style::Noto)
            .collect();
        self.feed(Pool::new(&self.corpus, &noto), scenes, "language", seed, 1)
    }

    /// An endless feed of scenes from any pool; for evaluation.
    ///
    /// # Errors
    /// As [`SceneSampler::new`].
    pub fn feed(
        &self,
        pool: Pool,
        scenes: SceneConfig,
        purpose: &'static str,
        seed: u64,
        resolution: u32,
    ) -> Result<SceneFeed, DataError> {
        let sampler = SceneSampler::new(self.renderer.clone(), Arc::new(pool), scenes)?;
        Ok(SceneFeed {
            sampler,
            captioner: self.captioner(),
            purpose,
            seed,
            resolution,
        })
    }
}

/// Scenes by index.
#[derive(Clone, Debug)]
pub struct SceneFeed {
    sampler: SceneSampler,
    captioner: Captioner,
    purpose: &'static str,
    seed: u64,
    resolution: u32,
}

/// A scene with its picture and a caption.
#[derive(Clone, Debug)]
pub struct ScenePair {
    /// `<purpose>/<index>`
    pub id: String,
    /// The scene.
    pub scene: Scene,
    /// What is true of it.
    pub facts: Facts,
    /// Its picture.
    pub image: RgbImage,
    /// Its caption.
    pub caption: String,
}

impl SceneFeed {
    /// The sampler.
    pub fn sampler(&self) -> &SceneSampler {
        &self.sampler
    }

    /// The captioner.
    pub fn captioner(&self) -> &Captioner {
        &self.captioner
    }

    /// Side of its pictures in pixels.
    pub fn resolution(&self) -> u32 {
        self.resolution
    }

    /// Random choices of one item: independent of its scene, which is drawn from the same stream first.
    pub(crate) fn dice(&self, index: u64) -> Dice {
        Dice::new(self.seed, self.purpose, index)
    }

    pub(crate) fn id(&self, index: u64) -> String {
        format!("{}/{index}", self.purpose)
    }

    /// Scene number `index` and its facts, and the stream to go on with.
    pub(crate) fn scene(&self, index: u64) -> Result<(Scene, Facts, Dice), DataError> {
        let mut dice = self.dice(index);
        let scene = self.sampler.sample(&mut dice);
        let facts = Facts::new(&scene, self.sampler.renderer().corpus())?;
        Ok((scene, facts, dice))
    }

    pub(crate) fn picture(&self, id: String, scene: &Scene) -> Result<SampleImage, DataError> {
        Ok(SampleImage {
            id,
            image: self.sampler.renderer().render(scene, self.resolution)?,
            mask: None,
        })
    }

    /// Scene number `index` with a caption, of its categories or in full.
    ///
    /// # Errors
    /// `Config` for an impossible resolution.
    pub fn pair(&self, index: u64, full: bool) -> Result<ScenePair, DataError> {
        let (scene, facts, mut dice) = self.scene(index)?;
        let caption = if full {
            self.captioner.full(&facts, &mut dice)
        } else {
            self.captioner.category(&facts, &mut dice)
        };
        let image = self.sampler.renderer().render(&scene, self.resolution)?;
        Ok(ScenePair {
            id: self.id(index),
            scene,
            facts,
            image,
            caption,
        })
    }
}

/// Ids of the drawings in a scene.
pub(crate) fn provenance(scene: &Scene) -> Vec<String> {
    let mut ids: Vec<String> = scene.objects.iter().map(|o| o.drawing.clone()).collect();
    ids.dedup();
    ids
}
