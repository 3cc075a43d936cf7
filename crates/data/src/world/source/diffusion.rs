//! Pairs of a picture and a dense caption, for the text-conditioned diffusion model: it can teach only
//! what its captions made it listen to.

use serde::{Deserialize, Serialize};

use super::clip::captioned;
use crate::DataError;
use crate::sample::Sample;
use crate::source::Source;
use crate::world::feed::{SceneFeed, ScenePair};
use crate::world::scene::SceneConfig;

/// What the first pairs show: what a noun looks like is learned from one large thing, and its direction once that is
/// known (curriculum learning; Bengio et al., 2009).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curriculum {
    /// Pairs before this one show one upright thing.
    pub upright: u64,
    /// Pairs from there on and before this one show one thing, each way up as often. Later ones are as they are in the
    /// feed.
    pub single: u64,
}

/// Picture and dense caption.
#[derive(Clone, Debug)]
pub struct DiffusionSource {
    feed: SceneFeed,
    /// Where lessons end, in order, and their feeds.
    lessons: Vec<(u64, SceneFeed)>,
}

impl DiffusionSource {
    /// Pairs from a feed.
    pub fn new(feed: SceneFeed) -> Self {
        let lessons = Vec::new();
        Self { feed, lessons }
    }

    /// Pairs of which the first are easy.
    ///
    /// # Errors
    /// Those of the scene sampler.
    pub fn with_curriculum(mut self, curriculum: Curriculum) -> Result<Self, DataError> {
        let lesson = |turned| {
            self.feed.in_scenes(SceneConfig {
                single: 1.0,
                turned,
                ..self.feed.sampler().config().clone()
            })
        };
        self.lessons = vec![
            (curriculum.upright, lesson(0.0)?),
            (curriculum.single, lesson(0.75)?),
        ];
        Ok(self)
    }

    /// Pair number `index`.
    ///
    /// # Errors
    /// As [`SceneFeed::pair`].
    pub fn pair(&self, index: u64) -> Result<ScenePair, DataError> {
        let lesson = self.lessons.iter().find(|(end, _)| index < *end);
        let feed = lesson.map_or(&self.feed, |(_, feed)| feed);
        feed.pair(index, true)
    }
}

impl Source for DiffusionSource {
    fn len(&self) -> Option<u64> {
        None
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        Ok(captioned(self.pair(index)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use crate::world::scene::Orientation;

    #[test]
    fn a_curriculum_begins_with_one_upright_thing() {
        let world = World::builtin().unwrap();
        let feed = world.described_feed(SceneConfig::default(), "diffusion", 1, 16);
        let feed = feed.unwrap();
        let plain = DiffusionSource::new(feed.clone());
        let taught = DiffusionSource::new(feed).with_curriculum(Curriculum {
            upright: 30,
            single: 150,
        });
        let taught = taught.unwrap();
        let upright = |pair: &ScenePair| pair.scene.objects[0].orientation == Orientation::Upright;
        let mut turned = 0;
        for index in 0..170 {
            let pair = taught.pair(index).unwrap();
            if index < 150 {
                assert_eq!(pair.scene.objects.len(), 1, "pair {index}");
                assert!(index >= 30 || upright(&pair), "pair {index}");
                turned += usize::from(!upright(&pair));
            } else {
                let same = plain.pair(index).unwrap();
                assert_eq!(pair.caption, same.caption, "pair {index}");
                assert_eq!(pair.image, same.image, "pair {index}");
            }
        }
        // Three in four of those that have a direction, of 120.
        assert!((50..=105).contains(&turned), "{turned}");
    }
}
