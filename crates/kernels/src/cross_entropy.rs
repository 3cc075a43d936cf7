//! Cross-entropy of integer targets.

mod tiled;

use std::mem::MaybeUninit;

use burn::tensor::{Int, Tensor};

use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused, integers};
use crate::host::math::{exp, ln, maximum};
use crate::host::par::{self, Shared, uninit, written};
use crate::host::simd::{Kernel, Simd, each_vector, run};
use crate::mode::{Mode, mode};
use crate::reference;
use tiled::tiled;

/// `log Σ exp(logits) - logits[target]` per row, in nats; 0 where the target is `ignore_index`.
///
/// # Shapes
/// - `logits`: `[rows, classes]`
/// - `targets`: `[rows]`, in `0..classes` or `ignore_index`
/// - returns `[rows]`
///
/// # Panics
/// If a target is out of range.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>, ignore_index: i64) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    assert_eq!(
        targets.dims(),
        [rows],
        "cross_entropy: targets for {rows} rows"
    );
    if mode() == Mode::Reference {
        return reference::cross_entropy(logits, targets, ignore_index);
    }
    if !fused(&logits) {
        return tiled(logits, targets, ignore_index);
    }
    let targets = integers(targets)
        .into_iter()
        .map(|target| {
            if target == ignore_index {
                return None;
            }
            let class = usize::try_from(target)
                .ok()
                .filter(|class| *class < classes);
            assert!(
                class.is_some(),
                "cross_entropy: target {target} of {classes} classes"
            );
            class
        })
        .collect();
    apply(CrossEntropy { targets }, vec![logits.into_dispatch()])
}

#[derive(Debug)]
struct CrossEntropy {
    targets: Vec<Option<usize>>,
}

impl HostOp for CrossEntropy {
    fn forward(&self, inputs: &[Host], needs: &[bool], keep: &mut Vec<Vec<f32>>) -> Output {
        let [rows, classes] = [inputs[0].shape()[0], inputs[0].shape()[1]];
        let x = inputs[0].data();
        let mut losses = uninit(rows);
        // Largest logit and logarithm of the sum relative to it; added up they would lose digits.
        let mut log_sums = uninit(rows * 2);
        let shared = [Shared::new(&mut losses), Shared::new(&mut log_sums)];
        par::ranges(rows, 1, classes.div_ceil(5), |range| {
            for row in range {
                let logits = &x[row * classes..][..classes];
                let (loss, log_sum) = match self.targets[row] {
                    Some(target) => {
                        let [top, log_sum] = run(LogSum(logits));
                        (top - logits[target] + log_sum, [top, log_sum])
                    }
                    None => (0.0, [0.0; 2]),
                };
                // SAFETY: rows are disjoint
                unsafe {
                    shared[0].slice(row, 1)[0].write(loss);
                    shared[1].slice(row * 2, 2).write_copy_of_slice(&log_sum);
                }
            }
        });
        // SAFETY: every row has written its loss and its two statistics
        let (losses, log_sums) = unsafe { (written(losses), written(log_sums)) };
        if needs[0] {
            keep.push(log_sums);
        }
        Output::new(losses, &[rows])
    }

    fn keeps(&self, needs: &[bool]) -> Vec<bool> {
        needs.to_vec()
    }

    fn backward(&self, grad: &Host, saved: &Saved, _needs: &[bool]) -> Vec<Option<Output>> {
        let shape = &saved.shapes[0];
        let (x, grad, log_sums) = (saved.input(0).data(), grad.data(), &saved.buffers[0]);
        let classes = shape[1];
        let mut dx = uninit(shape[0] * classes);
        let shared = Shared::new(&mut dx);
        par::ranges(shape[0], 1, classes.div_ceil(5), |range| {
            for row in range {
                // SAFETY: rows are disjoint
                let out = unsafe { shared.slice(row * classes, classes) };
                let Some(target) = self.targets[row] else {
                    for x in out {
                        x.write(0.0);
                    }
                    continue;
                };
                let logits = &x[row * classes..][..classes];
                let log_sum = [log_sums[row * 2], log_sums[row * 2 + 1]];
                let out = run(Gradient {
                    logits,
                    log_sum,
                    scale: grad[row],
                    out,
                });
                out[target] -= grad[row];
            }
        });
        // SAFETY: every row has been written
        vec![Some(Output::new(unsafe { written(dx) }, shape))]
    }
}

/// The largest value, and the logarithm of the sum of exponentials relative to it.
struct LogSum<'a>(&'a [f32]);

impl Kernel for LogSum<'_> {
    type Out = [f32; 2];
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> [f32; 2] {
        let (x, n) = (self.0.as_ptr(), self.0.len());
        // SAFETY: `k` floats are left
        unsafe {
            let top = maximum::<S>(x, n);
            let highest = S::splat(top);
            let mut sum = S::splat(0.0);
            each_vector!(n, |i, k| {
                let e = exp::<S>(S::sub(S::load_n(x.add(i), k), highest));
                sum = S::add(sum, S::first_n(e, k, S::splat(0.0)));
            });
            [top, ln(S::sum(sum))]
        }
    }
}

/// Writes `scale · softmax`, and returns it.
struct Gradient<'a> {
    logits: &'a [f32],
    log_sum: [f32; 2],
    scale: f32,
    out: &'a mut [MaybeUninit<f32>],
}

impl<'a> Kernel for Gradient<'a> {
    type Out = &'a mut [f32];
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> &'a mut [f32] {
        let n = self.logits.len();
        assert!(self.out.len() == n);
        let (x, out) = (self.logits.as_ptr(), self.out.as_mut_ptr().cast::<f32>());
        // SAFETY: `k` floats are left in both; at the end all are written
        unsafe {
            let (top, log_sum) = (S::splat(self.log_sum[0]), S::splat(self.log_sum[1]));
            let scale = S::splat(self.scale);
            each_vector!(n, |i, k| {
                let e = S::sub(S::load_n(x.add(i), k), top);
                let e = S::sub(e, log_sum);
                S::store_n(out.add(i), S::mul(exp::<S>(e), scale), k);
            });
            self.out.assume_init_mut()
        }
    }
}
