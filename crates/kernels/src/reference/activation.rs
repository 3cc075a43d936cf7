use burn::tensor::{Tensor, activation};

use crate::precision::{cast, wide};

/// Exact GELU; see [`crate::gelu`].
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    let x = wide(x);
    let half = x.clone() * 0.5;
    cast(
        half * ((x * core::f64::consts::FRAC_1_SQRT_2).erf() + 1.0),
        dtype,
    )
}

/// GELU by its tanh approximation; see [`crate::gelu_tanh`].
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    let x = wide(x);
    let cubic = x.clone() * (x.clone().square() * 0.044_715 + 1.0);
    let inner = cubic * (2.0 / core::f64::consts::PI).sqrt();
    cast(x * 0.5 * (inner.tanh() + 1.0), dtype)
}

/// `x * sigmoid(1.702 x)`; see [`crate::quick_gelu`].
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    let x = wide(x);
    cast(x.clone() * activation::sigmoid(x * 1.702), dtype)
}

/// `x * sigmoid(x)`; see [`crate::silu`].
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    let x = wide(x);
    cast(x.clone() * activation::sigmoid(x), dtype)
}

/// `silu(gate) * up`; see [`crate::swiglu`].
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let dtype = gate.dtype();
    cast(silu(wide(gate)) * wide(up), dtype)
}

/// `a * gelu(b)` for the halves `a`, `b` of the last axis; see [`crate::geglu`].
pub fn geglu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let half = x.dims()[D - 1] / 2;
    let a = x.clone().narrow(D - 1, 0, half);
    let (dtype, b) = (x.dtype(), x.narrow(D - 1, half, half));
    cast(wide(a) * gelu(wide(b)), dtype)
}

/// Softmax over the last axis; see [`crate::softmax`].
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    cast(activation::softmax(wide(x), D - 1), dtype)
}

/// Exponential; see [`crate::exp`].
pub fn exp<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    cast(wide(x).clamp_max(87.3).exp(), dtype)
}

/// Gaussian distribution function; see [`crate::gaussian`].
pub fn gaussian<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    let error = (wide(x) * core::f64::consts::FRAC_1_SQRT_2).erf();
    cast((error + 1.0) * 0.5, dtype)
}

/// Natural logarithm; see [`crate::log`].
pub fn log<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    cast(wide(x).log(), dtype)
}

/// Logistic function; see [`crate::sigmoid`].
pub fn sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    cast(activation::sigmoid(wide(x)), dtype)
}

/// `log(1 + e^x)`; see [`crate::softplus`].
pub fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    cast(activation::softplus(wide(x), 1.0), dtype)
}

/// Square root; see [`crate::sqrt`].
pub fn sqrt<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.sqrt()
}

/// Hyperbolic tangent; see [`crate::tanh`].
pub fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let dtype = x.dtype();
    cast(wide(x).tanh(), dtype)
}
