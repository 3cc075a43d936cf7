//! Depthwise convolution of stride 1: every channel by its own kernel, vectors over channels.

use std::mem::MaybeUninit;

use super::geometry::{Band, Geometry};
use super::{Conv2dOptions, padded};
use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};
use crate::linear;

/// Inputs: `x`, `weight [channels, 1, kernel_height, kernel_width]`, and `bias` if present.
#[derive(Debug)]
pub(super) struct Depthwise {
    pub options: Conv2dOptions,
}

impl HostOp for Depthwise {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let (x, weight) = (&inputs[0], &inputs[1]);
        let g = Geometry::new(x.shape(), weight.shape(), &self.options);
        let taps = by_tap(weight.data(), g.taps(), false);
        let bias = inputs.get(2).map(Host::data);
        Output::new(convolve(&g, x.data(), &taps, bias), &g.output_shape())
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        let mut kept = vec![needs[1], needs[0]];
        kept.resize(needs.len(), false);
        kept
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let g = Geometry::new(&saved.shapes[0], &saved.shapes[1], &self.options);
        let grad = grad.data();
        let dx = needs[0].then(|| {
            let taps = by_tap(saved.input(1).data(), g.taps(), true);
            let dx = match g.transposed() {
                Some(transposed) => convolve(&transposed, grad, &taps, None),
                None => scatter(&g, grad, saved.input(1).data()),
            };
            Output::new(dx, &saved.shapes[0])
        });
        let dw = needs[1].then(|| {
            let dw = weight_gradient(&g, grad, saved.input(0).data());
            Output::new(dw, &saved.shapes[1])
        });
        let db = (needs.len() > 2 && needs[2]).then(|| {
            let db = linear::column_sums(grad, g.positions(), g.outputs);
            Output::new(db, &saved.shapes[2])
        });
        vec![dx, dw, db]
    }
}

/// `[channels, taps]` to `[taps, channels]`, taps reversed if `flip`.
fn by_tap(weight: &[f32], taps: usize, flip: bool) -> Vec<f32> {
    let channels = weight.len() / taps;
    let mut out = vec![0.0; weight.len()];
    for (channel, weight) in weight.chunks_exact(taps).enumerate() {
        for (tap, value) in weight.iter().enumerate() {
            let tap = if flip { taps - 1 - tap } else { tap };
            out[tap * channels + channel] = *value;
        }
    }
    out
}

fn convolve(g: &Geometry, x: &[f32], taps: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let [height, width] = g.output;
    let bands = g.bands(64 * 1024);
    let mut y = uninit(g.positions() * g.outputs);
    let out = Shared::new(&mut y);
    let cost = height * width * g.taps() * g.outputs.div_ceil(16) * g.batch / bands.len() + 1;
    par::ranges(bands.len(), 1, cost, |range| {
        let mut scratch = Vec::new();
        for band in &bands[range] {
            let start = (band.image * height + band.first) * width * g.outputs;
            run(Forward {
                g,
                rows: band.rows,
                x: padded::band(g, x, *band, &mut scratch),
                taps,
                bias,
                // SAFETY: bands are disjoint
                y: unsafe { out.slice(start, band.rows * width * g.outputs) },
            });
        }
    });
    // SAFETY: bands cover all outputs
    unsafe { written(y) }
}

struct Forward<'a> {
    g: &'a Geometry,
    rows: usize,
    /// What the rows read, padded.
    x: &'a [f32],
    taps: &'a [f32],
    bias: Option<&'a [f32]>,
    /// All of it is written.
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (g, width) = (self.g, self.g.output[1]);
        assert!(g.inputs == g.outputs && self.taps.len() == g.taps() * g.inputs);
        assert!(self.bias.is_none_or(|bias| bias.len() == g.inputs));
        assert!(self.x.len() >= (self.rows - 1 + g.kernel[0]) * g.padded_row());
        assert!(g.padded_row() >= (width - 1 + g.kernel[1]) * g.inputs);
        assert!(self.y.len() == self.rows * width * g.outputs);
        let mut pixels = self.y.as_mut_ptr().cast::<f32>();
        for row in 0..self.rows {
            let mut column = 0;
            while column < width {
                // SAFETY: the pixels are in the row, for which there are places and what they read
                unsafe {
                    column += match width - column {
                        8.. => self.pixels::<S, 8>(row, column, pixels),
                        4.. => self.pixels::<S, 4>(row, column, pixels),
                        2.. => self.pixels::<S, 2>(row, column, pixels),
                        _ => self.pixels::<S, 1>(row, column, pixels),
                    };
                }
            }
            pixels = pixels.wrapping_add(width * self.g.outputs);
        }
    }
}

impl Forward<'_> {
    /// `P` neighbouring output pixels, all channels; returns `P`.
    ///
    /// # Safety
    /// The pixels are in the row, which starts at `out`, and `x` holds what they read; see [`Simd`].
    #[inline(always)]
    unsafe fn pixels<S: Simd, const P: usize>(
        &self,
        row: usize,
        column: usize,
        out: *mut f32,
    ) -> usize {
        let channels = self.g.inputs;
        let line = self.g.padded_row();
        // SAFETY: the caller's; `k` channels are left
        unsafe {
            let x = self.x.as_ptr().add(row * line + column * channels);
            let out = out.add(column * channels);
            each_vector!(channels, |i, k| {
                let first = match self.bias {
                    Some(bias) => S::load_n(bias.as_ptr().add(i), k),
                    None => S::splat(0.0),
                };
                let mut sums = [first; P];
                let mut weight = self.taps.as_ptr().add(i);
                for tap_row in 0..self.g.kernel[0] {
                    let mut x = x.add(tap_row * line + i);
                    for _ in 0..self.g.kernel[1] {
                        let w = S::load_n(weight, k);
                        for (p, sum) in sums.iter_mut().enumerate() {
                            *sum = S::fma(S::load_n(x.add(p * channels), k), w, *sum);
                        }
                        x = x.add(channels);
                        weight = weight.wrapping_add(channels);
                    }
                }
                for (p, sum) in sums.iter().enumerate() {
                    S::store_n(out.add(p * channels + i), *sum, k);
                }
            });
        }
        P
    }
}

/// `[channels, taps]`; parts of the images are summed on their own.
fn weight_gradient(g: &Geometry, grad: &[f32], x: &[f32]) -> Vec<f32> {
    let (taps, channels) = (g.taps(), g.inputs);
    let size = taps * channels;
    let bands = g.bands(32 * 1024);
    let parts = par::parts(bands.len(), 1, size, 2 * g.positions() * channels);
    let mut sums = vec![0.0; parts * size];
    let shared = Shared::new(&mut sums);
    let [height, width] = g.output;
    let work = g.positions() * taps * channels.div_ceil(16);
    par::ranges(parts, 1, work / parts, |range| {
        let mut scratch = Vec::new();
        for part in range {
            for band in &bands[bands.len() * part / parts..bands.len() * (part + 1) / parts] {
                let Band { image, first, rows } = *band;
                let start = (image * height + first) * width * channels;
                run(WeightGradient {
                    g,
                    rows,
                    x: padded::band(g, x, *band, &mut scratch),
                    grad: &grad[start..][..rows * width * channels],
                    // SAFETY: parts are disjoint
                    sums: unsafe { shared.slice(part * size, size) },
                });
            }
        }
    });
    linear::add_parts(&mut sums, size);
    let mut dw = vec![0.0; size];
    for (tap, row) in sums.chunks_exact(channels).enumerate() {
        for (channel, value) in row.iter().enumerate() {
            dw[channel * taps + tap] = *value;
        }
    }
    dw
}

struct WeightGradient<'a> {
    g: &'a Geometry,
    rows: usize,
    x: &'a [f32],
    grad: &'a [f32],
    /// `[taps, channels]`, added to.
    sums: &'a mut [f32],
}

impl Kernel for WeightGradient<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let (g, width) = (self.g, self.g.kernel[1]);
        assert!(self.sums.len() == g.taps() * g.inputs);
        assert!(self.grad.len() == self.rows * g.output[1] * g.inputs);
        assert!(self.x.len() >= (self.rows - 1 + g.kernel[0]) * g.padded_row());
        assert!(g.padded_row() >= (g.output[1] - 1 + width) * g.inputs);
        for tap_row in 0..g.kernel[0] {
            let mut tap = 0;
            while tap < width {
                // SAFETY: the taps are in the row
                unsafe {
                    tap += match width - tap {
                        7.. => self.taps::<S, 7>(tap_row, tap),
                        5.. => self.taps::<S, 5>(tap_row, tap),
                        3.. => self.taps::<S, 3>(tap_row, tap),
                        _ => self.taps::<S, 1>(tap_row, tap),
                    };
                }
            }
        }
    }
}

impl WeightGradient<'_> {
    /// `T` neighbouring taps of one kernel row; returns `T`.
    ///
    /// # Safety
    /// The taps are in the row, and the slices as long as the geometry wants them; see [`Simd`].
    #[inline(always)]
    unsafe fn taps<S: Simd, const T: usize>(&mut self, tap_row: usize, tap: usize) -> usize {
        let channels = self.g.inputs;
        let width = self.g.output[1];
        let line = self.g.padded_row();
        // SAFETY: the caller's; `k` channels are left
        unsafe {
            let x = self.x.as_ptr().add(tap_row * line + tap * channels);
            let grad = self.grad.as_ptr();
            let sums = self.sums.as_mut_ptr();
            let sums = sums.add((tap_row * self.g.kernel[1] + tap) * channels);
            each_vector!(channels, |i, k| {
                let mut acc = [S::splat(0.0); T];
                for row in 0..self.rows {
                    let x = x.add(row * line + i);
                    let grad = grad.add(row * width * channels + i);
                    let mut column = 0;
                    while column + 4 <= width {
                        accumulate::<S, T, 4>(x, grad, column, channels, k, &mut acc);
                        column += 4;
                    }
                    while column < width {
                        accumulate::<S, T, 1>(x, grad, column, channels, k, &mut acc);
                        column += 1;
                    }
                }
                for (t, acc) in acc.iter().enumerate() {
                    let sum = sums.add(t * channels + i);
                    S::store_n(sum, S::add(S::load_n(sum, k), *acc), k);
                }
            });
        }
        T
    }
}

/// Adds `P` neighbouring pixels to `T` taps.
///
/// # Safety
/// `grad` has `P` pixels from the column on and `x` `P + T - 1`, of which `k` channels are used; see [`Simd`].
#[inline(always)]
unsafe fn accumulate<S: Simd, const T: usize, const P: usize>(
    x: *const f32,
    grad: *const f32,
    column: usize,
    channels: usize,
    k: usize,
    acc: &mut [S::V; T],
) {
    // SAFETY: the caller's
    unsafe {
        let mut g = [S::splat(0.0); P];
        for (p, g) in g.iter_mut().enumerate() {
            *g = S::load_n(grad.add((column + p) * channels), k);
        }
        for j in 0..T + P - 1 {
            let v = S::load_n(x.add((column + j) * channels), k);
            for p in 0..P {
                if j >= p && j - p < T {
                    acc[j - p] = S::fma(v, g[p], acc[j - p]);
                }
            }
        }
    }
}

/// The input's gradient for padding beyond the kernel's reach: rare, so plain.
fn scatter(g: &Geometry, grad: &[f32], weight: &[f32]) -> Vec<f32> {
    let ([height, width], [out_height, out_width]) = (g.input, g.output);
    let (channels, taps) = (g.inputs, g.taps());
    let mut dx = vec![0.0; g.batch * height * width * channels];
    for (at, grad) in grad.chunks_exact(channels).enumerate() {
        let (b, y, x) = (
            at / out_width / out_height,
            at / out_width % out_height,
            at % out_width,
        );
        for tap in 0..taps {
            let source = (y + tap / g.kernel[1]).checked_sub(g.padding[0]);
            let column = (x + tap % g.kernel[1]).checked_sub(g.padding[2]);
            let (Some(source), Some(column)) = (source, column) else {
                continue;
            };
            if source < height && column < width {
                let start = ((b * height + source) * width + column) * channels;
                for (c, grad) in grad.iter().enumerate() {
                    dx[start + c] += grad * weight[c * taps + tap];
                }
            }
        }
    }
    dx
}
