//! Kernels `[out, in, taps]` in the orders the products need.

use super::geometry::Geometry;
use crate::host::gemm::{Packed, Right};
use crate::host::simd::LANES;

/// Right side for the output: rows `(tap, input)`, columns `output`.
pub(super) fn forward(g: &Geometry, weight: &[f32]) -> Packed {
    let taps = g.taps();
    pack(taps, g.inputs, g.outputs, |tap, row, column| {
        weight[(column * g.inputs + row) * taps + tap]
    })
}

/// Right side for the input's gradient at stride 1: rows `(flipped tap, output)`, columns `input`.
pub(super) fn transposed(g: &Geometry, weight: &[f32]) -> Packed {
    let taps = g.taps();
    pack(taps, g.outputs, g.inputs, |tap, row, column| {
        weight[(row * g.inputs + column) * taps + taps - 1 - tap]
    })
}

#[inline]
fn pack(
    taps: usize,
    rows: usize,
    columns: usize,
    value: impl Fn(usize, usize, usize) -> f32 + Sync,
) -> Packed {
    Packed::from_panels(taps * rows, columns, |first, columns, panel| {
        for row in 0..rows {
            for j in 0..columns {
                for tap in 0..taps {
                    panel[(tap * rows + row) * LANES + j].write(value(tap, row, first + j));
                }
            }
        }
    })
}

/// Right side for unfolded input gradients: rows `output`, columns `(tap, input)`.
pub(super) fn unfolded(g: &Geometry, weight: &[f32]) -> Packed {
    let (taps, width) = (g.taps(), g.taps() * g.inputs);
    let mut ordered = vec![0.0; weight.len()];
    for output in 0..g.outputs {
        for input in 0..g.inputs {
            for tap in 0..taps {
                ordered[output * width + tap * g.inputs + input] =
                    weight[(output * g.inputs + input) * taps + tap];
            }
        }
    }
    Packed::new(Right::rows(&ordered, width), g.outputs, width)
}

/// `[tap, input, output]` to `[output, input, tap]`.
pub(super) fn restore(g: &Geometry, gradient: &[f32]) -> Vec<f32> {
    let taps = g.taps();
    let mut weight = vec![0.0; gradient.len()];
    for input in 0..g.inputs {
        for output in 0..g.outputs {
            for tap in 0..taps {
                weight[(output * g.inputs + input) * taps + tap] =
                    gradient[(tap * g.inputs + input) * g.outputs + output];
            }
        }
    }
    weight
}
