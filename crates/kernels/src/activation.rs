//! Pointwise activations, gated activations and softmax.

mod elementary;
mod gated;
mod hidden;
mod pointwise;
mod softmax;

use burn::tensor::Tensor;

use crate::host::custom::{apply, fused};
use crate::reference;
use elementary::Elementary;
use gated::Gated;
pub(crate) use gated::swiglu_values;
pub(crate) use hidden::{activate, activate_columns, activate_gradient};
use pointwise::Pointwise;
use softmax::Softmax;
pub(crate) use softmax::softmax_row;

/// A scalar function and, for the backward pass, its derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Gelu,
    GeluTanh,
    QuickGelu,
    Silu,
}

/// Exact GELU: `x · Φ(x)` with the Gaussian distribution function (Hendrycks and Gimpel 2016).
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return reference::gelu(x);
    }
    apply(Pointwise(Function::Gelu), vec![x.into_dispatch()])
}

/// GELU by its tanh approximation.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return reference::gelu_tanh(x);
    }
    apply(Pointwise(Function::GeluTanh), vec![x.into_dispatch()])
}

/// CLIP's GELU: `x · sigmoid(1.702 x)`.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return reference::quick_gelu(x);
    }
    apply(Pointwise(Function::QuickGelu), vec![x.into_dispatch()])
}

/// SiLU: `x · sigmoid(x)`.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return reference::silu(x);
    }
    apply(Pointwise(Function::Silu), vec![x.into_dispatch()])
}

/// `silu(gate) · up` (Shazeer 2020), equal shapes.
///
/// # Panics
/// If the shapes differ.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    if !fused(&gate) || up.dtype() != gate.dtype() {
        return reference::swiglu(gate, up);
    }
    assert_eq!(gate.dims(), up.dims(), "swiglu: shapes of gate and up");
    let op = Gated {
        function: Function::Silu,
        halves: false,
    };
    apply(op, vec![up.into_dispatch(), gate.into_dispatch()])
}

/// `a · gelu(b)` for the first half `a` and second half `b` of the last axis (Shazeer 2020).
///
/// # Shapes
/// - `x`: `[.., 2n]`
/// - returns `[.., n]`
///
/// # Panics
/// If the last axis is odd.
pub fn geglu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    assert!(
        x.dims()[D - 1].is_multiple_of(2),
        "geglu: odd last axis in {:?}",
        x.dims()
    );
    if !fused(&x) {
        return reference::geglu(x);
    }
    apply(
        Gated {
            function: Function::Gelu,
            halves: true,
        },
        vec![x.into_dispatch()],
    )
}

/// Softmax over the last axis.
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return reference::softmax(x);
    }
    apply(Softmax, vec![x.into_dispatch()])
}

/// `e^x`; 0 below -50 and `e^87.3` above 87.3, so that neither it nor its reciprocal is ever subnormal.
pub fn exp<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    elementary(Elementary::Exp, x, reference::exp)
}

/// Distribution function of the normal distribution, `Φ(x)`, to 1.5e-7.
pub fn gaussian<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    elementary(Elementary::Gaussian, x, reference::gaussian)
}

/// Natural logarithm.
pub fn log<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    elementary(Elementary::Log, x, reference::log)
}

/// `1 / (1 + e^-x)`
pub fn sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    elementary(Elementary::Sigmoid, x, reference::sigmoid)
}

/// `log(1 + e^x)`
pub fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    elementary(Elementary::Softplus, x, reference::softplus)
}

/// Square root. The framework's own is exact, too, but its gradient is a power by the system's library.
pub fn sqrt<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    elementary(Elementary::Sqrt, x, reference::sqrt)
}

/// Hyperbolic tangent.
pub fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    elementary(Elementary::Tanh, x, reference::tanh)
}

fn elementary<const D: usize>(
    function: Elementary,
    x: Tensor<D>,
    reference: fn(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    if fused(&x) {
        apply(function, vec![x.into_dispatch()])
    } else {
        reference(x)
    }
}
