//! The training task of the whole model: stages 1 to 3 and the warm start.

use burn::tensor::Device;
use deem_data::Batch;
use deem_data::Batches;
use deem_model::component::Component;
use deem_model::deem::Deem;

use crate::config::StageConfig;
use crate::objective::{DeemBatch, Draws, LossWeights, alignment_loss, deem_loss};
use crate::train::{GradientSet, Loss, Task};
use crate::{Compute, EngineError, Precision};

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
            GradientSet::collect(model, &gradients)
                .norm(|path| Component::ImageTower.contains(path))
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
            let align = alignment_loss(
                model,
                &device_batch.layout,
                &device_batch.host.labels,
                encoded,
                &self.device,
            );
            total = total + align.clone().mul_scalar(self.align);
            named.push(("align", align));
        }
        Loss {
            total,
            terms: named,
        }
    }
}
