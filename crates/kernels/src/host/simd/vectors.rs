//! The trait of vectors, and the way into a kernel.

use super::instruction_set::InstructionSet;
use super::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};

/// Floats of a vector, on every processor.
pub(crate) const LANES: usize = 16;

/// Simd of [`LANES`] floats. Pointers need no alignment.
///
/// # Safety
/// All functions: only on processors that have the instruction set, which [`run`] guarantees. Loads read and
/// stores write `LANES` (or `n`) numbers from the pointer on, which must be inside an allocation.
pub(crate) trait Simd: Copy {
    type V: Copy;
    /// Width in vectors of the matrix product's register tile.
    const PANEL: usize;
    /// Its rows.
    const ROWS: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// The first `n < LANES` floats, the others zero.
    unsafe fn load_part(p: *const f32, n: usize) -> Self::V;
    unsafe fn store_part(p: *mut f32, v: Self::V, n: usize);
    /// `LANES` numbers of IEEE's half precision.
    unsafe fn load_f16(p: *const u16) -> Self::V;
    /// `LANES` numbers that are the upper halves of floats.
    unsafe fn load_bf16(p: *const u16) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The second operand if either is NaN, or if they are equal.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The second operand if either is NaN, or if they are equal.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// To the nearest integer, halves to the even one.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `a * 2^n` for integral `n` in -126..=127 and normal results.
    unsafe fn scale2(a: Self::V, n: Self::V) -> Self::V;
    /// `if x < 0 { a } else { b }`, `b` for NaN.
    unsafe fn select_negative(x: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// The first `n < LANES` lanes of `v`, the others of `rest`.
    unsafe fn first(v: Self::V, n: usize, rest: Self::V) -> Self::V;
    /// Lane `i` of vector `j` to lane `j` of vector `i`.
    unsafe fn transpose(square: [Self::V; LANES]) -> [Self::V; LANES];
    /// Pairwise: lanes `i` and `i + 8`, then of these eight `i` and `i + 4`, and so on.
    unsafe fn sum(v: Self::V) -> f32;
    /// By [`Simd::max`] in the order of [`Simd::sum`].
    unsafe fn maximum(v: Self::V) -> f32;

    /// `n <= LANES` floats, the others zero.
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> Self::V {
        // SAFETY: the caller's
        unsafe {
            if n >= LANES {
                Self::load(p)
            } else {
                Self::load_part(p, n)
            }
        }
    }

    /// `n <= LANES` lanes of `v`, the others of `rest`.
    #[inline(always)]
    unsafe fn first_n(v: Self::V, n: usize, rest: Self::V) -> Self::V {
        if n >= LANES {
            v
        } else {
            // SAFETY: the caller's
            unsafe { Self::first(v, n, rest) }
        }
    }

    /// `n <= LANES` floats.
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: Self::V, n: usize) {
        // SAFETY: the caller's
        unsafe {
            if n >= LANES {
                Self::store(p, v)
            } else {
                Self::store_part(p, v, n)
            }
        }
    }
}

/// Work that runs on one thread with vectors of some instruction set.
pub(crate) trait Kernel {
    type Out;
    /// Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor has the instruction set of `S`.
    unsafe fn run<S: Simd>(self) -> Self::Out;
}

/// Runs a kernel with the vectors of [`InstructionSet::current`].
#[inline]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Out {
    match InstructionSet::current() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: only available instruction sets become current
        InstructionSet::Avx2 => unsafe { run_avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above
        InstructionSet::Avx512 => unsafe { run_avx512(kernel) },
        InstructionSet::Portable => run_plain(kernel),
        #[cfg(not(target_arch = "x86_64"))]
        _ => run_plain(kernel),
    }
}

/// Runs a kernel in plain Rust.
#[inline]
pub(crate) fn run_plain<K: Kernel>(kernel: K) -> K::Out {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if std::is_x86_feature_detected!("fma") {
        // SAFETY: found just now
        return unsafe { run_fma(kernel) };
    }
    // SAFETY: plain Rust
    unsafe { kernel.run::<Portable>() }
}

/// Plain Rust where a multiply-add is one instruction; a call of the library's, for the same result, takes some twenty
/// times as long.
///
/// # Safety
/// The processor has FMA.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "fma")]
unsafe fn run_fma<K: Kernel>(kernel: K) -> K::Out {
    // SAFETY: plain Rust
    unsafe { kernel.run::<Portable>() }
}

/// # Safety
/// The processor has AVX-512, AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Out {
    // SAFETY: the caller's
    unsafe { kernel.run::<Avx512>() }
}

/// # Safety
/// The processor has AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Out {
    // SAFETY: the caller's
    unsafe { kernel.run::<Avx2>() }
}

/// Runs a block for `$i` in steps of one vector up to `$n`, `$k` being the lanes in use.
///
/// The block is expanded twice, so that `$k` is a constant in the main loop.
macro_rules! each_vector {
    ($n:expr, |$i:ident, $k:ident| $body:block) => {{
        let mut $i = 0;
        while $i + $crate::host::simd::LANES <= $n {
            let $k = $crate::host::simd::LANES;
            $body
            $i += $k;
        }
        if $i < $n {
            let $k = $n - $i;
            $body
        }
    }};
}
pub(crate) use each_vector;
