//! AdamW update (Loshchilov and Hutter 2019).

use burn::tensor::Tensor;

use crate::host::custom::{fused, modify};
use crate::host::math::power;
use crate::host::par::{self, Shared};
use crate::host::simd::{Kernel, Simd, each_vector, run};
use crate::reference;

/// Settings of one AdamW update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, multiplied by `lr`.
    pub weight_decay: f64,
    /// Number of this step, the first being 1.
    pub step: u64,
}

impl AdamW {
    /// `1 - beta^step` of the two moments.
    pub(crate) fn bias_corrections(&self) -> (f64, f64) {
        let rest = |beta| 1.0 - power(beta, self.step);
        (rest(self.beta1), rest(self.beta2))
    }
}

/// One AdamW update; returns the new parameter, first moment and second moment.
///
/// The arguments are plain tensors, off the autodiff graph. Tensors that are not shared are
/// updated in place.
pub fn adamw_step(
    param: Tensor<1>,
    grad: Tensor<1>,
    m: Tensor<1>,
    v: Tensor<1>,
    options: AdamW,
) -> (Tensor<1>, Tensor<1>, Tensor<1>) {
    let len = param.dims();
    let all = [&param, &grad, &m, &v];
    assert!(
        all.iter().all(|x| x.dims() == len),
        "adamw_step: lengths differ from {len:?}"
    );
    if !all.iter().all(|x| fused(x) && !x.is_autodiff()) {
        return reference::adamw_step(param, grad, m, v, options);
    }
    let (correction1, correction2) = options.bias_corrections();
    let factors = Factors {
        decay: (1.0 - options.lr * options.weight_decay) as f32,
        beta1: options.beta1 as f32,
        rest1: (1.0 - options.beta1) as f32,
        beta2: options.beta2 as f32,
        rest2: (1.0 - options.beta2) as f32,
        // lr m / c1 / (sqrt(v / c2) + eps), both sides times sqrt(c2)
        rate: (options.lr / correction1 * correction2.sqrt()) as f32,
        eps: (options.eps * correction2.sqrt()) as f32,
    };
    let [param, m, v] = modify([param, m, v], grad, |[param, m, v], grad| {
        let [params, ms, vs] = [param, m, v].map(Shared::new);
        par::ranges(grad.len(), 16, 3, |range| {
            let (first, len) = (range.start, range.len());
            // SAFETY: ranges are disjoint
            let [param, m, v] = [params, ms, vs].map(|x| unsafe { x.slice(first, len) });
            run(Step {
                factors,
                param,
                m,
                v,
                grad: &grad[range],
            });
        });
    });
    (param, m, v)
}

#[derive(Clone, Copy)]
struct Factors {
    decay: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    rate: f32,
    eps: f32,
}

struct Step<'a> {
    factors: Factors,
    param: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    grad: &'a [f32],
}

impl Kernel for Step<'_> {
    type Out = ();
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let f = self.factors;
        let len = self.grad.len();
        assert!([self.param.len(), self.m.len(), self.v.len()] == [len; 3]);
        // SAFETY: `k` floats are left in each of the slices
        unsafe {
            let [decay, beta1, rest1] = [S::splat(f.decay), S::splat(f.beta1), S::splat(f.rest1)];
            let [beta2, rest2] = [S::splat(f.beta2), S::splat(f.rest2)];
            let [rate, eps] = [S::splat(f.rate), S::splat(f.eps)];
            each_vector!(len, |i, k| {
                let p = self.param.as_mut_ptr().add(i);
                let (m, v) = (self.m.as_mut_ptr().add(i), self.v.as_mut_ptr().add(i));
                let g = S::load_n(self.grad.as_ptr().add(i), k);
                let first = S::fma(S::load_n(m, k), beta1, S::mul(g, rest1));
                let second = S::fma(S::load_n(v, k), beta2, S::mul(S::mul(g, g), rest2));
                S::store_n(m, first, k);
                S::store_n(v, second, k);
                let update = S::div(S::mul(first, rate), S::add(S::sqrt(second), eps));
                S::store_n(p, S::sub(S::mul(S::load_n(p, k), decay), update), k);
            });
        }
    }
}
