//! Ridge regression in closed form: the linear map that tells best, in squares, what a representation holds.

use crate::cholesky::{cholesky, solve};

/// A fitted map with an offset.
pub(super) struct Ridge {
    /// `[targets][features + 1]`, the offset last.
    weights: Vec<Vec<f64>>,
}

impl Ridge {
    /// Fits rows of features to rows of targets; `ridge` is added to the diagonal, but for the offset's. `None` if the
    /// system has no solution: numbers that are none, or fewer rows than features without a ridge.
    pub fn fit(rows: &[Vec<f64>], targets: &[Vec<f64>], ridge: f64) -> Option<Self> {
        let width = rows.first()?.len() + 1;
        let outputs = targets.first()?.len();
        let mut gram = vec![vec![0.0; width]; width];
        let mut moments = vec![vec![0.0; width]; outputs];
        for (row, target) in rows.iter().zip(targets) {
            let row: Vec<f64> = row.iter().copied().chain([1.0]).collect();
            for (i, a) in row.iter().enumerate() {
                for (j, b) in row[..=i].iter().enumerate() {
                    gram[i][j] += a * b;
                }
                for (moment, t) in moments.iter_mut().zip(target) {
                    moment[i] += a * t;
                }
            }
        }
        for (i, row) in gram.iter_mut().enumerate().take(width - 1) {
            row[i] += ridge;
        }
        let lower = cholesky(gram)?;
        let weights = moments.into_iter().map(|m| solve(&lower, m)).collect();
        Some(Self { weights })
    }

    /// One score a target.
    pub fn scores(&self, row: &[f64]) -> Vec<f64> {
        let score = |weights: &Vec<f64>| {
            let products = row.iter().zip(weights).map(|(x, w)| x * w);
            products.sum::<f64>() + weights[row.len()]
        };
        self.weights.iter().map(score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_exactly_and_a_ridge_flattens_it() {
        let rows = vec![vec![0.0], vec![1.0], vec![2.0]];
        // 2x + 1, and a constant.
        let targets = vec![vec![1.0, 4.0], vec![3.0, 4.0], vec![5.0, 4.0]];
        let line = Ridge::fit(&rows, &targets, 0.0).unwrap();
        let found = line.scores(&[3.0]);
        assert!(
            (found[0] - 7.0).abs() < 1e-9 && (found[1] - 4.0).abs() < 1e-9,
            "{found:?}"
        );
        // Centred, x has squares of 2 and covers 4 with the target: slope 4 / (2 + 2), through (1, 3).
        let flat = Ridge::fit(&rows, &targets, 2.0).unwrap().scores(&[3.0]);
        assert!((flat[0] - 5.0).abs() < 1e-9, "{flat:?}");
    }

    #[test]
    fn what_has_no_solution_is_none() {
        let silent = vec![vec![0.0], vec![0.0]];
        let targets = vec![vec![1.0], vec![2.0]];
        assert!(Ridge::fit(&silent, &targets, 0.0).is_none());
        assert!(Ridge::fit(&silent, &targets, 1.0).is_some());
        assert!(Ridge::fit(&[vec![f64::NAN]], &[vec![1.0]], 1.0).is_none());
        assert!(Ridge::fit(&[], &[], 1.0).is_none());
    }
}
