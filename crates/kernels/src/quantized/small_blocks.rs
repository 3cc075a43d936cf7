//! Blocks of 32 with one scale.
//!
//! Half-byte codes: the low halves hold the block's first 16 numbers, the high ones the other 16.

use half::f16;

/// What the 16 codes of the non-linear quantisations stand for.
pub(super) const LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// The half-precision number at a place of a block.
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Numbers of 16 bytes of half-byte codes.
pub(super) fn halves(codes: &[u8], out: &mut [f32], number: impl Fn(usize, u8) -> f32) {
    let (low, high) = out.split_at_mut(16);
    for (i, code) in codes.iter().enumerate() {
        low[i] = number(i, code & 15);
        high[i] = number(i + 16, code >> 4);
    }
}

pub(super) fn q4_0(block: &[u8], out: &mut [f32]) {
    let scale = half_at(block, 0);
    halves(&block[2..], out, |_, code| scale * (f32::from(code) - 8.0));
}

pub(super) fn q4_1(block: &[u8], out: &mut [f32]) {
    let (scale, least) = (half_at(block, 0), half_at(block, 2));
    halves(&block[4..], out, |_, code| scale * f32::from(code) + least);
}

/// The fifth bits of a block's 32 codes.
fn fifth_bits(block: &[u8], at: usize) -> impl Fn(usize) -> u8 {
    let bits = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    move |i| ((bits >> i & 1) as u8) << 4
}

pub(super) fn q5_0(block: &[u8], out: &mut [f32]) {
    let (scale, fifth) = (half_at(block, 0), fifth_bits(block, 2));
    halves(&block[6..], out, |i, code| {
        scale * (f32::from(code | fifth(i)) - 16.0)
    });
}

pub(super) fn q5_1(block: &[u8], out: &mut [f32]) {
    let (scale, least, fifth) = (half_at(block, 0), half_at(block, 2), fifth_bits(block, 4));
    halves(&block[8..], out, |i, code| {
        scale * f32::from(code | fifth(i)) + least
    });
}

pub(super) fn q8_0(block: &[u8], out: &mut [f32]) {
    let scale = half_at(block, 0);
    for (out, code) in out.iter_mut().zip(&block[2..]) {
        *out = scale * f32::from(*code as i8);
    }
}

pub(super) fn iq4_nl(block: &[u8], out: &mut [f32]) {
    let scale = half_at(block, 0);
    halves(&block[2..], out, |_, code| {
        scale * f32::from(LEVELS[usize::from(code)])
    });
}
