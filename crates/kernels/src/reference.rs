//! Every operation as a composition of ordinary differentiable Burn operations.
//!
//! Same signatures and meaning as the functions at the crate root, on any device and float type.
//! They define what the fused implementations must compute.
//!
//! The result has the type of the activations; weights are brought to it. In 16 bits, statistics,
//! probabilities and coordinates are nevertheless computed in 32.

#![allow(clippy::disallowed_methods)] // the framework's own, which is what makes them references

mod activation;
mod adamw;
pub(crate) mod attention;
mod conv;
mod cross_entropy;
mod deformable;
mod linear;
mod matmul;
mod norm;
mod reduce;
mod rotary;
mod select;

pub use activation::{
    exp, gaussian, geglu, gelu, gelu_tanh, log, quick_gelu, sigmoid, silu, softmax, softplus, sqrt,
    swiglu, tanh,
};
pub use adamw::adamw_step;
pub use attention::attention;
pub use conv::conv2d;
pub use cross_entropy::cross_entropy;
pub use deformable::deformable_attention;
pub use linear::linear;
pub use matmul::matmul;
pub use norm::{group_norm, layer_norm, rms_norm};
pub use reduce::{mean, mean_last, sum, sum_last};
pub use rotary::rotary;
pub use select::select;
