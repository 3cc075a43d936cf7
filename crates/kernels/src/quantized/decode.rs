//! Blocks of every format as codes and scales in registers, 64 columns at a time.

use super::dot::Dot;
use super::small_blocks::LEVELS;
use crate::host::simd::Simd;

/// Blocks that are read together: two of 32 numbers, or one of 256.
pub(super) trait Unit {
    /// Numbers in a block.
    const VALUES: usize;
    /// Bytes of a block.
    const BYTES: usize;
    /// What a code of 0 counts for, less than nothing; 0 for signed codes.
    const ZERO: i32 = 0;
    /// Whether codes have signs; else they are at most 127.
    const SIGNED: bool = false;
    /// Whether a least value is added to what codes and scales give.
    const LEAST: bool = false;
    /// What is read once for all steps.
    type Head<D: Dot>: Copy;

    /// # Safety
    /// Pointers are those of whole blocks, the second used by formats of small blocks only; see [`Dot`]. As below.
    unsafe fn head<D: Dot>(blocks: [*const u8; 2]) -> Self::Head<D>;

    /// Scales of a step's lanes, and their least values.
    unsafe fn scales<D: Dot>(head: &Self::Head<D>, step: usize) -> [Lanes<D>; 2];

    /// Codes of a step.
    unsafe fn codes<D: Dot>(blocks: [*const u8; 2], step: usize) -> D::Bytes;
}

/// A float for each lane.
pub(super) type Lanes<D> = <<D as Dot>::Floats as Simd>::V;

/// Two bytes of a block.
#[inline(always)]
unsafe fn u16_at(block: *const u8, at: usize) -> u16 {
    // SAFETY: inside of the block, the caller's
    u16::from_le(unsafe { block.add(at).cast::<u16>().read_unaligned() })
}

/// Four bytes of a block.
#[inline(always)]
unsafe fn u32_at(block: *const u8, at: usize) -> u32 {
    // SAFETY: inside of the block, the caller's
    u32::from_le(unsafe { block.add(at).cast::<u32>().read_unaligned() })
}

/// Half-byte codes of two groups: the low halves of 16 bytes, then their high ones.
#[inline(always)]
unsafe fn half_bytes<D: Dot>(low: *const u8, high: *const u8) -> D::Bytes {
    // SAFETY: inside of the blocks, the caller's
    unsafe { D::fields(D::load_twice(low, high), [0, 4, 0, 4], 15) }
}

/// The same field of 32 bytes twice, shifted by so many bits each time.
#[inline(always)]
unsafe fn two_fields<D: Dot>(bytes: *const u8, [low, high]: [i32; 2], mask: u8) -> D::Bytes {
    // SAFETY: inside of the block, the caller's
    unsafe { D::fields(D::load_two(bytes, bytes), [low, low, high, high], mask) }
}

/// Fifth bits of two blocks.
#[inline(always)]
unsafe fn fifth_bits<D: Dot>([low, high]: [*const u8; 2], at: usize) -> D::Bytes {
    // SAFETY: inside of the blocks, the caller's
    unsafe {
        let bits = u64::from(u32_at(low, at)) | u64::from(u32_at(high, at)) << 32;
        D::expanded(bits, 16)
    }
}

/// A format of small blocks: its name, sizes, codes, and what else differs.
macro_rules! small {
    ($name:ident: $bytes:literal bytes, least $least:literal, $zero:literal is zero, signed $signed:literal,
     |$blocks:ident, $D:ident| $codes:expr) => {
        pub(super) struct $name;

        impl Unit for $name {
            const VALUES: usize = 32;
            const BYTES: usize = $bytes;
            const ZERO: i32 = $zero;
            const SIGNED: bool = $signed;
            const LEAST: bool = $least;
            type Head<D: Dot> = [Lanes<D>; 2];

            #[inline(always)]
            unsafe fn head<D: Dot>([low, high]: [*const u8; 2]) -> [Lanes<D>; 2] {
                // SAFETY: inside of the blocks
                unsafe {
                    let at = |at| D::spread_halves(u16_at(low, at), u16_at(high, at));
                    let scales = at(0);
                    [scales, if $least { at(2) } else { scales }]
                }
            }
            #[inline(always)]
            unsafe fn scales<D: Dot>(head: &[Lanes<D>; 2], _step: usize) -> [Lanes<D>; 2] {
                *head
            }
            #[inline(always)]
            unsafe fn codes<$D: Dot>($blocks: [*const u8; 2], _step: usize) -> $D::Bytes {
                // SAFETY: inside of the blocks
                unsafe { $codes }
            }
        }
    };
}

small!(Q4_0: 18 bytes, least false, 8 is zero, signed false, |blocks, D| {
    half_bytes::<D>(blocks[0].add(2), blocks[1].add(2))
});
small!(Q4_1: 20 bytes, least true, 0 is zero, signed false, |blocks, D| {
    half_bytes::<D>(blocks[0].add(4), blocks[1].add(4))
});
small!(Q5_0: 22 bytes, least false, 16 is zero, signed false, |blocks, D| {
    let low = half_bytes::<D>(blocks[0].add(6), blocks[1].add(6));
    D::or(low, fifth_bits::<D>(blocks, 2))
});
small!(Q5_1: 24 bytes, least true, 0 is zero, signed false, |blocks, D| {
    let low = half_bytes::<D>(blocks[0].add(8), blocks[1].add(8));
    D::or(low, fifth_bits::<D>(blocks, 4))
});
small!(Q8_0: 34 bytes, least false, 0 is zero, signed true, |blocks, D| {
    D::load_two(blocks[0].add(2), blocks[1].add(2))
});
small!(Iq4Nl: 18 bytes, least false, 0 is zero, signed true, |blocks, D| {
    D::looked_up(&LEVELS, half_bytes::<D>(blocks[0].add(2), blocks[1].add(2)))
});

/// Scales and least values of the sixteen groups of 16 numbers in a block of 256.
#[derive(Clone, Copy)]
pub(super) struct Groups {
    scales: [f32; 16],
    least: [f32; 16],
}

/// A format of blocks of 256, as [`small`].
macro_rules! large {
    ($name:ident: $bytes:literal bytes, least $least:literal, $zero:literal is zero, signed $signed:literal,
     |$head:ident, $H:ident| $groups:expr,
     |$block:ident, $step:ident, $D:ident| $codes:expr) => {
        pub(super) struct $name;

        impl Unit for $name {
            const VALUES: usize = 256;
            const BYTES: usize = $bytes;
            const ZERO: i32 = $zero;
            const SIGNED: bool = $signed;
            const LEAST: bool = $least;
            type Head<D: Dot> = Groups;

            #[inline(always)]
            unsafe fn head<$H: Dot>([$head, _]: [*const u8; 2]) -> Groups {
                // SAFETY: inside of the block
                unsafe { $groups }
            }
            #[inline(always)]
            unsafe fn scales<D: Dot>(head: &Groups, step: usize) -> [Lanes<D>; 2] {
                // SAFETY: a step has four groups of 16
                unsafe {
                    let scales = D::spread(head.scales.as_ptr().add(4 * step));
                    let least = if $least {
                        D::spread(head.least.as_ptr().add(4 * step))
                    } else {
                        scales
                    };
                    [scales, least]
                }
            }
            #[inline(always)]
            unsafe fn codes<$D: Dot>([$block, _]: [*const u8; 2], $step: usize) -> $D::Bytes {
                // SAFETY: inside of the block
                unsafe { $codes }
            }
        }
    };
}

/// Factors times the small numbers of each group: `factor · scale`, and `least` times as much less.
#[inline(always)]
fn groups(factor: f32, least: f32, of: impl Fn(usize) -> (i32, i32)) -> Groups {
    let (mut scales, mut below) = ([0.0; 16], [0.0; 16]);
    for i in 0..16 {
        let (scale, down) = of(i);
        scales[i] = factor * scale as f32;
        below[i] = -(least * down as f32);
    }
    Groups {
        scales,
        least: below,
    }
}

/// Byte `i` of some words.
#[inline(always)]
fn byte(words: &[u32], i: usize) -> i32 {
    (words[i / 4] >> (8 * (i % 4)) & 255) as i32
}

large!(Q2K: 84 bytes, least true, 0 is zero, signed false,
    |block, D| {
        let bytes = block.cast::<[u8; 16]>().read();
        let (factor, least) = (D::half(u16_at(block, 80)), D::half(u16_at(block, 82)));
        groups(factor, least, |i| (i32::from(bytes[i] & 15), i32::from(bytes[i] >> 4)))
    },
    |block, step, D| {
        let shift = 4 * (step % 2) as i32;
        two_fields::<D>(block.add(16 + 32 * (step / 2)), [shift, shift + 2], 3)
    }
);
large!(Q3K: 110 bytes, least false, 4 is zero, signed false,
    |block, D| {
        let (first, second, third) = (u32_at(block, 96), u32_at(block, 100), u32_at(block, 104));
        // Four low bits of a scale, and two high ones.
        let (low, two) = (0x0f0f_0f0f, 0x0303_0303);
        let packed = [
            first & low | (third & two) << 4,
            second & low | (third >> 2 & two) << 4,
            first >> 4 & low | (third >> 4 & two) << 4,
            second >> 4 & low | (third >> 6 & two) << 4,
        ];
        let factor = D::half(u16_at(block, 108));
        groups(factor, 0.0, |i| (byte(&packed, i) - 32, 0))
    },
    |block, step, D| {
        let (shift, bit) = (4 * (step % 2) as i32, 2 * step as i32);
        let low = two_fields::<D>(block.add(32 + 32 * (step / 2)), [shift, shift + 2], 3);
        D::or(low, D::raised::<2>(two_fields::<D>(block, [bit, bit + 1], 1)))
    }
);

/// Scales and least values of 6 bits, see [`super::k_quants`].
#[inline(always)]
unsafe fn six_bits<D: Dot>(block: *const u8) -> Groups {
    // SAFETY: inside of the block, the caller's
    let (factor, least, [a, b, c]) = unsafe {
        (
            D::half(u16_at(block, 0)),
            D::half(u16_at(block, 2)),
            [u32_at(block, 4), u32_at(block, 8), u32_at(block, 12)],
        )
    };
    let (six, four, two) = (0x3f3f_3f3f, 0x0f0f_0f0f, 0x0303_0303);
    let scales = [a & six, c & four | (a >> 6 & two) << 4];
    let below = [b & six, c >> 4 & four | (b >> 6 & two) << 4];
    groups(factor, least, |i| {
        (byte(&scales, i / 2), byte(&below, i / 2))
    })
}

large!(Q4K: 144 bytes, least true, 0 is zero, signed false,
    |block, D| six_bits::<D>(block),
    |block, step, D| two_fields::<D>(block.add(16 + 32 * step), [0, 4], 15)
);
large!(Q5K: 176 bytes, least true, 0 is zero, signed false,
    |block, D| six_bits::<D>(block),
    |block, step, D| {
        let bit = 2 * step as i32;
        let low = two_fields::<D>(block.add(48 + 32 * step), [0, 4], 15);
        D::or(low, D::raised::<4>(two_fields::<D>(block.add(16), [bit, bit + 1], 1)))
    }
);
large!(Q6K: 210 bytes, least false, 32 is zero, signed false,
    |block, D| {
        let factor = D::half(u16_at(block, 208));
        let scales = block.add(192).cast::<[i8; 16]>().read();
        groups(factor, 0.0, |i| (i32::from(scales[i]), 0))
    },
    |block, step, D| {
        let (half, shift) = (step / 2, 4 * (step % 2) as i32);
        let low = D::fields(D::load(block.add(64 * half)), [shift; 4], 15);
        let high = two_fields::<D>(block.add(128 + 32 * half), [shift, shift + 2], 3);
        D::or(low, D::raised::<4>(high))
    }
);
large!(Iq4Xs: 136 bytes, least false, 0 is zero, signed true,
    |block, D| {
        let (factor, high) = (D::half(u16_at(block, 0)), u16_at(block, 2));
        let low = u32_at(block, 4);
        groups(factor, 0.0, |i| {
            let group = i / 2;
            let four = (low >> (4 * group) & 15) as i32;
            let two = i32::from(high >> (2 * group) & 3);
            ((four | two << 4) - 32, 0)
        })
    },
    |block, step, D| {
        let codes = block.add(8 + 32 * step);
        D::looked_up(&LEVELS, half_bytes::<D>(codes, codes.add(16)))
    }
);
