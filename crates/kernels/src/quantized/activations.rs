use crate::host::par::{self, Shared};
use crate::host::simd::LANES;

/// Columns of one step of a product.
pub(super) const STEP: usize = 64;
/// Columns that share a scale.
const GROUP: usize = 32;

/// Numbers that lie where a vector can be loaded at once.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Aligned<T, const N: usize>(pub [T; N]);

/// 64 columns of a row; lane `l` stands for columns `4 l ..= 4 l + 3`.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub codes: Aligned<i8, STEP>,
    /// The scale of each lane's columns.
    pub scales: Aligned<f32, LANES>,
    /// The sum of each lane's codes.
    pub sums: Aligned<i32, LANES>,
}

/// Rows of activations as codes of 8 bits, from -127 to 127, with a scale for each group of 32 columns, which is
/// the group's largest magnitude / 127. Rows are filled up to whole steps with zeros.
pub(crate) struct Activations {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Steps in a row.
    pub(super) width: usize,
    /// `[rows, width]`
    pub(super) steps: Vec<Step>,
}

impl Activations {
    /// Rounds `x` `[rows, columns]`. A group with a number that is none (or infinite) becomes NaN as a whole.
    pub(crate) fn new(x: &[f32], rows: usize, columns: usize) -> Self {
        assert!(x.len() >= rows * columns);
        let width = columns.div_ceil(STEP);
        let zero = Step {
            codes: Aligned([0; STEP]),
            scales: Aligned([0.0; LANES]),
            sums: Aligned([0; LANES]),
        };
        let mut steps = vec![zero; rows * width];
        let shared = Shared::new(&mut steps);
        par::ranges(rows, 1, columns / 8 + 1, |range| {
            for row in range {
                let x = &x[row * columns..][..columns];
                // SAFETY: rows are disjoint
                let steps = unsafe { shared.slice(row * width, width) };
                for (x, step) in x.chunks(STEP).zip(steps) {
                    step.round(x);
                }
            }
        });
        Self {
            rows,
            columns,
            width,
            steps,
        }
    }
}

impl Step {
    /// Plain arithmetic, each operation of which rounds once: the same on every processor.
    fn round(&mut self, x: &[f32]) {
        /// Magnitudes below give no scale that can be inverted.
        const LEAST: f32 = 1e-30;
        for (group, x) in x.chunks(GROUP).enumerate() {
            let codes = &mut self.codes.0[group * GROUP..][..GROUP];
            let lanes = group * GROUP / 4..(group + 1) * GROUP / 4;
            // Magnitudes are ordered as their bits are, and what is no number comes last.
            let most = x.iter().map(|x| x.to_bits() & 0x7fff_ffff).max();
            let most = f32::from_bits(most.unwrap_or(0));
            if !most.is_finite() {
                self.scales.0[lanes].fill(f32::NAN);
            } else if most > LEAST {
                let (scale, inverse) = (most / 127.0, 127.0 / most);
                for (code, x) in codes.iter_mut().zip(x) {
                    let rounded = (x * inverse).round_ties_even();
                    // SAFETY: a magnitude of at most 127 and its rounding
                    *code = unsafe { rounded.to_int_unchecked::<i32>() } as i8;
                }
                self.scales.0[lanes.clone()].fill(scale);
                let fours = codes.as_chunks::<4>().0;
                for (sum, four) in self.sums.0[lanes].iter_mut().zip(fours) {
                    *sum = four.iter().map(|code| i32::from(*code)).sum();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_scales_of_their_own() {
        let mut x = vec![0.0; 2 * 96];
        x[0] = -254.0;
        x[1] = 1.0; // half a code: to the even one
        x[2] = 3.0; // one and a half
        x[40] = 1.0;
        x[96 + 64] = f32::NAN;
        let rounded = Activations::new(&x, 2, 96);
        let [first, rest, second, nan] = rounded.steps[..] else {
            panic!("two rows of two steps");
        };
        assert_eq!(first.codes.0[..4], [-127, 0, 2, 0]);
        assert_eq!(first.codes.0[40], 127);
        assert_eq!(first.scales.0[..8], [2.0; 8]);
        assert_eq!(first.scales.0[8..], [1.0 / 127.0; 8]);
        assert_eq!((first.sums.0[0], first.sums.0[10]), (-125, 127));
        for nothing in [rest, second] {
            assert_eq!(nothing.scales.0, [0.0; 16]);
        }
        assert!(nan.scales.0[..8].iter().all(|scale| scale.is_nan()));
        assert_eq!(nan.scales.0[8..], [0.0; 8]);
    }

    #[test]
    fn subnormal_numbers_count_for_nothing() {
        let rounded = Activations::new(&[1e-39; 32], 1, 32);
        assert_eq!(rounded.steps[0].codes.0, [0; 64]);
        assert_eq!(rounded.steps[0].scales.0, [0.0; 16]);
    }
}
