//! The stand-in diffusion model as its captions speak to it.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_data::text::TextTokenizer;
use deem_engine::EngineError;
use deem_engine::objective::Draws;
use deem_model::autoencoder::Autoencoder;
use deem_model::diffusion::{Condition, Diffusion};
use deem_model::scheduler::{NoiseSchedule, TimestepSampler};
use image::RgbImage;

use super::clip::{encode_text, pixels};
use super::diffusion::{CaptionForm, TextToImage, text_condition};
use crate::standins::StandIns;

/// A diffusion model that hears words: denoiser, text encoder and latent space, none of them trained.
pub struct CaptionedDiffusion {
    model: TextToImage,
    autoencoder: Autoencoder,
    schedule: NoiseSchedule,
    tokenizer: TextTokenizer,
    form: CaptionForm,
    side: u32,
    device: Device,
}

impl CaptionedDiffusion {
    /// That of some stand-ins.
    ///
    /// # Errors
    /// Stand-ins that are missing or do not fit.
    pub fn of(
        standins: &StandIns,
        tokenizer: &TextTokenizer,
        device: &Device,
    ) -> Result<Self, EngineError> {
        let model = &standins.preset().model;
        Ok(Self {
            model: TextToImage {
                text_encoder: standins.text_encoder(device)?,
                unet: standins.unet(device)?,
            }
            .no_grad(),
            autoencoder: standins.autoencoder(device)?.no_grad(),
            schedule: NoiseSchedule::new(&model.scheduler)
                .map_err(|error| EngineError::Config(error.to_string()))?,
            form: standins.experiment().captions(tokenizer),
            tokenizer: tokenizer.clone(),
            side: model.diffusion_size as u32,
            device: device.clone(),
        })
    }

    /// The diffusion model alone.
    pub fn diffusion(&self) -> Diffusion<'_> {
        self.model.diffusion(&self.autoencoder, &self.schedule)
    }

    /// Pictures as it sees them, `[pictures, 3, side, side]` in [0, 1].
    ///
    /// # Panics
    /// If a picture has no pixels.
    pub fn pixels(&self, pictures: &[RgbImage]) -> Tensor<4> {
        pixels(pictures, self.side, &self.device)
    }

    /// What it hears of captions, `[captions, tokens, width]`; of an empty one, what it learned to draw without.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn condition(&self, captions: &[String]) -> Result<Tensor<3>, EngineError> {
        let ids = captions
            .iter()
            .map(|caption| encode_text(&self.tokenizer, caption));
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let encoder = &self.model.text_encoder;
        Ok(text_condition(encoder, &ids, self.form, &self.device))
    }

    /// Mean squared denoising error of each picture given its caption; noise and timesteps are those of `draws`.
    ///
    /// # Shapes
    /// - `latents`: `[pictures, height, width, channels]`, scaled
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn errors(
        &self,
        latents: &Tensor<4>,
        captions: &[String],
        timesteps: TimestepSampler,
        mut draws: Draws,
    ) -> Result<Vec<f64>, EngineError> {
        let noise = draws.noise(latents.dims(), &self.device);
        let count = captions.len();
        let timesteps = draws.timesteps(timesteps, count, self.schedule.steps());
        let condition = Condition::of_tokens(self.condition(captions)?);
        let error = self
            .diffusion()
            .error(latents.clone(), noise, &timesteps, condition)
            .reshape([count as i32, -1])
            .mean_dim(1);
        Ok(error.into_data().iter::<f64>().collect())
    }
}
