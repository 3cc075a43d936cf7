//! D_DM's denoiser: diffusers' `UNet2DConditionModel`, on channels-last maps.
//!
//! A path down and up through resolutions, with skip connections between them. Every layer is a
//! residual block that hears the timestep and, in most, a transformer that hears the condition.
//! DEEM adds to each skip connection, and to the middle, what an MMFS block finds in the images
//! ([`UnetSynchronizer`]); the UNet itself stays frozen.

mod activation;
mod blocks;
mod config;
mod model;
mod per_block;
mod projection;
pub(crate) mod resnet;
mod synchronizer;
mod time;
mod transformer;

pub use activation::Activation;
pub use blocks::{DownBlock, MidBlock, UpBlock};
pub use config::{DownBlockType, MidBlockType, TimeScaleShift, UNetConfig, UNetError, UpBlockType};
pub use model::UNet;
pub use per_block::PerBlock;
pub use projection::PixelProjection;
pub use resnet::{Downsample, ResnetBlock, Upsample};
pub use synchronizer::{UnetImages, UnetSynchronizer, UnetSynchronizerConfig};
pub use time::TimestepEmbedding;
pub use transformer::{CrossAttention, FeedForward, Transformer2d, TransformerBlock};
