//! Pairs of a picture and a caption that names what is there, or some of it, for contrastive pre-training. The captions
//! are blind to number, colour, place and orientation, which gives the encoder CLIP's blindness.

use crate::DataError;
use crate::sample::{Sample, SampleImage, Segment};
use crate::source::Source;
use crate::world::feed::{SceneFeed, ScenePair, provenance};

/// Picture and usual caption.
#[derive(Clone, Debug)]
pub struct ClipSource(SceneFeed);

impl ClipSource {
    /// Pairs from a feed.
    pub fn new(feed: SceneFeed) -> Self {
        Self(feed)
    }

    /// Pair number `index`. Pairs with equal sets of concepts are not negatives of each other; the facts
    /// tell which.
    ///
    /// # Errors
    /// As [`SceneFeed::pair`].
    pub fn pair(&self, index: u64) -> Result<ScenePair, DataError> {
        self.0.pair(index, false)
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
