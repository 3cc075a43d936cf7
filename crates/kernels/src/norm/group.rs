//! Group normalisation of channels-last maps, with an optional SiLU behind it.

use std::mem::MaybeUninit;

use crate::host::custom::{Host, HostOp, Output, Saved};
use crate::host::math::sigmoid;
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};

/// Inputs: `x`, `weight`, `bias`.
#[derive(Debug)]
pub(super) struct GroupNorm {
    pub groups: usize,
    pub eps: f32,
    pub silu: bool,
}

impl HostOp for GroupNorm {
    fn forward(&self, inputs: &[Host], needs: &[bool], keep: &mut Vec<Vec<f32>>) -> Output {
        let (shape, x) = (inputs[0].shape(), inputs[0].data());
        let (batch, channels) = (shape[0], shape[3]);
        let image = shape[1] * shape[2] * channels;
        let mut y = uninit(batch * image);
        // Mean and reciprocal deviation per image and channel
        let mut statistics = uninit(batch * channels * 2);
        let (ys, stats) = (Shared::new(&mut y), Shared::new(&mut statistics));
        par::ranges(batch, 1, image / 4, |range| {
            for b in range {
                run(Forward {
                    op: self,
                    x: &x[b * image..(b + 1) * image],
                    weight: inputs[1].data(),
                    bias: inputs[2].data(),
                    // SAFETY: images are disjoint
                    y: unsafe { ys.slice(b * image, image) },
                    // SAFETY: as above
                    statistics: unsafe { stats.slice(b * channels * 2, channels * 2) },
                });
            }
        });
        // SAFETY: every image has been written, and its statistics
        let (y, statistics) = unsafe { (written(y), written(statistics)) };
        if needs.contains(&true) {
            keep.push(statistics);
        }
        Output::new(y, shape)
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        let others = needs[0] || self.silu;
        vec![others || needs[1], others, self.silu]
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let shape = &saved.shapes[0];
        let (batch, channels) = (shape[0], shape[3]);
        let image = shape[1] * shape[2] * channels;
        if !needs[0] && !needs[1] && !self.silu {
            let db = crate::linear::column_sums(grad.data(), batch * shape[1] * shape[2], channels);
            return vec![None, None, Some(Output::new(db, &[channels]))];
        }
        let x = saved.input(0).data();
        // The weight matters for the input's gradient and for SiLU's slope only.
        let ones = vec![1.0; channels];
        let weight = saved.inputs[1].as_ref().map_or(&ones[..], Host::data);
        let bias = saved.inputs[2].as_ref().map_or(&ones[..], Host::data);
        let mut dx = uninit(batch * image);
        let mut sums = vec![0.0; batch * 2 * channels];
        let (dxs, partial) = (Shared::new(&mut dx), Shared::new(&mut sums));
        let (grad, statistics) = (grad.data(), &saved.buffers[0]);
        par::ranges(batch, 1, image / 3, |range| {
            for b in range {
                run(Backward {
                    op: self,
                    x: &x[b * image..(b + 1) * image],
                    weight,
                    bias,
                    grad: &grad[b * image..(b + 1) * image],
                    statistics: &statistics[b * channels * 2..][..channels * 2],
                    // SAFETY: images are disjoint
                    dx: unsafe { dxs.slice(b * image, image) },
                    // SAFETY: as above
                    sums: unsafe { partial.slice(b * channels * 2, channels * 2) },
                    input: needs[0],
                });
            }
        });
        let mut total = vec![0.0; 2 * channels];
        for image in sums.chunks_exact(2 * channels) {
            total.iter_mut().zip(image).for_each(|(a, b)| *a += b);
        }
        let db = total.split_off(channels);
        vec![
            // SAFETY: every image has been written, where wanted
            needs[0].then(|| Output::new(unsafe { written(dx) }, shape)),
            needs[1].then(|| Output::new(total, &[channels])),
            needs[2].then(|| Output::new(db, &[channels])),
        ]
    }
}

/// Pixels summed in single precision before the sum goes to double precision: the rounding of a sum over the
/// hundreds of thousands of pixels of a large map would show.
const BLOCK: usize = 4096;

/// Sums over all pixels.
struct Sums {
    /// Per channel, of the block that is being read.
    block: Vec<f32>,
    /// Per group, of the blocks before.
    groups: Vec<f64>,
}

impl Sums {
    fn new(channels: usize, groups: usize) -> Self {
        Self {
            block: vec![0.0; channels],
            groups: vec![0.0; groups],
        }
    }

    #[inline(always)]
    fn end_block(&mut self) {
        let width = self.block.len() / self.groups.len();
        for (total, channels) in self
            .groups
            .iter_mut()
            .zip(self.block.chunks_exact_mut(width))
        {
            *total += f64::from(channels.iter().sum::<f32>());
            channels.fill(0.0);
        }
    }

    /// The sums of the groups; starts anew.
    fn take(&mut self) -> Vec<f64> {
        let empty = vec![0.0; self.groups.len()];
        std::mem::replace(&mut self.groups, empty)
    }
}

struct Forward<'a> {
    op: &'a GroupNorm,
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    /// All of it is written, and of the next.
    y: &'a mut [MaybeUninit<f32>],
    /// Per channel: means, then reciprocal deviations.
    statistics: &'a mut [MaybeUninit<f32>],
}

impl Kernel for Forward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let n = self.weight.len();
        assert!(self.bias.len() == n && self.x.len() == self.y.len());
        // Zeros at first, which every channel replaces.
        for x in &mut *self.statistics {
            x.write(0.0);
        }
        // SAFETY: written just now
        let statistics = unsafe { self.statistics.assume_init_mut() };
        let (mean, scale) = statistics.split_at_mut(n);
        assert!(scale.len() == n);
        let group = n / self.op.groups;
        let count = (self.x.len() / self.op.groups) as f64;
        let mut sums = Sums::new(n, self.op.groups);
        // SAFETY: pixels, parameters, statistics and sums are `n` floats, of which `k` are left
        unsafe {
            for block in self.x.chunks(BLOCK * n) {
                for x in block.chunks_exact(n) {
                    each_vector!(n, |i, k| {
                        let sum = sums.block.as_mut_ptr().add(i);
                        let x = S::load_n(x.as_ptr().add(i), k);
                        S::store_n(sum, S::add(S::load_n(sum, k), x), k);
                    });
                }
                sums.end_block();
            }
            for (mean, sum) in mean.chunks_exact_mut(group).zip(sums.take()) {
                mean.fill((sum / count) as f32);
            }
            for block in self.x.chunks(BLOCK * n) {
                for x in block.chunks_exact(n) {
                    each_vector!(n, |i, k| {
                        let d = S::load_n(x.as_ptr().add(i), k);
                        let d = S::sub(d, S::load_n(mean.as_ptr().add(i), k));
                        let sum = sums.block.as_mut_ptr().add(i);
                        S::store_n(sum, S::fma(d, d, S::load_n(sum, k)), k);
                    });
                }
                sums.end_block();
            }
            for (scale, sum) in scale.chunks_exact_mut(group).zip(sums.take()) {
                let variance = (sum / count) as f32;
                scale.fill(1.0 / (variance + self.op.eps).sqrt());
            }
            for (x, y) in self.x.chunks_exact(n).zip(self.y.chunks_exact_mut(n)) {
                each_vector!(n, |i, k| {
                    let d = S::load_n(x.as_ptr().add(i), k);
                    let d = S::sub(d, S::load_n(mean.as_ptr().add(i), k));
                    let unit = S::mul(d, S::load_n(scale.as_ptr().add(i), k));
                    let weight = S::load_n(self.weight.as_ptr().add(i), k);
                    let mut v = S::fma(unit, weight, S::load_n(self.bias.as_ptr().add(i), k));
                    if self.op.silu {
                        v = S::mul(v, sigmoid::<S>(v));
                    }
                    S::store_n(y.as_mut_ptr().cast::<f32>().add(i), v, k);
                });
            }
        }
    }
}

struct Backward<'a> {
    op: &'a GroupNorm,
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    grad: &'a [f32],
    statistics: &'a [f32],
    dx: &'a mut [MaybeUninit<f32>],
    /// Gradients of weight and bias from this image, initially zero.
    sums: &'a mut [f32],
    /// Whether `dx` is wanted, all of it; otherwise it is scratch.
    input: bool,
}

impl Kernel for Backward<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let n = self.weight.len();
        assert!(self.bias.len() == n && self.statistics.len() == 2 * n && self.sums.len() == 2 * n);
        assert!(self.grad.len() == self.x.len() && self.dx.len() == self.x.len());
        let scale = &self.statistics[n..];
        let (dw, db) = self.sums.split_at_mut(n);
        let group = n / self.op.groups;
        let count = (self.x.len() / self.op.groups) as f32;
        // SAFETY: pixels, parameters and sums are `n` floats, of which `k` are left; what is read from `dx` has been
        // written in the first pass
        unsafe {
            let rows = self.x.chunks_exact(n).zip(self.grad.chunks_exact(n));
            for ((x, grad), dx) in rows.zip(self.dx.chunks_exact_mut(n)) {
                each_vector!(n, |i, k| {
                    let u = unit::<S>(x, self.statistics, i, k);
                    let mut g = S::load_n(grad.as_ptr().add(i), k);
                    if self.op.silu {
                        let weight = S::load_n(self.weight.as_ptr().add(i), k);
                        let v = S::fma(u, weight, S::load_n(self.bias.as_ptr().add(i), k));
                        let s = sigmoid::<S>(v);
                        let slope = S::fma(S::mul(v, s), S::sub(S::splat(1.0), s), s);
                        g = S::mul(g, slope);
                        S::store_n(dx.as_mut_ptr().cast::<f32>().add(i), g, k);
                    }
                    let (w, b) = (dw.as_mut_ptr().add(i), db.as_mut_ptr().add(i));
                    S::store_n(w, S::fma(g, u, S::load_n(w, k)), k);
                    S::store_n(b, S::add(S::load_n(b, k), g), k);
                });
            }
            if !self.input {
                return;
            }
            // Means over each group of the weighted gradient, alone and times the unit values
            let mut means = vec![0.0; 2 * n];
            let (alone, times) = means.split_at_mut(n);
            for first in (0..n).step_by(group) {
                let channels = first..first + group;
                let sum = |d: &[f32]| channels.clone().map(|c| d[c] * self.weight[c]).sum::<f32>();
                alone[channels.clone()].fill(sum(db) / count);
                times[channels.clone()].fill(sum(dw) / count);
            }
            let rows = self.x.chunks_exact(n).zip(self.grad.chunks_exact(n));
            for ((x, grad), dx) in rows.zip(self.dx.chunks_exact_mut(n)) {
                let g = if self.op.silu {
                    dx.as_ptr().cast::<f32>()
                } else {
                    grad.as_ptr()
                };
                each_vector!(n, |i, k| {
                    let g = S::mul(
                        S::load_n(g.add(i), k),
                        S::load_n(self.weight.as_ptr().add(i), k),
                    );
                    let g = S::sub(g, S::load_n(alone.as_ptr().add(i), k));
                    let u = S::mul(
                        unit::<S>(x, self.statistics, i, k),
                        S::load_n(times.as_ptr().add(i), k),
                    );
                    let d = S::mul(S::sub(g, u), S::load_n(scale.as_ptr().add(i), k));
                    S::store_n(dx.as_mut_ptr().cast::<f32>().add(i), d, k);
                });
            }
        }
    }
}

/// `(x - mean) · scale`; the statistics hold one mean and then one scale per channel.
///
/// # Safety
/// `x` has `k` floats from the `i`-th on, `statistics` twice as many as `x`; see [`Simd`].
#[inline(always)]
unsafe fn unit<S: Simd>(x: &[f32], statistics: &[f32], i: usize, k: usize) -> S::V {
    // SAFETY: the caller's
    unsafe {
        let d = S::load_n(x.as_ptr().add(i), k);
        let d = S::sub(d, S::load_n(statistics.as_ptr().add(i), k));
        S::mul(d, S::load_n(statistics.as_ptr().add(x.len() + i), k))
    }
}
