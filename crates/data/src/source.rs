//! Sources of samples. A sample is a function of its index and nothing else, so that a run resumes
//! from a number.

mod registry;

pub use registry::{Build, SourceContext, SourceRegistry, SourceSpec, parse_options};

use crate::DataError;
use crate::sample::Sample;

/// Something that has samples.
pub trait Source: Send + Sync {
    /// How many there are; `None` if they never end.
    fn len(&self) -> Option<u64>;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Sample number `index`; the same for the same index, always. Finite sources take it modulo their
    /// length.
    ///
    /// # Errors
    /// The reason why this sample cannot be had; others may be fine.
    fn get(&self, index: u64) -> Result<Sample, DataError>;
}
