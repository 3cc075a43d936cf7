//! Sums over whole tensors.

use burn::tensor::Tensor;

use crate::host::custom::{fused, plain};
use crate::host::simd::{Kernel, Simd, run};

/// Sum of the squares of all entries, accumulated in double precision in a fixed order.
pub fn sum_of_squares(x: Tensor<1>) -> f64 {
    if !fused(&x) || x.is_autodiff() {
        return x.into_data().iter::<f64>().map(|x| x * x).sum();
    }
    run(Squares(plain(x).data()))
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
