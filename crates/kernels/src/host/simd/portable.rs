//! Vectors for any processor.

use half::{bf16, f16};

use super::{LANES, Simd};

/// Sixteen lanes of plain Rust, left to the compiler.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

type Lanes = [f32; LANES];

#[inline(always)]
fn zip(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Lanes combined pairwise, those half a vector apart first.
#[inline(always)]
fn fold(mut v: Lanes, f: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            v[i] = f(v[i], v[i + half]);
        }
    }
    v[0]
}

impl Simd for Portable {
    type V = Lanes;
    const PANEL: usize = 1;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Lanes {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Lanes {
        // SAFETY: the lanes are there, the caller's
        unsafe { p.cast::<Lanes>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Lanes) {
        // SAFETY: there is room for the lanes, the caller's
        unsafe { p.cast::<Lanes>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Lanes {
        let mut v = [0.0; LANES];
        // SAFETY: `n` floats are there, the caller's, and in `v`
        unsafe { p.copy_to_nonoverlapping(v.as_mut_ptr(), n) };
        v
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: Lanes, n: usize) {
        // SAFETY: there is room for `n` floats, the caller's, and `v` has them
        unsafe { p.copy_from_nonoverlapping(v.as_ptr(), n) };
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Lanes {
        // SAFETY: the lanes are there, the caller's
        let bits = unsafe { p.cast::<[u16; LANES]>().read_unaligned() };
        bits.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Lanes {
        // SAFETY: the lanes are there, the caller's
        let bits = unsafe { p.cast::<[u16; LANES]>().read_unaligned() };
        bits.map(|bits| bf16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn add(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn fma(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        // One rounding, as everywhere: slow where the processor has no such instruction, but the same.
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    unsafe fn max(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, larger)
    }
    #[inline(always)]
    unsafe fn min(a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn sqrt(a: Lanes) -> Lanes {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    unsafe fn round(a: Lanes) -> Lanes {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    unsafe fn scale2(a: Lanes, n: Lanes) -> Lanes {
        zip(a, n, |a, n| {
            a * f32::from_bits(((n as i32 + 127) as u32) << 23)
        })
    }
    #[inline(always)]
    unsafe fn select_negative(x: Lanes, a: Lanes, b: Lanes) -> Lanes {
        std::array::from_fn(|i| if x[i] < 0.0 { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn first(v: Lanes, n: usize, rest: Lanes) -> Lanes {
        std::array::from_fn(|i| if i < n { v[i] } else { rest[i] })
    }
    #[inline(always)]
    unsafe fn transpose(square: [Lanes; LANES]) -> [Lanes; LANES] {
        std::array::from_fn(|i| square.map(|row| row[i]))
    }
    #[inline(always)]
    unsafe fn sum(v: Lanes) -> f32 {
        fold(v, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn maximum(v: Lanes) -> f32 {
        fold(v, larger)
    }
}
