//! The product of rows of activations and a packed matrix.

use std::marker::PhantomData;
use std::ops::Range;

use super::activations::{Activations, Aligned, Step};
use super::decode::{
    Iq4Nl, Iq4Xs, Lanes, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Unit,
};
use super::dot::{self, Dot, Way};
use super::{BlockFormat, PackedMatrix};
use crate::host::par::{self, Shared};
use crate::host::simd::{LANES, Simd};

/// Rows of activations that meet a block of weights while it is in registers.
const TILE: usize = 4;
/// Rows of weights that stay in the first-level cache while all activations pass.
const BAND: usize = 32;

/// `left · weightᵀ + bias`: `[rows, outputs]`. A row does not depend on the others.
///
/// # Panics
/// If the sides do not fit.
pub(crate) fn product(left: &Activations, weight: &PackedMatrix, bias: Option<&[f32]>) -> Vec<f32> {
    let [outputs, columns] = weight.shape();
    assert_eq!(left.columns, columns, "columns of both sides");
    assert!(bias.is_none_or(|bias| bias.len() == outputs));
    let mut y = vec![0.0; left.rows * outputs];
    let shared = Shared::new(&mut y);
    let cost = (left.rows + 1) * (columns / 32 + 1);
    par::ranges(outputs, 16, cost, |range| {
        let part = Part {
            left,
            weight,
            range,
            // Ranges of outputs are disjoint.
            y: shared.at(0),
        };
        part.run(Way::current());
    });
    if let Some(bias) = bias {
        for y in y.chunks_exact_mut(outputs) {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
    y
}

/// Some outputs of all rows. Made where nobody else uses their places, and both sides fit.
struct Part<'a> {
    left: &'a Activations,
    weight: &'a PackedMatrix,
    range: Range<usize>,
    /// Row `r` of outputs starts at `y + r * outputs`.
    y: *mut f32,
}

impl<'a> Part<'a> {
    /// # Panics
    /// If the processor does not have what the way needs.
    fn run(self, way: Way) {
        match self.weight.format() {
            BlockFormat::Q4_0 => self.of::<Q4_0>(way),
            BlockFormat::Q4_1 => self.of::<Q4_1>(way),
            BlockFormat::Q5_0 => self.of::<Q5_0>(way),
            BlockFormat::Q5_1 => self.of::<Q5_1>(way),
            BlockFormat::Q8_0 => self.of::<Q8_0>(way),
            BlockFormat::Iq4Nl => self.of::<Iq4Nl>(way),
            BlockFormat::Q2K => self.of::<Q2K>(way),
            BlockFormat::Q3K => self.of::<Q3K>(way),
            BlockFormat::Q4K => self.of::<Q4K>(way),
            BlockFormat::Q5K => self.of::<Q5K>(way),
            BlockFormat::Q6K => self.of::<Q6K>(way),
            BlockFormat::Iq4Xs => self.of::<Iq4Xs>(way),
        }
    }

    fn of<U: Unit>(self, way: Way) {
        let steps = &self.left.steps;
        let start = match way.signed_start() {
            start if U::SIGNED => start,
            _ => -U::ZERO,
        };
        let starts = match start {
            0 => Vec::new(),
            start => {
                let start = |sums: [i32; LANES]| Aligned(sums.map(|sum| start * sum));
                steps.iter().map(|step| start(step.sums.0)).collect()
            }
        };
        let sums = if U::LEAST {
            let scaled = |step: &Step| {
                let lane = |lane| step.sums.0[lane] as f32 * step.scales.0[lane];
                Aligned(std::array::from_fn(lane))
            };
            steps.iter().map(scaled).collect()
        } else {
            Vec::new()
        };
        let kernel = Of {
            part: self,
            starts,
            sums,
            unit: PhantomData::<U>,
        };
        // Each a function of its own: one for all would take minutes to compile.
        if kernel.part.left.rows == 1 {
            dot::run(way, Tiles::<U, 1>(kernel));
        } else {
            dot::run(way, Tiles::<U, TILE>(kernel));
        }
    }
}

/// [`Part`] of a format.
struct Of<'a, U> {
    part: Part<'a>,
    /// For each step, where the lanes' sums of products start; empty for zeros.
    starts: Vec<Aligned<i32, LANES>>,
    /// For each step, what the lanes' least values are multiplied by, if the format has them.
    sums: Vec<Aligned<f32, LANES>>,
    unit: PhantomData<U>,
}

/// [`Of`], for so many rows of activations at a time.
struct Tiles<'a, U, const M: usize>(Of<'a, U>);

impl<U: Unit, const M: usize> dot::Kernel for Tiles<'_, U, M> {
    #[inline(always)]
    unsafe fn run<D: Dot>(self) {
        let Part {
            left,
            weight,
            ref range,
            y,
        } = self.0.part;
        let outputs = weight.shape()[0];
        let mut bands = range.clone();
        while !bands.is_empty() {
            let band = bands.start..bands.end.min(bands.start + BAND);
            bands.start = band.end;
            for first in (0..left.rows).step_by(M) {
                // Where rows are missing, the last one is there again.
                let mut rows = [first; M];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = (first + i).min(left.rows - 1);
                }
                for output in band.clone() {
                    let tile = Tile {
                        left,
                        starts: &self.0.starts,
                        sums: &self.0.sums,
                        blocks: weight.row(output),
                    };
                    // SAFETY: rows and outputs are there
                    unsafe {
                        let totals = tile.run::<D, U, M>(rows);
                        for i in 0..M {
                            let sum = D::Floats::sum(totals[i]);
                            y.add(rows[i] * outputs + output).write(sum);
                        }
                    }
                }
            }
        }
    }
}

/// A few rows of activations and a row of weights.
struct Tile<'a> {
    left: &'a Activations,
    starts: &'a [Aligned<i32, LANES>],
    sums: &'a [Aligned<f32, LANES>],
    blocks: &'a [u8],
}

/// Stands in for the second block where a row has an odd number.
static NOTHING: [u8; 64] = [0; 64];

impl Tile<'_> {
    /// # Safety
    /// The rows are there; blocks are as many as the columns need; see [`Dot`].
    #[inline(always)]
    unsafe fn run<D: Dot, U: Unit, const M: usize>(&self, rows: [usize; M]) -> [Lanes<D>; M] {
        let steps = self.left.width;
        // SAFETY: nothing is read here
        let mut totals = [unsafe { D::Floats::splat(0.0) }; M];
        let mut step = 0;
        let mut blocks = self.blocks.as_ptr_range();
        while step < steps {
            // SAFETY: a unit has one or two blocks of which the second may be missing, and as many steps as `steps`
            // has left
            unsafe {
                let next = blocks.start.add(U::BYTES);
                if U::VALUES == 32 {
                    let second = if next < blocks.end {
                        next
                    } else {
                        NOTHING.as_ptr()
                    };
                    let unit = [blocks.start, second];
                    let head = U::head::<D>(unit);
                    self.step::<D, U, M>(unit, &head, 0, step, rows, &mut totals);
                    blocks.start = blocks.start.wrapping_add(2 * U::BYTES);
                    step += 1;
                } else {
                    let unit = [blocks.start, blocks.start];
                    let head = U::head::<D>(unit);
                    // One by one, so that what depends on the number is a constant.
                    self.step::<D, U, M>(unit, &head, 0, step, rows, &mut totals);
                    self.step::<D, U, M>(unit, &head, 1, step + 1, rows, &mut totals);
                    self.step::<D, U, M>(unit, &head, 2, step + 2, rows, &mut totals);
                    self.step::<D, U, M>(unit, &head, 3, step + 3, rows, &mut totals);
                    blocks.start = next;
                    step += 4;
                }
            }
        }
        totals
    }

    /// Adds 64 columns: step `within` of a unit, step `step` of the rows.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn step<D: Dot, U: Unit, const M: usize>(
        &self,
        unit: [*const u8; 2],
        head: &U::Head<D>,
        within: usize,
        step: usize,
        rows: [usize; M],
        totals: &mut [Lanes<D>; M],
    ) {
        let left = self.left;
        // SAFETY: rows have so many steps
        unsafe {
            let codes = U::codes::<D>(unit, within);
            let [scales, least] = U::scales::<D>(head, within);
            for i in 0..M {
                let at = rows[i] * left.width + step;
                let right = left.steps.as_ptr().add(at);
                let start = if U::SIGNED && D::SIGNED_START == 0 || !U::SIGNED && U::ZERO == 0 {
                    D::zero()
                } else {
                    D::load_sums(self.starts.as_ptr().add(at).cast())
                };
                let scale = (&raw const (*right).scales).cast();
                let right = D::load((&raw const (*right).codes).cast());
                let sums = if U::SIGNED {
                    D::dot_signed(codes, right, start)
                } else {
                    D::dot(codes, right, start)
                };
                totals[i] = D::add_scaled(totals[i], scales, scale, sums);
                if U::LEAST {
                    totals[i] = D::add_least(totals[i], least, self.sums.as_ptr().add(at).cast());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::activations::STEP;
    use super::*;
    use crate::quantized::small_blocks::half_at;

    /// Codes of all kinds, and small factors.
    fn matrix(format: BlockFormat, [rows, columns]: [usize; 2]) -> PackedMatrix {
        let mut state = 7_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let blocks = rows * columns / format.values();
        let mut bytes: Vec<u8> = (0..blocks * format.bytes()).map(|_| random()).collect();
        for block in bytes.chunks_exact_mut(format.bytes()) {
            for at in format.factors() {
                // 2^-9 to 2^-7 and their like, of both signs.
                block[at + 1] = (block[at + 1] & 0x83) | (0x18 + (block[at + 1] & 4));
                assert!((1e-3..1e-1).contains(&half_at(block, *at).abs()));
            }
        }
        let size = bytes.len();
        PackedMatrix::new(format, [rows, columns], Arc::new(bytes), 0..size).unwrap()
    }

    fn numbers(n: usize) -> Vec<f32> {
        let number = |i: usize| ((i * 7919 % 2003) as f32 / 1001.0 - 1.0) * (1 + i / 32 % 5) as f32;
        (0..n).map(number).collect()
    }

    fn in_way(way: Way, left: &Activations, weight: &PackedMatrix) -> Vec<f32> {
        let outputs = weight.shape()[0];
        let mut y = vec![f32::NAN; left.rows * outputs];
        let part = Part {
            left,
            weight,
            range: 0..outputs,
            y: y.as_mut_ptr(),
        };
        part.run(way);
        y
    }

    /// Sizes with one block, an odd number of them, whole steps; rows in one tile, in several, with some missing.
    fn cases(format: BlockFormat) -> Vec<(usize, [usize; 2])> {
        let sizes = match format.values() {
            32 => vec![(1, [3, 32]), (6, [35, 96]), (4, [2, 576])],
            _ => vec![(1, [3, 256]), (7, [34, 512])],
        };
        let small = |(rows, [outputs, columns]): &(usize, [usize; 2])| {
            !cfg!(miri) || rows * outputs * columns < 2000
        };
        sizes.into_iter().filter(small).collect()
    }

    #[test]
    fn equals_the_product_of_what_both_sides_stand_for() {
        for format in BlockFormat::ALL {
            for (rows, [outputs, columns]) in cases(format) {
                let (x, weight) = (numbers(rows * columns), matrix(format, [outputs, columns]));
                let unpacked = weight.unpack();
                let left = Activations::new(&x, rows, columns);
                let y = product(&left, &weight, None);
                for (i, y) in y.iter().enumerate() {
                    let (row, output) = (i / outputs, i % outputs);
                    let (mut rounded, mut exact) = (0.0, 0.0);
                    let (mut size, mut bound) = (0.0, 0.0);
                    for column in 0..columns {
                        let step = &left.steps[row * left.width + column / STEP];
                        let code = step.codes.0[column % STEP];
                        let scale = f64::from(step.scales.0[column % STEP / 4]);
                        let w = f64::from(unpacked[output * columns + column]);
                        rounded += w * scale * f64::from(code);
                        exact += w * f64::from(x[row * columns + column]);
                        size += (w * scale * f64::from(code)).abs();
                        // A code is at most half a step away from what it stands for.
                        bound += w.abs() * scale * 0.5;
                    }
                    let y = f64::from(*y);
                    let least = 16.0 * size.max(rounded.abs()) + bound * 50.0;
                    let name = format.name();
                    assert!(
                        (y - rounded).abs() < 1e-6 * least,
                        "{name} {i}: {y} {rounded}"
                    );
                    assert!(
                        (y - exact).abs() < bound + 1e-6 * least,
                        "{name} {i}: {y} {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_way_gives_the_same_bits() {
        let ways = Way::available();
        for format in BlockFormat::ALL {
            for (rows, shape) in cases(format) {
                let left = Activations::new(&numbers(rows * shape[1]), rows, shape[1]);
                let weight = matrix(format, shape);
                let bits = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                let expected = bits(in_way(Way::Portable, &left, &weight));
                for way in &ways {
                    let found = bits(in_way(*way, &left, &weight));
                    assert_eq!(found, expected, "{} {shape:?} {way:?}", format.name());
                }
                assert_eq!(bits(product(&left, &weight, None)), expected);
            }
        }
    }

    #[test]
    fn extreme_codes_do_not_overflow() {
        // Largest codes of both sides, and the most negative one that Q8_0 can hold.
        for code in [0x7f, 0x80] {
            let block = half::f16::ONE.to_le_bytes().into_iter().chain([code; 32]);
            let block: Vec<u8> = block.collect();
            let weight = PackedMatrix::new(BlockFormat::Q8_0, [1, 32], Arc::new(block), 0..34);
            let left = Activations::new(&[-127.0; 32], 1, 32);
            let expected = -127.0 * 32.0 * f32::from(code as i8);
            for way in Way::available() {
                let found = in_way(way, &left, weight.as_ref().unwrap());
                assert_eq!(found, [expected], "{way:?}");
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let x = numbers(7 * 96);
        let weight = matrix(BlockFormat::Q4_1, [40, 96]);
        let together = product(&Activations::new(&x, 7, 96), &weight, None);
        for (x, together) in x.chunks(96).zip(together.chunks(40)) {
            let alone = product(&Activations::new(x, 1, 96), &weight, None);
            assert_eq!(alone, together);
        }
    }
}
