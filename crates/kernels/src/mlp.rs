//! A whole MLP in one operation.
//!
//! The hidden layer is several times as wide as its input: written out before and after its activation,
//! and again for their gradients, it would be most of the memory traffic of a network, and a good part
//! of what a backward pass keeps. Here a block of rows passes through all layers while it is in the
//! cache. Only what the hidden layer was before its activation is kept.

mod backward;
mod forward;

use burn::tensor::Tensor;

use crate::activation::{Function, geglu, gelu, gelu_tanh, quick_gelu, silu, swiglu};
use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused, readable};
use crate::host::gemm::WIDE;
use crate::linear::linear;

/// Weight `[out, in]` and bias `[out]` of a linear layer.
pub type Affine = (Tensor<2>, Option<Tensor<1>>);

/// What stands between the two layers of an [`mlp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MlpActivation {
    /// See [`gelu`].
    Gelu,
    /// See [`gelu_tanh`].
    GeluTanh,
    /// See [`quick_gelu`].
    QuickGelu,
    /// See [`silu`].
    Silu,
    /// See [`geglu`]; halves the width.
    Geglu,
}

/// `down(activation(up(x)))`
///
/// # Shapes
/// - `x`: `[.., in]`
/// - `up`: `in` to `hidden`
/// - `down`: `hidden` (for [`MlpActivation::Geglu`] half of it) to `out`
/// - returns `[.., out]`
///
/// Frozen weights may be in 16 bits.
///
/// # Panics
/// If the shapes do not fit.
pub fn mlp<const D: usize>(
    x: Tensor<D>,
    up: Affine,
    activation: MlpActivation,
    down: Affine,
) -> Tensor<D> {
    let gated = activation == MlpActivation::Geglu;
    let [hidden, inputs] = up.0.dims();
    let inner = if gated { hidden / 2 } else { hidden };
    check(&x, inputs, down.0.dims()[1], inner);
    let biased = up.1.is_some() && down.1.is_some();
    if !biased || !pays(&x, [&up.0, &down.0]) {
        let hidden = linear(x, up.0, up.1);
        let hidden = match activation {
            MlpActivation::Gelu => gelu(hidden),
            MlpActivation::GeluTanh => gelu_tanh(hidden),
            MlpActivation::QuickGelu => quick_gelu(hidden),
            MlpActivation::Silu => silu(hidden),
            MlpActivation::Geglu => geglu(hidden),
        };
        return linear(hidden, down.0, down.1);
    }
    let op = Mlp {
        function: match activation {
            MlpActivation::Gelu | MlpActivation::Geglu => Function::Gelu,
            MlpActivation::GeluTanh => Function::GeluTanh,
            MlpActivation::QuickGelu => Function::QuickGelu,
            MlpActivation::Silu => Function::Silu,
        },
        gate: if gated { Gate::Half } else { Gate::None },
    };
    let biases = [up.1, down.1].into_iter().flatten();
    let mut tensors = vec![
        x.into_dispatch(),
        up.0.into_dispatch(),
        down.0.into_dispatch(),
    ];
    tensors.extend(biases.map(Tensor::into_dispatch));
    apply(op, tensors)
}

/// `(silu(x · gateᵀ) · (x · upᵀ)) · downᵀ`, LLaMA's MLP.
///
/// # Shapes
/// - `x`: `[.., in]`
/// - `gate`, `up`: `[hidden, in]`
/// - `down`: `[out, hidden]`
/// - returns `[.., out]`
///
/// Frozen weights may be in 16 bits.
///
/// # Panics
/// If the shapes do not fit.
pub fn swiglu_mlp<const D: usize>(
    x: Tensor<D>,
    gate: Tensor<2>,
    up: Tensor<2>,
    down: Tensor<2>,
) -> Tensor<D> {
    assert_eq!(gate.dims(), up.dims(), "swiglu_mlp: shapes of gate and up");
    check(&x, up.dims()[1], down.dims()[1], up.dims()[0]);
    if !pays(&x, [&gate, &up, &down]) {
        let hidden = swiglu(linear(x.clone(), gate, None), linear(x, up, None));
        return linear(hidden, down, None);
    }
    let op = Mlp {
        function: Function::Silu,
        gate: Gate::Matrix,
    };
    let weights = [up, down, gate].map(Tensor::into_dispatch);
    apply(op, [x.into_dispatch()].into_iter().chain(weights).collect())
}

/// Whether a fused kernel can read everything, and there are rows enough for blocks of them, and for packing
/// all weights at once.
fn pays<const D: usize, const N: usize>(x: &Tensor<D>, weights: [&Tensor<2>; N]) -> bool {
    let dims = x.dims();
    let small = |weight: &&Tensor<2>| weight.dims().iter().product::<usize>() < WIDE;
    fused(x)
        && weights.iter().all(|weight| readable(weight))
        && weights.iter().all(small)
        && dims[..D - 1].iter().product::<usize>() >= 12
}

fn check<const D: usize>(x: &Tensor<D>, inputs: usize, down: usize, inner: usize) {
    let dims = x.dims();
    assert!(
        dims[D - 1] == inputs && down == inner,
        "mlp: {dims:?} into {inputs}, then {inner} into {down}"
    );
}

/// Where the factor of the hidden layer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    None,
    /// Second half of the hidden layer.
    Half,
    /// A matrix of its own, whose product becomes the second half.
    Matrix,
}

/// Inputs: `x`, weights up and down; then their biases, or the gate's weight.
#[derive(Debug)]
struct Mlp {
    function: Function,
    gate: Gate,
}

/// Sizes of one call.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    inputs: usize,
    /// Width of the hidden layer before its activation, gate included, and after it.
    hidden: usize,
    inner: usize,
    outputs: usize,
}

impl Mlp {
    fn sizes(&self, x: &[usize], up: &[usize], down: &[usize]) -> Sizes {
        let inputs = up[1];
        Sizes {
            rows: x.iter().product::<usize>() / inputs.max(1),
            inputs,
            hidden: up[0] * if self.gate == Gate::Matrix { 2 } else { 1 },
            inner: down[1],
            outputs: down[0],
        }
    }
}

impl HostOp for Mlp {
    fn forward(&self, inputs: &[Host], needs: &[bool], keep: &mut Vec<Vec<f32>>) -> Output {
        let mut shape = inputs[0].shape().to_vec();
        let sizes = self.sizes(&shape, inputs[1].shape(), inputs[2].shape());
        *shape.last_mut().expect("at least one axis") = sizes.outputs;
        let (y, hidden) = self.outputs(sizes, inputs, needs.contains(&true));
        keep.push(hidden);
        Output::new(y, &shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        let gated = self.gate == Gate::Matrix;
        // What reaches the hidden layer is wanted by all but the last layer's own parameters.
        let last = |i: usize| i == 2 || !gated && i == 4;
        let through = (0..needs.len()).any(|i| needs[i] && !last(i));
        let up = needs[1] || gated && needs[3];
        let mut kept = vec![up, needs[0], through];
        kept.resize(needs.len(), false);
        if gated {
            kept[3] = needs[0];
        }
        kept
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        self.gradients(grad, saved, needs)
    }
}
