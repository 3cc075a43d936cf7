//! The training task of the whole model: stages 1 to 3 and the warm start.

use burn::tensor::Device;
use deem_data::Batch;
use deem_data::Batches;
use deem_model::clip::levels::Pyramid;
use deem_model::component::Component;
use deem_model::deem::{Deem, DeemConfig};
use serde::Deserialize;
use serde_json::Value;

use crate::config::StageConfig;
use crate::flops::{Load, Operations};
use crate::objective::{DeemBatch, LossWeights, NoiseOf, alignment_loss, deem_counts, deem_loss};
use crate::train::{Counts, Cut, Loss, ParameterInfo, Piece, Shares, Task};
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

    fn rows(&self) -> usize {
        self.batches.rows()
    }

    fn batch(&self, piece: &Piece) -> Result<Batch, EngineError> {
        Ok(self.batches.of_rows(piece.first_row(), piece.rows.len())?)
    }

    fn skipped(&self, piece: &Piece) -> Option<u64> {
        Some(self.batches.skipped(piece.first_row()))
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

    fn counts(&self, model: &Deem, batch: &Batch) -> Counts {
        let [_, height, width, _] = model.latent_shape(1);
        deem_counts(batch, [height, width])
    }

    fn loss(&self, model: &Deem, batch: &Batch, piece: &Piece, shares: &Shares) -> Loss {
        self.weighted(model, batch, piece, shares, &self.weights)
    }

    fn before_cut(&self, path: &str) -> bool {
        Component::ImageTower.contains(path)
    }

    fn load(&self, batch: &Batch) -> Load {
        Load::new(batch, &self.weights)
    }

    fn operations(&self, model: &Value, parameters: &[ParameterInfo]) -> Option<Operations> {
        let model = DeemConfig::deserialize(model).ok()?;
        Some(Operations::new(&model, &self.weights, parameters))
    }

    /// Norms of the encoder's gradient from text and from feedback, and the ratio of feedback with
    /// its weight to text: λ means nothing without it. Nothing without feedback.
    fn probe(&self, model: &Deem, batch: &Batch, piece: &Piece) -> Vec<(String, f64)> {
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
            self.weighted(model, batch, piece, &Shares::whole(), &weights)
                .gradients(model)
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

    fn weighted(
        &self,
        model: &Deem,
        batch: &Batch,
        piece: &Piece,
        shares: &Shares,
        weights: &LossWeights,
    ) -> Loss {
        let device_batch = DeemBatch::new(batch, model, &self.device);
        let noise = NoiseOf {
            seed: self.seed,
            first_row: piece.first_row(),
        };
        let mut cut = Cut::default();
        let encoded = device_batch.encode_through(model, |features| Pyramid {
            levels: features.levels.map(|level| cut.at(level)),
            sequence: cut.at(features.sequence),
        });
        let encoded = encoded.as_ref();
        let terms = deem_loss(model, &device_batch, encoded, weights, noise, &self.device);
        let mut weighted = terms.weighted(weights);
        if self.align > 0.0
            && let Some(encoded) = encoded
        {
            let align = alignment_loss(
                model,
                &device_batch.layout,
                &device_batch.host.labels,
                encoded,
                &self.device,
            );
            weighted.push(("align", self.align, align));
        }
        Loss::sum(weighted, shares, &self.device).with_cut(cut)
    }
}
