//! The built-in world: corpus, split, renderer, and feeds of scenes from parts of the split.

use std::sync::Arc;

use image::RgbImage;

use crate::DataError;
use crate::dice::Dice;
use crate::sample::SampleImage;
use crate::world::augment::Augmentation;
use crate::world::corpus::{Corpus, Drawing, DrawingIndex, Part, Role, Split, Style, Subset};
use crate::world::design::{Casting, Design};
use crate::world::scene::{
    Captioner, Facts, Pool, Renderer, Scene, SceneConfig, SceneSampler, WebCaptions,
};

/// Design, corpus, split and renderer, shared by all built-in sources and benchmarks.
#[derive(Clone, Debug)]
pub struct World {
    design: Arc<Design>,
    corpus: Arc<Corpus>,
    split: Arc<Split>,
    renderer: Renderer,
}

impl World {
    /// The world as it is unless told otherwise.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn builtin() -> Result<Self, DataError> {
        Self::of(Design::default())
    }

    /// The world of a design, of the compiled-in corpus.
    ///
    /// # Errors
    /// As [`Corpus::in_styles`]; `Config` naming a field of the design that is out of range.
    pub fn of(design: Design) -> Result<Self, DataError> {
        let styles: Vec<_> = design.styles.iter().map(|(style, _)| *style).collect();
        let corpus = Corpus::in_styles(Subset::Extended, &styles)?;
        Self::new(corpus, design)
    }

    /// The world of any corpus.
    ///
    /// # Errors
    /// `Config` naming a field of the design that is out of range.
    pub fn new(corpus: Corpus, design: Design) -> Result<Self, DataError> {
        design.captions.validate()?;
        design.augmentation.validate()?;
        let corpus = Arc::new(corpus);
        let split = Arc::new(Split::new(&corpus, &design));
        Ok(Self {
            design: Arc::new(design),
            renderer: Renderer::new(corpus.clone()),
            corpus,
            split,
        })
    }

    /// The design.
    pub fn design(&self) -> &Design {
        &self.design
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

    /// What the style of a drawing is for.
    ///
    /// # Panics
    /// If the drawing is not of this corpus.
    pub fn casting(&self, drawing: DrawingIndex) -> Casting {
        self.design.casting(self.corpus.drawings()[drawing].style)
    }

    /// Whether the concept of a drawing is trained on.
    ///
    /// # Panics
    /// If the drawing is not of this corpus.
    pub fn is_known(&self, drawing: DrawingIndex) -> bool {
        self.split.part(self.corpus.drawings()[drawing].concept) == Part::Train
    }

    /// Drawings with this role that satisfy `keep`.
    pub fn pool(&self, role: Role, keep: impl Fn(&Drawing) -> bool) -> Pool {
        let drawings = self
            .split
            .drawings(role, |d| keep(&self.corpus.drawings()[d]));
        Pool::new(&self.corpus, &drawings)
    }

    /// Drawings with this role that questions are about, unless a benchmark asks for other ones: those of known concepts in
    /// captioned styles.
    pub fn asked(&self, role: Role) -> Pool {
        let asked = self.split.drawings(role, |d| self.is_asked(d));
        Pool::new(&self.corpus, &asked)
    }

    /// Whether a drawing is one of [`Self::asked`], if it has the role.
    pub(crate) fn is_asked(&self, drawing: DrawingIndex) -> bool {
        self.is_known(drawing) && self.casting(drawing) == Casting::Captioned
    }

    /// An endless feed of training scenes in captioned styles: drawings with [`Role::Train`] only.
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
        let captioned = |casting| casting == Casting::Captioned;
        self.varied(captioned, scenes, purpose, seed, resolution)
    }

    /// An endless feed of training scenes in all styles that are trained on, mixed within a scene and drawn as they are:
    /// what the diffusion model has described.
    ///
    /// # Errors
    /// As [`SceneSampler::new`].
    pub fn described_feed(
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

    /// An endless feed of training scenes in web styles, whose captions name nothing unless the design's say so.
    ///
    /// # Errors
    /// As [`SceneSampler::new`].
    pub fn web_feed(
        &self,
        scenes: SceneConfig,
        purpose: &'static str,
        seed: u64,
        resolution: u32,
    ) -> Result<SceneFeed, DataError> {
        let web = |casting| casting == Casting::Web;
        let feed = self.varied(web, scenes, purpose, seed, resolution)?;
        Ok(match self.design.captions.web_styles {
            true => feed,
            false => feed.with_captions(WebCaptions::UNNAMED),
        })
    }

    /// A feed of training drawings in styles that are `cast` so, as training sees them.
    fn varied(
        &self,
        cast: impl Fn(Casting) -> bool,
        scenes: SceneConfig,
        purpose: &'static str,
        seed: u64,
        resolution: u32,
    ) -> Result<SceneFeed, DataError> {
        let pool = self.pool(Role::Train, |d| cast(self.design.casting(d.style)));
        let feed = self.feed(pool, scenes, purpose, seed, resolution)?;
        Ok(SceneFeed {
            augmentation: Some(self.design.augmentation.clone()),
            ..feed
        })
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

    /// An endless feed of scenes from any pool, drawn as they are; for evaluation.
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
            captions: self.design.captions,
            augmentation: None,
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
    /// What its captions leave out.
    captions: WebCaptions,
    augmentation: Option<Augmentation>,
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

    /// The same drawings in scenes of other odds.
    ///
    /// # Errors
    /// As [`SceneSampler::new`].
    pub(crate) fn in_scenes(&self, scenes: SceneConfig) -> Result<Self, DataError> {
        self.sampling(self.sampler.pool().clone(), scenes)
    }

    /// Scenes in which only these of the concepts are drawn.
    ///
    /// # Errors
    /// As [`SceneSampler::new`].
    pub(crate) fn of_concepts(&self, concepts: &[usize]) -> Result<Self, DataError> {
        let pool = self.sampler.pool().only(concepts);
        self.sampling(Arc::new(pool), self.sampler.config().clone())
    }

    fn sampling(&self, pool: Arc<Pool>, scenes: SceneConfig) -> Result<Self, DataError> {
        Ok(Self {
            sampler: SceneSampler::new(self.sampler.renderer().clone(), pool, scenes)?,
            ..self.clone()
        })
    }

    /// The same pictures, with captions that say and leave out what `captions` says, whose shares are
    /// [in range](WebCaptions::validate).
    #[must_use]
    pub fn with_captions(self, captions: WebCaptions) -> Self {
        Self { captions, ..self }
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

    /// What is true of scene number `index`, which is not drawn.
    ///
    /// # Errors
    /// As [`Facts::new`].
    pub fn facts(&self, index: u64) -> Result<Facts, DataError> {
        Ok(self.scene(index)?.1)
    }

    /// The picture of a scene, as it varies in training if the feed is for training: the same for the same name.
    pub(crate) fn picture(&self, id: String, scene: &Scene) -> Result<SampleImage, DataError> {
        let mut image = self.sampler.renderer().render(scene, self.resolution)?;
        if let Some(augmentation) = &self.augmentation {
            let mut dice = Dice::new(self.seed, &format!("augmentation {id}"), 0);
            image = augmentation.apply(&image, &mut dice)?;
        }
        Ok(SampleImage {
            id,
            image,
            mask: None,
        })
    }

    /// A caption as pictures have it where nobody describes them: what the design's captions say of what is there.
    pub(crate) fn usual_caption(&self, facts: &Facts, dice: &mut Dice) -> String {
        // What captions say shows the same pictures, whatever it is.
        self.captioner.web(facts, &self.captions, &mut dice.fork())
    }

    /// Scene number `index` with a caption, a usual one or a dense one, which says everything.
    ///
    /// # Errors
    /// `Config` for an impossible resolution.
    pub fn pair(&self, index: u64, dense: bool) -> Result<ScenePair, DataError> {
        let (scene, facts, mut dice) = self.scene(index)?;
        let caption = if dense {
            self.captioner.dense(&facts, &mut dice)
        } else {
            self.usual_caption(&facts, &mut dice)
        };
        let SampleImage { id, image, .. } = self.picture(self.id(index), &scene)?;
        Ok(ScenePair {
            id,
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
