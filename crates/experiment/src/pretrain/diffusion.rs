//! Pre-training of the latent diffusion model on captions that say everything (Rombach et al., 2022).
//!
//! A diffusion model can only teach what it listens to, so its captions name every attribute, and
//! [`super::check`] measures whether it listens.

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use deem_model::autoencoder::Autoencoder;
use deem_model::clip::config::ClipTextConfig;
use deem_model::clip::text::ClipText;
use deem_model::diffusion::{Condition, Diffusion};
use deem_model::scheduler::{NoiseSchedule, TimestepSampler};
use deem_model::unet::{UNet, UNetConfig};

use super::clip::{PairBatch, Pairs, ids_tensor};
use deem_engine::EngineError;
use deem_engine::objective::Draws;
use deem_engine::train::{Loss, Piece, Shares, Task};

/// Probability of an empty caption (classifier-free guidance).
const EMPTY_CAPTION: f64 = 0.1;

/// Denoiser and text encoder, trained together.
#[derive(Module, Debug)]
pub struct TextToImage {
    /// Reads the caption.
    pub text_encoder: ClipText,
    /// Denoises given the caption's hidden states.
    pub unet: UNet,
}

impl TextToImage {
    /// A model of the given dimensions.
    pub fn new(text: &ClipTextConfig, unet: &UNetConfig, device: &Device) -> Self {
        Self {
            text_encoder: ClipText::new(text, device),
            unet: UNet::new(unet, device),
        }
    }

    /// The whole diffusion model, whose condition is the caption's hidden states.
    pub fn diffusion<'a>(
        &'a self,
        autoencoder: &'a Autoencoder,
        schedule: &'a NoiseSchedule,
    ) -> Diffusion<'a> {
        Diffusion {
            unet: &self.unet,
            autoencoder,
            schedule,
            synchronizer: None,
            compute: FloatDType::F32,
        }
    }
}

/// Hidden states of captions, `[captions, length, width]`, filled up with the end token to a fixed
/// length, as Stable Diffusion's pipeline does.
pub fn text_condition(
    encoder: &ClipText,
    rows: &[Vec<i64>],
    end: i64,
    length: usize,
    device: &Device,
) -> Tensor<3> {
    let mut rows = rows.to_vec();
    for row in &mut rows {
        row.truncate(length);
        row.resize(length, end);
    }
    encoder
        .forward(ids_tensor(&rows, device), None)
        .last_hidden_state
}

/// Denoises latents of pictures given their captions.
pub struct DiffusionTask {
    /// Pictures as the diffusion model sees them, and their full captions.
    pub pairs: Pairs,
    /// The frozen latent space, without gradient tracking.
    pub autoencoder: Autoencoder,
    /// The noise schedule.
    pub schedule: NoiseSchedule,
    /// Tokens of a caption, bos and eos included.
    pub caption_length: usize,
    /// Weighs errors by min-SNR with this γ (Hang et al. 2023); `None`: all steps alike.
    pub min_snr_gamma: Option<f64>,
    /// Seed of noise, timesteps and caption dropout.
    pub seed: u64,
    /// Where to compute.
    pub device: Device,
}

impl DiffusionTask {
    /// Scaled latents of a batch of pictures, on the inner device.
    pub fn latents(&self, batch: &PairBatch) -> Tensor<4> {
        let pixels = batch.pixels(&self.device.clone().inner());
        self.autoencoder.latents(pixels)
    }
}

/// Min-SNR weight of each picture's error, `[pictures, 1, 1, 1]`.
///
/// # Panics
/// If a timestep lies outside the schedule.
fn min_snr_weights(
    schedule: &NoiseSchedule,
    timesteps: &[usize],
    gamma: f64,
    device: &Device,
) -> Tensor<4> {
    let weights: Vec<f32> = timesteps
        .iter()
        .map(|step| {
            let weight = schedule.min_snr_weight(*step, gamma);
            weight.expect("timesteps of this schedule") as f32
        })
        .collect();
    let shape = [weights.len(), 1, 1, 1];
    Tensor::from_data(TensorData::new(weights, shape), device)
}

impl Task for DiffusionTask {
    type Model = TextToImage;
    type Batch = PairBatch;

    fn batch(&self, piece: &Piece) -> Result<PairBatch, EngineError> {
        self.pairs.get(piece.index)
    }

    fn loss(&self, model: &TextToImage, batch: &PairBatch, piece: &Piece, shares: &Shares) -> Loss {
        let mut draws = Draws::new(self.seed, piece.index);
        let latents = Tensor::from_inner(self.latents(batch));
        let noise = draws.noise(latents.dims(), &self.device);
        let count = batch.ids.len();
        let timesteps = draws.timesteps(TimestepSampler::Uniform, count, self.schedule.steps());
        let special = self.pairs.tokenizer.special();
        let (bos, end) = (i64::from(special.bos), i64::from(special.pad));
        let rows: Vec<Vec<i64>> = draws
            .events(EMPTY_CAPTION, count)
            .into_iter()
            .zip(&batch.ids)
            .map(|(empty, ids)| if empty { vec![bos, end] } else { ids.clone() })
            .collect();
        let condition = text_condition(
            &model.text_encoder,
            &rows,
            end,
            self.caption_length,
            &self.device,
        );
        let condition = Condition::of_tokens(condition);
        let diffusion = model.diffusion(&self.autoencoder, &self.schedule);
        let mut error = diffusion.error(latents, noise, &timesteps, condition);
        if let Some(gamma) = self.min_snr_gamma {
            error = error * min_snr_weights(&self.schedule, &timesteps, gamma, &self.device);
        }
        let denoising = deem_kernels::mean(error);
        Loss::sum([("denoising", 1.0, denoising)], shares, &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deem_model::scheduler::NoiseConfig;

    #[test]
    fn each_picture_is_weighed_by_its_own_timestep() {
        let schedule = NoiseSchedule::new(&NoiseConfig {
            trained_betas: Some(vec![0.25, 0.0, 0.75]), // ᾱ = 3/4, 3/4, 3/16: snr = 3, 3, 3/13
            ..NoiseConfig::default()
        })
        .unwrap();
        let weights = min_snr_weights(&schedule, &[2, 0, 1], 1.5, &Device::flex());
        assert_eq!(weights.dims(), [3, 1, 1, 1]);
        let values: Vec<f32> = weights.into_data().iter::<f32>().collect();
        assert_eq!(values, [1.0, 0.5, 0.5]);
    }
}
