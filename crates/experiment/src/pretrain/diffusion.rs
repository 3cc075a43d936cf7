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
use serde::{Deserialize, Serialize};

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

/// What a caption shorter than a condition is filled up with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filling {
    /// End tokens, as Stable Diffusion's pipeline does. In a short caption, most attention goes to them.
    #[default]
    End,
    /// Its own states, again and again: as if nothing but the caption were there.
    Caption,
}

impl Filling {
    /// Whether this is Stable Diffusion's.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How captions become conditions.
#[derive(Clone, Copy, Debug)]
pub struct CaptionForm {
    /// Tokens of a condition; of longer captions, the rest is cut off.
    pub length: usize,
    /// What fills up shorter ones.
    pub filling: Filling,
    /// The end token.
    pub end: i64,
}

/// Hidden states of captions, `[captions, length, width]`.
pub fn text_condition(
    encoder: &ClipText,
    captions: &[Vec<i64>],
    form: CaptionForm,
    device: &Device,
) -> Tensor<3> {
    let lengths = captions
        .iter()
        .map(|caption| caption.len().min(form.length));
    let read = match form.filling {
        Filling::End => form.length,
        Filling::Caption => lengths.clone().max().unwrap_or(0),
    };
    let mut rows = captions.to_vec();
    for row in &mut rows {
        row.resize(read, form.end);
    }
    let states = encoder
        .forward(ids_tensor(&rows, device), None)
        .last_hidden_state;
    if form.filling == Filling::End {
        return states;
    }
    let [count, _, width] = states.dims();
    let places: Vec<usize> = lengths
        .enumerate()
        .flat_map(|(row, length)| (0..form.length).map(move |i| row * read + i % length.max(1)))
        .collect();
    deem_kernels::select(states.reshape([count * read, width]), &places).reshape([
        count,
        form.length,
        width,
    ])
}

/// Denoises latents of pictures given their captions.
pub struct DiffusionTask {
    /// Pictures as the diffusion model sees them, and their full captions.
    pub pairs: Pairs,
    /// The frozen latent space, without gradient tracking.
    pub autoencoder: Autoencoder,
    /// The noise schedule.
    pub schedule: NoiseSchedule,
    /// How captions are heard.
    pub captions: CaptionForm,
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
        let empty_caption = vec![self.pairs.tokenizer.special().bos.into(), self.captions.end];
        let rows: Vec<Vec<i64>> = draws
            .events(EMPTY_CAPTION, count)
            .into_iter()
            .zip(&batch.ids)
            .map(|(empty, ids)| if empty { &empty_caption } else { ids }.clone())
            .collect();
        let encoder = &model.text_encoder;
        let condition = text_condition(encoder, &rows, self.captions, &self.device);
        let condition = Condition::of_tokens(condition); // each noise of a picture hears the same
        let diffusion = model.diffusion(&self.autoencoder, &self.schedule);
        let error = diffusion.error(latents, noise, &timesteps, condition);
        let denoising = deem_kernels::mean(error);
        Loss::sum([("denoising", 1.0, denoising)], shares, &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caption_fills_its_condition() {
        let device = Device::flex();
        let config = serde_json::from_value(serde_json::json!({
            "vocab_size": 9, "hidden_size": 4, "intermediate_size": 8, "projection_dim": 4, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 8, "hidden_act": "gelu", "eos_token_id": 8,
        }));
        let encoder = ClipText::new(&config.expect("a text encoder"), &device);
        let encoder = deem_model::weights::init::initialize(encoder, 3, &[]);
        let states = |captions: &[Vec<i64>], length, filling| -> Vec<Vec<f32>> {
            let form = CaptionForm {
                length,
                filling,
                end: 8,
            };
            let states = text_condition(&encoder, captions, form, &device).into_data();
            let states: Vec<f32> = states.iter::<f32>().collect();
            states.chunks(4).map(<[f32]>::to_vec).collect()
        };
        let captions = [vec![1, 2, 3], vec![4, 5]];
        let padded = states(&captions, 7, Filling::End);
        let filled = states(&captions, 7, Filling::Caption);
        let places = [0, 1, 2, 0, 1, 2, 0, 7, 8, 7, 8, 7, 8, 7];
        for (i, place) in places.into_iter().enumerate() {
            assert_eq!(filled[i], padded[place], "state {i}");
        }
        // What is too long is cut off. As few rows are summed in another order: compared with as many.
        let cut = [vec![1, 2], vec![4, 5]];
        for filling in [Filling::End, Filling::Caption] {
            let found = states(&captions, 2, filling);
            assert_eq!(found, states(&cut, 2, Filling::End), "{filling:?}");
        }
    }
}
