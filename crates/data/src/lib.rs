//! Samples, pictures, text and data sets for deem: everything between files and plain host arrays.
//!
//! Knows nothing of tensors or models.

#![warn(missing_docs)]

mod dice;
mod error;

pub mod benchmark;
pub mod export;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod image;
pub mod segmentation;
pub mod source;
pub mod storage;
pub mod text;
pub mod world;

mod batch;
mod loader;
mod mixture;
mod pack;
mod pickle;
mod sample;

pub use batch::{Batch, BatchConfig, BatchImage, Collator, Padding};
pub use dice::Dice;
pub use error::DataError;
pub use loader::{Batches, LoaderConfig, LoaderStats};
pub use mixture::{Mixture, Shuffled};
pub use pack::{IGNORED, PackConfig, Packed, PackedImage};
pub use sample::{Sample, SampleImage, Segment};
