//! RobustVQA by hard-example mining: pictures that an encoder mistakes, with its mistake as the label of
//! the question whose answer is no.

use std::sync::Arc;

use image::RgbImage;

use super::{Builder, CHUNK, Classifier, check_rows, drawings};
use crate::DataError;
use crate::benchmark::{Item, Picture, robust_questions};
use crate::world::Casting;
use crate::world::corpus::{DrawingIndex, Part};
use crate::world::scene::{Arrangement, Draft, Scene, SceneConfig};

/// Drawings that part A has at least, however good the classifier is.
const LEAST_HARD: usize = 12;

/// A picture with its concept and the concept it is most easily mistaken for.
struct Candidate {
    scene: Scene,
    image: RgbImage,
    truth: usize,
    mistake: usize,
    /// Score of the mistake above that of the truth.
    margin: f32,
}

impl Builder<'_> {
    /// One large object per picture; only pictures that the classifier gets wrong are kept, and its
    /// mistake is the label of the second question. If it is wrong too rarely, near mistakes fill up.
    pub(super) fn robust_vqa(
        &self,
        set: &str,
        classifier: Classifier<'_>,
    ) -> Result<Vec<Item>, DataError> {
        let wanted = self.config.robust_images;
        let mut kept: Vec<Candidate> = Vec::new();
        let mut near: Vec<Candidate> = Vec::new();
        for candidate in self.robust_candidates(set, classifier)? {
            if kept.len() == wanted {
                break;
            }
            if candidate.margin > 0.0 {
                kept.push(candidate);
            } else {
                near.push(candidate);
            }
        }
        if kept.len() < wanted {
            let mistaken = kept.len();
            tracing::info!(set, mistaken, wanted, "filled up with near mistakes");
            near.sort_by(|a, b| b.margin.total_cmp(&a.margin));
            kept.extend(near.into_iter().take(wanted - mistaken));
        }
        let noun = |concept: usize| self.world.corpus().concepts()[concept].noun.as_str();
        let mut items = Vec::new();
        for (number, kept) in kept.into_iter().enumerate() {
            let id = format!("robustvqa_{}_{number:04}.png", set.to_lowercase());
            let picture = Picture::Memory {
                id: id.clone(),
                image: Arc::new(kept.image),
            };
            let labels = [noun(kept.truth), noun(kept.mistake)];
            let drawings = drawings(&kept.scene);
            items.extend(robust_questions(set, &picture, &id, labels, &drawings));
        }
        Ok(items)
    }

    /// Candidates in the order of generation. `V` has captioned styles, `R` web styles, `A` what the classifier gets wrong of both; the sets of [`super::UNSEEN`] have what their names say.
    fn robust_candidates(
        &self,
        set: &str,
        classifier: Classifier<'_>,
    ) -> Result<Vec<Candidate>, DataError> {
        let scenes = SceneConfig {
            single: 1.0,
            turned: 0.25,
            tinted: 0.25,
            ..SceneConfig::default()
        };
        let hard = match set {
            "A" => self.hard_drawings(classifier)?,
            _ => Vec::new(),
        };
        let sampler = self.sampler(scenes, |drawing| {
            let casting = self.world.casting(drawing);
            match set {
                "A" => hard.contains(&drawing),
                "V" => self.is_usual(drawing) && casting == Casting::Captioned,
                "R" => self.is_usual(drawing) && casting != Casting::Captioned,
                "style" => self.world.is_known(drawing) && casting == Casting::NeverSeen,
                _ => !self.world.is_known(drawing) && casting == Casting::Captioned,
            }
        })?;
        let count = (self.config.robust_images * self.config.candidates.max(1)) as u64;
        let scenes: Vec<Scene> = (0..count)
            .map(|index| sampler.sample(&mut self.dice(set, index)))
            .collect();
        self.classified(scenes, classifier)
    }

    /// Evaluation drawings that the classifier gets wrong when shown plainly, and in any case the
    /// hardest few.
    fn hard_drawings(&self, classifier: Classifier<'_>) -> Result<Vec<DrawingIndex>, DataError> {
        let plain = SceneConfig {
            turned: 0.0,
            tinted: 0.0,
            mirrored: 0.0,
            ..SceneConfig::default()
        };
        let sampler = self.sampler(plain, |drawing| self.is_usual(drawing))?;
        let usual = |drawing| self.is_usual(drawing);
        let all = self.world.split().drawings(self.role, usual);
        let scenes = all.iter().map(|drawing| {
            let draft = Draft {
                drawings: vec![*drawing],
                arrangement: Some(Arrangement::Single),
                counts: Some(vec![1]),
                ..Draft::default()
            };
            sampler.sample_like(&draft, &mut self.dice("plain", *drawing as u64))
        });
        let shown = self.classified(scenes.collect(), classifier)?;
        let mut order: Vec<usize> = (0..shown.len()).collect();
        order.sort_by(|a, b| shown[*b].margin.total_cmp(&shown[*a].margin));
        let hard = order.into_iter().enumerate();
        let hard = hard.filter(|(rank, i)| shown[*i].margin > 0.0 || *rank < LEAST_HARD);
        Ok(hard.map(|(_, i)| all[i]).collect())
    }

    /// Renders scenes of one concept each and asks the classifier. Only trained concepts count as
    /// mistakes: a name that the model never saw a picture of would be no temptation.
    fn classified(
        &self,
        scenes: Vec<Scene>,
        classifier: Classifier<'_>,
    ) -> Result<Vec<Candidate>, DataError> {
        let classes = self.world.corpus().concepts().len();
        let mut candidates = Vec::with_capacity(scenes.len());
        let mut scenes = scenes.into_iter().peekable();
        while scenes.peek().is_some() {
            self.go_on()?;
            let chunk: Vec<Scene> = scenes.by_ref().take(CHUNK).collect();
            let images: Vec<RgbImage> = chunk
                .iter()
                .map(|s| self.render(s))
                .collect::<Result<_, _>>()?;
            let rows = classifier(&images);
            check_rows("classifier", &rows, images.len())?;
            for ((scene, image), scores) in chunk.into_iter().zip(images).zip(rows) {
                if scores.len() != classes {
                    let expected = format!("{classes} scores a picture");
                    return Err(DataError::malformed(
                        "classifier",
                        "scores",
                        expected,
                        scores.len().to_string(),
                    ));
                }
                let truth = self.facts(&scene)?.groups[0].concept;
                let others = (0..classes).filter(|c| *c != truth && self.is_trained(*c));
                if let Some(mistake) = others.max_by(|a, b| scores[*a].total_cmp(&scores[*b])) {
                    let margin = scores[mistake] - scores[truth];
                    candidates.push(Candidate {
                        scene,
                        image,
                        truth,
                        mistake,
                        margin,
                    });
                }
            }
        }
        Ok(candidates)
    }

    /// Whether RobustVQA's own sets may show a drawing: one of what was trained on.
    fn is_usual(&self, drawing: DrawingIndex) -> bool {
        self.world.is_known(drawing) && self.world.casting(drawing) != Casting::NeverSeen
    }

    fn is_trained(&self, concept: usize) -> bool {
        self.world.split().part(concept) == Part::Train
    }
}
