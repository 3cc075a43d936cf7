//! Exponential, logistic and error functions on vectors, accurate to about 1e-6; logarithm, softplus and power of one
//! number.
//!
//! None calls the system's library, whose results differ from system to system.

use super::simd::{Simd, each_vector};

/// `exp(x)`; 0 below -50, where it is nothing beside 1; `exp(87.3)` above 87.3, where its reciprocal would
/// no longer be a normal number; NaN stays NaN.
///
/// Every use adds the result to something near 1, or weighs by it. Products with numbers that are not normal
/// take a hundred times as long as others, and smaller results would soon lead there: those of masked scores
/// in a softmax, of the far tail of a GELU.
///
/// # Safety
/// See [`Simd`].
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    const LOWEST: f32 = -50.0;
    // SAFETY: the caller's
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
///
/// # Safety
/// See [`Simd`].
#[inline(always)]
pub(crate) unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
    }
}

/// The Gaussian distribution function and density at `x`.
///
/// Abramowitz and Stegun 7.1.26 for the error function: absolute error below 1.5e-7.
///
/// # Safety
/// See [`Simd`].
#[inline(always)]
pub(crate) unsafe fn gaussian<S: Simd>(x: S::V) -> (S::V, S::V) {
    // SAFETY: the caller's
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
///
/// # Safety
/// `x` has `n` floats; see [`Simd`].
#[inline(always)]
pub(crate) unsafe fn maximum<S: Simd>(x: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's
    unsafe {
        let lowest = S::splat(f32::NEG_INFINITY);
        let mut top = lowest;
        each_vector!(n, |i, k| {
            top = S::max(S::first_n(S::load_n(x.add(i), k), k, lowest), top);
        });
        S::maximum(top)
    }
}

/// The natural logarithm; NaN below zero.
pub(crate) fn ln(x: f32) -> f32 {
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    if !(x > 0.0 && x < f32::INFINITY) {
        return if x > 0.0 { x } else { f32::NAN };
    }
    const MANTISSA: u64 = (1 << 52) - 1;
    // In double precision, where no float is subnormal: x = m 2^e with m in 1..2, then in √½..√2
    let bits = f64::from(x).to_bits();
    let mut e = (bits >> 52) as f64 - 1023.0;
    let mut m = f64::from_bits(bits & MANTISSA | 1023 << 52);
    if m > std::f64::consts::SQRT_2 {
        (m, e) = (m * 0.5, e + 1.0);
    }
    // ln m = 2 artanh s, as two sums that do not wait for each other; what is left out is below 3e-9 of it
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let fourth = square * square;
    let series = (1.0 + square * (1.0 / 3.0))
        + fourth * ((1.0 / 5.0 + square * (1.0 / 7.0)) + fourth * (1.0 / 9.0));
    (e * std::f64::consts::LN_2 + 2.0 * s * series) as f32
}

/// `ln(1 + e^x)`; NaN stays NaN.
pub(crate) fn softplus(x: f32) -> f32 {
    if x > 30.0 {
        return x; // the rest is below the last digit
    }
    libm::log1p(libm::exp(f64::from(x))) as f32
}

/// `x^n` by repeated squaring.
pub(crate) fn power(x: f64, mut n: u64) -> f64 {
    let (mut result, mut square) = (1.0, x);
    while n > 0 {
        if n % 2 == 1 {
            result *= square;
        }
        square *= square;
        n /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::simd::{InstructionSet, Kernel, LANES, run, with_instruction_set};

    struct Eval<'a>(u8, &'a mut [f32]);
    impl Kernel for Eval<'_> {
        type Out = ();
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            for x in self.1.chunks_mut(LANES) {
                // SAFETY: `x` is as long as it says
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

    const STEP: usize = if cfg!(miri) { 97 } else { 1 };

    fn check(function: u8, reference: impl Fn(f64) -> f64, relative: bool) {
        let xs: Vec<f32> = (-3000..=3000)
            .step_by(STEP)
            .map(|i| i as f32 * 0.029)
            .collect();
        let mut found = xs.clone();
        run(Eval(function, &mut found));
        for set in InstructionSet::available() {
            let mut same = xs.clone();
            with_instruction_set(set, || run(Eval(function, &mut same))).unwrap();
            assert_eq!(found, same, "{set}, bit by bit");
        }
        for (x, a) in xs.iter().zip(&found) {
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
    #[cfg_attr(miri, ignore = "slow")]
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

    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn logarithm_is_accurate() {
        for i in 1..20_000 {
            let x = 1.001_f32.powi(i * 4 - 60_000) * 1.7;
            let exact = f64::from(x).ln();
            let error = (f64::from(ln(x)) - exact).abs();
            assert!(
                error <= exact.abs() * 6e-8 || !exact.is_finite(),
                "{x} {error}"
            );
        }
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(0.0), f32::NEG_INFINITY);
        assert_eq!(ln(f32::INFINITY), f32::INFINITY);
        assert!(ln(-1.0).is_nan() && ln(f32::NAN).is_nan());
    }

    #[test]
    fn softplus_by_hand() {
        assert_eq!(softplus(0.0), std::f32::consts::LN_2);
        assert_eq!(softplus(31.0), 31.0);
        assert_eq!(softplus(-60.0), (-60f64).exp() as f32);
        assert!((softplus(29.9) - softplus(30.1) + 0.2).abs() < 1e-5);
        assert!(softplus(f32::NAN).is_nan());
    }

    #[test]
    fn powers() {
        assert_eq!(power(0.9, 0), 1.0);
        assert_eq!(power(2.0, 10), 1024.0);
        assert!((power(0.999, 12_345) - 0.999_f64.powf(12_345.0)).abs() < 1e-15);
    }
}
