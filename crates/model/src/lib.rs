//! Every network of the DEEM method (arXiv 2405.15232), on channels-last feature maps.
//!
//! Read in the order of the data flow: [`image_encoder`] (pixels → visual tokens and condition
//! tokens) uses [`clip`], [`mask_extractor`] and [`perceiver`]; [`llama`] reads the tokens, with
//! [`mmfs`] looking back at the images; [`image_decoder`] turns its hidden states into a condition
//! for [`unet`], which denoises latents of the [`autoencoder`] along a [`scheduler`], the three of them
//! together being [`diffusion`]; [`deem`] is the composition. [`weights`] fills any of them from files. [`inception`] and
//! [`efficientnet`] are no part of it: pictures are compared by their features.
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::disallowed_methods))] // values to compare with
#![recursion_limit = "256"]

pub mod activation;
mod attention;
pub mod autoencoder;
pub mod checkpointing;
mod checks;
pub mod clip;
pub mod component;
pub mod deem;
pub mod diffusion;
pub mod efficientnet;
pub mod encoded_images;
pub mod encoder_feedback;
pub mod image_decoder;
pub mod image_encoder;
pub mod inception;
pub mod init;
pub mod layout;
pub mod llama;
pub mod lora;
pub mod mask_extractor;
pub mod mmfs;
pub mod nn;
pub mod perceiver;
pub mod position;
pub mod published;
pub mod scheduler;
pub mod unet;
pub mod weights;
