//! The three losses of the method (DEEM §2.2) and those of pre-training, each a plain function of a model,
//! a batch and given noise and timesteps.

mod alignment;
mod contrastive;
mod draws;
mod feedback;
mod image;
mod text;
mod total;

pub use alignment::alignment_loss;
pub use contrastive::{contrastive, normalize};
pub use draws::{Draws, Purpose};
pub use feedback::feedback_loss;
pub use image::{image_targets, next_image_loss};
pub use text::{counted_cross_entropy, counted_losses, next_token_loss};
pub use total::{DeemBatch, LossWeights, NoiseOf, Terms, deem_counts, deem_loss};
