//! AVX2 by pairs of registers, with or without VNNI, and AVX-512-VNNI.

use core::arch::x86_64::*;

use super::dot::{Dot, Kernel};
use crate::host::simd::{Avx2, Avx512};

/// AVX2 with AVX-VNNI.
#[derive(Clone, Copy)]
pub(super) struct AvxVnni;

/// AVX-512 with products of bytes.
#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni;

/// # Safety
/// The processor has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run_avx2<K: Kernel>(kernel: K) {
    // SAFETY: the caller's
    unsafe { kernel.run::<Avx2>() }
}

/// # Safety
/// The processor has AVX2, FMA, F16C and AVX-VNNI.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(super) unsafe fn run_avx_vnni<K: Kernel>(kernel: K) {
    // SAFETY: the caller's
    unsafe { kernel.run::<AvxVnni>() }
}

/// # Safety
/// The processor has AVX-512 (F, BW, VNNI), AVX2, FMA and F16C.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn run_avx512_vnni<K: Kernel>(kernel: K) {
    // SAFETY: the caller's
    unsafe { kernel.run::<Avx512Vnni>() }
}

type Pair = [__m256i; 2];

#[inline(always)]
unsafe fn load_32(p: *const u8) -> __m256i {
    // SAFETY: the bytes are there and the processor has AVX2, the caller's
    unsafe { _mm256_loadu_si256(p.cast()) }
}

#[inline(always)]
unsafe fn load_16(p: *const u8) -> __m256i {
    // SAFETY: the bytes are there and the processor has AVX2, the caller's
    unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(p.cast())) }
}

/// Two numbers in half precision.
#[inline(always)]
unsafe fn two_halves(low: u16, high: u16) -> __m128 {
    // SAFETY: the processor has F16C, the caller's
    unsafe { _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(low) | i32::from(high) << 16)) }
}

/// What AVX2 and AVX-VNNI share: all but products.
macro_rules! pairs {
    () => {
        type Floats = Avx2;
        type Bytes = Pair;
        type Sums = Pair;

        #[inline(always)]
        unsafe fn load(p: *const u8) -> Pair {
            // SAFETY: the bytes are there, the caller's
            unsafe { [load_32(p), load_32(p.add(32))] }
        }
        #[inline(always)]
        unsafe fn load_two(low: *const u8, high: *const u8) -> Pair {
            // SAFETY: the bytes are there, the caller's
            unsafe { [load_32(low), load_32(high)] }
        }
        #[inline(always)]
        unsafe fn load_twice(low: *const u8, high: *const u8) -> Pair {
            // SAFETY: the bytes are there, the caller's
            unsafe { [load_16(low), load_16(high)] }
        }
        #[inline(always)]
        unsafe fn fields(x: Pair, [a, b, c, d]: [i32; 4], mask: u8) -> Pair {
            // SAFETY: the processor has AVX2, the caller's, here and below
            unsafe {
                let mask = _mm256_set1_epi8(mask as i8);
                let low = _mm256_srlv_epi32(x[0], _mm256_setr_epi32(a, a, a, a, b, b, b, b));
                let high = _mm256_srlv_epi32(x[1], _mm256_setr_epi32(c, c, c, c, d, d, d, d));
                [_mm256_and_si256(low, mask), _mm256_and_si256(high, mask)]
            }
        }
        #[inline(always)]
        unsafe fn raised<const BITS: u32>(x: Pair) -> Pair {
            // SAFETY: the processor's, as above
            unsafe {
                let bits = _mm_cvtsi32_si128(BITS as i32);
                x.map(|x| _mm256_sll_epi32(x, bits))
            }
        }
        #[inline(always)]
        unsafe fn or(a: Pair, b: Pair) -> Pair {
            // SAFETY: the processor's, as above
            unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn expanded(bits: u64, value: u8) -> Pair {
            // SAFETY: the processor's, as above
            unsafe {
                // Byte `i` of a half looks at bit `i % 8` of the half's byte `i / 8`.
                let (one, byte) = (0x8040_2010_0804_0201_u64 as i64, 0x0101_0101_0101_0101);
                let places = _mm256_set1_epi64x(one);
                let bytes = _mm256_setr_epi64x(0, byte, 2 * byte, 3 * byte);
                let value = _mm256_set1_epi8(value as i8);
                [bits as u32, (bits >> 32) as u32].map(|bits| {
                    let bits = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), bytes);
                    let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, places), places);
                    _mm256_and_si256(set, value)
                })
            }
        }
        #[inline(always)]
        unsafe fn looked_up(table: &[i8; 16], x: Pair) -> Pair {
            // SAFETY: a table has 16 bytes; the processor's, as above
            unsafe {
                let table = load_16(table.as_ptr().cast());
                x.map(|x| _mm256_shuffle_epi8(table, x))
            }
        }
        #[inline(always)]
        unsafe fn zero() -> Pair {
            // SAFETY: the processor's, as above
            unsafe { [_mm256_setzero_si256(); 2] }
        }
        #[inline(always)]
        unsafe fn load_sums(p: *const i32) -> Pair {
            // SAFETY: the numbers are there, the caller's
            unsafe { <Self as Dot>::load(p.cast()) }
        }
        #[inline(always)]
        unsafe fn floats(sums: Pair) -> [__m256; 2] {
            // SAFETY: the processor's, as above
            unsafe { sums.map(|sums| _mm256_cvtepi32_ps(sums)) }
        }
        #[inline(always)]
        unsafe fn spread(p: *const f32) -> [__m256; 2] {
            // SAFETY: the numbers are there, the caller's; the processor's, as above
            unsafe {
                let four = _mm256_castps128_ps256(_mm_loadu_ps(p));
                let (low, high) = (
                    _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1),
                    _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3),
                );
                [
                    _mm256_permutevar8x32_ps(four, low),
                    _mm256_permutevar8x32_ps(four, high),
                ]
            }
        }
        #[inline(always)]
        unsafe fn spread_halves(low: u16, high: u16) -> [__m256; 2] {
            // SAFETY: the processor's, as above
            unsafe {
                let two = two_halves(low, high);
                [
                    _mm256_broadcastss_ps(two),
                    _mm256_broadcastss_ps(_mm_movehdup_ps(two)),
                ]
            }
        }
        #[inline(always)]
        unsafe fn half(bits: u16) -> f32 {
            // SAFETY: the processor's, as above
            unsafe { _mm_cvtss_f32(two_halves(bits, 0)) }
        }
    };
}

impl Dot for Avx2 {
    pairs!();
    const SIGNED_START: i32 = 0;

    #[inline(always)]
    unsafe fn dot(codes: Pair, right: Pair, start: Pair) -> Pair {
        // SAFETY: the processor has AVX2, the caller's
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let mut sums = start;
            for i in 0..2 {
                // Two products of at most 127 · 127 fit into 16 bits.
                let twos = _mm256_maddubs_epi16(codes[i], right[i]);
                sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(twos, ones));
            }
            sums
        }
    }
    #[inline(always)]
    unsafe fn dot_signed(codes: Pair, right: Pair, start: Pair) -> Pair {
        // SAFETY: the processor has AVX2, the caller's
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let mut sums = start;
            for i in 0..2 {
                // Signs move to the right side, which has no -128; two products of at most 128 · 127 fit.
                let magnitudes = _mm256_abs_epi8(codes[i]);
                let signed = _mm256_sign_epi8(right[i], codes[i]);
                let twos = _mm256_maddubs_epi16(magnitudes, signed);
                sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(twos, ones));
            }
            sums
        }
    }
}

impl Dot for AvxVnni {
    pairs!();
    // Codes are raised by 128 to be without sign.
    const SIGNED_START: i32 = -128;

    #[inline(always)]
    unsafe fn dot(codes: Pair, right: Pair, start: Pair) -> Pair {
        // SAFETY: the processor has AVX-VNNI, the caller's
        unsafe {
            [
                _mm256_dpbusd_avx_epi32(start[0], codes[0], right[0]),
                _mm256_dpbusd_avx_epi32(start[1], codes[1], right[1]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn dot_signed(codes: Pair, right: Pair, start: Pair) -> Pair {
        // SAFETY: the processor has AVX-VNNI, the caller's
        unsafe {
            let raise = _mm256_set1_epi8(-128);
            let codes = codes.map(|codes| _mm256_xor_si256(codes, raise));
            Self::dot(codes, right, start)
        }
    }
}

impl Dot for Avx512Vnni {
    type Floats = Avx512;
    type Bytes = __m512i;
    type Sums = __m512i;
    // Codes are raised by 128 to be without sign.
    const SIGNED_START: i32 = -128;

    #[inline(always)]
    unsafe fn load(p: *const u8) -> __m512i {
        // SAFETY: the bytes are there and the processor has AVX-512, the caller's, here and below
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_two(low: *const u8, high: *const u8) -> __m512i {
        // SAFETY: as above
        unsafe {
            let low = _mm512_castsi256_si512(load_32(low));
            _mm512_inserti64x4::<1>(low, load_32(high))
        }
    }
    #[inline(always)]
    unsafe fn load_twice(low: *const u8, high: *const u8) -> __m512i {
        // SAFETY: as above
        unsafe {
            let low = _mm512_castsi256_si512(load_16(low));
            _mm512_inserti64x4::<1>(low, load_16(high))
        }
    }
    #[inline(always)]
    unsafe fn fields(x: __m512i, [a, b, c, d]: [i32; 4], mask: u8) -> __m512i {
        // SAFETY: as above
        unsafe {
            let shifts = _mm512_setr_epi32(a, a, a, a, b, b, b, b, c, c, c, c, d, d, d, d);
            let mask = _mm512_set1_epi32(i32::from_ne_bytes([mask; 4]));
            _mm512_and_si512(_mm512_srlv_epi32(x, shifts), mask)
        }
    }
    #[inline(always)]
    unsafe fn raised<const BITS: u32>(x: __m512i) -> __m512i {
        // SAFETY: as above
        unsafe { _mm512_slli_epi32::<BITS>(x) }
    }
    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: as above
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn expanded(bits: u64, value: u8) -> __m512i {
        // SAFETY: as above
        unsafe { _mm512_maskz_set1_epi8(bits, value as i8) }
    }
    #[inline(always)]
    unsafe fn looked_up(table: &[i8; 16], x: __m512i) -> __m512i {
        // SAFETY: a table has 16 bytes; as above
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, x)
        }
    }
    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: as above
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load_sums(p: *const i32) -> __m512i {
        // SAFETY: as above
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn dot(codes: __m512i, right: __m512i, start: __m512i) -> __m512i {
        // SAFETY: the processor has AVX-512-VNNI, the caller's
        unsafe { _mm512_dpbusd_epi32(start, codes, right) }
    }
    #[inline(always)]
    unsafe fn dot_signed(codes: __m512i, right: __m512i, start: __m512i) -> __m512i {
        // SAFETY: as above
        unsafe {
            let codes = _mm512_xor_si512(codes, _mm512_set1_epi8(-128));
            Self::dot(codes, right, start)
        }
    }
    #[inline(always)]
    unsafe fn floats(sums: __m512i) -> __m512 {
        // SAFETY: as above
        unsafe { _mm512_cvtepi32_ps(sums) }
    }
    #[inline(always)]
    unsafe fn spread(p: *const f32) -> __m512 {
        // SAFETY: the numbers are there, the caller's; as above
        unsafe {
            let lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
            _mm512_permutexvar_ps(lanes, _mm512_castps128_ps512(_mm_loadu_ps(p)))
        }
    }
    #[inline(always)]
    unsafe fn spread_halves(low: u16, high: u16) -> __m512 {
        // SAFETY: as above
        unsafe {
            let lanes = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
            _mm512_permutexvar_ps(lanes, _mm512_castps128_ps512(two_halves(low, high)))
        }
    }
    #[inline(always)]
    unsafe fn half(bits: u16) -> f32 {
        // SAFETY: as above
        unsafe { _mm_cvtss_f32(two_halves(bits, 0)) }
    }
}
