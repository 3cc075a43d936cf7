//! Resizing of maps and tables from one grid to another, as products with small constant matrices.
//!
//! Both filters are separable, so a resize is one matrix product per axis: differentiable on every
//! back end (Burn's own `interpolate` has no bilinear or bicubic backward on CUDA), with weights
//! computed once per call on the host.

use burn::tensor::{Tensor, TensorData};
use deem_kernels as kernels;

/// Interpolation filter, with PyTorch's conventions: `align_corners = false`, no antialiasing,
/// border values repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Two neighbours per axis.
    Bilinear,
    /// The same with places rounded as PyTorch rounds them in single precision (one fused multiply-add): for
    /// whoever asks which weights are zero.
    SingleBilinear,
    /// Four neighbours per axis, cubic convolution with `a = -0.75`.
    Bicubic,
}

impl Filter {
    /// Weight of every source entry in every target entry, row-major `[to, from]`.
    pub(crate) fn axis_weights(self, from: usize, to: usize) -> Vec<f64> {
        let mut weights = vec![0.0; to * from];
        let scale = from as f64 / to as f64;
        let last = from as i64 - 1;
        for target in 0..to {
            let centre = target as f64 + 0.5;
            let source = match self {
                Self::Bilinear => (centre * scale - 0.5).max(0.0),
                Self::SingleBilinear => {
                    let scale = f64::from(from as f32 / to as f32);
                    f64::from((centre * scale - 0.5) as f32).max(0.0)
                }
                Self::Bicubic => centre * scale - 0.5,
            };
            let first = source.floor();
            let taps: &[(i64, f64)] = match (self, source - first) {
                (Self::Bilinear | Self::SingleBilinear, t) => &[(0, 1.0 - t), (1, t)],
                (Self::Bicubic, t) => &[
                    (-1, cubic_outer(t + 1.0)),
                    (0, cubic_inner(t)),
                    (1, cubic_inner(1.0 - t)),
                    (2, cubic_outer(2.0 - t)),
                ],
            };
            for (offset, weight) in taps {
                let index = (first as i64 + offset).clamp(0, last) as usize;
                weights[target * from + index] += weight;
            }
        }
        weights
    }
}

const A: f64 = -0.75;

/// Cubic convolution kernel for distances 0..1.
fn cubic_inner(x: f64) -> f64 {
    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
}

/// Cubic convolution kernel for distances 1..2.
fn cubic_outer(x: f64) -> f64 {
    ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
}

/// Resizes a row-major table `[height * width, features]` on the host.
pub(crate) fn resize_table(
    table: &[f64],
    features: usize,
    from: [usize; 2],
    to: [usize; 2],
    filter: Filter,
) -> Vec<f64> {
    let rows = filter.axis_weights(from[0], to[0]);
    let columns = filter.axis_weights(from[1], to[1]);
    let mut tall = vec![0.0; to[0] * from[1] * features];
    accumulate(&mut tall, table, &rows, from[1] * features);
    let mut out = vec![0.0; to[0] * to[1] * features];
    let lines = tall.chunks_exact(from[1] * features);
    for (out, line) in out.chunks_exact_mut(to[1] * features).zip(lines) {
        accumulate(out, line, &columns, features);
    }
    out
}

/// `out[t] += weights[t][s] * source[s]` for blocks of `block` values.
fn accumulate(out: &mut [f64], source: &[f64], weights: &[f64], block: usize) {
    let from = source.len() / block;
    for (target, out) in out.chunks_exact_mut(block).enumerate() {
        let weights = &weights[target * from..][..from];
        for (weight, source) in weights.iter().zip(source.chunks_exact(block)) {
            if *weight != 0.0 {
                for (o, s) in out.iter_mut().zip(source) {
                    *o += weight * s;
                }
            }
        }
    }
}

/// Resizes a channels-last map; differentiable.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`
/// - returns `[batch, size[0], size[1], channels]`
pub fn resize(x: Tensor<4>, size: [usize; 2], filter: Filter) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let [to_height, to_width] = size;
    if [height, width] == size {
        return x;
    }
    let weights = |from: usize, to: usize| {
        let values = filter.axis_weights(from, to);
        let values = values.into_iter().map(|w| w as f32).collect::<Vec<_>>();
        Tensor::<2>::from_data(TensorData::new(values, [to, from]), &x.device()).cast(x.dtype())
    };
    let rows = weights(height, to_height).unsqueeze::<3>();
    let columns = weights(width, to_width).unsqueeze::<3>();
    let x = x.reshape([batch, height, width * channels]);
    let x = kernels::matmul(rows.expand([batch, to_height, height]), x);
    let x = x.reshape([batch * to_height, width, channels]);
    let columns = columns.expand([batch * to_height, to_width, width]);
    kernels::matmul(columns, x).reshape([batch, to_height, to_width, channels])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        }
    }

    #[test]
    fn bilinear_weights_by_hand() {
        // Targets of 2 → 4 lie at -0.25, 0.25, 0.75, 1.25; the borders repeat.
        let up = [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0];
        close(&Filter::Bilinear.axis_weights(2, 4), &up);
        // Halving averages pairs.
        let down = [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5];
        close(&Filter::Bilinear.axis_weights(4, 2), &down);
    }

    #[test]
    fn bicubic_weights_by_hand() {
        // Half-way between two entries: (-3/32, 19/32, 19/32, -3/32).
        let (outer, inner) = (-3.0 / 32.0, 19.0 / 32.0);
        let down = [
            outer + inner,
            inner,
            outer,
            0.0,
            0.0,
            outer,
            inner,
            inner + outer,
        ];
        close(&Filter::Bicubic.axis_weights(4, 2), &down);
        for (from, to) in [(3, 7), (7, 3), (16, 14)] {
            for row in Filter::Bicubic.axis_weights(from, to).chunks(from) {
                close(&[row.iter().sum()], &[1.0]);
            }
        }
        let same = Filter::Bicubic.axis_weights(3, 3);
        close(&same, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn tensor_and_host_agree() {
        let table: Vec<f64> = (0..24).map(|i| ((i * 7) % 11) as f64).collect();
        let host = resize_table(&table, 2, [3, 4], [5, 2], Filter::Bicubic);
        let data: Vec<f32> = table.iter().map(|v| *v as f32).collect();
        let x = Tensor::<4>::from_data(TensorData::new(data, [1, 3, 4, 2]), &Device::flex());
        let x = resize(x, [5, 2], Filter::Bicubic);
        assert_eq!(x.dims(), [1, 5, 2, 2]);
        let x: Vec<f64> = x.into_data().iter::<f64>().collect();
        for (a, b) in x.iter().zip(&host) {
            assert!((a - b).abs() < 1e-4);
        }
    }
}
