//! Activations of the rows of a hidden layer, for [`crate::mlp`].

use super::Function;
use super::gated;
use super::pointwise::Map;
use crate::host::simd::run;

/// `f(h)`; where rows of `h` are twice as long as those of `y`, their first half times `f` of the second.
pub(crate) fn activate(function: Function, h: &[f32], y: &mut [f32], inner: usize) {
    if h.len() == y.len() {
        run(Map {
            function,
            x: h,
            grad: None,
            y,
        });
        return;
    }
    for (h, y) in h.chunks_exact(2 * inner).zip(y.chunks_exact_mut(inner)) {
        let (value, gate) = h.split_at(inner);
        run(gated::Forward {
            function,
            value,
            gate,
            y,
        });
    }
}

/// The gradient of `h` by that of [`activate`]'s result.
pub(crate) fn activate_gradient(
    function: Function,
    h: &[f32],
    grad: &[f32],
    dh: &mut [f32],
    inner: usize,
) {
    if h.len() == grad.len() {
        run(Map {
            function,
            x: h,
            grad: Some(grad),
            y: dh,
        });
        return;
    }
    let rows = h.chunks_exact(2 * inner).zip(grad.chunks_exact(inner));
    for ((h, grad), dh) in rows.zip(dh.chunks_exact_mut(2 * inner)) {
        let (value, gate) = h.split_at(inner);
        let (dvalue, dgate) = dh.split_at_mut(inner);
        run(gated::Backward {
            function,
            value,
            gate,
            grad,
            dvalue,
            dgate,
        });
    }
}
