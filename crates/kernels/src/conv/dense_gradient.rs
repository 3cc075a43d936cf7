//! Gradients of a convolution of one group: weight, and input where it is no convolution.

use std::ops::Range;

use super::geometry::{Band, Geometry};
use super::{padded, unfold, weights};
use crate::host::gemm::{Left, Out, Packed, Right, Start, product, product_parallel};
use crate::host::par::{self, Shared, uninit, written};
use crate::linear;

/// `[out, in, taps]`; parts of the outputs are summed on their own.
pub(super) fn weight(g: &Geometry, grad: &[f32], x: &[f32]) -> Vec<f32> {
    let size = g.patch() * g.outputs;
    let bands = g.bands(48 * 1024);
    let pieces = if g.is_narrow() {
        g.positions().div_ceil(PATCHES)
    } else {
        bands.len()
    };
    let read = g.positions() * (g.patch() + g.outputs);
    let parts = par::parts(g.positions(), PATCHES, size, read).min(pieces);
    let mut sums = vec![0.0; parts * size];
    let shared = Shared::new(&mut sums);
    par::each_part(parts, g.positions() * size / 32 / parts, |part| {
        let share = pieces * part / parts..pieces * (part + 1) / parts;
        // SAFETY: parts are disjoint
        let sums = unsafe { shared.slice(part * size, size) };
        if g.is_narrow() {
            let share = share.start * PATCHES..g.positions().min(share.end * PATCHES);
            add_weight_of_patches(g, grad, x, share, sums);
        } else {
            add_weight(g, grad, x, &bands[share], sums);
        }
    });
    linear::add_parts(&mut sums, size);
    weights::restore(g, &sums)
}

/// Patches that are summed over at once.
const PATCHES: usize = 96;

/// As [`add_weight`], of some positions of a narrow map.
fn add_weight_of_patches(
    g: &Geometry,
    grad: &[f32],
    x: &[f32],
    positions: Range<usize>,
    sums: &mut [f32],
) {
    let (mut scratch, mut packed) = (Vec::new(), Packed::default());
    for first in positions.clone().step_by(PATCHES) {
        let len = PATCHES.min(positions.end - first);
        let patches = unfold::patches(g, x, first..first + len, &mut scratch);
        let grad = &grad[first * g.outputs..];
        let (left, right) = ((patches, g.patch()), (grad, g.outputs));
        linear::add_outer(sums, left, right, len, &mut packed);
    }
}

/// Adds to `sums [tap, input, output]`.
fn add_weight(g: &Geometry, grad: &[f32], x: &[f32], bands: &[Band], sums: &mut [f32]) {
    let row = g.padded_row();
    let [height, width] = g.output;
    let mut scratch = Vec::new();
    let mut packed = Packed::default();
    for band in bands {
        let input = padded::band(g, x, *band, &mut scratch);
        let first = (band.image * height + band.first) * width * g.outputs;
        let right = Right::rows(&grad[first..], g.outputs);
        packed.fill(right, band.rows * width, g.outputs);
        let run = g.kernel[1] * g.inputs; // taps of one kernel row, contiguous in the input
        for tap_row in 0..g.kernel[0] {
            let left = Left {
                ptr: input[tap_row * row..].as_ptr(),
                row: 1,
                step: (g.stride[1] * g.inputs) as isize,
                segment: width,
                segments: band.rows,
                jump: (g.stride[0] * row) as isize,
            };
            let out = Out {
                ptr: sums[tap_row * run * g.outputs..].as_mut_ptr(),
                row: g.outputs,
            };
            // SAFETY: the band holds all rows read; `sums` has `run` rows for each kernel row
            unsafe { product_parallel(run, left, &packed, out, Start::Accumulate) };
        }
    }
}

/// The input's gradient: gradients of the unfolded input, added where they came from.
pub(super) fn input_by_folding(g: &Geometry, grad: &[f32], weight: &[f32]) -> Vec<f32> {
    let packed = weights::unfolded(g, weight);
    let [height, width] = g.input;
    let [out_height, out_width] = g.output;
    let image = height * width * g.inputs;
    let mut dx = uninit(g.batch * image);
    let shared = Shared::new(&mut dx);
    let cost = out_height * out_width * packed.k * packed.n / 32 + 1;
    par::ranges(g.batch, 1, cost, |range| {
        let row = g.padded_row();
        let run = g.kernel[1] * g.inputs;
        let reach = |output: usize, axis: usize| (output - 1) * g.stride[axis] + g.kernel[axis];
        let rows = (height + g.padding[0] + g.padding[1]).max(reach(out_height, 0));
        let mut padded = vec![0.0; rows * row];
        let mut unfolded = vec![0.0; out_width * packed.n];
        for b in range {
            padded.fill(0.0);
            for y in 0..out_height {
                let start = (b * out_height + y) * out_width * g.outputs;
                let left = Left::new(grad[start..].as_ptr(), g.outputs, 1, g.outputs);
                let out = Out {
                    ptr: unfolded.as_mut_ptr(),
                    row: packed.n,
                };
                // SAFETY: one row of outputs is left in `grad` and fits `unfolded`
                unsafe { product(out_width, left, &packed, out, Start::Zero) };
                for (x, taps) in unfolded.chunks_exact(packed.n).enumerate() {
                    for (tap_row, taps) in taps.chunks_exact(run).enumerate() {
                        let at = (y * g.stride[0] + tap_row) * row + x * g.stride[1] * g.inputs;
                        let target = &mut padded[at..at + run];
                        target.iter_mut().zip(taps).for_each(|(a, b)| *a += b);
                    }
                }
            }
            // SAFETY: images are disjoint
            let dx = unsafe { shared.slice(b * image, image) };
            let line = width * g.inputs;
            for (y, out) in dx.chunks_exact_mut(line).enumerate() {
                let at = (y + g.padding[0]) * row + g.padding[2] * g.inputs;
                out.write_copy_of_slice(&padded[at..at + line]);
            }
        }
    });
    // SAFETY: every row of every image has been copied
    unsafe { written(dx) }
}
