//! The three losses of the method (DEEM §2.2), those that correct a bare encoder, and those of pre-training, each a plain
//! function of a model, a batch and given noise and timesteps.

mod alignment;
mod condition;
mod contrastive;
mod denoiser;
mod draws;
mod encoder;
mod feedback;
pub mod flow;
mod image;
mod inversion;
mod noise_contrast;
mod retention;
mod text;
mod total;

pub use alignment::alignment_loss;
pub use condition::{condition_features, drop_conditions, told};
pub use contrastive::{contrastive, normalize};
pub use denoiser::{Denoiser, Noised, denoising_loss};
pub use draws::{Draws, Purpose};
pub use encoder::{Objective, Original, Pictures, Sampling, encoder_terms};
pub use feedback::feedback_loss;
pub use image::{image_targets, next_image_loss};
pub use inversion::embedding_condition;
pub use noise_contrast::noise_contrast;
pub use retention::{image_retention, text_retention};
pub use text::{counted_cross_entropy, counted_losses, next_token_loss};
pub use total::{DeemBatch, LossWeights, NoiseOf, Terms, deem_counts, deem_loss};
