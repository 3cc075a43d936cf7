//! An encoder of pictures and one of texts that meet in one space (CLIP, Radford et al. 2021): what zero-shot
//! classification and the benchmarks of encoders alone need.

mod folder;
mod pixels;

use std::path::Path;

use burn::tensor::{Device, Int, Tensor};
use deem_model::layout::Layout;
use image::RgbImage;

use crate::EngineError;
use crate::pictures::{SquareView, views};
pub use folder::EncoderFolder;
pub use pixels::PixelForm;

/// A text to ids.
pub type Words = dyn Fn(&str) -> Result<Vec<i64>, EngineError>;

/// The parts of a [`DualEncoder`].
pub struct Towers {
    /// Whose they are, for records and errors.
    pub name: String,
    /// Pixels `[pictures, 3, side, side]` in [0, 1] to `[pictures, width]`.
    pub image: Box<dyn Fn(Tensor<4>) -> Tensor<2>>,
    /// Ids `[texts, longest]` to `[texts, width]`.
    pub text: Box<dyn Fn(Tensor<2, Int>) -> Tensor<2>>,
    /// A text to ids, with its marks.
    pub words: Box<Words>,
    /// Fills up shorter texts at the right.
    pub fill: i64,
    /// The square that is seen of a picture.
    pub view: SquareView,
    /// Inverse temperature.
    pub scale: f64,
    /// What is added to a logit (sigmoid loss), else 0.
    pub bias: f64,
    /// Checksum of the weights.
    pub weights: String,
}

/// Embeds pictures and texts in one space.
pub struct DualEncoder {
    towers: Towers,
    device: Device,
}

/// Pictures or texts embedded together.
const CHUNK: usize = 32;

impl DualEncoder {
    /// An encoder of the given parts.
    pub fn new(towers: Towers, device: Device) -> Self {
        Self { towers, device }
    }

    /// A published encoder: the folder of transformers' `CLIPModel` (MetaCLIP's, too) or `SiglipModel`, or of an open_clip
    /// model; see [`EncoderFolder`].
    ///
    /// # Errors
    /// `Io`, `File`, `Weights` or `Data`, naming what is missing or does not fit.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, EngineError> {
        let published = EncoderFolder::read(folder)?;
        let weights = published.weights().checksum();
        published.encoder(published.load(device)?, weights, device)
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.towers.name
    }

    /// Checksum of its weights.
    pub fn weights(&self) -> &str {
        &self.towers.weights
    }

    /// Inverse temperature: what a cosine is multiplied by before it is a logit.
    pub fn scale(&self) -> f64 {
        self.towers.scale
    }

    /// What is then added to it: 0, but for encoders that were trained with the sigmoid loss.
    pub fn bias(&self) -> f64 {
        self.towers.bias
    }

    /// Embeddings of pictures, of unit length.
    ///
    /// # Errors
    /// `Data` naming a picture without pixels by its position.
    pub fn images(&self, pictures: &[RgbImage]) -> Result<Vec<Vec<f64>>, EngineError> {
        let mut rows = Vec::with_capacity(pictures.len());
        for chunk in pictures.chunks(CHUNK) {
            let pixels = views(chunk, self.towers.view, &self.device)?;
            rows.extend(matrix((self.towers.image)(pixels)).into_iter().map(unit));
        }
        Ok(rows)
    }

    /// Embeddings of texts, as long as they come.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn texts<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<f64>>, EngineError> {
        let mut rows = Vec::with_capacity(texts.len());
        for chunk in texts.chunks(CHUNK) {
            let ids = chunk.iter().map(|text| (self.towers.words)(text.as_ref()));
            let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
            let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
            for row in &mut ids {
                row.resize(longest, self.towers.fill);
            }
            let ids = Layout::int(ids.concat(), [chunk.len(), longest], &self.device);
            rows.extend(matrix((self.towers.text)(ids)));
        }
        Ok(rows)
    }
}

/// A vector of length 1; one of length 0 stays.
pub fn unit(mut row: Vec<f64>) -> Vec<f64> {
    let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|v| *v /= norm);
    }
    row
}

/// Inner product.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The rows of a matrix.
pub fn matrix(tensor: Tensor<2>) -> Vec<Vec<f64>> {
    let [_, width] = tensor.dims();
    let values: Vec<f64> = tensor.into_data().iter::<f64>().collect();
    values.chunks(width.max(1)).map(<[f64]>::to_vec).collect()
}
