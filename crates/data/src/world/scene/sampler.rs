//! Draws random scenes: which objects, how many, where, which way, in what colours.

use std::sync::Arc;

use super::config::SceneConfig;
use super::pool::Pool;
use super::render::Renderer;
use super::slots::slots;
use super::spec::{Arrangement, Background, Object, Orientation, Scene, Tint};
use crate::DataError;
use crate::dice::Dice;
use crate::world::corpus::DrawingIndex;

/// What a scene must have; everything left out is random.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Drawings of the first groups.
    pub drawings: Vec<DrawingIndex>,
    /// Concepts that must not occur.
    pub without: Vec<usize>,
    /// The arrangement.
    pub arrangement: Option<Arrangement>,
    /// Number of objects of each group; also fixes how many groups there are.
    pub counts: Option<Vec<usize>>,
}

/// Draws scenes from a pool.
#[derive(Clone, Debug)]
pub struct SceneSampler {
    renderer: Renderer,
    pool: Arc<Pool>,
    config: SceneConfig,
}

/// An object must differ from the background by this much.
const MIN_CONTRAST: f32 = 90.0;

impl SceneSampler {
    /// A sampler over `pool`.
    ///
    /// # Errors
    /// `Empty` if the pool has no drawing, `Config` for odds outside `[0, 1]` or all zero.
    pub fn new(
        renderer: Renderer,
        pool: Arc<Pool>,
        config: SceneConfig,
    ) -> Result<Self, DataError> {
        if pool.concepts().is_empty() {
            return Err(DataError::Empty {
                what: "pool of drawings".into(),
                hint: "no drawing of the corpus has the role and style asked for".into(),
            });
        }
        config.validate()?;
        Ok(Self {
            renderer,
            pool,
            config,
        })
    }

    /// Odds of what its scenes look like.
    pub(crate) fn config(&self) -> &SceneConfig {
        &self.config
    }

    /// The drawings it uses.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The renderer its scenes are for.
    pub fn renderer(&self) -> &Renderer {
        &self.renderer
    }

    /// A random scene.
    pub fn sample(&self, dice: &mut Dice) -> Scene {
        self.sample_like(&Draft::default(), dice)
    }

    /// A random scene that satisfies a draft. Drawings that the draft repeats by family are kept.
    pub fn sample_like(&self, draft: &Draft, dice: &mut Dice) -> Scene {
        let counts = self.counts(draft, dice);
        let total: usize = counts.iter().sum();
        let arrangement = draft.arrangement.unwrap_or_else(|| match total {
            1 if dice.chance(self.share_of_large()) => Arrangement::Single,
            1 => Arrangement::Corner,
            2 | 3 => dice.one([Arrangement::Row, Arrangement::Column, Arrangement::Diagonal]),
            _ => Arrangement::Grid,
        });
        let drawings = self.drawings(draft, counts.len(), dice);
        let (slots, size) = slots(arrangement, total, dice);
        let mut objects = Vec::with_capacity(total);
        let mut next = slots.into_iter();
        for (group, (drawing, count)) in drawings.into_iter().zip(&counts).enumerate() {
            let corpus = self.renderer.corpus();
            let orientable = corpus.concepts()[corpus.drawings()[drawing].concept].orientable;
            let turned = dice.chance(self.config.turned);
            let turn = dice.one([
                Orientation::TurnedLeft,
                Orientation::UpsideDown,
                Orientation::TurnedRight,
            ]);
            let tinted = dice.chance(self.config.tinted);
            let colour = dice.one([
                Tint::Red,
                Tint::Yellow,
                Tint::Green,
                Tint::Blue,
                Tint::Purple,
            ]);
            let mirrored = dice.chance(self.config.mirrored);
            for center in next.by_ref().take(*count) {
                objects.push(Object {
                    drawing: corpus.drawings()[drawing].id.clone(),
                    group,
                    center,
                    size,
                    orientation: if turned && orientable {
                        turn
                    } else {
                        Orientation::Upright
                    },
                    mirrored,
                    tint: if tinted { colour } else { Tint::Natural },
                });
            }
        }
        if self.config.others < 1.0 && counts.len() > 1 {
            let main = dice.below(counts.len());
            let others = objects.iter_mut().filter(|o| o.group != main);
            others.for_each(|o| o.size *= self.config.others);
        }
        let background = self.background(&objects, dice);
        Scene {
            background,
            shade: dice.between(0.94, 1.04),
            arrangement,
            objects,
        }
    }

    /// A background colour from which every object stands out; the best of several draws.
    pub(crate) fn background(&self, objects: &[Object], dice: &mut Dice) -> Background {
        let mut best = (f32::MIN, Background::White);
        for _ in 0..8 {
            let colour = *dice.pick(Background::ALL).unwrap_or(&Background::White);
            let contrast = self.contrast(objects, colour);
            if contrast >= MIN_CONTRAST {
                return colour;
            }
            if contrast > best.0 {
                best = (contrast, colour);
            }
        }
        best.1
    }

    /// Contrast of the least visible object.
    fn contrast(&self, objects: &[Object], colour: Background) -> f32 {
        objects
            .iter()
            .map(|o| {
                self.renderer
                    .contrast(&o.drawing, o.tint, colour.rgb())
                    .unwrap_or(0.0)
            })
            .fold(f32::MAX, f32::min)
    }

    /// Whether every object of a scene stands out from its background.
    pub fn is_visible(&self, scene: &Scene) -> bool {
        self.contrast(&scene.objects, scene.background) >= MIN_CONTRAST
    }

    /// Probability that a scene of one object shows it large.
    fn share_of_large(&self) -> f32 {
        let weights = &self.config.objects;
        let small = (1.0 - self.config.single) * weights[0] / weights.iter().sum::<f32>();
        self.config.single / (self.config.single + small).max(f32::MIN_POSITIVE)
    }

    /// Objects of each group.
    fn counts(&self, draft: &Draft, dice: &mut Dice) -> Vec<usize> {
        if let Some(counts) = &draft.counts {
            return counts.clone();
        }
        let drafted = draft.drawings.len();
        let total = match draft.arrangement {
            Some(Arrangement::Single | Arrangement::Corner) => 1,
            Some(Arrangement::Row | Arrangement::Column | Arrangement::Diagonal) => {
                2 + dice.below(2)
            }
            Some(Arrangement::Grid) => 4 + dice.below(2),
            None if dice.chance(self.config.single) => 1,
            None => 1 + dice.weighted(&self.config.objects).unwrap_or(0),
        }
        .max(drafted);
        let most = total.min(3).min(self.pool.concepts().len());
        let groups = (1 + dice
            .weighted(&self.config.groups[..most.max(1)])
            .unwrap_or(0))
        .max(drafted);
        let mut counts = vec![1; groups];
        for _ in groups..total {
            let at = dice.below(groups);
            counts[at] += 1;
        }
        counts
    }

    fn drawings(&self, draft: &Draft, groups: usize, dice: &mut Dice) -> Vec<DrawingIndex> {
        let corpus = self.renderer.corpus();
        let family = |concept: usize| corpus.concepts()[concept].family.as_str();
        let mut chosen = draft.drawings.clone();
        let mut concepts: Vec<usize> = chosen
            .iter()
            .map(|d| corpus.drawings()[*d].concept)
            .collect();
        while chosen.len() < groups {
            let free = |c: &usize| {
                !draft.without.contains(c) && concepts.iter().all(|o| family(*o) != family(*c))
            };
            let companions: Vec<usize> =
                if !concepts.is_empty() && dice.chance(self.config.companions) {
                    concepts
                        .iter()
                        .flat_map(|c| self.pool.companions_of(*c))
                        .filter(|c| free(c))
                        .collect()
                } else {
                    Vec::new()
                };
            let candidates = if companions.is_empty() {
                self.pool
                    .concepts()
                    .iter()
                    .copied()
                    .filter(|c| free(c))
                    .collect()
            } else {
                companions
            };
            let weights: Vec<f32> = candidates.iter().map(|c| self.pool.weight(*c)).collect();
            let concept = match dice.weighted(&weights) {
                Some(index) => candidates[index],
                None => self.pool.concepts()[dice.below(self.pool.concepts().len())],
            };
            concepts.push(concept);
            let own = self.pool.drawings_of(concept);
            chosen.push(own[dice.below(own.len())]);
        }
        // Which group comes first in reading order should not tell how it was chosen.
        if draft.counts.is_none() && draft.drawings.is_empty() {
            dice.shuffle(&mut chosen);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Design;
    use crate::world::corpus::{Corpus, Role, Split, Subset};
    use crate::world::scene::{Facts, Position};

    fn sampler() -> SceneSampler {
        let corpus = Arc::new(Corpus::builtin(Subset::Core).unwrap());
        let split = Split::new(&corpus, &Design::default());
        let drawings = split.drawings(Role::Train, |_| true);
        let pool = Arc::new(Pool::new(&corpus, &drawings));
        SceneSampler::new(Renderer::new(corpus), pool, SceneConfig::default()).unwrap()
    }

    #[test]
    fn objects_lie_inside_and_do_not_overlap() {
        let sampler = sampler();
        for index in 0..500 {
            let scene = sampler.sample(&mut Dice::new(1, "scene", index));
            for (i, a) in scene.objects.iter().enumerate() {
                let half = a.size / 2.0;
                assert!(
                    a.center
                        .iter()
                        .all(|c| *c - half > -0.02 && *c + half < 1.02),
                    "{scene:?}"
                );
                for b in &scene.objects[..i] {
                    let gap = (a.center[0] - b.center[0])
                        .abs()
                        .max((a.center[1] - b.center[1]).abs());
                    assert!(gap > 0.97 * (a.size + b.size) / 2.0 - 0.02, "{scene:?}");
                }
            }
        }
    }

    #[test]
    fn every_attribute_occurs_and_scenes_repeat_exactly() {
        let sampler = sampler();
        let scenes: Vec<Scene> = (0..600)
            .map(|i| sampler.sample(&mut Dice::new(2, "scene", i)))
            .collect();
        assert_eq!(scenes[17], sampler.sample(&mut Dice::new(2, "scene", 17)));
        for total in 1..=5 {
            assert!(scenes.iter().any(|s| s.objects.len() == total));
        }
        for arrangement in Arrangement::ALL {
            assert!(
                scenes.iter().any(|s| s.arrangement == *arrangement),
                "{arrangement:?}"
            );
        }
        for background in Background::ALL {
            assert!(
                scenes
                    .iter()
                    .filter(|s| s.background == *background)
                    .count()
                    > 20,
                "{background:?}"
            );
        }
        let facts: Vec<Facts> = scenes
            .iter()
            .map(|s| Facts::new(s, sampler.renderer().corpus()).unwrap())
            .collect();
        for position in Position::ALL {
            let found = facts
                .iter()
                .flat_map(|f| &f.groups)
                .any(|g| g.position == Some(*position));
            assert!(found, "{position:?}");
        }
    }

    #[test]
    fn drafts_are_kept() {
        let sampler = sampler();
        let drawing = sampler.pool().drawings_of(sampler.pool().concepts()[3])[0];
        let without = sampler.pool().concepts()[4];
        let draft = Draft {
            drawings: vec![drawing],
            without: vec![without],
            arrangement: Some(Arrangement::Column),
            counts: Some(vec![1, 2]),
        };
        for index in 0..50 {
            let scene = sampler.sample_like(&draft, &mut Dice::new(3, "draft", index));
            let facts = Facts::new(&scene, sampler.renderer().corpus()).unwrap();
            assert_eq!(
                scene.objects[0].drawing,
                sampler.renderer().corpus().drawings()[drawing].id
            );
            assert_eq!(
                facts.groups.iter().map(|g| g.count).collect::<Vec<_>>(),
                [1, 2]
            );
            assert!(!facts.has(without));
            assert_eq!(facts.arrangement, Arrangement::Column);
        }
    }

    #[test]
    fn one_thing_is_the_main_one_where_others_are_smaller() {
        let equal = sampler();
        let config = SceneConfig {
            others: 0.5,
            ..SceneConfig::default()
        };
        let corpus = equal.renderer().corpus().clone();
        let sampler =
            SceneSampler::new(equal.renderer().clone(), equal.pool().clone(), config).unwrap();
        let mut main = [0; 3];
        for index in 0..1500 {
            let scene = sampler.sample(&mut Dice::new(5, "main", index));
            let facts = Facts::new(&scene, &corpus).unwrap();
            let size = |group: usize| scene.objects[facts.groups[group].objects[0]].size;
            main[facts.main] += usize::from(facts.groups.len() == 3);
            for group in (0..facts.groups.len()).filter(|g| *g != facts.main) {
                assert!(
                    (size(group) / size(facts.main) - 0.5).abs() < 1e-6,
                    "{scene:?}"
                );
            }
        }
        assert!(main.iter().all(|times| *times > 5), "any of them: {main:?}");
        let config = SceneConfig {
            others: 0.0,
            ..SceneConfig::default()
        };
        let refused = SceneSampler::new(equal.renderer().clone(), equal.pool().clone(), config);
        assert!(refused.unwrap_err().to_string().contains("scene.others"));
    }
}
