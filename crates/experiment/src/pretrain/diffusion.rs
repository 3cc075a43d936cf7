//! Pre-training of the latent diffusion model on captions that say everything (Rombach et al., 2022).
//!
//! A diffusion model can only teach what it listens to, so its captions name every attribute, and
//! [`super::check`] measures whether it listens.

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};
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
    /// Noises, each with a timestep of its own, that a picture is denoised from in one step; at least 1. What a picture
    /// costs beyond the denoiser, its drawing, its latents and its caption's states, is paid once for all of them.
    pub noises: usize,
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

impl Task for DiffusionTask {
    type Model = TextToImage;
    type Batch = PairBatch;

    fn batch(&self, piece: &Piece) -> Result<PairBatch, EngineError> {
        self.pairs.get(piece.index)
    }

    fn loss(&self, model: &TextToImage, batch: &PairBatch, piece: &Piece, shares: &Shares) -> Loss {
        let mut draws = Draws::new(self.seed, piece.index);
        let count = batch.ids.len();
        let latents = Tensor::from_inner(self.latents(batch)).repeat_dim(0, self.noises);
        let noise = draws.noise(latents.dims(), &self.device);
        let timesteps = draws.timesteps(
            TimestepSampler::Uniform,
            count * self.noises,
            self.schedule.steps(),
        );
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
        let condition = Condition::of_tokens(condition.repeat_dim(0, self.noises));
        let diffusion = model.diffusion(&self.autoencoder, &self.schedule);
        let error = diffusion.error(latents, noise, &timesteps, condition);
        let denoising = deem_kernels::mean(error);
        Loss::sum([("denoising", 1.0, denoising)], shares, &self.device)
    }
}
