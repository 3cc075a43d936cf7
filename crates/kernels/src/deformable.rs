//! Multi-scale deformable attention (Zhu et al. 2021, Deformable DETR, Eq. 3).

mod looks;

use std::mem::MaybeUninit;

use burn::tensor::Tensor;

use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};
use crate::reference;

pub use looks::{Looks, Shifts};

/// Weighted sum of bilinear samples from several feature maps.
///
/// A location `(x, y)` in 0..1 spans the whole map, pixel centres at `(i + 0.5) / size`
/// (`align_corners = false`); outside the map values are zero.
///
/// # Shapes
/// - `value`: `[batch, len, heads, dim]`, levels one after the other, each row-major
/// - `spatial_shapes`: `[height, width]` per level; their areas sum to `len`
/// - `locations`: `[batch, queries, heads, levels, points, 2]`
/// - `weights`: `[batch, queries, heads, levels, points]`
/// - returns `[batch, queries, heads * dim]`
///
/// # Panics
/// If the shapes do not fit.
pub fn deformable_attention(
    value: Tensor<4>,
    spatial_shapes: &[[usize; 2]],
    locations: Tensor<6>,
    weights: Tensor<5>,
) -> Tensor<3> {
    let [batch, len, heads, dim] = value.dims();
    let [_, queries, _, levels, points, _] = locations.dims();
    let area: usize = spatial_shapes
        .iter()
        .map(|[height, width]| height * width)
        .sum();
    assert!(
        area == len
            && levels == spatial_shapes.len()
            && locations.dims() == [batch, queries, heads, levels, points, 2]
            && weights.dims() == [batch, queries, heads, levels, points],
        "deformable_attention: value {:?}, maps {spatial_shapes:?}, locations {:?}, weights {:?}",
        value.dims(),
        locations.dims(),
        weights.dims()
    );
    let empty = batch * len * heads * dim * queries * points == 0;
    if empty || !(fused(&value) && fused(&locations) && fused(&weights)) {
        return reference::deformable_attention(value, spatial_shapes, locations, weights);
    }
    let op = Deformable {
        shapes: spatial_shapes.to_vec(),
        points,
    };
    apply(
        op,
        vec![
            value.into_dispatch(),
            locations.into_dispatch(),
            weights.into_dispatch(),
        ],
    )
}

/// Inputs: `value`, `locations`, `weights`.
#[derive(Debug)]
struct Deformable {
    shapes: Vec<[usize; 2]>,
    points: usize,
}

/// The four pixels around a location.
#[derive(Clone, Copy)]
struct Corners {
    /// Positions in the value's `len` axis: top left, top right, bottom left, bottom right.
    at: [Option<usize>; 4],
    /// Distances from the left and upper pixels, in 0..1.
    fraction: [f32; 2],
}

impl Corners {
    fn new(location: &[f32], [height, width]: [usize; 2], start: usize) -> Self {
        let x = location[0] * width as f32 - 0.5;
        let y = location[1] * height as f32 - 0.5;
        let (left, top) = (x.floor(), y.floor());
        let pixel = |dx: f32, dy: f32| {
            let (x, y) = (left + dx, top + dy);
            let inside = x >= 0.0 && y >= 0.0 && x < width as f32 && y < height as f32;
            inside.then(|| start + y as usize * width + x as usize)
        };
        Self {
            at: [
                pixel(0.0, 0.0),
                pixel(1.0, 0.0),
                pixel(0.0, 1.0),
                pixel(1.0, 1.0),
            ],
            fraction: [x - left, y - top],
        }
    }

    fn weights(&self) -> [f32; 4] {
        let [x, y] = self.fraction;
        [(1.0 - x) * (1.0 - y), x * (1.0 - y), (1.0 - x) * y, x * y]
    }
}

/// One pixel that a query reads.
#[derive(Clone, Copy)]
struct Tap {
    /// Sample of the query and head, counted from 0, and which of its corners.
    sample: usize,
    corner: usize,
    /// Where the pixel's features of this head start, in floats.
    at: usize,
    /// Bilinear weight times that of the sample.
    scale: f32,
}

/// What the samples of one query and head touch; reused from one to the next.
#[derive(Default)]
struct Samples {
    corners: Vec<Corners>,
    taps: Vec<Tap>,
    dots: Vec<f32>,
}

impl Samples {
    /// - `locations`, `weights`: those of the query and head
    /// - `base`: where the first pixel's features of the head start; `stride`: distance of pixels
    fn find(
        &mut self,
        op: &Deformable,
        locations: &[f32],
        weights: &[f32],
        [base, stride]: [usize; 2],
        unweighted: bool,
    ) {
        self.corners.clear();
        self.taps.clear();
        let mut start = 0;
        let mut sample = 0;
        for shape in &op.shapes {
            for _ in 0..op.points {
                let corners = Corners::new(&locations[sample * 2..][..2], *shape, start);
                // An image that the query does not see has no weight.
                if unweighted || weights[sample] != 0.0 {
                    for (corner, weight) in corners.weights().into_iter().enumerate() {
                        if let Some(at) = corners.at[corner] {
                            self.taps.push(Tap {
                                sample,
                                corner,
                                at: base + at * stride,
                                scale: weights.get(sample).map_or(0.0, |w| w * weight),
                            });
                        }
                    }
                }
                self.corners.push(corners);
                sample += 1;
            }
            start += shape[0] * shape[1];
        }
    }
}

impl HostOp for Deformable {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let [batch, len, heads, dim] = inputs[0].shape().try_into().expect("rank 4");
        let queries = inputs[1].shape()[1];
        let [value, locations, weights] = [&inputs[0], &inputs[1], &inputs[2]].map(Host::data);
        let samples = self.shapes.len() * self.points;
        let mut y = uninit(batch * queries * heads * dim);
        let shared = Shared::new(&mut y);
        let cost = heads * samples * (8 + dim / 2);
        par::ranges(batch * queries, 1, cost, |range| {
            let mut found = Samples::default();
            for query in range {
                let image = query / queries * len * heads * dim;
                for head in 0..heads {
                    let index = query * heads + head;
                    let (from, to) = (index * samples, (index + 1) * samples);
                    let pixels = [image + head * dim, heads * dim];
                    let (locations, weights) = (&locations[2 * from..2 * to], &weights[from..to]);
                    found.find(self, locations, weights, pixels, false);
                    run(WeightedSum {
                        value,
                        taps: &found.taps,
                        // SAFETY: queries are disjoint
                        y: unsafe { shared.slice(index * dim, dim) },
                    });
                }
            }
        });
        // SAFETY: every query and head has been written
        Output::new(unsafe { written(y) }, &[batch, queries, heads * dim])
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![needs[1] || needs[2], true, needs[0] || needs[1]]
    }

    fn backward(&self, grad: &Host, saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        let [batch, len, heads, dim] = saved.shapes[0][..].try_into().expect("rank 4");
        let queries = saved.shapes[1][1];
        let samples = self.shapes.len() * self.points;
        let data = |i: usize| saved.inputs[i].as_ref().map_or(&[][..], Host::data);
        let [value, locations, weights] = [data(0), data(1), data(2)];
        let size = |i: usize| {
            if needs[i] {
                saved.shapes[i].iter().product()
            } else {
                0
            }
        };
        let mut dvalue = vec![0.0; size(0)];
        let (mut dlocations, mut dweights) = (uninit(size(1)), uninit(size(2)));
        let dvalues = Shared::new(&mut dvalue);
        let shared = [&mut dlocations, &mut dweights].map(|d| Shared::new(d));
        let grad = grad.data();
        // Each task owns one head of one image, so that no two add to the same values.
        par::ranges(batch * heads, 1, queries * samples * (16 + dim), |range| {
            let mut found = Samples::default();
            for task in range {
                let (b, head) = (task / heads, task % heads);
                let pixels = [b * len * heads * dim + head * dim, heads * dim];
                for query in b * queries..(b + 1) * queries {
                    let index = query * heads + head;
                    let (from, to) = (index * samples, (index + 1) * samples);
                    let weights = weights.get(from..to).unwrap_or_default();
                    let locations = &locations[2 * from..2 * to];
                    found.find(self, locations, weights, pixels, needs[2]);
                    found.dots.clear();
                    found.dots.resize(4 * samples, 0.0);
                    run(Scatter {
                        grad: &grad[index * dim..][..dim],
                        value: (needs[1] || needs[2]).then_some(value),
                        taps: &found.taps,
                        dots: &mut found.dots,
                        dvalue: needs[0].then_some(dvalues),
                    });
                    let all = found.corners.iter().zip(found.dots.chunks_exact(4));
                    for (sample, (corners, dots)) in all.enumerate() {
                        let shape = self.shapes[sample / self.points];
                        let [x, y] = corners.fraction;
                        if needs[1] {
                            let dx = (1.0 - y) * (dots[1] - dots[0]) + y * (dots[3] - dots[2]);
                            let dy = (1.0 - x) * (dots[2] - dots[0]) + x * (dots[3] - dots[1]);
                            // SAFETY: samples are disjoint
                            let out = unsafe { shared[0].slice((from + sample) * 2, 2) };
                            out[0].write(weights[sample] * dx * shape[1] as f32);
                            out[1].write(weights[sample] * dy * shape[0] as f32);
                        }
                        if needs[2] {
                            let parts = dots.iter().zip(corners.weights());
                            // SAFETY: samples are disjoint
                            let out = unsafe { shared[1].slice(from + sample, 1) };
                            out[0].write(parts.map(|(dot, corner)| dot * corner).sum());
                        }
                    }
                }
            }
        });
        // SAFETY: every sample has been written, where wanted
        let (dlocations, dweights) = unsafe { (written(dlocations), written(dweights)) };
        let results = [dvalue, dlocations, dweights].into_iter().enumerate();
        results
            .map(|(i, d)| needs[i].then(|| Output::new(d, &saved.shapes[i])))
            .collect()
    }
}

/// `y = Σ scale · pixel`
struct WeightedSum<'a> {
    value: &'a [f32],
    taps: &'a [Tap],
    /// All of it is written.
    y: &'a mut [MaybeUninit<f32>],
}

impl Kernel for WeightedSum<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { value, taps, y } = self;
        let dim = y.len();
        let y = y.as_mut_ptr().cast::<f32>();
        // SAFETY: pixels and `y` are `dim` floats, of which `k` are left
        unsafe {
            each_vector!(dim, |i, k| {
                let mut sum = S::splat(0.0);
                for tap in taps {
                    let x = value[tap.at..][..dim].as_ptr();
                    sum = S::fma(S::load_n(x.add(i), k), S::splat(tap.scale), sum);
                }
                S::store_n(y.add(i), sum, k);
            });
        }
    }
}

/// Products of the gradient with each pixel, and the gradient's share added to each pixel's.
///
/// Made where nobody else uses the taps' pixels in `dvalue`.
struct Scatter<'a> {
    grad: &'a [f32],
    value: Option<&'a [f32]>,
    taps: &'a [Tap],
    /// By sample and corner.
    dots: &'a mut [f32],
    dvalue: Option<Shared<'a>>,
}

impl Kernel for Scatter<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (g, dim) = (self.grad.as_ptr(), self.grad.len());
        for tap in self.taps {
            // SAFETY: pixels are `dim` floats, of which `k` are left; nobody else uses them in `dvalue`
            unsafe {
                if let Some(value) = self.value {
                    let x = value[tap.at..][..dim].as_ptr();
                    let mut sum = S::splat(0.0);
                    each_vector!(dim, |i, k| {
                        sum = S::fma(S::load_n(g.add(i), k), S::load_n(x.add(i), k), sum);
                    });
                    self.dots[4 * tap.sample + tap.corner] = S::sum(sum);
                }
                if let Some(dvalue) = self.dvalue {
                    let y = dvalue.slice(tap.at, dim).as_mut_ptr();
                    let scale = S::splat(tap.scale);
                    each_vector!(dim, |i, k| {
                        let sum = S::fma(S::load_n(g.add(i), k), scale, S::load_n(y.add(i), k));
                        S::store_n(y.add(i), sum, k);
                    });
                }
            }
        }
    }
}
