//! One benchmark question with its picture.

use std::sync::Arc;

use image::GrayImage;

use super::{Candidates, Picture};
use crate::DataError;
use crate::image::ImageLimits;
use crate::sample::{Sample, SampleImage, Segment};
use crate::segmentation::Segmentation;

/// A region of a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Mask {
    /// Positive inside; of the picture's size.
    Pixels(Arc<GrayImage>),
    /// As a file has it, drawn when it is needed: the regions of a whole benchmark would not fit into memory.
    Segmentation(Arc<Segmentation>),
}

impl Mask {
    /// The region in a picture of this size.
    ///
    /// # Errors
    /// `Malformed` naming `owner` for a segmentation that is none or of another size.
    pub fn pixels(&self, owner: &str, [width, height]: [u32; 2]) -> Result<GrayImage, DataError> {
        match self {
            Self::Pixels(image) => Ok(image.as_ref().clone()),
            Self::Segmentation(segmentation) => {
                segmentation
                    .mask(width, height)
                    .map_err(|(expected, found)| {
                        DataError::malformed(owner, "segmentation", expected, found)
                    })
            }
        }
    }
}

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
    pub mask: Option<Mask>,
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
    /// How relevant people found each option (VisDial), in their order; else empty.
    pub relevance: Vec<f64>,
    /// Pictures to choose among for an encoder alone (MMVP-VLM), the item's own among them, in the order of the options;
    /// else empty.
    pub alternatives: Vec<Picture>,
    /// What an encoder alone chooses among, where the questions of a part share it; right answers are then names of these.
    pub candidates: Option<Arc<Candidates>>,
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
    /// An item about a picture, with nothing asked yet; its cluster is the picture.
    pub fn new(id: impl Into<String>, part: impl Into<String>, picture: Picture) -> Self {
        Self {
            id: id.into(),
            part: part.into(),
            cluster: picture.id(),
            picture,
            mask: None,
            question: String::new(),
            options: Vec::new(),
            answers: Vec::new(),
            label: None,
            pattern: None,
            relevance: Vec::new(),
            alternatives: Vec::new(),
            candidates: None,
            provenance: Vec::new(),
        }
    }

    /// A prompt about this item as a sample without answer, ready for a left-padded batch, and the picture's SHA-256.
    /// Picture 0 of the segments is the item's.
    ///
    /// # Errors
    /// As [`Picture::load`]; `MaskSize` if the region has another size than the picture, `Malformed` for one that is none.
    pub fn sample(
        &self,
        segments: Vec<Segment>,
        limits: ImageLimits,
    ) -> Result<(Sample, String), DataError> {
        let (image, hash) = self.picture.load_hashed(limits)?;
        let size = [image.width(), image.height()];
        let mask = self.mask.as_ref().map(|mask| mask.pixels(&self.id, size));
        let mask = mask.transpose()?;
        if let Some(mask) = &mask
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
                mask,
            }],
            provenance: self.provenance.clone(),
        };
        Ok((sample, hash))
    }
}
