//! A training or evaluation sample: text and pictures in the order in which the model reads them.

use image::{GrayImage, RgbImage};

/// One document or conversation.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Names the sample in logs and results.
    pub id: String,
    /// What the model reads, in order.
    pub segments: Vec<Segment>,
    /// The pictures that segments refer to.
    pub images: Vec<SampleImage>,
    /// What it was made from (drawings of the built-in corpus, files), for leakage checks.
    pub provenance: Vec<String>,
}

/// A piece of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Text.
    Text {
        /// The text; special tokens other than region marks are not interpreted.
        text: String,
        /// Whether predicting it counts in the text loss.
        counted: bool,
    },
    /// A picture.
    Image {
        /// Position in [`Sample::images`].
        index: usize,
        /// Whether predicting that an image starts here counts in the text loss, and drawing it in the
        /// image loss (if it has context). False in prompts.
        counted: bool,
    },
    /// Start of a document within the sample: nothing before it is seen after it by image attention.
    Bos,
    /// End of an answer or document.
    Eos {
        /// Whether predicting it counts in the text loss.
        counted: bool,
    },
}

/// A picture of a sample.
#[derive(Clone, Debug)]
pub struct SampleImage {
    /// Names the picture.
    pub id: String,
    /// Its pixels.
    pub image: RgbImage,
    /// Region that the sample is about, of the same size; non-zero is inside.
    pub mask: Option<GrayImage>,
}

impl Sample {
    /// A picture without words.
    pub fn of_picture(image: SampleImage) -> Self {
        Self {
            id: image.id.clone(),
            segments: vec![Segment::Image {
                index: 0,
                counted: false,
            }],
            provenance: vec![image.id.clone()],
            images: vec![image],
        }
    }

    /// All text of the sample, in order.
    pub fn text(&self) -> String {
        self.segments
            .iter()
            .filter_map(|s| match s {
                Segment::Text { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}
