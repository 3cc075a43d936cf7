use burn::tensor::{Tensor, activation};
use deem_kernels as kernels;
use serde::{Deserialize, Serialize};

use crate::activation::mish;
use crate::nn::GroupNorm;

/// Nonlinearity of residual blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · sigmoid(x)`
    #[default]
    #[serde(alias = "swish")]
    Silu,
    /// `x · tanh(log(1 + eˣ))`
    Mish,
    /// With the error function.
    Gelu,
    /// `max(x, 0)`
    Relu,
}

impl Activation {
    pub(crate) fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Silu => kernels::silu(x),
            Self::Mish => mish(x),
            Self::Gelu => kernels::gelu(x),
            Self::Relu => activation::relu(x),
        }
    }

    /// Activation of a normalised map, in one pass where there is a kernel for it.
    pub(crate) fn after_norm(self, norm: &GroupNorm, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Silu => norm.forward_silu(x),
            _ => self.forward(norm.forward(x)),
        }
    }
}
