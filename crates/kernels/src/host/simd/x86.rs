//! AVX-512, and AVX2 by pairs of registers.

use core::arch::x86_64::*;

use super::{LANES, Simd};

/// A vector is one register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// A vector is two registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

/// Methods that are one instruction; after `2:`, one for each register of a pair.
macro_rules! instructions {
    ($(fn $name:ident($($x:ident),*) = $instruction:path;)*) => {$(
        #[inline(always)]
        unsafe fn $name($($x: __m512),*) -> __m512 {
            // SAFETY: the processor has the instruction, the caller's
            unsafe { $instruction($($x),*) }
        }
    )*};
    (2: $(fn $name:ident($($x:ident),*) = $instruction:path;)*) => {$(
        #[inline(always)]
        unsafe fn $name($($x: Pair),*) -> Pair {
            // SAFETY: the processor has the instruction, the caller's
            unsafe { [$instruction($($x[0]),*), $instruction($($x[1]),*)] }
        }
    )*};
}

/// A mask of the first `n < LANES` lanes.
#[inline(always)]
fn bits(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

impl Simd for Avx512 {
    type V = __m512;
    const PANEL: usize = 2;
    const ROWS: usize = 12;

    instructions! {
        fn add(a, b) = _mm512_add_ps;
        fn sub(a, b) = _mm512_sub_ps;
        fn mul(a, b) = _mm512_mul_ps;
        fn div(a, b) = _mm512_div_ps;
        fn fma(a, b, c) = _mm512_fmadd_ps;
        fn max(a, b) = _mm512_max_ps;
        fn min(a, b) = _mm512_min_ps;
        fn sqrt(a) = _mm512_sqrt_ps;
        fn round(a) = _mm512_roundscale_ps::<0x08>;
        fn scale2(a, n) = _mm512_scalef_ps;
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: the processor has AVX-512, the caller's, here and below
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: the lanes are there, the caller's
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: there is room for the lanes, the caller's
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> __m512 {
        // SAFETY: `n` floats are there, the caller's; lanes outside of the mask are not read
        unsafe { _mm512_maskz_loadu_ps(bits(n), p) }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: __m512, n: usize) {
        // SAFETY: there is room for `n` floats, the caller's; lanes outside of the mask are not written
        unsafe { _mm512_mask_storeu_ps(p, bits(n), v) }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> __m512 {
        // SAFETY: the lanes are there, the caller's
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> __m512 {
        // SAFETY: the lanes are there, the caller's
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn select_negative(x: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the processor's, as above
        unsafe {
            let mask = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, _mm512_setzero_ps());
            _mm512_mask_blend_ps(mask, b, a)
        }
    }
    #[inline(always)]
    unsafe fn first(v: __m512, n: usize, rest: __m512) -> __m512 {
        // SAFETY: the processor's, as above
        unsafe { _mm512_mask_blend_ps(bits(n), rest, v) }
    }
    #[inline(always)]
    unsafe fn transpose(square: [__m512; LANES]) -> [__m512; LANES] {
        // SAFETY: the processor's, as above
        unsafe {
            // Squares of 4 within 128 bits, then those squares.
            let mut fours = [_mm512_setzero_ps(); LANES];
            for (i, rows) in square.as_chunks::<4>().0.iter().enumerate() {
                let [a, b, c, d] = *rows;
                let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
                fours[4 * i] = _mm512_shuffle_ps::<0x44>(ab, cd);
                fours[4 * i + 1] = _mm512_shuffle_ps::<0xee>(ab, cd);
                let (ab, cd) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
                fours[4 * i + 2] = _mm512_shuffle_ps::<0x44>(ab, cd);
                fours[4 * i + 3] = _mm512_shuffle_ps::<0xee>(ab, cd);
            }
            let mut columns = fours;
            for i in 0..4 {
                let [a, b, c, d] = [fours[i], fours[4 + i], fours[8 + i], fours[12 + i]];
                let (ab, cd) = (
                    _mm512_shuffle_f32x4::<0x88>(a, b),
                    _mm512_shuffle_f32x4::<0x88>(c, d),
                );
                columns[i] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
                columns[8 + i] = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
                let (ab, cd) = (
                    _mm512_shuffle_f32x4::<0xdd>(a, b),
                    _mm512_shuffle_f32x4::<0xdd>(c, d),
                );
                columns[4 + i] = _mm512_shuffle_f32x4::<0x88>(ab, cd);
                columns[12 + i] = _mm512_shuffle_f32x4::<0xdd>(ab, cd);
            }
            columns
        }
    }
    #[inline(always)]
    unsafe fn sum(v: __m512) -> f32 {
        // SAFETY: the processor's, as above
        unsafe { Avx2::sum(halves(v)) }
    }
    #[inline(always)]
    unsafe fn maximum(v: __m512) -> f32 {
        // SAFETY: the processor's, as above
        unsafe { Avx2::maximum(halves(v)) }
    }
}

type Pair = [__m256; 2];

/// # Safety
/// The processor has AVX-512.
#[inline(always)]
unsafe fn halves(v: __m512) -> Pair {
    // SAFETY: the caller's
    unsafe {
        let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v));
        [_mm512_castps512_ps256(v), _mm256_castpd_ps(high)]
    }
}

/// A mask of the first `n` lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn masks(n: usize) -> [__m256i; 2] {
    // SAFETY: the caller's
    unsafe {
        let index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let n = n as i32;
        [
            _mm256_cmpgt_epi32(_mm256_set1_epi32(n), index),
            _mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8), index),
        ]
    }
}

/// The first `n < LANES` lanes, eight, four, two and one of them as they fit: AMD's processors take some twenty steps for
/// a store with a mask. A call, so that the loops it is in stay small enough to be unrolled.
///
/// # Safety
/// The processor has AVX2; there is room for `n` floats.
#[inline(never)]
#[target_feature(enable = "avx2")]
unsafe fn store_first(mut p: *mut f32, v: Pair, n: usize) {
    // SAFETY: the caller's
    unsafe {
        let mut rest = v[0];
        if n & 8 != 0 {
            _mm256_storeu_ps(p, rest);
            (p, rest) = (p.add(8), v[1]);
        }
        let mut rest = [
            _mm256_castps256_ps128(rest),
            _mm256_extractf128_ps::<1>(rest),
        ];
        if n & 4 != 0 {
            _mm_storeu_ps(p, rest[0]);
            (p, rest[0]) = (p.add(4), rest[1]);
        }
        if n & 2 != 0 {
            _mm_storel_pd(p.cast(), _mm_castps_pd(rest[0]));
            (p, rest[0]) = (p.add(2), _mm_movehl_ps(rest[0], rest[0]));
        }
        if n & 1 != 0 {
            _mm_store_ss(p, rest[0]);
        }
    }
}

/// `a * 2^n`
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn scale(a: __m256, n: __m256) -> __m256 {
    // SAFETY: the caller's
    unsafe {
        let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
        _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
    }
}

/// A square of 8.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn transpose8(square: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the caller's
    unsafe {
        let mut fours = [_mm256_setzero_ps(); 8];
        for (i, rows) in square.as_chunks::<4>().0.iter().enumerate() {
            let [a, b, c, d] = *rows;
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            fours[4 * i] = _mm256_shuffle_ps::<0x44>(ab, cd);
            fours[4 * i + 1] = _mm256_shuffle_ps::<0xee>(ab, cd);
            let (ab, cd) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            fours[4 * i + 2] = _mm256_shuffle_ps::<0x44>(ab, cd);
            fours[4 * i + 3] = _mm256_shuffle_ps::<0xee>(ab, cd);
        }
        let mut columns = fours;
        for i in 0..4 {
            let (a, b) = (fours[i], fours[4 + i]);
            columns[i] = _mm256_permute2f128_ps::<0x20>(a, b);
            columns[4 + i] = _mm256_permute2f128_ps::<0x31>(a, b);
        }
        columns
    }
}

impl Simd for Avx2 {
    type V = Pair;
    const PANEL: usize = 1;
    const ROWS: usize = 6;

    instructions! { 2:
        fn add(a, b) = _mm256_add_ps;
        fn sub(a, b) = _mm256_sub_ps;
        fn mul(a, b) = _mm256_mul_ps;
        fn div(a, b) = _mm256_div_ps;
        fn fma(a, b, c) = _mm256_fmadd_ps;
        fn max(a, b) = _mm256_max_ps;
        fn min(a, b) = _mm256_min_ps;
        fn sqrt(a) = _mm256_sqrt_ps;
        fn round(a) = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>;
        fn scale2(a, n) = scale;
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Pair {
        // SAFETY: the processor has AVX2, FMA and F16C, the caller's, here and below
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Pair {
        // SAFETY: the lanes are there, the caller's
        unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Pair) {
        // SAFETY: there is room for the lanes, the caller's
        unsafe {
            _mm256_storeu_ps(p, v[0]);
            _mm256_storeu_ps(p.add(8), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn load_part(p: *const f32, n: usize) -> Pair {
        // SAFETY: `n` floats are there, the caller's; lanes outside of the masks are not read
        unsafe {
            let [low, high] = masks(n);
            let second = p.wrapping_add(8);
            [_mm256_maskload_ps(p, low), _mm256_maskload_ps(second, high)]
        }
    }
    #[inline(always)]
    unsafe fn store_part(p: *mut f32, v: Pair, n: usize) {
        // SAFETY: there is room for `n` floats, the caller's
        unsafe { store_first(p, v, n) };
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Pair {
        // SAFETY: the lanes are there, the caller's
        unsafe {
            let (low, high) = (_mm_loadu_si128(p.cast()), _mm_loadu_si128(p.add(8).cast()));
            [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Pair {
        // SAFETY: the lanes are there, the caller's
        unsafe {
            let (low, high) = (_mm_loadu_si128(p.cast()), _mm_loadu_si128(p.add(8).cast()));
            let (low, high) = (_mm256_cvtepu16_epi32(low), _mm256_cvtepu16_epi32(high));
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn select_negative(x: Pair, a: Pair, b: Pair) -> Pair {
        // SAFETY: the processor's, as above
        unsafe {
            let zero = _mm256_setzero_ps();
            let low = _mm256_cmp_ps::<_CMP_LT_OQ>(x[0], zero);
            let high = _mm256_cmp_ps::<_CMP_LT_OQ>(x[1], zero);
            [
                _mm256_blendv_ps(b[0], a[0], low),
                _mm256_blendv_ps(b[1], a[1], high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn first(v: Pair, n: usize, rest: Pair) -> Pair {
        // SAFETY: the processor's, as above
        unsafe {
            let [low, high] = masks(n);
            [
                _mm256_blendv_ps(rest[0], v[0], _mm256_castsi256_ps(low)),
                _mm256_blendv_ps(rest[1], v[1], _mm256_castsi256_ps(high)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn transpose(square: [Pair; LANES]) -> [Pair; LANES] {
        let mut columns = square;
        for rows in 0..2 {
            for side in 0..2 {
                let mut part = [square[0][0]; 8];
                for i in 0..8 {
                    part[i] = square[8 * rows + i][side];
                }
                // SAFETY: the processor's, as above
                let part = unsafe { transpose8(part) };
                for i in 0..8 {
                    columns[8 * side + i][rows] = part[i];
                }
            }
        }
        columns
    }
    #[inline(always)]
    unsafe fn sum(v: Pair) -> f32 {
        // SAFETY: the processor's, as above
        unsafe {
            let v = _mm256_add_ps(v[0], v[1]);
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps::<1>(v, v)))
        }
    }
    #[inline(always)]
    unsafe fn maximum(v: Pair) -> f32 {
        // SAFETY: the processor's, as above
        unsafe {
            let v = _mm256_max_ps(v[0], v[1]);
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_shuffle_ps::<1>(v, v)))
        }
    }
}
