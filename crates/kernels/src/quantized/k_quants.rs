//! Blocks of 256: eight groups of 32 or sixteen of 16, whose scales are themselves quantised and
//! share one half-precision factor.

use super::small_blocks::{LEVELS, half_at, halves};

/// 2-bit codes lie in two runs of 32 bytes: bits 0 and 1 of a run are its first 32 numbers, bits 2 and 3
/// the next ones, and so on.
fn two_bits(codes: &[u8], index: usize) -> u8 {
    let (run, group, i) = (index / 128, index / 32 % 4, index % 32);
    codes[run * 32 + i] >> (2 * group) & 3
}

/// Scales 16 × (4 bits scale, 4 bits least value), codes 64, factors 2 + 2.
pub(super) fn q2(block: &[u8], out: &mut [f32]) {
    let (scales, codes) = (&block[..16], &block[16..80]);
    let (factor, least) = (half_at(block, 80), half_at(block, 82));
    for (index, out) in out.iter_mut().enumerate() {
        let scale = scales[index / 16];
        let code = f32::from(two_bits(codes, index));
        *out = factor * f32::from(scale & 15) * code - least * f32::from(scale >> 4);
    }
}

/// High bits 32, low bits 64, scales of 6 bits 12, factor 2. A high bit that is not set takes 4 away.
pub(super) fn q3(block: &[u8], out: &mut [f32]) {
    let (high, low, scales) = (&block[..32], &block[32..96], &block[96..108]);
    let factor = half_at(block, 108);
    for (index, out) in out.iter_mut().enumerate() {
        let group = index / 16;
        let four = scales[group % 8] >> (4 * (group / 8)) & 15;
        let two = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
        let scale = f32::from(four | two << 4) - 32.0;
        let away = if high[index % 32] >> (index / 32) & 1 == 1 {
            0.0
        } else {
            4.0
        };
        *out = factor * scale * (f32::from(two_bits(low, index)) - away);
    }
}

/// Scale and least value of a group of 32, 6 bits each, out of 12 bytes: the first four groups have theirs
/// in bytes 0 to 3 and 4 to 7; the others have their low four bits in bytes 8 to 11 and their high two in
/// what the first ones leave free.
fn scale_and_least(packed: &[u8], group: usize) -> [f32; 2] {
    let at = |i: usize| packed[i];
    let [scale, least] = if group < 4 {
        [at(group) & 63, at(group + 4) & 63]
    } else {
        let low = at(group + 4);
        [
            low & 15 | at(group - 4) >> 6 << 4,
            low >> 4 | at(group) >> 6 << 4,
        ]
    };
    [f32::from(scale), f32::from(least)]
}

/// Half-byte codes in runs of 32 bytes: low halves one group, high halves the next.
fn four_bits(codes: &[u8], group: usize, i: usize) -> u8 {
    codes[group / 2 * 32 + i] >> (4 * (group % 2)) & 15
}

/// Factors 2 + 2, scales 12, codes 128.
pub(super) fn q4(block: &[u8], out: &mut [f32]) {
    let (factor, least) = (half_at(block, 0), half_at(block, 2));
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let [scale, below] = scale_and_least(&block[4..16], group);
        let (scale, below) = (factor * scale, least * below);
        for (i, out) in out.iter_mut().enumerate() {
            *out = scale * f32::from(four_bits(&block[16..], group, i)) - below;
        }
    }
}

/// As [`q4`], with 32 bytes of fifth bits before the codes: bit g of byte i is that of number i of group g.
pub(super) fn q5(block: &[u8], out: &mut [f32]) {
    let (factor, least) = (half_at(block, 0), half_at(block, 2));
    let (fifth, codes) = (&block[16..48], &block[48..]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let [scale, below] = scale_and_least(&block[4..16], group);
        let (scale, below) = (factor * scale, least * below);
        for (i, out) in out.iter_mut().enumerate() {
            let code = four_bits(codes, group, i) | (fifth[i] >> group & 1) << 4;
            *out = scale * f32::from(code) - below;
        }
    }
}

/// Low four bits 128, high two bits 64, scales 16, factor 2.
pub(super) fn q6(block: &[u8], out: &mut [f32]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let factor = half_at(block, 208);
    for (index, out) in out.iter_mut().enumerate() {
        // A half of 128 numbers has 64 bytes of low bits: low halves 64 numbers, high halves 64.
        let (half, within) = (index / 128, index % 128);
        let four = low[half * 64 + within % 64] >> (4 * (within / 64)) & 15;
        let code = four | two_bits(high, index) << 4;
        let scale = f32::from(scales[index / 16] as i8);
        *out = factor * scale * (f32::from(code) - 32.0);
    }
}

/// Factor 2, high two bits of the scales 2, their low four bits 4, codes 128.
pub(super) fn iq4_xs(block: &[u8], out: &mut [f32]) {
    let factor = half_at(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let four = block[4 + group / 2] >> (4 * (group % 2)) & 15;
        let two = (high >> (2 * group) & 3) as u8;
        let scale = factor * (f32::from(four | two << 4) - 32.0);
        let codes = &block[8 + group * 16..][..16];
        halves(codes, out, |_, code| {
            scale * f32::from(LEVELS[usize::from(code)])
        });
    }
}
