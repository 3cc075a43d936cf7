//! The training task of the whole model: stages 1 to 3 and the warm start.

use std::collections::HashMap;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use deem_data::Batch;
use deem_data::Batches;
use deem_kernels::precision::wide;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::layout::Layout;

use crate::config::StageConfig;
use crate::objective::{DeemBatch, Draws, IGNORE, LossWeights, deem_loss};
use crate::train::{GradientSet, Loss, Task};
use crate::{Compute, EngineError, Precision};

/// Which parameters count as the encoder in the gradient ratio.
const ENCODER: &str = "image_encoder.vision.";

/// Trains a [`Deem`] on batches of a loader.
pub struct DeemTask {
    /// Makes batches.
    pub batches: Batches,
    /// Loss terms.
    pub weights: LossWeights,
    /// Weight of the alignment loss.
    pub align: f64,
    /// Seed of noise, timesteps and condition dropout.
    pub seed: u64,
    /// Where to compute, with gradient tracking.
    pub device: Device,
    /// In which float type.
    pub precision: Precision,
}

impl Task for DeemTask {
    type Model = Deem;
    type Batch = Batch;

    fn prepare(&self, model: Deem) -> Deem {
        self.precision.apply(model)
    }

    fn batch(&self, index: u64) -> Result<Batch, EngineError> {
        Ok(self.batches.get(index)?)
    }

    fn skipped(&self, index: u64) -> Option<u64> {
        Some(self.batches.skipped(index))
    }

    fn texts(&self, batch: &Batch) -> Vec<String> {
        let tokenizer = self.batches.tokenizer();
        let rows = batch.tokens.chunks(batch.seq.max(1));
        rows.map(|row| {
            let ids: Vec<u32> = row.iter().filter_map(|id| (*id).try_into().ok()).collect();
            tokenizer
                .decode(&ids)
                .unwrap_or_else(|error| error.to_string())
        })
        .collect()
    }

    fn loss(&self, model: &Deem, batch: &Batch, index: u64) -> Loss {
        self.weighted(model, batch, index, &self.weights)
    }

    /// Norms of the encoder's gradient from text and from feedback, and the ratio of feedback with
    /// its weight to text: λ means nothing without it. Nothing without feedback.
    fn probe(&self, model: &Deem, batch: &Batch, index: u64) -> Vec<(String, f64)> {
        if self.weights.feedback == 0.0 {
            return Vec::new();
        }
        let only = |text: f64, feedback: f64| LossWeights {
            text,
            image: 0.0,
            feedback,
            ..self.weights
        };
        let norm = |weights: LossWeights| {
            let loss = self.weighted(model, batch, index, &weights).total;
            let gradients = loss.backward();
            GradientSet::collect(model, &gradients).norm(|path| path.starts_with(ENCODER))
        };
        let text = norm(only(1.0, 0.0));
        let feedback = norm(only(0.0, 1.0));
        let ratio = self.weights.feedback * feedback / text.max(1e-12);
        vec![
            ("encoder_gradient/text".into(), text),
            ("encoder_gradient/feedback".into(), feedback),
            ("encoder_gradient/ratio".into(), ratio),
        ]
    }
}

impl DeemTask {
    /// A stage on its batches; `seed` chooses the noise.
    pub fn new(stage: &StageConfig, batches: Batches, seed: u64, compute: &Compute) -> Self {
        Self {
            batches,
            weights: stage.loss,
            align: stage.align,
            seed,
            device: compute.device.clone().autodiff(),
            precision: compute.precision,
        }
    }

    fn weighted(&self, model: &Deem, batch: &Batch, index: u64, weights: &LossWeights) -> Loss {
        let device_batch = DeemBatch::new(batch, model, &self.device);
        let mut draws = Draws::new(self.seed, index);
        let terms = deem_loss(model, &device_batch, weights, &mut draws, &self.device);
        let mut total = terms.total(weights, &self.device);
        let mut named = terms.named();
        if self.align > 0.0
            && let Some(encoded) = &terms.encoded
        {
            let align = alignment_loss(model, &device_batch, encoded, &self.device);
            total = total + align.clone().mul_scalar(self.align);
            named.push(("align", align));
        }
        Loss {
            total,
            terms: named,
        }
    }
}

/// Bag of words: every word that is said of an image should be what the language model's head reads
/// from some visual token of it, and tokens should have the size of word embeddings. A frozen language
/// model ignores tokens that do not look like words. Frequent words count no more than rare ones: what
/// is said of every image tells nothing about this one. Not part of the method; the warm start that all
/// arms share.
fn alignment_loss(
    model: &Deem,
    batch: &DeemBatch,
    encoded: &EncodedImages,
    device: &Device,
) -> Tensor<1> {
    let layout = &batch.layout;
    let [images, queries, width] = encoded.embeddings.dims();
    let size = |x: Tensor<2>| x.square().mean_dim(1).add_scalar(1e-8).sqrt();
    let tokens = wide(encoded.embeddings.clone()).reshape([images * queries, width]);
    let sizes = size(tokens.clone());
    let logits = wide(model.logits(tokens / sizes.clone()));
    let vocabulary = logits.dims()[1];
    let shares = softmax(logits, 1)
        .reshape([images, queries, vocabulary])
        .mean_dim(1)
        .reshape([images * vocabulary]);
    let words = said_of_images(layout, &batch.host.labels);
    let bag = if words.is_empty() {
        Tensor::zeros([1], device)
    } else {
        let count = words.len();
        let places = words
            .iter()
            .map(|(image, word)| (image * vocabulary) as i64 + word);
        let found = shares.select(0, Layout::int(places.collect(), [count], device));
        let weights = Tensor::<1>::from_floats(equal_shares(&words).as_slice(), device);
        (found.add_scalar(1e-8).log() * weights).sum().neg()
    };
    let ids = Layout::int(
        layout.token_ids().to_vec(),
        [1, layout.batch * layout.seq],
        device,
    );
    let usual = size(wide(model.llama.embed(ids)).squeeze_dim(0)).mean();
    let wrong_size = (sizes.log() - usual.log().unsqueeze()).square().mean();
    bag + wrong_size
}

/// Counted words after each image and before the next: (image, word) pairs.
fn said_of_images(layout: &Layout, labels: &[i64]) -> Vec<(usize, i64)> {
    let mut said = Vec::new();
    for (index, image) in layout.images.iter().enumerate() {
        let next = layout.images.get(index + 1);
        let end = next
            .filter(|next| next.row == image.row)
            .map_or(layout.seq, |next| next.soi);
        let row = &labels[image.row * layout.seq..][image.soi..end];
        let words = row.iter().filter(|label| **label != IGNORE);
        said.extend(words.map(|word| (index, *word)));
    }
    said
}

/// Weights that add up to one, the same for every distinct word.
fn equal_shares(words: &[(usize, i64)]) -> Vec<f32> {
    let mut counts: HashMap<i64, f32> = HashMap::new();
    for (_, word) in words {
        *counts.entry(*word).or_default() += 1.0;
    }
    let distinct = counts.len() as f32;
    let weight = |word: &i64| 1.0 / (counts[word] * distinct);
    words.iter().map(|(_, word)| weight(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_distinct_word_counts_the_same() {
        let words = [(0, 7), (0, 9), (1, 7), (2, 7)];
        let expected = [1.0 / 6.0, 0.5, 1.0 / 6.0, 1.0 / 6.0];
        for (weight, expected) in equal_shares(&words).iter().zip(expected) {
            assert!((weight - expected).abs() < 1e-6);
        }
    }
}
