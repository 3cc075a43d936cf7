//! Low-rank adaptation (Hu et al. 2021): a frozen linear layer `y = W x + b` learns a change of low rank,
//! `y = W x + b + (α / r) · B A x`, with `A: [r, in]` and `B: [out, r]`.
//!
//! An adapter hangs on the layer's weight as a reparameterisation: [`Linear`](crate::nn::Linear) takes the short way
//! through the factors, and whoever reads the weight itself reads `W + (α / r) · B A`. A model without adapters is
//! what it was. [`attach`] puts adapters on, [`Module::materialize`](burn::module::Module::materialize) folds them
//! into the weights, [`unmerge`] takes them out again; [`peft`] is their public file format.

mod adapter;
mod attach;
mod dropout;
mod merged;
pub mod peft;

pub use adapter::Adapter;
pub use attach::{LayerShape, attach, linear_layers};
pub use dropout::Masks;
pub use merged::{AdapterState, merged_weights, states, unmerge};

/// Adapter of one linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterSpec {
    /// Path of the layer, without `.weight`.
    pub path: String,
    /// r, at least 1.
    pub rank: usize,
    /// α: the product is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Share of the adapter's inputs that are zeroed in training, in [0, 1).
    pub dropout: f64,
}

impl AdapterSpec {
    /// Factor on the product of the two matrices.
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

/// Path of an adapter's first factor, below that of its layer.
pub const A: &str = ".weight.lora.a";
/// Path of an adapter's second factor.
pub const B: &str = ".weight.lora.b";

/// The layer that a factor of an adapter belongs to; `None` for any other path.
pub fn layer_of(path: &str) -> Option<&str> {
    path.strip_suffix(A).or_else(|| path.strip_suffix(B))
}
