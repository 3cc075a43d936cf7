//! Sums and means whose order depends neither on the processor nor on the number of threads.

use burn::tensor::Tensor;

use crate::host::custom::{Host, HostOp, Output, Saved, apply, fused};
use crate::host::par::{self, Shared};
use crate::host::simd::{Kernel, LANES, Simd, run};
use crate::reference;

/// Sum of all entries.
///
/// # Shapes
/// - returns `[1]`
pub fn sum<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    if !fused(&x) {
        return reference::sum(x);
    }
    apply(Sum { all: true }, vec![x.into_dispatch()])
}

/// Mean of all entries.
///
/// # Shapes
/// - returns `[1]`
pub fn mean<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    if !fused(&x) {
        return reference::mean(x); // a sum in 16 bits could overflow
    }
    let count = x.dims().iter().product::<usize>();
    sum(x) / count as f64
}

/// Sum over the last axis, which stays with length 1.
///
/// # Shapes
/// - `x`: `[.., n]`
/// - returns `[.., 1]`
pub fn sum_last<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return reference::sum_last(x);
    }
    apply(Sum { all: false }, vec![x.into_dispatch()])
}

/// Mean over the last axis, which stays with length 1.
///
/// # Shapes
/// - `x`: `[.., n]`
/// - returns `[.., 1]`
pub fn mean_last<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !fused(&x) {
        return reference::mean_last(x);
    }
    let count = x.dims()[D - 1];
    sum_last(x) / count as f64
}

/// Of all entries, or of the last axis.
#[derive(Debug)]
struct Sum {
    all: bool,
}

/// Floats summed in single precision; sums of blocks are added in double precision.
const BLOCK: usize = 4096;

impl Sum {
    /// Rows, and entries of each.
    fn sizes(&self, shape: &[usize]) -> [usize; 2] {
        let count = shape.iter().product::<usize>();
        if self.all {
            return [1, count];
        }
        let n = *shape.last().expect("at least one axis");
        [shape[..shape.len() - 1].iter().product(), n]
    }
}

impl HostOp for Sum {
    fn forward(&self, inputs: &[Host], _needs: &[bool], _keep: &mut Vec<Vec<f32>>) -> Output {
        let (shape, x) = (inputs[0].shape(), inputs[0].data());
        let [rows, n] = self.sizes(shape);
        let blocks = n.div_ceil(BLOCK);
        let mut sums = vec![0.0; rows * blocks];
        let shared = Shared::new(&mut sums);
        par::ranges(rows * blocks, 1, n.min(BLOCK) / LANES + 2, |range| {
            for block in range {
                let (row, from) = (block / blocks, block % blocks * BLOCK);
                let x = &x[row * n + from..][..BLOCK.min(n - from)];
                // SAFETY: blocks are disjoint
                unsafe { shared.slice(block, 1)[0] = run(Block(x)) };
            }
        });
        let total = |row: usize| {
            let sums = sums[row * blocks..][..blocks].iter();
            sums.fold(0.0, |total, sum| total + f64::from(*sum)) as f32
        };
        let y = (0..rows).map(total).collect();
        let mut shape = if self.all { vec![1] } else { shape.to_vec() };
        *shape.last_mut().expect("at least one axis") = 1;
        Output::new(y, &shape)
    }

    fn keeps(&self, _needs: &[bool]) -> Vec<bool> {
        vec![false]
    }

    fn backward(&self, grad: &Host, saved: &Saved, _needs: &[bool]) -> Vec<Option<Output>> {
        let [_, n] = self.sizes(&saved.shapes[0]);
        let mut dx = Vec::with_capacity(grad.data().len() * n);
        for grad in grad.data() {
            dx.extend(std::iter::repeat_n(*grad, n));
        }
        vec![Some(Output::new(dx, &saved.shapes[0]))]
    }
}

/// The sum of some floats.
struct Block<'a>(&'a [f32]);

impl Kernel for Block<'_> {
    type Out = f32;
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        const CHAINS: usize = 4; // so that additions do not wait for each other
        let (x, n) = (self.0.as_ptr(), self.0.len());
        // SAFETY: so many floats are left at each place
        unsafe {
            let mut sums = [S::splat(0.0); CHAINS];
            let mut i = 0;
            while i + CHAINS * LANES <= n {
                for (chain, sum) in sums.iter_mut().enumerate() {
                    *sum = S::add(*sum, S::load(x.add(i + chain * LANES)));
                }
                i += CHAINS * LANES;
            }
            while i < n {
                let lanes = LANES.min(n - i);
                sums[0] = S::add(sums[0], S::load_n(x.add(i), lanes));
                i += lanes;
            }
            let [a, b, c, d] = sums;
            S::sum(S::add(S::add(a, b), S::add(c, d)))
        }
    }
}
