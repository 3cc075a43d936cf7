//! Steps of 64 codes behind one trait, and the way into a kernel that uses them.
//!
//! [`InstructionSet`] decides; where a processor has instructions for products of bytes beside it (AVX-VNNI,
//! AVX-512-VNNI), they are used. Integers are exact, so results do not depend on it.

use half::f16;

use crate::host::simd::{self, InstructionSet, LANES, Portable, Simd};

/// 64 bytes in four quarters, and sixteen sums of four products each.
///
/// # Safety
/// All functions: only on processors that have the instructions, which [`run`] guarantees; what is read from a pointer
/// must be inside an allocation. No alignment is needed.
pub(super) trait Dot: Copy {
    /// Vectors of floats beside.
    type Floats: Simd;
    /// 64 bytes.
    type Bytes: Copy;
    /// Sixteen integers of 32 bits.
    type Sums: Copy;
    /// What [`Dot::dot_signed`] must be given for each sum, as multiple of the sum's codes of the right side.
    const SIGNED_START: i32;

    /// 64 bytes.
    unsafe fn load(p: *const u8) -> Self::Bytes;
    /// Twice 32 bytes.
    unsafe fn load_two(low: *const u8, high: *const u8) -> Self::Bytes;
    /// 16 bytes in the first and second quarter, 16 in the third and fourth.
    unsafe fn load_twice(low: *const u8, high: *const u8) -> Self::Bytes;
    /// Each byte without its lowest bits, as many as its quarter says, and of the rest those in the mask. The mask
    /// must leave out what comes from the byte above.
    unsafe fn fields(x: Self::Bytes, shifts: [i32; 4], mask: u8) -> Self::Bytes;
    /// Each byte times 2^`BITS`, which does not overflow.
    unsafe fn raised<const BITS: u32>(x: Self::Bytes) -> Self::Bytes;
    unsafe fn or(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// A byte for each bit: `value` where it is set, else 0.
    unsafe fn expanded(bits: u64, value: u8) -> Self::Bytes;
    /// The entry of each byte, which is below 16.
    unsafe fn looked_up(table: &[i8; 16], x: Self::Bytes) -> Self::Bytes;
    unsafe fn zero() -> Self::Sums;
    unsafe fn load_sums(p: *const i32) -> Self::Sums;
    /// `start` plus products of codes from 0 to 127 with codes of the right side.
    unsafe fn dot(codes: Self::Bytes, right: Self::Bytes, start: Self::Sums) -> Self::Sums;
    /// `start` plus products of signed codes, see [`Dot::SIGNED_START`].
    unsafe fn dot_signed(codes: Self::Bytes, right: Self::Bytes, start: Self::Sums) -> Self::Sums;
    unsafe fn floats(sums: Self::Sums) -> <Self::Floats as Simd>::V;
    /// Four floats, each on four lanes.
    unsafe fn spread(p: *const f32) -> <Self::Floats as Simd>::V;
    /// Two numbers in half precision, each on eight lanes.
    unsafe fn spread_halves(low: u16, high: u16) -> <Self::Floats as Simd>::V;
    unsafe fn half(bits: u16) -> f32;

    /// `total + scales · scale · sums`, where the scales' product is rounded on its own.
    #[inline(always)]
    unsafe fn add_scaled(
        total: <Self::Floats as Simd>::V,
        scales: <Self::Floats as Simd>::V,
        scale: *const f32,
        sums: Self::Sums,
    ) -> <Self::Floats as Simd>::V {
        // SAFETY: a vector of floats is there, the caller's
        unsafe {
            let scale = Self::Floats::mul(scales, Self::Floats::load(scale));
            Self::Floats::fma(scale, Self::floats(sums), total)
        }
    }

    /// `total + least · sums`
    #[inline(always)]
    unsafe fn add_least(
        total: <Self::Floats as Simd>::V,
        least: <Self::Floats as Simd>::V,
        sums: *const f32,
    ) -> <Self::Floats as Simd>::V {
        // SAFETY: a vector of floats is there, the caller's
        unsafe { Self::Floats::fma(least, Self::Floats::load(sums), total) }
    }
}

/// Work with such steps.
pub(super) trait Kernel {
    /// Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor has the instructions of `D`.
    unsafe fn run<D: Dot>(self);
}

/// Ways to multiply codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Way {
    /// Those that this processor has.
    #[cfg(test)]
    pub(super) fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let all = vec![Self::Portable, Self::Avx2, Self::AvxVnni, Self::Avx512Vnni];
        #[cfg(not(target_arch = "x86_64"))]
        let all = vec![Self::Portable];
        all.into_iter().filter(|way| way.is_available()).collect()
    }

    fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            use std::is_x86_feature_detected as has;
            let avx2 = InstructionSet::Avx2.is_available();
            let avx512 = InstructionSet::Avx512.is_available();
            match self {
                Self::Portable => true,
                Self::Avx2 => avx2,
                Self::AvxVnni => avx2 && has!("avxvnni"),
                Self::Avx512Vnni => avx512 && has!("avx512bw") && has!("avx512vnni"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }

    /// [`Dot::SIGNED_START`]
    pub(super) fn signed_start(self) -> i32 {
        match self {
            Self::Portable => Portable::SIGNED_START,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => simd::Avx2::SIGNED_START,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => super::x86::AvxVnni::SIGNED_START,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => super::x86::Avx512Vnni::SIGNED_START,
        }
    }

    /// The best within the instruction set in use.
    pub(super) fn current() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let wide = InstructionSet::current() == InstructionSet::Avx512;
            match InstructionSet::current() {
                InstructionSet::Portable => Self::Portable,
                _ if wide && Self::Avx512Vnni.is_available() => Self::Avx512Vnni,
                _ if Self::AvxVnni.is_available() => Self::AvxVnni,
                _ => Self::Avx2,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            debug_assert_eq!(InstructionSet::current(), InstructionSet::Portable);
            Self::Portable
        }
    }
}

/// Runs a kernel in one way.
///
/// # Panics
/// If the processor does not have what it needs.
pub(super) fn run<K: Kernel>(way: Way, kernel: K) {
    assert!(way.is_available(), "{way:?} on a processor without it");
    // SAFETY: just looked
    unsafe {
        match way {
            Way::Portable => run_portable(kernel),
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => super::x86::run_avx2(kernel),
            #[cfg(target_arch = "x86_64")]
            Way::AvxVnni => super::x86::run_avx_vnni(kernel),
            #[cfg(target_arch = "x86_64")]
            Way::Avx512Vnni => super::x86::run_avx512_vnni(kernel),
        }
    }
}

/// Plain Rust, see the simd module's way into it.
fn run_portable<K: Kernel>(kernel: K) {
    struct Plain<K>(K);
    impl<K: Kernel> simd::Kernel for Plain<K> {
        type Out = ();
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            // SAFETY: plain Rust
            unsafe { self.0.run::<Portable>() }
        }
    }
    simd::run_plain(Plain(kernel));
}

const BYTES: usize = 64;

fn products(codes: [i32; BYTES], right: [u8; BYTES], start: [i32; LANES]) -> [i32; LANES] {
    std::array::from_fn(|lane| {
        let four = 4 * lane..4 * lane + 4;
        let products = four.map(|i| codes[i] * i32::from(right[i] as i8));
        start[lane] + products.sum::<i32>()
    })
}

/// Calls rather than copies of the code in every kernel, which would take minutes to compile.
impl Dot for Portable {
    type Floats = Self;
    type Bytes = [u8; BYTES];
    type Sums = [i32; LANES];
    const SIGNED_START: i32 = 0;

    #[inline(never)]
    unsafe fn load(p: *const u8) -> Self::Bytes {
        // SAFETY: the bytes are there, the caller's
        unsafe { p.cast::<Self::Bytes>().read_unaligned() }
    }
    #[inline(never)]
    unsafe fn load_two(low: *const u8, high: *const u8) -> Self::Bytes {
        let mut x = [0; BYTES];
        // SAFETY: the bytes are there, the caller's
        unsafe {
            low.copy_to_nonoverlapping(x.as_mut_ptr(), 32);
            high.copy_to_nonoverlapping(x[32..].as_mut_ptr(), 32);
        }
        x
    }
    #[inline(never)]
    unsafe fn load_twice(low: *const u8, high: *const u8) -> Self::Bytes {
        let mut x = [0; BYTES];
        for (quarter, p) in x.chunks_exact_mut(16).zip([low, low, high, high]) {
            // SAFETY: the bytes are there, the caller's
            unsafe { p.copy_to_nonoverlapping(quarter.as_mut_ptr(), 16) };
        }
        x
    }
    #[inline(never)]
    unsafe fn fields(x: Self::Bytes, shifts: [i32; 4], mask: u8) -> Self::Bytes {
        std::array::from_fn(|i| x[i] >> shifts[i / 16] & mask)
    }
    #[inline(never)]
    unsafe fn raised<const BITS: u32>(x: Self::Bytes) -> Self::Bytes {
        x.map(|x| x << BITS)
    }
    #[inline(never)]
    unsafe fn or(a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(never)]
    unsafe fn expanded(bits: u64, value: u8) -> Self::Bytes {
        std::array::from_fn(|i| (bits >> i & 1) as u8 * value)
    }
    #[inline(never)]
    unsafe fn looked_up(table: &[i8; 16], x: Self::Bytes) -> Self::Bytes {
        x.map(|x| table[usize::from(x)] as u8)
    }
    #[inline(never)]
    unsafe fn zero() -> Self::Sums {
        [0; LANES]
    }
    #[inline(never)]
    unsafe fn load_sums(p: *const i32) -> Self::Sums {
        // SAFETY: the numbers are there, the caller's
        unsafe { p.cast::<Self::Sums>().read_unaligned() }
    }
    #[inline(never)]
    unsafe fn dot(codes: Self::Bytes, right: Self::Bytes, start: Self::Sums) -> Self::Sums {
        products(codes.map(i32::from), right, start)
    }
    #[inline(never)]
    unsafe fn dot_signed(codes: Self::Bytes, right: Self::Bytes, start: Self::Sums) -> Self::Sums {
        products(codes.map(|code| i32::from(code as i8)), right, start)
    }
    #[inline(never)]
    unsafe fn floats(sums: Self::Sums) -> [f32; LANES] {
        sums.map(|sum| sum as f32)
    }
    #[inline(never)]
    unsafe fn spread(p: *const f32) -> [f32; LANES] {
        // SAFETY: the numbers are there, the caller's
        let four = unsafe { p.cast::<[f32; 4]>().read_unaligned() };
        std::array::from_fn(|lane| four[lane / 4])
    }
    #[inline(never)]
    unsafe fn spread_halves(low: u16, high: u16) -> [f32; LANES] {
        let two = [low, high].map(|bits| f16::from_bits(bits).to_f32());
        std::array::from_fn(|lane| two[lane / 8])
    }
    #[inline(never)]
    unsafe fn half(bits: u16) -> f32 {
        f16::from_bits(bits).to_f32()
    }
    #[inline(never)]
    unsafe fn add_scaled(
        total: [f32; LANES],
        scales: [f32; LANES],
        scale: *const f32,
        sums: [i32; LANES],
    ) -> [f32; LANES] {
        // SAFETY: a vector of floats is there, the caller's
        let scale = unsafe { <Self as Simd>::load(scale) };
        std::array::from_fn(|i| (scales[i] * scale[i]).mul_add(sums[i] as f32, total[i]))
    }
    #[inline(never)]
    unsafe fn add_least(
        total: [f32; LANES],
        least: [f32; LANES],
        sums: *const f32,
    ) -> [f32; LANES] {
        // SAFETY: a vector of floats is there, the caller's
        let sums = unsafe { <Self as Simd>::load(sums) };
        std::array::from_fn(|i| least[i].mul_add(sums[i], total[i]))
    }
}
