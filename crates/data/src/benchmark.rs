//! Benchmarks in their published file layouts, read and written: one file a format.
//!
//! A reader turns a folder into [`Item`]s and knows nothing of prompts or scores; how an item is asked and what an
//! answer is worth is said where the model is (`deem_engine::evaluate`).

mod files;
mod item;
mod mmvp;
mod picture;
mod pope;
mod region;
mod robust_vqa;

pub use files::only_json;
pub use item::{BenchmarkItems, Item};
pub use mmvp::{read_mmvp, write_mmvp};
pub use picture::{Picture, PictureFolder};
pub use pope::{POPE_SPLITS, read_pope, write_pope};
pub use region::{read_regions, write_regions};
pub(crate) use robust_vqa::questions as robust_questions;
pub use robust_vqa::{ROBUST_VQA_SETS, read_robust_vqa, write_robust_vqa};
