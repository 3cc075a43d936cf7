//! Sums over whole tensors.

use burn::tensor::{Device, Tensor};

use crate::host::custom::{fused, plain};
use crate::host::simd::{Kernel, Simd, run};

/// Sum of the squares of all entries of some tensors. On the CPU it is accumulated in double precision in a fixed
/// order; on a GPU one number is read for all tensors.
pub fn sum_of_squares<'a>(tensors: impl IntoIterator<Item = &'a Tensor<1>>) -> f64 {
    let (mut sum, mut elsewhere) = (0.0, Vec::new());
    for x in tensors {
        if fused(x) && !x.is_autodiff() {
            sum += run(Squares(plain(x.clone()).data()));
        } else if x.device() == Device::flex() {
            sum += x.to_data().iter::<f64>().map(|x| x * x).sum::<f64>();
        } else {
            elsewhere.push(x.clone().square().sum());
        }
    }
    if elsewhere.is_empty() {
        return sum;
    }
    sum + Tensor::cat(elsewhere, 0).sum().into_scalar::<f64>()
}

struct Squares<'a>(&'a [f32]);

impl Kernel for Squares<'_> {
    type Out = f64;
    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f64 {
        // Independent sums, so that additions do not wait for each other.
        let mut sums = [0.0_f64; 64];
        for x in self.0.chunks(sums.len()) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += f64::from(*x) * f64::from(*x);
            }
        }
        sums.iter().sum()
    }
}
