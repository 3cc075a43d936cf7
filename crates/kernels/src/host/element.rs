//! Types of numbers that weights may have in memory.

use half::{bf16, f16};

use super::simd::Simd;

/// A number that kernels widen to `f32` as they read it.
pub(crate) trait Element: Copy + Send + Sync {
    /// The first `n` numbers (at most `S::LANES`), the other lanes zero.
    ///
    /// # Safety
    /// `p` has `n` numbers; see [`Simd`].
    unsafe fn load_n<S: Simd>(p: *const Self, n: usize) -> S::V;
}

/// Weights of one of the types.
#[derive(Clone, Copy)]
pub(crate) enum Elements<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

/// `$f` for the slice in [`Elements`], whatever its type.
macro_rules! with_elements {
    ($elements:expr, |$slice:ident| $f:expr) => {
        match $elements {
            $crate::host::element::Elements::F32($slice) => $f,
            $crate::host::element::Elements::F16($slice) => $f,
            $crate::host::element::Elements::Bf16($slice) => $f,
        }
    };
}
pub(crate) use with_elements;

impl Element for f32 {
    #[inline(always)]
    unsafe fn load_n<S: Simd>(p: *const Self, n: usize) -> S::V {
        unsafe { S::load_n(p, n) }
    }
}

impl Element for f16 {
    #[inline(always)]
    unsafe fn load_n<S: Simd>(p: *const Self, n: usize) -> S::V {
        unsafe { S::load_f16(padded::<S>(p.cast(), n, &mut [0; 16])) }
    }
}

impl Element for bf16 {
    #[inline(always)]
    unsafe fn load_n<S: Simd>(p: *const Self, n: usize) -> S::V {
        unsafe { S::load_bf16(padded::<S>(p.cast(), n, &mut [0; 16])) }
    }
}

/// Numbers in 16 bits that fill a vector: where they lie, or copied before zeros.
#[inline(always)]
unsafe fn padded<S: Simd>(p: *const u16, n: usize, room: &mut [u16; 16]) -> *const u16 {
    if n >= S::LANES {
        return p;
    }
    // SAFETY: `n` numbers are there, the caller's
    unsafe { p.copy_to_nonoverlapping(room.as_mut_ptr(), n) };
    room.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::simd::{Kernel, Portable, run};

    struct Widen<'a, T>(&'a [T]);

    impl<T: Element> Kernel for Widen<'_, T> {
        type Out = Vec<f32>;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> Vec<f32> {
            let mut wide = Vec::new();
            for part in self.0.chunks(S::LANES) {
                let mut lanes = vec![f32::NAN; S::LANES];
                unsafe {
                    S::store(
                        lanes.as_mut_ptr(),
                        T::load_n::<S>(part.as_ptr(), part.len()),
                    )
                };
                assert!(lanes[part.len()..].iter().all(|x| *x == 0.0), "idle lanes");
                wide.extend(&lanes[..part.len()]);
            }
            wide
        }
    }

    fn check<T: Element>(all: &[T], wide: impl Fn(T) -> f32) {
        for numbers in [all, &all[..21], &all[..1]] {
            let expected: Vec<f32> = numbers.iter().map(|x| wide(*x)).collect();
            let portable = unsafe { Widen(numbers).run::<Portable>() };
            for found in [run(Widen(numbers)), portable] {
                for (found, expected) in found.iter().zip(&expected) {
                    let same = found.to_bits() == expected.to_bits();
                    assert!(
                        same || found.is_nan() && expected.is_nan(),
                        "{found} {expected}"
                    );
                }
            }
        }
    }

    /// All 65,536 of them: zeros of both signs, subnormals, infinities and NaNs, too.
    #[test]
    fn every_half_is_widened_exactly() {
        let all = 0..=u16::MAX;
        check(
            &all.clone().map(f16::from_bits).collect::<Vec<_>>(),
            f16::to_f32,
        );
        check(&all.map(bf16::from_bits).collect::<Vec<_>>(), bf16::to_f32);
    }
}
