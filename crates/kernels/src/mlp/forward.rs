//! Forward pass: blocks of rows through all layers.

use super::{Gate, Mlp, Sizes};
use crate::activation::activate;
use crate::host::custom::Host;
use crate::host::gemm::{BLOCK, Left, Out, Packed, Start, product};
use crate::host::par::{self, Shared, uninit, written};

impl Mlp {
    /// The output, and the hidden layer before its activation if it is to be kept.
    pub(super) fn outputs(&self, s: Sizes, inputs: &[Host], keep: bool) -> (Vec<f32>, Vec<f32>) {
        let x = inputs[0].data();
        let gated = self.gate == Gate::Matrix;
        let parts = if gated {
            vec![inputs[1].elements(), inputs[3].elements()]
        } else {
            vec![inputs[1].elements()]
        };
        let width = s.hidden / parts.len();
        let up: Vec<_> = parts
            .into_iter()
            .map(|weight| Packed::columns(weight, s.inputs, width))
            .collect();
        let down = Packed::columns(inputs[2].elements(), s.inner, s.outputs);
        let bias = |i: usize| match inputs.get(i) {
            Some(bias) if !gated => Start::Bias(bias.data()),
            _ => Start::Zero,
        };

        let mut hidden = uninit(if keep { s.rows * s.hidden } else { 0 });
        let mut y = uninit(s.rows * s.outputs);
        let (kept, out) = (Shared::new(&mut hidden), Shared::new(&mut y));
        let cost = (s.inputs * s.hidden + s.inner * s.outputs) / 32 + 1;
        par::ranges(s.rows, 12, cost, |range| {
            let block = BLOCK.min(range.len());
            let mut scratch = vec![0.0; if keep { 0 } else { block * s.hidden }];
            let mut active = uninit(block * s.inner);
            for first in range.clone().step_by(BLOCK) {
                let rows = BLOCK.min(range.end - first);
                let h = if keep {
                    kept.at(first * s.hidden)
                } else {
                    scratch.as_mut_ptr()
                };
                let left = Left::new(x[first * s.inputs..].as_ptr(), s.inputs, 1, s.inputs);
                for (i, up) in up.iter().enumerate() {
                    let out = Out {
                        ptr: h.wrapping_add(i * width),
                        row: s.hidden,
                    };
                    // SAFETY: `rows` rows are left in `x` and `h`; rows are disjoint
                    unsafe { product(rows, left, up, out, bias(3)) };
                }
                // SAFETY: all columns of these rows have just been written
                let h = unsafe { std::slice::from_raw_parts(h, rows * s.hidden) };
                let active = &mut active[..rows * s.inner];
                let active = activate(self.function, h, active, s.inner);
                let left = Left::new(active.as_ptr(), s.inner, 1, s.inner);
                let out = Out {
                    ptr: out.at(first * s.outputs),
                    row: s.outputs,
                };
                // SAFETY: `rows` rows are in `active` and left in `y`; rows are disjoint
                unsafe { product(rows, left, &down, out, bias(4)) };
            }
        });
        // SAFETY: every row has been written, of the hidden layer if it is kept
        unsafe { (written(y), written(hidden)) }
    }
}
