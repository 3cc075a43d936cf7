//! Makes the benchmarks of a split from scenes of the built-in world.
//!
//! RobustVQA and MMVP are mined: an encoder *other than the one under test* says which pictures are hard.
//! It enters as two functions, so that nothing here knows of models.

mod caption_pairs;
mod mmvp;
mod pope;
mod robust_vqa;

use std::sync::Arc;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::benchmark::{BenchmarkItems, Item, Mask, Picture, ROBUST_VQA_SETS};
use crate::dice::Dice;
use crate::world::World;
use crate::world::corpus::{DrawingIndex, Role};
use crate::world::scene::{
    Facts, Orientation, Pool, QuestionMix, Questioner, Scene, SceneConfig, SceneSampler,
};
use crate::world::source::group_mask;

pub use caption_pairs::{CaptionPair, caption_pairs, values_seen};

/// Scores of every concept of the corpus (in its order) for each picture; the largest is the class.
pub type Classifier<'a> = &'a dyn Fn(&[RgbImage]) -> Vec<Vec<f32>>;
/// An embedding of each picture; compared by cosine.
pub type Embedder<'a> = &'a dyn Fn(&[RgbImage]) -> Vec<Vec<f32>>;

/// Sizes of the benchmarks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BenchmarkConfig {
    /// Seed of the scenes.
    pub seed: u64,
    /// Side of the pictures in pixels.
    pub resolution: u32,
    /// Pictures of each RobustVQA part; two questions each.
    pub robust_images: usize,
    /// Questions of each POPE part.
    pub pope_questions: usize,
    /// MMVP pairs, divided evenly among six patterns; two questions each.
    pub mmvp_pairs: usize,
    /// Region descriptions.
    pub regions: usize,
    /// Candidates per kept item in mining.
    pub candidates: usize,
}

impl Default for BenchmarkConfig {
    fn default() -> Self {
        Self {
            seed: 20_240_523,
            resolution: 64,
            robust_images: 200,
            pope_questions: 240,
            mmvp_pairs: 240,
            regions: 120,
            candidates: 6,
        }
    }
}

/// Name of the questions about what was never trained on, by themselves: RobustVQA's, on drawings of a never-seen
/// style ([`UNSEEN_SETS`]) and of unseen concepts.
pub const UNSEEN: &str = "unseen";

/// Parts of [`UNSEEN`].
pub const UNSEEN_SETS: [&str; 2] = ["style", "concepts"];

/// Builds the benchmarks from drawings of one role: `robust_vqa`, `pope`, `mmvp`, `region` and [`UNSEEN`].
///
/// `interrupted` is asked now and then.
///
/// # Errors
/// `Config` if the role is `Train` or a size does not fit; `Empty` if the split has no drawing for a benchmark;
/// `Malformed` if a function returns another number of rows, or a row of another length, than asked for;
/// `Interrupted` once `interrupted` says so.
pub fn build_benchmarks(
    world: &World,
    config: &BenchmarkConfig,
    role: Role,
    classifier: Classifier<'_>,
    embedder: Embedder<'_>,
    interrupted: &dyn Fn() -> bool,
) -> Result<Vec<BenchmarkItems>, DataError> {
    let builder = Builder::new(world, config, role, interrupted)?;
    let robust_vqa = |sets: &[&str]| -> Result<Vec<Item>, DataError> {
        let mut items = Vec::new();
        for set in sets {
            items.extend(builder.robust_vqa(set, classifier)?);
        }
        Ok(items)
    };
    let built = [
        ("robust_vqa", robust_vqa(&ROBUST_VQA_SETS)?),
        ("pope", builder.pope()?),
        ("mmvp", mmvp::pairs(&builder, embedder)?),
        ("region", builder.regions()?),
        (UNSEEN, robust_vqa(&UNSEEN_SETS)?),
    ];
    let named = built.into_iter().map(|(name, items)| BenchmarkItems {
        name: name.to_owned(),
        items,
    });
    Ok(named.collect())
}

struct Builder<'a> {
    world: &'a World,
    config: &'a BenchmarkConfig,
    role: Role,
    interrupted: &'a dyn Fn() -> bool,
}

/// Rows per call of the classifier or embedder.
const CHUNK: usize = 64;

impl<'a> Builder<'a> {
    /// A builder of questions about drawings of one role.
    fn new(
        world: &'a World,
        config: &'a BenchmarkConfig,
        role: Role,
        interrupted: &'a dyn Fn() -> bool,
    ) -> Result<Self, DataError> {
        if role == Role::Train {
            return Err(DataError::config(
                "role",
                "benchmarks are made of validation or test drawings",
            ));
        }
        Ok(Self {
            world,
            config,
            role,
            interrupted,
        })
    }

    /// A sampler over the drawings that questions are usually about.
    fn asked(&self, scenes: SceneConfig) -> Result<SceneSampler, DataError> {
        self.sampler(scenes, |drawing| self.world.is_asked(drawing))
    }

    /// A sampler over the evaluation drawings that `keep` admits.
    fn sampler(
        &self,
        scenes: SceneConfig,
        keep: impl Fn(DrawingIndex) -> bool,
    ) -> Result<SceneSampler, DataError> {
        let drawings = self.world.split().drawings(self.role, keep);
        let pool = Pool::new(self.world.corpus(), &drawings);
        SceneSampler::new(self.world.renderer().clone(), Arc::new(pool), scenes)
    }

    /// A place where building may be stopped.
    fn go_on(&self) -> Result<(), DataError> {
        if (self.interrupted)() {
            Err(DataError::Interrupted)
        } else {
            Ok(())
        }
    }

    fn dice(&self, purpose: &str, index: u64) -> Dice {
        Dice::new(
            self.config.seed,
            &format!("{:?} {purpose}", self.role),
            index,
        )
    }

    fn render(&self, scene: &Scene) -> Result<RgbImage, DataError> {
        self.world.renderer().render(scene, self.config.resolution)
    }

    fn facts(&self, scene: &Scene) -> Result<Facts, DataError> {
        Facts::new(scene, self.world.corpus())
    }

    fn questioner(&self) -> Questioner {
        Questioner::new(self.world.captioner(), QuestionMix::default())
    }

    fn regions(&self) -> Result<Vec<Item>, DataError> {
        let sampler = self.asked(self.world.design().scenes.clone())?;
        let captioner = self.world.captioner();
        (0..self.config.regions as u64)
            .map(|index| {
                self.go_on()?;
                let mut dice = self.dice("region", index);
                let scene = sampler.sample(&mut dice);
                let facts = self.facts(&scene)?;
                let group = dice.below(facts.groups.len());
                let rendered = self
                    .world
                    .renderer()
                    .render_with_masks(&scene, self.config.resolution)?;
                let mask = group_mask(&rendered, &facts, group);
                let id = format!("region_{index:04}.png");
                let reference = captioner.region_reference(&facts.groups[group]);
                let mut answers = vec![reference];
                // Uprightness may be said or left unsaid.
                let upright = format!("{} {}", answers[0], Orientation::Upright.words());
                if facts.groups[group].orientation == Some(Orientation::Upright) {
                    answers.push(upright);
                }
                Ok(Item {
                    mask: Some(Mask::Pixels(Arc::new(mask))),
                    answers,
                    provenance: drawings(&scene),
                    ..Item::new(
                        format!("region/{}", index + 1),
                        "captions",
                        Picture::Memory {
                            id,
                            image: Arc::new(rendered.image),
                        },
                    )
                })
            })
            .collect()
    }
}

fn check_rows(name: &str, rows: &[Vec<f32>], wanted: usize) -> Result<(), DataError> {
    if rows.len() == wanted {
        Ok(())
    } else {
        Err(DataError::malformed(
            name,
            "rows",
            format!("{wanted}, one a picture"),
            rows.len().to_string(),
        ))
    }
}

/// Ids of the drawings in a scene.
fn drawings(scene: &Scene) -> Vec<String> {
    let mut ids: Vec<String> = scene.objects.iter().map(|o| o.drawing.clone()).collect();
    ids.dedup();
    ids
}
