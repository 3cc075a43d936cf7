//! Benchmarks in their published file layouts, read and written.

mod item;
mod mmvp;
mod pope;
mod region;
mod rle;
mod robustvqa;
mod store;

pub use item::{Item, Picture, Suite};
pub use mmvp::{read_mmvp, write_mmvp};
pub use pope::{read_pope, write_pope};
pub use region::{read_regions, write_regions};
pub use rle::{Segmentation, encode_rle};
pub(crate) use robustvqa::questions as robust_questions;
pub use robustvqa::{read_robustvqa, write_robustvqa};
pub use store::Benchmarks;
