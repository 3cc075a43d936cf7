//! Exponential, logistic and error functions on vectors, accurate to about 1e-6.

use super::simd::{Simd, each_vector};

/// `exp(x)`; 0 below -50, where it is nothing beside 1; `exp(87.3)` above 87.3, where its reciprocal would
/// no longer be a normal number; NaN stays NaN.
///
/// Every use adds the result to something near 1, or weighs by it. Products with numbers that are not normal
/// take a hundred times as long as others, and smaller results would soon lead there: those of masked scores
/// in a softmax, of the far tail of a GELU.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    const LOWEST: f32 = -50.0;
    unsafe {
        let above = S::sub(x, S::splat(LOWEST));
        let x = S::min(S::splat(87.3), S::max(S::splat(LOWEST), x));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        // ln 2 in two parts, the first with few digits, so that the remainder is exact
        let r = S::fma(n, S::splat(-355.0 / 512.0), x);
        let r = S::fma(n, S::splat(2.121_944_4e-4), r);
        // Taylor coefficients, fitted at the ends of |r| <= ln 2 / 2
        let mut p = S::splat(1.987_569_1e-4);
        for c in [
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ] {
            p = S::fma(p, r, S::splat(c));
        }
        let p = S::add(S::fma(S::mul(r, r), p, r), S::splat(1.0));
        S::select_negative(above, S::splat(0.0), S::scale2(p, n))
    }
}

/// `1 / (1 + exp(-x))`
#[inline(always)]
pub(crate) unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
    }
}

/// The Gaussian distribution function and density at `x`.
///
/// Abramowitz and Stegun 7.1.26 for the error function: absolute error below 1.5e-7.
#[inline(always)]
pub(crate) unsafe fn gaussian<S: Simd>(x: S::V) -> (S::V, S::V) {
    unsafe {
        let one = S::splat(1.0);
        let bell = exp::<S>(S::mul(S::mul(x, x), S::splat(-0.5)));
        let z = S::mul(
            S::max(S::sub(S::splat(0.0), x), x),
            S::splat(std::f32::consts::FRAC_1_SQRT_2),
        );
        let t = S::div(one, S::fma(z, S::splat(0.327_591_1), one));
        let mut p = S::splat(1.061_405_4);
        for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            p = S::fma(p, t, S::splat(c));
        }
        let tail = S::mul(S::mul(S::mul(p, t), bell), S::splat(0.5)); // Φ(-|x|)
        let density = S::mul(bell, S::splat(0.398_942_3));
        (S::select_negative(x, tail, S::sub(one, tail)), density)
    }
}

/// The largest of `n` floats; negative infinity if there are none.
#[inline(always)]
pub(crate) unsafe fn maximum<S: Simd>(x: *const f32, n: usize) -> f32 {
    unsafe {
        let lowest = S::splat(f32::NEG_INFINITY);
        let mut top = lowest;
        each_vector!(S, n, |i, k| {
            top = S::max(S::first_n(S::load_n(x.add(i), k), k, lowest), top);
        });
        S::maximum(top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::simd::{Kernel, Portable, run};

    struct Eval<'a>(u8, &'a mut [f32]);
    impl Kernel for Eval<'_> {
        type Out = ();
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            for x in self.1.chunks_mut(S::LANES) {
                unsafe {
                    let v = S::load_n(x.as_ptr(), x.len());
                    let v = match self.0 {
                        0 => exp::<S>(v),
                        1 => sigmoid::<S>(v),
                        _ => gaussian::<S>(v).0,
                    };
                    S::store_n(x.as_mut_ptr(), v, x.len());
                }
            }
        }
    }

    fn check(function: u8, reference: impl Fn(f64) -> f64, relative: bool) {
        let xs: Vec<f32> = (-3000..=3000).map(|i| i as f32 * 0.029).collect();
        let mut wide = xs.clone();
        run(Eval(function, &mut wide));
        let mut narrow = xs.clone();
        unsafe { Eval(function, &mut narrow).run::<Portable>() };
        for ((x, a), b) in xs.iter().zip(&wide).zip(&narrow) {
            let expected = reference(f64::from(*x));
            let bound = if relative {
                expected.abs() * 1e-6 + 2e-22
            } else {
                3e-7
            };
            assert!(
                (f64::from(*a) - expected).abs() <= bound,
                "{x} {a} {expected}"
            );
            assert!(
                (f64::from(*b) - expected).abs() <= bound,
                "{x} {b} {expected}"
            );
        }
    }

    #[test]
    fn exp_is_accurate() {
        check(0, f64::exp, true);
    }

    #[test]
    fn results_are_zero_or_normal() {
        for function in 0..3 {
            let mut x: Vec<f32> = (-400..=400).map(|i| i as f32 * 0.25).collect();
            x.extend([f32::NEG_INFINITY, f32::INFINITY]);
            run(Eval(function, &mut x));
            assert!(x.iter().all(|x| *x == 0.0 || x.is_normal()), "{x:?}");
        }
        let mut x = [-50.1, -200.0, f32::NEG_INFINITY];
        run(Eval(0, &mut x));
        assert_eq!(x, [0.0; 3]);
    }

    #[test]
    fn sigmoid_is_accurate() {
        check(1, |x| 1.0 / (1.0 + (-x).exp()), true);
    }

    #[test]
    fn gaussian_distribution_is_accurate() {
        // Φ by Simpson's rule, good to 1e-10 here
        let phi = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let distribution = |x: f64| {
            if x.abs() > 10.0 {
                return if x > 0.0 { 1.0 } else { 0.0 };
            }
            let n = 400;
            let h = x / f64::from(n);
            let inner: f64 = (1..n)
                .map(|i| phi(h * f64::from(i)) * if i % 2 == 1 { 4.0 } else { 2.0 })
                .sum();
            0.5 + h / 3.0 * (phi(0.0) + inner + phi(x))
        };
        check(2, distribution, false);
    }

    #[test]
    fn nan_propagates() {
        for function in 0..3 {
            let mut x = [f32::NAN; 5];
            run(Eval(function, &mut x));
            assert!(x.iter().all(|x| x.is_nan()));
        }
    }
}
