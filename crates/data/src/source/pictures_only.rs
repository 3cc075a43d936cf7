//! The pictures of any source, without its words.

use std::sync::Arc;

use super::Source;
use crate::DataError;
use crate::sample::Sample;

/// Every sample's first picture alone.
pub struct PicturesOnly(Arc<dyn Source>);

impl PicturesOnly {
    /// The pictures of a source.
    pub fn of(source: Arc<dyn Source>) -> Arc<dyn Source> {
        Arc::new(Self(source))
    }
}

impl Source for PicturesOnly {
    fn len(&self) -> Option<u64> {
        self.0.len()
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let sample = self.0.get(index)?;
        let id = sample.id;
        match sample.images.into_iter().next() {
            Some(image) => Ok(Sample::of_picture(image)),
            None => Err(DataError::malformed(
                id,
                "sample",
                "a picture",
                "text alone",
            )),
        }
    }
}
