//! Convolution of one group as a matrix product that reads its input in place.
//!
//! In a channels-last map, the pixels under one kernel row are contiguous. So a kernel row is one
//! segment of the product's left side, and nothing has to be unfolded.

use super::dense_gradient;
use super::geometry::Geometry;
use super::{Conv2dOptions, padded, unfold, weights};
use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::gemm::{Left, Out, Packed, Start, product, product_groups};
use crate::host::par::{self, Shared, uninit, written};
use crate::linear;

/// Inputs: `x`, `weight`, and `bias` if present.
#[derive(Debug)]
pub(super) struct Dense {
    pub options: Conv2dOptions,
}

impl HostOp for Dense {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let g = Geometry::new(x.shape(), weight.shape(), &self.options);
        let bias = inputs.get(2).map(Host::data);
        let y = if g.is_pointwise() {
            let shape = [g.outputs, g.inputs];
            linear::affine(x.data(), g.positions(), weight.elements(), shape, bias)
        } else {
            convolve(&g, x.data(), &weights::forward(&g, weight.data()), bias)
        };
        Output::new(y, &g.output_shape())
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        let mut kept = vec![needs[1], needs[0]];
        kept.resize(needs.len(), false);
        kept
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let g = Geometry::new(&saved.shapes[0], &saved.shapes[1], &self.options);
        let grad = grad.data();
        let shape = [g.outputs, g.inputs];
        let dx = needs[0].then(|| {
            let weight = saved.input(1);
            let dx = if g.is_pointwise() {
                linear::input_gradient(grad, g.positions(), weight.elements(), shape)
            } else if let Some(t) = g.transposed() {
                convolve(&t, grad, &weights::transposed(&g, weight.data()), None)
            } else {
                dense_gradient::input_by_folding(&g, grad, weight.data())
            };
            Output::new(dx, &saved.shapes[0])
        });
        let dw = needs[1].then(|| {
            let x = saved.input(0).data();
            let dw = if g.is_pointwise() {
                linear::weight_gradient(grad, x, g.positions(), shape)
            } else {
                dense_gradient::weight(&g, grad, x)
            };
            Output::new(dw, &saved.shapes[1])
        });
        let db = (needs.len() > 2 && needs[2]).then(|| {
            let db = linear::column_sums(grad, g.positions(), g.outputs);
            Output::new(db, &saved.shapes[2])
        });
        vec![dx, dw, db]
    }
}

fn convolve(g: &Geometry, x: &[f32], weight: &Packed, bias: Option<&[f32]>) -> Vec<f32> {
    if g.is_narrow() {
        return convolve_patches(g, x, weight, bias);
    }
    let row = g.padded_row();
    let [height, width] = g.output;
    let bands = g.bands(64 * 1024);
    let mut y = uninit(g.positions() * g.outputs);
    let out = Shared::new(&mut y);
    let cost = height * width * weight.k * g.outputs / 32 * g.batch / bands.len() + 1;
    par::ranges(bands.len(), 1, cost, |range| {
        let mut scratch = Vec::new();
        for band in &bands[range] {
            let input = padded::band(g, x, *band, &mut scratch);
            let left = Left {
                ptr: input.as_ptr(),
                row: (g.stride[1] * g.inputs) as isize,
                step: 1,
                segment: g.kernel[1] * g.inputs,
                segments: g.kernel[0],
                jump: row as isize,
            };
            let start = (band.image * height + band.first) * width * g.outputs;
            let groups = [band.rows, g.stride[0] * row, width * g.outputs];
            let out = Out {
                ptr: out.at(start),
                row: g.outputs,
            };
            let start = bias.map_or(Start::Zero, Start::Bias);
            // SAFETY: the band holds the rows that its outputs read; bands are disjoint
            unsafe { product_groups(groups, width, left, weight, out, start) };
        }
    });
    // SAFETY: bands cover all outputs
    unsafe { written(y) }
}

/// As [`convolve`], for narrow maps.
fn convolve_patches(g: &Geometry, x: &[f32], weight: &Packed, bias: Option<&[f32]>) -> Vec<f32> {
    let (count, patch) = (g.positions(), g.patch());
    let block = (64 * 1024 / patch).clamp(1, 8) * 12;
    let mut y = uninit(count * g.outputs);
    let out = Shared::new(&mut y);
    par::ranges(count, 12, patch * g.outputs / 32 + 1, |range| {
        let mut scratch = Vec::new();
        for first in range.clone().step_by(block) {
            let len = block.min(range.end - first);
            let patches = unfold::patches(g, x, first..first + len, &mut scratch);
            let out = Out {
                ptr: out.at(first * g.outputs),
                row: g.outputs,
            };
            let left = Left::new(patches.as_ptr(), patch, 1, patch);
            let start = bias.map_or(Start::Zero, Start::Bias);
            // SAFETY: there are `len` patches, and rows of the output are disjoint
            unsafe { product(len, left, weight, out, start) };
        }
    });
    // SAFETY: ranges cover all outputs
    unsafe { written(y) }
}
