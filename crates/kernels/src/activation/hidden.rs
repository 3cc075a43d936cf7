//! Activations of the rows of a hidden layer, for [`crate::mlp`].

use std::mem::MaybeUninit;

use super::Function;
use super::gated;
use super::pointwise::Map;
use crate::host::simd::run;

/// Writes `f(h)` to all of `y`, and returns it; where rows of `h` are twice as long as those of `y`, their first half
/// times `f` of the second.
///
/// # Panics
/// If `h` is neither as long nor twice as long.
pub(crate) fn activate<'a>(
    function: Function,
    h: &[f32],
    y: &'a mut [MaybeUninit<f32>],
    inner: usize,
) -> &'a mut [f32] {
    if h.len() == y.len() {
        run(Map {
            function,
            x: h,
            grad: None,
            y,
        });
    } else {
        assert!(h.len() == 2 * y.len() && y.len().is_multiple_of(inner));
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
    // SAFETY: the kernels have written all of it
    unsafe { y.assume_init_mut() }
}

/// Writes `value · f(gate)` to all of `y`.
///
/// # Panics
/// If they are not as long as each other.
pub(crate) fn activate_columns(
    function: Function,
    value: &[f32],
    gate: &[f32],
    y: &mut [MaybeUninit<f32>],
) {
    run(gated::Forward {
        function,
        value,
        gate,
        y,
    });
}

/// Writes the gradient of `h` by that of [`activate`]'s result to all of `dh`, and returns it.
///
/// # Panics
/// As [`activate`], for `grad` instead of `y`, and if `dh` is not as long as `h`.
pub(crate) fn activate_gradient<'a>(
    function: Function,
    h: &[f32],
    grad: &[f32],
    dh: &'a mut [MaybeUninit<f32>],
    inner: usize,
) -> &'a mut [f32] {
    assert!(dh.len() == h.len());
    if h.len() == grad.len() {
        run(Map {
            function,
            x: h,
            grad: Some(grad),
            y: dh,
        });
    } else {
        assert!(h.len() == 2 * grad.len() && grad.len().is_multiple_of(inner));
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
    // SAFETY: the kernels have written all of it
    unsafe { dh.assume_init_mut() }
}
