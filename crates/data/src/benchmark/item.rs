//! One benchmark question with its picture.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{GrayImage, RgbImage};
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::image::{ImageLimits, read_image};
use crate::sample::{Sample, SampleImage};
use crate::text;

/// Which benchmark, and which part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// Robustness on pictures that an encoder gets wrong.
    RobustVqaA,
    /// Robustness on unseen styles.
    RobustVqaR,
    /// Robustness on fresh pictures of seen styles.
    RobustVqaV,
    /// Hallucination, random negatives.
    PopeRandom,
    /// Hallucination, frequent negatives.
    PopePopular,
    /// Hallucination, co-occurring negatives.
    PopeAdversarial,
    /// Pairs of pictures that an encoder hardly tells apart.
    Mmvp,
    /// Region descriptions.
    Region,
}

impl Suite {
    /// All suites.
    pub const ALL: [Self; 8] = [
        Self::RobustVqaA,
        Self::RobustVqaR,
        Self::RobustVqaV,
        Self::PopeRandom,
        Self::PopePopular,
        Self::PopeAdversarial,
        Self::Mmvp,
        Self::Region,
    ];

    /// Family, as results are grouped.
    pub fn family(self) -> &'static str {
        match self {
            Self::RobustVqaA | Self::RobustVqaR | Self::RobustVqaV => "robust_vqa",
            Self::PopeRandom | Self::PopePopular | Self::PopeAdversarial => "pope",
            Self::Mmvp => "mmvp",
            Self::Region => "region",
        }
    }

    /// Name within the family.
    pub fn part(self) -> &'static str {
        match self {
            Self::RobustVqaA => "A",
            Self::RobustVqaR => "R",
            Self::RobustVqaV => "V",
            Self::PopeRandom => "random",
            Self::PopePopular => "popular",
            Self::PopeAdversarial => "adversarial",
            Self::Mmvp => "pairs",
            Self::Region => "captions",
        }
    }
}

/// A picture in memory or on disk.
#[derive(Clone, Debug)]
pub enum Picture {
    /// In memory.
    Memory {
        /// Name under which it is written.
        id: String,
        /// Pixels.
        image: Arc<RgbImage>,
    },
    /// On disk, read when needed.
    File(PathBuf),
}

impl Picture {
    /// Name of the picture.
    pub fn id(&self) -> String {
        match self {
            Self::Memory { id, .. } => id.clone(),
            Self::File(path) => path
                .file_name()
                .map_or_else(String::new, |n| n.to_string_lossy().into_owned()),
        }
    }

    /// Its pixels.
    ///
    /// # Errors
    /// As [`read_image`].
    pub fn load(&self, limits: ImageLimits) -> Result<Arc<RgbImage>, DataError> {
        match self {
            Self::Memory { image, .. } => Ok(image.clone()),
            Self::File(path) => Ok(Arc::new(read_image(path, limits)?)),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), DataError> {
        std::fs::create_dir_all(folder).map_err(|e| DataError::io(folder, e))?;
        let path = folder.join(self.id());
        match self {
            Self::Memory { image, .. } => image
                .save(&path)
                .map_err(|e| DataError::io(&path, std::io::Error::other(e))),
            Self::File(from) => std::fs::copy(from, &path)
                .map(|_| ())
                .map_err(|e| DataError::io(&path, e)),
        }
    }
}

/// One question.
#[derive(Clone, Debug)]
pub struct Item {
    /// Unique within the suite.
    pub id: String,
    /// Benchmark and part.
    pub suite: Suite,
    /// The picture.
    pub picture: Picture,
    /// Region asked about.
    pub mask: Option<Arc<GrayImage>>,
    /// The question proper: POPE's `text`, MMVP's question without options, empty for regions.
    pub question: String,
    /// The two options of a choice.
    pub options: Option<[String; 2]>,
    /// Right answers: `yes`, `(a)`; for regions the reference descriptions.
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

impl Item {
    /// What stands after the image: question, options, instruction.
    pub fn prompt(&self) -> String {
        match (&self.options, self.suite) {
            (Some([first, second]), _) => format!("{} (a) {first} (b) {second}", self.question),
            (None, Suite::Region) => String::new(),
            (None, _) => format!("{} {}", self.question, crate::text::protocol::YES_OR_NO),
        }
    }

    /// The prompt as a sample without answer, ready for a left-padded batch.
    ///
    /// # Errors
    /// As [`Picture::load`]; `MaskSize` if the region has another size than the picture.
    pub fn sample(&self, limits: ImageLimits) -> Result<Sample, DataError> {
        let image = self.picture.load(limits)?;
        let id = self.picture.id();
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
        Ok(Sample {
            id: self.id.clone(),
            segments: match self.suite {
                Suite::Region => text::region_prompt(0),
                _ => text::question_prompt(0, &self.prompt()),
            },
            images: vec![SampleImage {
                id,
                image: image.as_ref().clone(),
                mask: self.mask.as_ref().map(|m| m.as_ref().clone()),
            }],
            provenance: self.provenance.clone(),
        })
    }
}
