//! Pairs of a picture and a dense caption, for the text-conditioned diffusion model: it can teach only
//! what its captions made it listen to.

use super::clip::captioned;
use crate::DataError;
use crate::sample::Sample;
use crate::source::Source;
use crate::world::feed::{SceneFeed, ScenePair};

/// Picture and dense caption.
#[derive(Clone, Debug)]
pub struct DiffusionSource(SceneFeed);

impl DiffusionSource {
    /// Pairs from a feed.
    pub fn new(feed: SceneFeed) -> Self {
        Self(feed)
    }

    /// Pair number `index`.
    ///
    /// # Errors
    /// As [`SceneFeed::pair`].
    pub fn pair(&self, index: u64) -> Result<ScenePair, DataError> {
        self.0.pair(index, true)
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
