//! Backward pass: the activation is computed again, block by block.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::{Gate, Mlp, Sizes};
use crate::activation::{activate, activate_gradient};
use crate::host::custom::{Host, Output, Saved};
use crate::host::gemm::{Left, Out, Packed, Start, product_parallel};
use crate::host::par::{self, Shared, uninit, written};
use crate::linear::{add_outer, add_parts, column_sums};

/// Rows in a block, which the gradients of weights are summed over at once.
const BLOCK: usize = 192;

/// What all blocks share.
struct Context<'a> {
    s: Sizes,
    needs: &'a [bool],
    x: &'a [f32],
    hidden: &'a [f32],
    grad: &'a [f32],
    /// Weights `up` and, if it is a matrix, the gate's: rows of the right side of a product.
    up: Vec<Packed>,
    down: Packed,
    dx: Shared<'a, MaybeUninit<f32>>,
}

/// Places in the sums of parameters' gradients, by input; those not wanted are empty.
type Places = Vec<Range<usize>>;

impl Mlp {
    pub(super) fn gradients(
        &self,
        grad: &Host,
        saved: &Saved,
        needs: &[bool],
    ) -> Vec<Option<Output>> {
        let shapes = &saved.shapes;
        let s = self.sizes(&shapes[0], &shapes[1], &shapes[2]);
        let data = |i: usize| saved.inputs[i].as_ref().map_or(&[][..], Host::data);
        let rows = |i: usize| match &saved.inputs[i] {
            Some(weight) => Packed::rows(weight.elements(), shapes[i][0], shapes[i][1]),
            None => Packed::default(),
        };
        let size = |i: usize| shapes[i].iter().product::<usize>();
        let mut dx = uninit(if needs[0] { size(0) } else { 0 });
        let mut end = 0;
        let places: Places = (0..needs.len())
            .map(|i| {
                let start = end;
                end += if i > 0 && needs[i] { size(i) } else { 0 };
                start..end
            })
            .collect();
        let gated = self.gate == Gate::Matrix;
        let context = Context {
            s,
            needs,
            x: data(0),
            hidden: &saved.buffers[0],
            grad: grad.data(),
            up: if gated {
                vec![rows(1), rows(3)]
            } else {
                vec![rows(1)]
            },
            down: rows(2),
            dx: Shared::new(&mut dx),
        };
        // Without sums, any block can go anywhere. With many rows, parts of them are summed on their own; with
        // few, threads share the products instead.
        let parts = if end == 0 {
            s.rows.div_ceil(BLOCK)
        } else if s.rows >= 2 * s.inner {
            let read = s.rows * (s.inputs + s.hidden + s.inner + s.outputs);
            par::parts(s.rows, BLOCK, end, read)
        } else {
            1
        };
        let mut sums = vec![0.0; parts * end];
        let shared = Shared::new(&mut sums);
        let cost = s.rows / parts * (s.inputs * s.hidden + s.inner * s.outputs) / 16 + 1;
        par::each_part(parts, cost, |part| {
            let rows = s.rows * part / parts..s.rows * (part + 1) / parts;
            // SAFETY: parts are disjoint
            let sums = unsafe { shared.slice(part * end, end) };
            self.part(&context, rows, sums, &places);
        });
        add_parts(&mut sums, end);
        // SAFETY: the parts have written all rows, if they are wanted
        let dx = unsafe { written(dx) };
        let mut results = vec![needs[0].then(|| Output::new(dx, &shapes[0]))];
        results.extend((1..needs.len()).map(|i| {
            let gradient = || sums[places[i].clone()].to_vec();
            needs[i].then(|| Output::new(gradient(), &shapes[i]))
        }));
        results
    }

    /// Writes the input's gradient for some rows, and adds to those of the parameters.
    fn part(&self, c: &Context, rows: Range<usize>, sums: &mut [f32], places: &Places) {
        let (s, needs) = (c.s, c.needs);
        let gated = self.gate == Gate::Matrix;
        let [up_bias, down_bias] = [3, 4].map(|i| !gated && needs[i]);
        let through = needs[0] || needs[1] || gated && needs[3] || up_bias;
        let block = BLOCK.min(rows.len());
        let mut inner = uninit(block * s.inner);
        let mut dhidden = uninit(if through { block * s.hidden } else { 0 });
        let mut packed = Packed::default();
        for first in rows.clone().step_by(BLOCK) {
            let len = BLOCK.min(rows.end - first);
            let x = &c.x[(first * s.inputs).min(c.x.len())..];
            let hidden = &c.hidden[first * s.hidden..][..len * s.hidden];
            let grad = &c.grad[first * s.outputs..][..len * s.outputs];
            let inner = &mut inner[..len * s.inner];
            if needs[2] {
                let inner = activate(self.function, hidden, inner, s.inner);
                let sums = &mut sums[places[2].clone()];
                add_outer(sums, (grad, s.outputs), (inner, s.inner), len, &mut packed);
            }
            if down_bias {
                let total = column_sums(grad, len, s.outputs);
                let sums = sums[places[4].clone()].iter_mut();
                sums.zip(total).for_each(|(a, b)| *a += b);
            }
            if !through {
                continue;
            }
            let left = Left::new(grad.as_ptr(), s.outputs, 1, s.outputs);
            let out = Out {
                ptr: inner.as_mut_ptr().cast(),
                row: s.inner,
            };
            // SAFETY: `len` rows are in `grad` and `inner`, of which all is written
            let inner = unsafe {
                product_parallel(len, left, &c.down, out, Start::Zero);
                inner.assume_init_ref()
            };
            let dhidden = &mut dhidden[..len * s.hidden];
            let dhidden = activate_gradient(self.function, hidden, inner, dhidden, s.inner);
            let width = s.hidden / c.up.len();
            for (i, up) in c.up.iter().enumerate() {
                let part = &dhidden[i * width..];
                if needs[0] {
                    let left = Left::new(part.as_ptr(), s.hidden, 1, width);
                    let out = Out {
                        ptr: c.dx.at(first * s.inputs),
                        row: s.inputs,
                    };
                    let start = if i == 0 {
                        Start::Zero
                    } else {
                        Start::Accumulate
                    };
                    // SAFETY: `len` rows are in `dhidden` and left in `dx`; parts are disjoint
                    unsafe { product_parallel(len, left, up, out, start) };
                }
                let weight = if i == 0 { 1 } else { 3 };
                if needs[weight] {
                    let sums = &mut sums[places[weight].clone()];
                    add_outer(sums, (part, s.hidden), (x, s.inputs), len, &mut packed);
                }
            }
            if up_bias {
                let total = column_sums(dhidden, len, s.hidden);
                let sums = sums[places[3].clone()].iter_mut();
                sums.zip(total).for_each(|(a, b)| *a += b);
            }
        }
    }
}
