//! CLIP towers (Radford et al. 2021) and the feature pyramid on top of the image towers.
//!
//! [`convnext`] and [`vit`] are the image encoders E_V, [`pyramid`] makes four levels and a sequence
//! of either, [`text`] is the text tower (stand-in pre-training, null condition).

pub mod adapter;
pub mod config;
pub mod convnext;
pub mod encoder;
pub mod levels;
pub mod pyramid;
pub mod text;
pub mod vit;
