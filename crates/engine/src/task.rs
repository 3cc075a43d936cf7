//! The training task of the whole model: stages 1 to 3 and the warm start.

use burn::tensor::{Device, Tensor};
use deem_data::Batch;
use deem_data::Batches;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::layout::Layout;

use crate::EngineError;
use crate::objective::{DeemBatch, Draws, LossWeights, deem_loss};
use crate::train::{GradientSet, Loss, Task};

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
}

impl Task for DeemTask {
    type Model = Deem;
    type Batch = Batch;

    fn batch(&self, index: u64) -> Result<Batch, EngineError> {
        Ok(self.batches.get(index)?)
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

/// How far the mean visual token of each row lies from the mean embedding of its caption's words:
/// brings visual tokens to the place and scale of the language model's vocabulary. Not part of the
/// method; the warm start that all arms share.
fn alignment_loss(
    model: &Deem,
    batch: &DeemBatch,
    encoded: &EncodedImages,
    device: &Device,
) -> Tensor<1> {
    let layout = &batch.layout;
    let ids = Layout::int(
        layout.token_ids().to_vec(),
        [layout.batch, layout.seq],
        device,
    );
    let words = model.llama.embed(ids);
    let counted: Vec<f32> = batch
        .host
        .labels
        .iter()
        .map(|l| f32::from(*l >= 0))
        .collect();
    let counted =
        Tensor::<1>::from_floats(counted.as_slice(), device).reshape([layout.batch, layout.seq, 1]);
    let count = counted.clone().sum_dim(1).clamp_min(1.0);
    let mean = (words * counted).sum_dim(1) / count; // [batch, 1, width]
    let rows: Vec<i64> = layout.images.iter().map(|i| i.row as i64).collect();
    let rows = Layout::int(rows.clone(), [rows.len()], device);
    let target = mean.select(0, rows);
    let scale = target.clone().square().mean().add_scalar(1e-8);
    (encoded.embeddings.clone().mean_dim(1) - target)
        .square()
        .mean()
        / scale
}
