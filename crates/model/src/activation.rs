//! Pointwise non-linearities by transformers' names (`hidden_act`).

use std::f64::consts::FRAC_1_SQRT_2;

use burn::tensor::{Tensor, activation};
use deem_kernels::{self as kernels, MlpActivation};
use serde::{Deserialize, Serialize};

use crate::nn::{Linear, adapted};

/// Pointwise non-linearity of an MLP. Those with parameters of their own (`prelu`, `xielu`) are not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · Φ(x)`
    #[serde(alias = "gelu_python")]
    Gelu,
    /// GELU clipped to ±10.
    #[serde(rename = "gelu_10")]
    Gelu10,
    /// GELU by its tanh approximation, under any of its names.
    #[serde(
        alias = "gelu_new",
        alias = "gelu_fast",
        alias = "gelu_accurate",
        alias = "gelu_python_tanh"
    )]
    GeluPytorchTanh,
    /// `x · clamp(x + 3, 0, 6) / 6`
    Hardswish,
    /// Distribution function of a normal variable with mean √½ and standard deviation 0.282095.
    Laplace,
    /// `x`, or a hundredth of it below zero.
    LeakyRelu,
    /// `x`
    Linear,
    /// `x · tanh(log(1 + eˣ))`
    Mish,
    /// `x · sigmoid(1.702 x)`
    QuickGelu,
    /// `max(x, 0)`
    Relu,
    /// `max(x, 0)²`
    Relu2,
    /// `clamp(x, 0, 6)`
    Relu6,
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid,
    /// `x · sigmoid(x)`
    #[default]
    #[serde(alias = "swish")]
    Silu,
    /// `√log(1 + eˣ)`
    #[serde(rename = "sqrtsoftplus")]
    SqrtSoftplus,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Those that an MLP computes in one operation with its layers.
    fn in_mlp(self) -> Option<MlpActivation> {
        match self {
            Self::Gelu => Some(MlpActivation::Gelu),
            Self::GeluPytorchTanh => Some(MlpActivation::GeluTanh),
            Self::QuickGelu => Some(MlpActivation::QuickGelu),
            Self::Silu => Some(MlpActivation::Silu),
            _ => None,
        }
    }

    /// Applies the function to every entry.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => kernels::gelu(x),
            Self::Gelu10 => kernels::gelu(x).clamp(-10.0, 10.0),
            Self::GeluPytorchTanh => kernels::gelu_tanh(x),
            Self::Hardswish => x.clone() * x.add_scalar(3.0).clamp(0.0, 6.0).div_scalar(6.0),
            Self::Laplace => kernels::gaussian(x.sub_scalar(FRAC_1_SQRT_2).div_scalar(0.282_095)),
            Self::LeakyRelu => activation::leaky_relu(x, 0.01),
            Self::Linear => x,
            Self::Mish => mish(x),
            Self::QuickGelu => kernels::quick_gelu(x),
            Self::Relu => activation::relu(x),
            Self::Relu2 => activation::relu(x).square(),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Sigmoid => kernels::sigmoid(x),
            Self::Silu => kernels::silu(x),
            Self::SqrtSoftplus => kernels::sqrt(kernels::softplus(x)),
            Self::Tanh => kernels::tanh(x),
        }
    }
}

/// `x · tanh(log(1 + eˣ))`
pub(crate) fn mish<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * kernels::tanh(kernels::softplus(x))
}

/// `down(activation(up(x)))`
pub(crate) fn mlp<const D: usize>(
    x: Tensor<D>,
    up: &Linear,
    activation: Activation,
    down: &Linear,
) -> Tensor<D> {
    match activation.in_mlp() {
        Some(fused) if !adapted([up, down]) => kernels::mlp(x, up.affine(), fused, down.affine()),
        _ => down.forward(activation.apply(up.forward(x))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn values_by_hand() {
        let at = |name: &str, x: f32| -> f32 {
            let act: Activation = serde_json::from_value(name.into()).unwrap();
            let x = Tensor::<1>::from_floats([x], &Device::flex());
            act.apply(x).into_scalar::<f32>()
        };
        for (name, x, expected) in [
            ("gelu_10", 20.0, 10.0),
            ("hardswish", 1.0, 2.0 / 3.0),
            ("hardswish", -4.0, 0.0),
            ("laplace", std::f32::consts::FRAC_1_SQRT_2, 0.5),
            ("leaky_relu", -2.0, -0.02),
            ("linear", -2.0, -2.0),
            ("mish", 1.0, 0.865_098),
            ("relu2", 3.0, 9.0),
            ("relu6", 7.0, 6.0),
            ("sigmoid", 0.0, 0.5),
            ("sqrtsoftplus", 0.0, 0.832_555),
            ("tanh", 0.5, 0.462_117),
            ("gelu_python", 1.0, 0.841_345),
            ("gelu_accurate", 1.0, 0.841_192),
            ("swish", 1.0, 0.731_059),
        ] {
            let found = at(name, x);
            assert!((found - expected).abs() < 1e-5, "{name}({x}) = {found}");
        }
        let unknown = serde_json::from_str::<Activation>("\"prelu\"");
        assert!(unknown.unwrap_err().to_string().contains("prelu"));
    }
}
