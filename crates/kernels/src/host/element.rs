//! Types of numbers that weights may have in memory.

use half::{bf16, f16};

use super::simd::{LANES, Simd};

/// A number that kernels widen to `f32` as they read it.
pub(crate) trait Element: Copy + Default + Send + Sync {
    /// The first `n` numbers (at most `LANES`), the other lanes zero.
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
        // SAFETY: the caller's
        unsafe { S::load_n(p, n) }
    }
}

impl Element for f16 {
    #[inline(always)]
    unsafe fn load_n<S: Simd>(p: *const Self, n: usize) -> S::V {
        // SAFETY: the caller's; what is too short is in the room behind
        unsafe { S::load_f16(padded(p.cast(), n, &mut [0; LANES])) }
    }
}

impl Element for bf16 {
    #[inline(always)]
    unsafe fn load_n<S: Simd>(p: *const Self, n: usize) -> S::V {
        // SAFETY: the caller's; what is too short is in the room behind
        unsafe { S::load_bf16(padded(p.cast(), n, &mut [0; LANES])) }
    }
}

/// Numbers in 16 bits that fill a vector: where they lie, or copied before zeros.
///
/// # Safety
/// `p` has `n` numbers.
#[inline(always)]
unsafe fn padded(p: *const u16, n: usize, room: &mut [u16; LANES]) -> *const u16 {
    if n >= LANES {
        return p;
    }
    // SAFETY: `n` numbers are there, the caller's, and fewer than the room has
    unsafe { p.copy_to_nonoverlapping(room.as_mut_ptr(), n) };
    room.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::simd::{InstructionSet, Kernel, run, with_instruction_set};

    struct Widen<'a, T>(&'a [T]);

    impl<T: Element> Kernel for Widen<'_, T> {
        type Out = Vec<f32>;
        #[inline(always)]
        unsafe fn run<S: Simd>(self) -> Vec<f32> {
            let mut wide = Vec::new();
            for part in self.0.chunks(LANES) {
                let mut lanes = vec![f32::NAN; LANES];
                // SAFETY: `lanes` are a vector's, and `part` is as long as it says
                unsafe {
                    let v = T::load_n::<S>(part.as_ptr(), part.len());
                    S::store(lanes.as_mut_ptr(), v);
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
            for set in InstructionSet::available() {
                let found = with_instruction_set(set, || run(Widen(numbers)));
                for (found, expected) in found.unwrap().iter().zip(&expected) {
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
        let step = if cfg!(miri) { 257 } else { 1 };
        let all = (0..=u16::MAX).step_by(step);
        check(
            &all.clone().map(f16::from_bits).collect::<Vec<_>>(),
            f16::to_f32,
        );
        check(&all.map(bf16::from_bits).collect::<Vec<_>>(), bf16::to_f32);
    }
}
