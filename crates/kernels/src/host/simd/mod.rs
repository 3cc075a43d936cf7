//! Vectors of `f32` behind one trait, and the choice of instruction set at run time.
//!
//! A kernel is written once as a [`Kernel`], generic over [`Simd`]. [`run`] enters it through a
//! function compiled for the widest instruction set of this processor; everything on the way to
//! the intrinsics must be `#[inline(always)]`. Threads are spawned outside of kernels: a closure
//! handed to another thread would lose the instruction set.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
use x86::{Avx2, Avx512};

/// Vectors of `LANES` floats. Pointers need no alignment.
///
/// # Safety
/// Implementations may only be used on processors that have their instruction set, which [`run`]
/// guarantees. Loads and stores touch `LANES` (or `n`) floats from the pointer on.
pub(crate) trait Simd: Copy {
    type V: Copy;
    const LANES: usize;
    /// Rows of the matrix product's register tile, which is two vectors wide.
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
    /// `a * b + c`
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The second operand if either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The second operand if either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    unsafe fn round(a: Self::V) -> Self::V;
    /// `a * 2^n` for integral `n` in -126..=127.
    unsafe fn scale2(a: Self::V, n: Self::V) -> Self::V;
    /// `if x < 0 { a } else { b }`, `b` for NaN.
    unsafe fn select_negative(x: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// The first `n < LANES` lanes of `v`, the others of `rest`.
    unsafe fn first(v: Self::V, n: usize, rest: Self::V) -> Self::V;
    /// Lane `i` of vector `j` to lane `j` of vector `i`, of the first `LANES` vectors; the others stay.
    unsafe fn transpose(square: [Self::V; 16]) -> [Self::V; 16];
    unsafe fn sum(v: Self::V) -> f32;
    unsafe fn maximum(v: Self::V) -> f32;

    /// `n <= LANES` floats, the others zero.
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> Self::V {
        unsafe {
            if n >= Self::LANES {
                Self::load(p)
            } else {
                Self::load_part(p, n)
            }
        }
    }

    /// `n <= LANES` lanes of `v`, the others of `rest`.
    #[inline(always)]
    unsafe fn first_n(v: Self::V, n: usize, rest: Self::V) -> Self::V {
        unsafe {
            if n >= Self::LANES {
                v
            } else {
                Self::first(v, n, rest)
            }
        }
    }

    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: Self::V, n: usize) {
        unsafe {
            if n >= Self::LANES {
                Self::store(p, v)
            } else {
                Self::store_part(p, v, n)
            }
        }
    }
}

/// Work that runs on one thread with vectors of some width.
pub(crate) trait Kernel {
    type Out;
    /// Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor has the instruction set of `S`.
    unsafe fn run<S: Simd>(self) -> Self::Out;
}

/// Instruction sets, by rising width.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The widest instruction set of this processor, not beyond `DEEM_SIMD` if that is set to
/// `avx2` or `portable`. Looked up once.
#[inline]
fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            let limit = match std::env::var("DEEM_SIMD").as_deref() {
                Ok("portable") => Level::Portable,
                Ok("avx2") => Level::Avx2,
                _ => Level::Avx512,
            };
            let avx2 = has!("avx2") && has!("fma") && has!("f16c");
            if avx2 && has!("avx512f") && limit >= Level::Avx512 {
                return Level::Avx512;
            }
            if avx2 && limit >= Level::Avx2 {
                return Level::Avx2;
            }
        }
        Level::Portable
    })
}

/// Runs a kernel with the widest vectors of this processor.
#[inline]
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Out {
    match level() {
        // SAFETY: plain Rust
        Level::Portable => unsafe { kernel.run::<Portable>() },
        // SAFETY: detected
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { run_avx2(kernel) },
        // SAFETY: detected
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { run_avx512(kernel) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Out {
    unsafe { kernel.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Out {
    unsafe { kernel.run::<Avx2>() }
}

/// Runs a block for `$i` in steps of one vector up to `$n`, `$k` being the lanes in use.
///
/// The block is expanded twice, so that `$k` is a constant in the main loop.
macro_rules! each_vector {
    ($simd:ty, $n:expr, |$i:ident, $k:ident| $body:block) => {{
        let mut $i = 0;
        while $i + <$simd>::LANES <= $n {
            let $k = <$simd>::LANES;
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
