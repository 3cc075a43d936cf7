//! Sources of samples. A sample is a function of its index and nothing else, so that a run resumes
//! from a number.

mod clip;
mod diffusion;
mod instruct;
mod interleaved;
mod language;
mod region;
mod world;

pub use clip::ClipSource;
pub use diffusion::DiffusionSource;
pub use instruct::{InstructConfig, InstructSource};
pub use interleaved::{InterleavedConfig, InterleavedSource};
pub use language::{LanguageConfig, LanguageSource};
pub use region::RegionSource;
pub(crate) use region::group_mask;
pub use world::{SceneFeed, ScenePair, World};

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
