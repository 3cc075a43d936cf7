//! Multi-scale deformable attention (Zhu et al. 2021, Deformable DETR, Eq. 3).

use burn::tensor::Tensor;

use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused};
use crate::host::par::{self, Shared, uninit};
use crate::host::simd::{Kernel, Simd, each_vector, run};
use crate::reference;

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

impl Deformable {
    /// Calls `body(sample, corners, [height, width])` for the samples of one query and head,
    /// which start at `first` in the order of the weights.
    fn each_sample(
        &self,
        locations: &[f32],
        first: usize,
        mut body: impl FnMut(usize, Corners, [usize; 2]),
    ) {
        let mut start = 0;
        let mut sample = first;
        for shape in &self.shapes {
            for _ in 0..self.points {
                let corners = Corners::new(&locations[sample * 2..][..2], *shape, start);
                body(sample, corners, *shape);
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
        par::ranges(
            batch * queries,
            1,
            heads * samples * (8 + dim / 2),
            |range| {
                for query in range {
                    let image = query / queries * len * heads * dim;
                    for head in 0..heads {
                        let index = query * heads + head;
                        // SAFETY: queries are disjoint
                        let out = unsafe { shared.slice(index * dim, dim) };
                        out.fill(0.0);
                        self.each_sample(locations, index * samples, |sample, corners, _| {
                            if weights[sample] == 0.0 {
                                return; // an image that this query does not see
                            }
                            for (at, corner) in corners.at.iter().zip(corners.weights()) {
                                if let Some(at) = at {
                                    let x = &value[image + (at * heads + head) * dim..][..dim];
                                    run(AddScaled {
                                        x,
                                        scale: weights[sample] * corner,
                                        y: out,
                                    });
                                }
                            }
                        });
                    }
                }
            },
        );
        Output::new(y, &[batch, queries, heads * dim])
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
        let shared = [&mut dvalue, &mut dlocations, &mut dweights].map(|d| Shared::new(d));
        let grad = grad.data();
        // Each task owns one head of one image, so that no two add to the same values.
        par::ranges(batch * heads, 1, queries * samples * (16 + dim), |range| {
            for task in range {
                let (b, head) = (task / heads, task % heads);
                for query in b * queries..(b + 1) * queries {
                    let index = query * heads + head;
                    let g = &grad[index * dim..][..dim];
                    self.each_sample(locations, index * samples, |sample, corners, shape| {
                        let mut dots = [0.0; 4];
                        for (i, corner) in corners.weights().into_iter().enumerate() {
                            let Some(at) = corners.at[i] else { continue };
                            let start = ((b * len + at) * heads + head) * dim;
                            if needs[1] || needs[2] {
                                dots[i] = run(Dot(g, &value[start..][..dim]));
                            }
                            if needs[0] {
                                // SAFETY: the task owns this head of this image
                                let y = unsafe { shared[0].slice(start, dim) };
                                run(AddScaled {
                                    x: g,
                                    scale: weights[sample] * corner,
                                    y,
                                });
                            }
                        }
                        let [x, y] = corners.fraction;
                        if needs[1] {
                            let dx = (1.0 - y) * (dots[1] - dots[0]) + y * (dots[3] - dots[2]);
                            let dy = (1.0 - x) * (dots[2] - dots[0]) + x * (dots[3] - dots[1]);
                            // SAFETY: samples are disjoint
                            let out = unsafe { shared[1].slice(sample * 2, 2) };
                            out[0] = weights[sample] * dx * shape[1] as f32;
                            out[1] = weights[sample] * dy * shape[0] as f32;
                        }
                        if needs[2] {
                            let parts = dots.iter().zip(corners.weights());
                            // SAFETY: samples are disjoint
                            let out = unsafe { shared[2].slice(sample, 1) };
                            out[0] = parts.map(|(dot, corner)| dot * corner).sum();
                        }
                    });
                }
            }
        });
        let results = [dvalue, dlocations, dweights].into_iter().enumerate();
        results
            .map(|(i, d)| needs[i].then(|| Output::new(d, &saved.shapes[i])))
            .collect()
    }
}

/// `y += scale · x`
struct AddScaled<'a> {
    x: &'a [f32],
    scale: f32,
    y: &'a mut [f32],
}

impl Kernel for AddScaled<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr());
        unsafe {
            let scale = S::splat(self.scale);
            each_vector!(S, self.y.len(), |i, k| {
                let sum = S::fma(S::load_n(x.add(i), k), scale, S::load_n(y.add(i), k));
                S::store_n(y.add(i), sum, k);
            });
        }
    }
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Kernel for Dot<'_> {
    type Out = f32;
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let (a, b) = (self.0.as_ptr(), self.1.as_ptr());
        unsafe {
            let mut sum = S::splat(0.0);
            each_vector!(S, self.0.len(), |i, k| {
                sum = S::fma(S::load_n(a.add(i), k), S::load_n(b.add(i), k), sum);
            });
            S::sum(sum)
        }
    }
}
