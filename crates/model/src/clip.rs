//! CLIP and SigLIP towers (Radford et al. 2021, Zhai et al. 2023) and the feature pyramid on top of the image towers.
//!
//! [`convnext`] and [`vit`] are the image encoders E_V, [`pyramid`] makes four levels and a sequence
//! of either, [`text`] is the text tower (stand-in pre-training, null condition). [`dual`] is a published encoder of
//! pictures and texts as a whole, [`tower`] its image tower alone.

pub mod adapter;
pub mod config;
pub mod convnext;
pub mod dual;
pub mod encoder;
pub mod levels;
pub mod pooling;
pub mod pyramid;
pub mod text;
pub mod tower;
pub mod vit;
