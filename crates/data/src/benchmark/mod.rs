//! Benchmarks in their published file layouts: made from the built-in world, written, and read back by
//! the same code that reads the real ones.

mod build;
mod item;
mod mmvp;
mod mmvp_pairs;
mod pope;
mod pope_polling;
mod region;
mod rle;
mod robustvqa;
mod robustvqa_mining;
mod store;

pub use build::{BenchmarkConfig, Classifier, Embedder, build_benchmarks};
pub use item::{Item, Picture, Suite};
pub use mmvp::{read_mmvp, write_mmvp};
pub use pope::{read_pope, write_pope};
pub use region::{read_regions, write_regions};
pub use rle::{Segmentation, encode_rle};
pub use robustvqa::{read_robustvqa, write_robustvqa};
pub use store::Benchmarks;
