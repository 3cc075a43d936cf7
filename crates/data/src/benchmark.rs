//! Benchmarks in their published file layouts, read and written: one file a format.
//!
//! A reader turns a folder into [`Item`]s and knows nothing of prompts or scores; how an item is asked and what an
//! answer is worth is said where the model is (`deem_engine::evaluate`).

mod candidates;
mod captions;
mod files;
mod gqa;
mod image_folder;
mod item;
mod mmbench;
mod mmvp;
mod mmvp_vlm;
mod picture;
mod pope;
mod refcoco;
mod region;
mod retrieval;
mod robust_vqa;
mod shards;
mod text_to_image;
mod text_vqa;
mod visdial;
mod vizwiz;
mod vqa;
mod zero_shot;

pub use candidates::{CandidatePicture, CandidateText, Candidates};
pub use captions::{read_coco_captions, read_flickr30k, read_image_paragraphs, read_nocaps};
pub use files::only_json;
pub use gqa::read_gqa;
pub use image_folder::{ImageFolder, LabelledPicture};
pub use item::{BenchmarkItems, Item, Mask};
pub use mmbench::read_mmbench;
pub use mmvp::{read_mmvp, write_mmvp};
pub use mmvp_vlm::read_mmvp_vlm;
pub use picture::{Picture, PictureFolder};
pub use pope::{POPE_SPLITS, read_pope, write_pope};
pub use refcoco::read_refcoco;
pub use region::{read_regions, write_regions};
pub use retrieval::{RETRIEVAL_PARTS, read_retrieval};
pub(crate) use robust_vqa::questions as robust_questions;
pub use robust_vqa::{
    ROBUST_VQA_SETS, RobustVqaEntry, read_robust_vqa, write_robust_vqa, write_robust_vqa_entries,
};

pub use text_to_image::{read_coco_texts, read_narratives};
pub use text_vqa::read_text_vqa;
pub use visdial::read_visdial;
pub use vizwiz::read_vizwiz;
pub use vqa::{read_okvqa, read_vqav2};
pub use zero_shot::{LabelOptions, read_labelled};
