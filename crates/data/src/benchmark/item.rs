//! One benchmark question with its picture.

use std::sync::Arc;

use image::GrayImage;

use super::Picture;
use crate::DataError;
use crate::image::ImageLimits;
use crate::sample::{Sample, SampleImage, Segment};

/// One question.
#[derive(Clone, Debug)]
pub struct Item {
    /// Unique within its part of the benchmark.
    pub id: String,
    /// Part of the benchmark: a split, a set.
    pub part: String,
    /// The picture.
    pub picture: Picture,
    /// Region asked about.
    pub mask: Option<Arc<GrayImage>>,
    /// The question proper: POPE's `text`, MMVP's question without options, empty for regions.
    pub question: String,
    /// The options of a choice, else none.
    pub options: Vec<String>,
    /// Right answers: `yes`, `(a)`; for descriptions the references.
    pub answers: Vec<String>,
    /// Concept asked about (RobustVQA): the label in the question.
    pub label: Option<String>,
    /// Items with the same cluster are not independent: same picture, or same pair.
    pub cluster: String,
    /// Visual pattern (MMVP).
    pub pattern: Option<String>,
    /// Drawings in the picture, for leakage checks; empty for real data.
    pub provenance: Vec<String>,
}

/// The questions of one benchmark.
#[derive(Clone, Debug)]
pub struct BenchmarkItems {
    /// Name of the benchmark, as `robust_vqa`.
    pub name: String,
    /// The questions, part by part; questions that are worth something only together are neighbours.
    pub items: Vec<Item>,
}

impl Item {
    /// A prompt about this item as a sample without answer, ready for a left-padded batch, and the picture's SHA-256.
    /// Picture 0 of the segments is the item's.
    ///
    /// # Errors
    /// As [`Picture::load`]; `MaskSize` if the region has another size than the picture.
    pub fn sample(
        &self,
        segments: Vec<Segment>,
        limits: ImageLimits,
    ) -> Result<(Sample, String), DataError> {
        let (image, hash) = self.picture.load_hashed(limits)?;
        if let Some(mask) = &self.mask
            && mask.dimensions() != image.dimensions()
        {
            return Err(DataError::MaskSize {
                name: self.id.clone(),
                width: image.width(),
                height: image.height(),
                found_width: mask.width(),
                found_height: mask.height(),
            });
        }
        let sample = Sample {
            id: self.id.clone(),
            segments,
            images: vec![SampleImage {
                id: self.picture.id(),
                image: image.as_ref().clone(),
                mask: self.mask.as_ref().map(|m| m.as_ref().clone()),
            }],
            provenance: self.provenance.clone(),
        };
        Ok((sample, hash))
    }
}
