//! The latent space of D_DM: diffusers' `AutoencoderKL`, on channels-last maps.
//!
//! A convolutional encoder gives mean and log-variance of a latent that is 2^(blocks − 1) times
//! smaller than the image; a decoder paints the image back. In DEEM it is always frozen.

mod coder;
mod config;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_kernels as kernels;

pub use coder::{Decoder, DecoderBlock, Encoder, EncoderBlock, PixelAttention, PixelMidBlock};
pub use config::{AutoencoderConfig, AutoencoderError, DecoderBlockType, EncoderBlockType};

use crate::nn::{Conv2d, Conv2dOptions};

/// Encoder and decoder.
#[derive(Module, Debug)]
pub struct Autoencoder {
    /// Pixels → moments.
    pub encoder: Encoder,
    /// Latent → pixels.
    pub decoder: Decoder,
    /// 1×1 on the moments.
    pub quant_conv: Option<Conv2d>,
    /// 1×1 on the latent.
    pub post_quant_conv: Option<Conv2d>,
    #[module(skip)]
    scaling_factor: f64,
    #[module(skip)]
    shift_factor: f64,
}

/// Normal distribution of latents, independent in each entry.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// `[batch, height / f, width / f, latent_channels]`
    pub mean: Tensor<4>,
    /// The same shape, logarithm of the variance, clamped to -30..20.
    pub logvar: Tensor<4>,
}

impl Posterior {
    /// A draw, given standard normal noise in the shape of the mean.
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        self.mean.clone() + kernels::exp(self.logvar.clone() * 0.5) * noise
    }
}

impl Autoencoder {
    /// A network for a configuration that passes [`AutoencoderConfig::validate`]; allocates nothing.
    pub fn new(config: &AutoencoderConfig, device: &Device) -> Self {
        let latent = config.latent_channels;
        let pointwise =
            |channels| Conv2d::new(channels, channels, 1, Conv2dOptions::default(), device);
        Self {
            encoder: Encoder::new(config, device),
            decoder: Decoder::new(config, device),
            quant_conv: config.use_quant_conv.then(|| pointwise(2 * latent)),
            post_quant_conv: config.use_post_quant_conv.then(|| pointwise(latent)),
            scaling_factor: config.scaling_factor,
            shift_factor: config.shift_factor.unwrap_or(0.0),
        }
    }

    /// The diffusion model works on `(latent − shift) · scaling_factor`.
    pub fn scaling_factor(&self) -> f64 {
        self.scaling_factor
    }

    /// From this network's latents to those of the diffusion model.
    pub fn scale(&self, latents: Tensor<4>) -> Tensor<4> {
        if self.shift_factor == 0.0 {
            latents * self.scaling_factor
        } else {
            (latents - self.shift_factor) * self.scaling_factor
        }
    }

    /// From the diffusion model's latents to those of this network.
    pub fn unscale(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = latents / self.scaling_factor;
        if self.shift_factor == 0.0 {
            latents
        } else {
            latents + self.shift_factor
        }
    }

    /// Distribution of the latents of some images.
    ///
    /// # Shapes
    /// - `pixels`: `[batch, in_channels, height, width]`, range **[-1, 1]**, height and width
    ///   multiples of the reduction (8 for Stable Diffusion)
    /// - returns `[batch, height / f, width / f, latent_channels]`
    pub fn encode(&self, pixels: Tensor<4>) -> Posterior {
        let moments = self.encoder.forward(pixels.permute([0, 2, 3, 1]));
        let moments = match &self.quant_conv {
            Some(conv) => conv.forward(moments),
            None => moments,
        };
        let channels = moments.dims()[3] / 2;
        Posterior {
            mean: moments.clone().narrow(3, 0, channels),
            logvar: moments.narrow(3, channels, channels).clamp(-30.0, 20.0),
        }
    }

    /// The diffusion model's latents of some images: the scaled mean of their distribution.
    ///
    /// # Shapes
    /// - `pixels`: as in [`Self::encode`], but range **[0, 1]**
    /// - returns `[batch, height / f, width / f, latent_channels]`
    pub fn latents(&self, pixels: Tensor<4>) -> Tensor<4> {
        let normalised = pixels.mul_scalar(2.0).sub_scalar(1.0);
        self.scale(self.encode(normalised).mean)
    }

    /// Images of some latents.
    ///
    /// # Shapes
    /// - `latents`: `[batch, height, width, latent_channels]`, not scaled
    /// - returns `[batch, out_channels, height · f, width · f]`, about [-1, 1]
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = match &self.post_quant_conv {
            Some(conv) => conv.forward(latents),
            None => latents,
        };
        self.decoder.forward(latents).permute([0, 3, 1, 2])
    }
}

/// Name of a parameter in checkpoints written before diffusers 0.17, where attention layers were
/// called differently. To be used as a renaming when a file [has them](has_legacy_keys).
pub fn legacy_key(path: &str) -> String {
    let names = ATTENTION_NAMES.iter();
    names.fold(path.to_owned(), |path, (new, old)| path.replace(new, old))
}

/// The inverse of [`legacy_key`].
pub fn modern_key(path: &str) -> String {
    let names = ATTENTION_NAMES.iter();
    names.fold(path.to_owned(), |path, (new, old)| path.replace(old, new))
}

/// New and old names of attention layers.
const ATTENTION_NAMES: [(&str, &str); 4] = [
    (".to_q.", ".query."),
    (".to_k.", ".key."),
    (".to_v.", ".value."),
    (".to_out.0.", ".proj_attn."),
];

/// Whether the keys of a checkpoint use the old names of attention layers.
pub fn has_legacy_keys<'a>(mut keys: impl Iterator<Item = &'a str>) -> bool {
    keys.any(|key| key.contains(".proj_attn."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_names() {
        let path = "decoder.mid_block.attentions.0.to_out.0.weight";
        let legacy = "decoder.mid_block.attentions.0.proj_attn.weight";
        assert_eq!(legacy_key(path), legacy);
        assert_eq!(modern_key(legacy), path);
        assert!(has_legacy_keys([legacy].into_iter()));
        assert!(!has_legacy_keys([path].into_iter()));
        assert_eq!(legacy_key("quant_conv.weight"), "quant_conv.weight");
    }

    #[test]
    fn scaling_and_drawing() {
        let device = Device::flex();
        let config = AutoencoderConfig {
            scaling_factor: 2.0,
            shift_factor: Some(1.0),
            ..AutoencoderConfig::default()
        };
        let autoencoder = Autoencoder::new(&config, &device);
        let one = Tensor::<4>::full([1, 1, 1, 1], 3.0, &device);
        let scaled = autoencoder.scale(one.clone());
        assert_eq!(scaled.clone().into_scalar::<f32>(), 4.0);
        assert_eq!(autoencoder.unscale(scaled).into_scalar::<f32>(), 3.0);
        let posterior = Posterior {
            mean: one.clone(),
            logvar: one.clone() * 0.0 + 2.0 * 2f64.ln(), // standard deviation 2
        };
        let drawn = posterior.sample(one).into_scalar::<f32>();
        assert!((drawn - 9.0).abs() < 1e-5);
    }
}
