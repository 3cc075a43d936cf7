//! Pairs of a picture and a caption that names what is there, or some of it, for contrastive pre-training. The captions
//! are blind to number, colour, place and orientation, which gives the encoder CLIP's blindness.

use crate::DataError;
use crate::sample::{Sample, SampleImage, Segment};
use crate::source::Source;
use crate::world::feed::{SceneFeed, ScenePair, provenance};

/// Picture and usual caption.
#[derive(Clone, Debug)]
pub struct ClipSource {
    feed: SceneFeed,
    gathered: Option<Gathered>,
}

/// Pairs of which so many in a row are of few things. A batch of tens of thousands, as published encoders have, holds
/// hundreds of pictures of each thing, and what tells their captions apart is what they say beside its name; a small one holds
/// such if they are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// Pairs in a row.
    pub pairs: u64,
    /// Concepts that they are of, at least 1.
    pub concepts: usize,
}

impl ClipSource {
    /// Pairs from a feed.
    pub fn new(feed: SceneFeed) -> Self {
        Self {
            feed,
            gathered: None,
        }
    }

    /// The same, gathered.
    #[must_use]
    pub fn gathered(self, gathered: Gathered) -> Self {
        Self {
            gathered: Some(gathered),
            ..self
        }
    }

    /// Pair number `index`. Pairs with equal sets of concepts are not negatives of each other; the facts
    /// tell which.
    ///
    /// # Errors
    /// As [`SceneFeed::pair`].
    pub fn pair(&self, index: u64) -> Result<ScenePair, DataError> {
        let Some(Gathered { pairs, concepts }) = self.gathered else {
            return self.feed.pair(index, false);
        };
        // Drawn from numbers that no pair reaches.
        let mut all = self.feed.sampler().pool().concepts().to_vec();
        self.feed.dice(u64::MAX - index / pairs).shuffle(&mut all);
        all.truncate(concepts);
        self.feed.of_concepts(&all)?.pair(index, false)
    }
}

impl Source for ClipSource {
    fn len(&self) -> Option<u64> {
        None
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        Ok(captioned(self.pair(index)?))
    }
}

/// Image, then its caption, counted.
pub(super) fn captioned(pair: ScenePair) -> Sample {
    Sample {
        segments: vec![
            Segment::Image {
                index: 0,
                counted: true,
            },
            Segment::Text {
                text: format!(" {}", pair.caption),
                counted: true,
            },
            Segment::Eos { counted: true },
        ],
        images: vec![SampleImage {
            id: pair.id.clone(),
            image: pair.image,
            mask: None,
        }],
        provenance: provenance(&pair.scene),
        id: pair.id,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::world::World;
    use crate::world::scene::SceneConfig;

    #[test]
    fn gathered_pairs_are_of_few_things() {
        let world = World::builtin().unwrap();
        let feed = world.training_feed(SceneConfig::default(), "clip", 1, 16);
        let plain = ClipSource::new(feed.unwrap());
        let gathered = plain.clone().gathered(Gathered {
            pairs: 64,
            concepts: 3,
        });
        let things = |source: &ClipSource, block: u64| -> BTreeSet<usize> {
            let pairs = (64 * block..64 * block + 64).map(|index| source.pair(index).unwrap());
            pairs
                .flat_map(|pair| pair.facts.groups)
                .map(|group| group.concept)
                .collect()
        };
        let blocks: Vec<_> = (0..3).map(|block| things(&gathered, block)).collect();
        for (block, few) in blocks.iter().enumerate() {
            assert!(few.len() <= 3, "{few:?}");
            assert!(things(&plain, block as u64).len() > 30);
        }
        assert!(blocks.iter().collect::<BTreeSet<_>>().len() > 1);
    }
}
