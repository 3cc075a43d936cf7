//! Pre-training of the latent space: reconstruction with a slight pull towards a normal posterior
//! (Rombach et al., 2022, without the adversarial and perceptual terms).

use burn::tensor::{Device, Tensor};
use deem_kernels::{exp, mean};
use deem_model::autoencoder::Autoencoder;

use super::clip::{PairBatch, Pairs};
use deem_engine::EngineError;
use deem_engine::objective::Draws;
use deem_engine::train::{Loss, Piece, Shares, Task};

/// Weight of the Kullback–Leibler term.
const KL: f64 = 1e-5;

/// Reconstructs pictures.
pub struct AutoencoderTask {
    /// Pictures as the diffusion model sees them; the texts are not used.
    pub pairs: Pairs,
    /// Seed of the posterior's noise.
    pub seed: u64,
    /// Where to compute.
    pub device: Device,
}

impl Task for AutoencoderTask {
    type Model = Autoencoder;
    type Batch = PairBatch;

    fn batch(&self, piece: &Piece) -> Result<PairBatch, EngineError> {
        self.pairs.get(piece.index)
    }

    fn loss(&self, model: &Autoencoder, batch: &PairBatch, piece: &Piece, shares: &Shares) -> Loss {
        let pixels = batch.pixels(&self.device).mul_scalar(2.0).sub_scalar(1.0);
        let posterior = model.encode(pixels.clone());
        let noise = Draws::new(self.seed, piece.index).noise(posterior.mean.dims(), &self.device);
        let difference = model.decode(posterior.sample(noise)) - pixels;
        let reconstruction = mean(difference.clone().abs()) + mean(difference.square());
        let (centre, logvar) = (posterior.mean, posterior.logvar);
        let kl = centre.square() + exp(logvar.clone()) - logvar - 1.0;
        let kl = mean(kl).mul_scalar(0.5);
        let terms = [("reconstruction", 1.0, reconstruction), ("kl", KL, kl)];
        Loss::sum(terms, shares, &self.device)
    }
}

/// The scaling factor that gives latents unit variance: 1 / their standard deviation over some
/// batches of pictures.
///
/// # Errors
/// Those of reading the pictures.
pub fn latent_scale(
    model: &Autoencoder,
    task: &AutoencoderTask,
    batches: u64,
) -> Result<f64, EngineError> {
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for index in 0..batches {
        let pixels: Tensor<4> = task.pairs.get(index)?.pixels(&task.device.clone().inner());
        let mean = model.encode(pixels.mul_scalar(2.0).sub_scalar(1.0)).mean;
        for value in mean.into_data().iter::<f64>() {
            sum += value;
            squares += value * value;
            count += 1.0;
        }
    }
    let mean: f64 = sum / count;
    Ok(1.0 / (squares / count - mean * mean).sqrt().max(1e-6))
}
