//! Deformable attention over several images in one operation: what answers are made with.

use burn::tensor::Tensor;

use super::{Deformable, Samples, WeightedSum};
use crate::activation::softmax_row;
use crate::host::custom::{Host, HostOp, Output, Saved, apply, eager};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::run;

/// What is added to offsets and logits by how far back an image lies.
#[derive(Clone, Debug)]
pub struct Shifts {
    /// `[entries, heads * points * 2]`
    pub offsets: Tensor<2>,
    /// `[entries, heads * levels * (points + 1)]`
    pub logits: Tensor<2>,
}

/// How queries look at the images of their row.
#[derive(Clone, Debug)]
pub struct Looks {
    /// `[height, width]` of each level of each image, image by image.
    pub shapes: Vec<[usize; 2]>,
    /// What an offset of 1 is in shares of width and height, on each level.
    pub steps: Vec<[f32; 2]>,
    /// Samples of each head on each level.
    pub points: usize,
    /// `[batch, queries, images]`: which entry of [`Shifts`] is added, the last one for all beyond; 0 for an image that
    /// is not seen.
    pub relative: Vec<i64>,
}

impl Looks {
    /// For every query and head, a weighted sum of samples around the centres of the images that are seen. Weights are
    /// a softmax of the samples' logits and of one that is 0, for a sample that is 0.
    ///
    /// A query's result depends neither on other queries nor on images that it does not see, to the last bit. `None`
    /// if a tensor is not on the CPU, in 32 bits, or if gradients may be asked for.
    ///
    /// # Shapes
    /// - `value`: `[batch, images * cells, heads, dim]`
    /// - `offsets`: `[batch, queries, heads * points * 2]`, x and y
    /// - `logits`: `[batch, queries, heads * levels * (points + 1)]`; the last of each level counts for nothing
    /// - returns `[batch, queries, heads * dim]`
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn sampled(
        self,
        value: Tensor<4>,
        offsets: Tensor<3>,
        logits: Tensor<3>,
        shifts: &Shifts,
    ) -> Option<Tensor<3>> {
        let ([batch, len, heads, dim], [_, queries, _]) = (value.dims(), offsets.dims());
        let (levels, points) = (self.steps.len(), self.points);
        let images = self.shapes.len() / levels.max(1);
        let area: usize = self
            .shapes
            .iter()
            .map(|[height, width]| height * width)
            .sum();
        let [entries, width] = shifts.offsets.dims();
        assert!(
            area == len
                && images * levels == self.shapes.len()
                && self.relative.len() == batch * queries * images
                && width == heads * points * 2
                && offsets.dims() == [batch, queries, width]
                && shifts.logits.dims() == [entries, heads * levels * (points + 1)]
                && logits.dims() == [batch, queries, shifts.logits.dims()[1]]
                && entries > 0,
            "looks: value {:?}, maps {:?}, offsets {:?}, logits {:?}, shifts {:?} and {:?}, {} relative positions",
            value.dims(),
            self.shapes,
            offsets.dims(),
            logits.dims(),
            shifts.offsets.dims(),
            shifts.logits.dims(),
            self.relative.len()
        );
        let tables = eager(&shifts.offsets) && eager(&shifts.logits);
        if !(eager(&value) && eager(&offsets) && eager(&logits) && tables) {
            return None;
        }
        if batch * len * heads * dim * queries * points == 0 {
            return Some(Tensor::zeros(
                [batch, queries, heads * dim],
                &value.device(),
            ));
        }
        let tensors = vec![
            value.into_dispatch(),
            offsets.into_dispatch(),
            logits.into_dispatch(),
            shifts.offsets.clone().into_dispatch(),
            shifts.logits.clone().into_dispatch(),
        ];
        Some(apply(Look(self), tensors))
    }
}

/// Inputs: value, offsets, logits, and the two tables of shifts.
#[derive(Debug)]
struct Look(Looks);

/// What one query and head needs; reused from one to the next.
#[derive(Default)]
struct Scratch {
    found: Samples,
    /// Of all samples of all images, zeros where nothing is seen.
    locations: Vec<f32>,
    weights: Vec<f32>,
    /// Of those that are seen, and of the one that is 0.
    logits: Vec<f32>,
}

impl Look {
    /// Fills locations and weights of a query and head from its offsets and logits, and tables of what is added to
    /// them: data, and distance of entries.
    fn place(
        &self,
        relative: &[i64],
        [offsets, logits]: [&[f32]; 2],
        tables: [(&[f32], usize); 2],
        scratch: &mut Scratch,
    ) {
        let Looks { steps, points, .. } = &self.0;
        let (levels, points) = (steps.len(), *points);
        let entries = tables[0].0.len().div_ceil(tables[0].1);
        let samples = relative.len() * levels * points;
        let Scratch {
            locations,
            weights,
            logits: row,
            ..
        } = scratch;
        locations.clear();
        locations.resize(2 * samples, 0.0);
        weights.clear();
        weights.resize(samples, 0.0);
        row.clear();
        let seen = |(image, back): (usize, &i64)| {
            (*back > 0).then(|| (image, (*back as usize).min(entries - 1)))
        };
        for (image, entry) in relative.iter().enumerate().filter_map(seen) {
            let [moved, raised] = tables.map(|(data, row)| &data[entry * row..]);
            for (level, step) in steps.iter().enumerate() {
                let first = (image * levels + level) * points;
                for point in 0..points {
                    for axis in 0..2 {
                        let at = 2 * point + axis;
                        locations[2 * (first + point) + axis] =
                            (offsets[at] + moved[at]) * step[axis] + 0.5;
                    }
                    let at = level * (points + 1) + point;
                    row.push(logits[at] + raised[at]);
                }
            }
        }
        row.push(0.0);
        let mut shares = uninit(row.len());
        softmax_row(row, &mut shares);
        // SAFETY: all of it has been written
        let mut shares = unsafe { written(shares) }.into_iter();
        for (image, _) in relative.iter().enumerate().filter_map(seen) {
            let own = &mut weights[image * levels * points..][..levels * points];
            own.iter_mut()
                .zip(&mut shares)
                .for_each(|(weight, share)| *weight = share);
        }
    }
}

impl HostOp for Look {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let [batch, len, heads, dim] = inputs[0].shape().try_into().expect("rank 4");
        let queries = inputs[1].shape()[1];
        let widths = [1, 2].map(|i| inputs[i].shape()[2]);
        let [value, offsets, logits, moved, raised] =
            [0, 1, 2, 3, 4].map(|i: usize| inputs[i].data());
        let levels = self.0.steps.len();
        let images = self.0.shapes.len() / levels;
        let op = Deformable {
            shapes: self.0.shapes.clone(),
            points: self.0.points,
        };
        let mut y = uninit(batch * queries * heads * dim);
        let shared = Shared::new(&mut y);
        let cost = heads * images * levels * self.0.points * (12 + dim / 2);
        par::ranges(batch * queries, 1, cost, |range| {
            let mut scratch = Scratch::default();
            for query in range {
                let relative = &self.0.relative[query * images..][..images];
                for head in 0..heads {
                    let own = |data: &'_ [f32], width: usize, row: usize| {
                        row * width + head * (width / heads)..data.len()
                    };
                    let [o, l] = [
                        &offsets[own(offsets, widths[0], query)],
                        &logits[own(logits, widths[1], query)],
                    ];
                    let tables = [
                        (&moved[own(moved, widths[0], 0)], widths[0]),
                        (&raised[own(raised, widths[1], 0)], widths[1]),
                    ];
                    self.place(relative, [o, l], tables, &mut scratch);
                    let pixels = [
                        query / queries * len * heads * dim + head * dim,
                        heads * dim,
                    ];
                    let Scratch {
                        found,
                        locations,
                        weights,
                        ..
                    } = &mut scratch;
                    found.find(&op, locations, weights, pixels, false);
                    run(WeightedSum {
                        value,
                        taps: &found.taps,
                        // SAFETY: queries and heads are disjoint
                        y: unsafe { shared.slice((query * heads + head) * dim, dim) },
                    });
                }
            }
        });
        // SAFETY: every query and head has been written
        Output::new(unsafe { written(y) }, &[batch, queries, heads * dim])
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        vec![false; needs.len()]
    }

    fn backward(&self, _grad: &Host, _saved: &Saved, needs: &[bool]) -> Vec<Option<Output>> {
        unreachable!("inputs on the gradient graph are refused: {needs:?}")
    }
}
