use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_data::{Batch, Batches};
use deem_model::clip::tower::ImageTower;
use deem_model::encoder_feedback::{EncoderFeatures, FeedbackModel};
use deem_model::weights::narrow;

use super::FeedbackStage;
use crate::dual_encoder::unit;
use crate::flops::Load;
use crate::objective::{Draws, Objective, Original, Pictures, Sampling, encoder_terms};
use crate::pictures::planes;
use crate::train::{Loss, Piece, Shares, Task};
use crate::{Compute, DualEncoder, EngineError, Precision};

/// The original encoder, to which retention holds the corrected one.
pub struct Reference {
    tower: ImageTower,
    texts: Option<Tensor<2>>,
    scale: f64,
}

impl Reference {
    /// The original tower.
    pub fn new(tower: ImageTower) -> Self {
        Self {
            tower: tower.no_grad(),
            texts: None,
            scale: 1.0,
        }
    }

    /// Holds similarities with texts, too.
    ///
    /// - `encoder`: the whole original encoder, which embeds them once
    ///
    /// # Errors
    /// Those of its tokenizer.
    pub fn with_texts(
        mut self,
        encoder: &DualEncoder,
        texts: &[String],
        device: &Device,
    ) -> Result<Self, EngineError> {
        let rows = encoder.texts(texts)?.into_iter();
        let rows = rows.map(|row| unit(row).into_iter().map(|v| v as f32).collect());
        let rows: Vec<Vec<f32>> = rows.collect();
        let width = rows.first().map_or(0, Vec::len);
        let values = burn::tensor::TensorData::new(rows.concat(), [rows.len(), width]);
        self.texts = Some(Tensor::from_data(values, device));
        self.scale = encoder.scale();
        Ok(self)
    }
}

/// Corrects an encoder on batches of pictures.
pub struct FeedbackTask {
    batches: Batches,
    objectives: Vec<Objective>,
    sampling: Sampling,
    reference: Option<Reference>,
    seed: u64,
    device: Device,
    precision: Precision,
}

impl FeedbackTask {
    /// A stage on its batches; `seed` chooses noise, timesteps, patches and dropped conditions.
    ///
    /// - `reference`: needed by a stage that [retains](FeedbackStage::retains)
    pub fn new(
        stage: &FeedbackStage,
        batches: Batches,
        reference: Option<Reference>,
        seed: u64,
        compute: &Compute,
    ) -> Self {
        Self {
            batches,
            objectives: stage.objectives.clone(),
            sampling: stage.sampling(),
            reference,
            seed,
            device: compute.device.clone().autodiff(),
            precision: compute.precision,
        }
    }

    /// Counts of what was read.
    pub fn batches(&self) -> &Batches {
        &self.batches
    }
}

impl Task for FeedbackTask {
    type Model = FeedbackModel;
    type Batch = Batch;

    fn prepare(&self, model: FeedbackModel) -> FeedbackModel {
        let dtype = self.precision.dtype();
        let model = match self.precision {
            Precision::F32 => model,
            Precision::Bf16 => narrow(model, dtype),
        };
        model.computing_in(dtype)
    }

    // Pictures are contrasted with others of their micro-batch, so it stays whole.
    fn batch(&self, piece: &Piece) -> Result<Batch, EngineError> {
        Ok(self.batches.get(piece.index)?)
    }

    fn skipped(&self, piece: &Piece) -> Option<u64> {
        let first = piece.index * self.batches.rows() as u64;
        Some(self.batches.skipped(first))
    }

    fn load(&self, batch: &Batch) -> Load {
        Load {
            images: batch.images.len() as f64,
            ..Load::default()
        }
    }

    /// Names of the pictures.
    fn texts(&self, batch: &Batch) -> Vec<String> {
        batch.ids.clone()
    }

    fn published_layer(&self, path: &str) -> String {
        let bare = path.strip_prefix("vision_model.visual_projection");
        bare.map_or_else(
            || path.to_owned(),
            |rest| format!("visual_projection{rest}"),
        )
    }

    fn loss(&self, model: &FeedbackModel, batch: &Batch, piece: &Piece, shares: &Shares) -> Loss {
        let side = |pixels: &[f32], side: usize| planes(pixels.to_vec(), side, &self.device);
        let pictures = Pictures {
            seen: side(&batch.encoder_pixels, batch.encoder_side),
            restored: side(&batch.diffusion_pixels, batch.diffusion_side),
        };
        let original = self.reference.as_ref().map(|reference| Original {
            embeds: EncoderFeatures::of(&reference.tower, pictures.seen.clone())
                .embeds
                .detach(),
            texts: reference.texts.as_ref(),
            scale: reference.scale,
        });
        let terms = encoder_terms(
            model,
            &pictures,
            &self.objectives,
            self.sampling,
            original.as_ref(),
            &mut Draws::new(self.seed, piece.index),
            &self.device,
        );
        Loss::sum(terms, shares, &self.device)
    }
}
