//! Fréchet distance between two sets of features, each taken for a Gaussian (FID with Inception features).
//!
//! `|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)`. The product of two covariances is not symmetric, but its root has the trace
//! of `(Σ₁^½ Σ₂ Σ₁^½)^½`, which is: two symmetric eigenvalue problems, no complex numbers. A covariance of fewer rows than
//! features has them as its root, and the one problem that is left is as small as their number.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use crate::{MetricsError, Result};

/// Mean and covariance of feature rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Gaussian {
    mean: DVector<f64>,
    covariance: DMatrix<f64>,
    /// Of fewer rows than features: a matrix `[width, rows]` that gives the covariance when multiplied by its transpose.
    root: Option<DMatrix<f64>>,
}

impl Gaussian {
    /// Fits a Gaussian to feature rows; the covariance divides by rows − 1, as FID does.
    ///
    /// With fewer rows than features the covariance is singular, and distances between small samples come out too
    /// large: compare sets of equal size only.
    ///
    /// # Errors
    /// `Empty` with fewer than two rows, `Length` for rows of different length, `OutOfRange` for a value that is not finite.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = &'a [f32]>) -> Result<Self> {
        const CHUNK: usize = 256;
        let mut rows = rows.into_iter().peekable();
        let width = rows.peek().map_or(0, |row| row.len());
        // Values are shifted by the first row, so that a large common mean does not cancel digits.
        let shift: Vec<f64> = rows.peek().map_or(Vec::new(), |row| {
            row.iter().map(|v| f64::from(*v)).collect()
        });
        let mut count = 0usize;
        let mut sum = DVector::zeros(width);
        let mut products = DMatrix::zeros(width, width);
        let mut chunk: Vec<f64> = Vec::with_capacity(CHUNK * width);
        let mut few: Vec<f64> = Vec::new();
        while rows.peek().is_some() {
            chunk.clear();
            for row in rows.by_ref().take(CHUNK) {
                if row.len() != width {
                    return Err(MetricsError::Length {
                        what: "feature row",
                        expected: width,
                        found: row.len(),
                    });
                }
                if let Some(bad) = row.iter().find(|v| !v.is_finite()) {
                    return Err(MetricsError::OutOfRange {
                        what: "feature",
                        found: f64::from(*bad),
                        expected: "the finite numbers",
                        question: format!("row {count}"),
                    });
                }
                chunk.extend(row.iter().zip(&shift).map(|(v, s)| f64::from(*v) - s));
                count += 1;
            }
            if count < width {
                few.extend_from_slice(&chunk);
            }
            let part = DMatrix::from_column_slice(width, chunk.len() / width.max(1), &chunk); // [width, rows]
            sum += part.column_sum();
            products += &part * part.transpose();
        }
        if count < 2 || width == 0 {
            return Err(MetricsError::Empty {
                what: "a Gaussian needs two rows of features",
            });
        }
        let n = count as f64;
        let mean = sum / n;
        let covariance = (products - &mean * mean.transpose() * n) / (n - 1.0);
        let root = (count < width).then(|| {
            let mut root = DMatrix::from_vec(width, count, few);
            root.column_iter_mut().for_each(|mut row| row -= &mean);
            root / (n - 1.0).sqrt()
        });
        Ok(Self {
            mean: mean + DVector::from_vec(shift),
            covariance,
            root,
        })
    }

    /// A Gaussian of known mean and row-major covariance.
    ///
    /// # Errors
    /// `Length` unless the covariance has the square of the mean's length.
    pub fn new(mean: &[f64], covariance: &[f64]) -> Result<Self> {
        let width = mean.len();
        if covariance.len() != width * width {
            return Err(MetricsError::Length {
                what: "covariance",
                expected: width * width,
                found: covariance.len(),
            });
        }
        Ok(Self {
            mean: DVector::from_column_slice(mean),
            covariance: DMatrix::from_row_slice(width, width, covariance),
            root: None,
        })
    }

    /// A matrix that gives the covariance when multiplied by its transpose.
    fn covariance_root(&self) -> DMatrix<f64> {
        if let Some(root) = &self.root {
            return root.clone();
        }
        let eigen = SymmetricEigen::new(self.covariance.clone());
        let mut root = eigen.eigenvectors;
        for (mut column, value) in root.column_iter_mut().zip(eigen.eigenvalues.iter()) {
            column *= value.max(0.0).sqrt();
        }
        root
    }

    /// Number of features.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }
}

/// Fréchet distance of two Gaussians (squared Wasserstein-2 distance, as FID reports it).
///
/// # Errors
/// `Length` if the Gaussians have different numbers of features.
pub fn frechet_distance(a: &Gaussian, b: &Gaussian) -> Result<f64> {
    if a.width() != b.width() {
        return Err(MetricsError::Length {
            what: "features of the second Gaussian",
            expected: a.width(),
            found: b.width(),
        });
    }
    let rows = |gaussian: &Gaussian| gaussian.root.as_ref().map_or(usize::MAX, DMatrix::ncols);
    let (fewer, other) = if rows(b) < rows(a) { (b, a) } else { (a, b) };
    // Σ₁ = R Rᵀ, and Rᵀ Σ₂ R has the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, but for zeros.
    let root = fewer.covariance_root();
    let product = root.transpose() * &other.covariance * &root;
    let product = (&product + product.transpose()) * 0.5;
    let trace_of_root: f64 = product
        .symmetric_eigenvalues()
        .iter()
        .map(|value| value.max(0.0).sqrt())
        .sum();
    let distance = (&a.mean - &b.mean).norm_squared() + a.covariance.trace() + b.covariance.trace()
        - 2.0 * trace_of_root;
    Ok(distance.max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dimension_by_hand() {
        // (μ₁ − μ₂)² + (σ₁ − σ₂)² = 9 + 4
        let a = Gaussian::new(&[1.0], &[1.0]).unwrap();
        let b = Gaussian::new(&[4.0], &[9.0]).unwrap();
        assert!((frechet_distance(&a, &b).unwrap() - 13.0).abs() < 1e-12);
        assert!(frechet_distance(&a, &a).unwrap() < 1e-12);
    }

    #[test]
    fn covariances_that_do_not_commute() {
        // tr (Σ₁Σ₂)^½ for 2×2 = sqrt(tr(Σ₁Σ₂) + 2 sqrt(det Σ₁ det Σ₂)); Σ₁ = diag(4, 1), Σ₂ = [[2, 1], [1, 2]]
        let a = Gaussian::new(&[0.0, 0.0], &[4.0, 0.0, 0.0, 1.0]).unwrap();
        let b = Gaussian::new(&[0.0, 1.0], &[2.0, 1.0, 1.0, 2.0]).unwrap();
        let expected = 1.0 + 5.0 + 4.0 - 2.0 * (10.0 + 2.0 * 12f64.sqrt()).sqrt();
        assert!((frechet_distance(&a, &b).unwrap() - expected).abs() < 1e-10);
        assert!((frechet_distance(&b, &a).unwrap() - expected).abs() < 1e-10);
    }

    #[test]
    fn rows_give_mean_and_sample_covariance() {
        let rows: [&[f32]; 3] = [&[1000.0, 2.0], &[1002.0, 2.0], &[1004.0, 5.0]];
        let fitted = Gaussian::from_rows(rows).unwrap();
        let expected = Gaussian::new(&[1002.0, 3.0], &[4.0, 3.0, 3.0, 3.0]).unwrap();
        assert!((&fitted.mean - &expected.mean).norm() < 1e-12);
        assert!((&fitted.covariance - &expected.covariance).norm() < 1e-12);
    }

    #[test]
    fn singular_covariances_and_many_chunks() {
        // 600 rows on a line in 3-D; shifting them all moves the mean only.
        let rows: Vec<[f32; 3]> = (0..600).map(|i| [i as f32, 2.0 * i as f32, 0.0]).collect();
        let moved: Vec<[f32; 3]> = rows.iter().map(|r| [r[0], r[1], 2.0]).collect();
        let a = Gaussian::from_rows(rows.iter().map(<[f32; 3]>::as_slice)).unwrap();
        let b = Gaussian::from_rows(moved.iter().map(<[f32; 3]>::as_slice)).unwrap();
        let distance = frechet_distance(&a, &b).unwrap();
        assert!((distance - 4.0).abs() < 1e-6, "{distance}");
    }

    #[test]
    fn few_rows_are_their_own_root() {
        let a: [&[f32]; 2] = [&[3.0, 1.0, 0.0], &[5.0, -1.0, 2.0]];
        let b: [&[f32]; 2] = [&[0.0, 1.0, 0.5], &[2.0, 0.0, 1.0]];
        let many: Vec<[f32; 3]> = (0..9)
            .map(|i| [i as f32, (i * i % 7) as f32, (i % 2) as f32])
            .collect();
        let fit = |rows: &[&[f32]]| Gaussian::from_rows(rows.iter().copied()).unwrap();
        let (a, b) = (fit(&a), fit(&b));
        let many = Gaussian::from_rows(many.iter().map(<[f32; 3]>::as_slice)).unwrap();
        assert!(a.root.is_some() && many.root.is_none());
        let without = |gaussian: &Gaussian| Gaussian {
            root: None,
            ..gaussian.clone()
        };
        for (one, other) in [(&a, &b), (&a, &many), (&many, &b)] {
            let found = frechet_distance(one, other).unwrap();
            let expected = frechet_distance(&without(one), &without(other)).unwrap();
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn bad_rows_are_named() {
        assert!(matches!(
            Gaussian::from_rows([[1.0f32].as_slice()]),
            Err(MetricsError::Empty { .. })
        ));
        assert!(matches!(
            Gaussian::from_rows([[1.0f32].as_slice(), &[1.0, 2.0]]),
            Err(MetricsError::Length {
                expected: 1,
                found: 2,
                ..
            })
        ));
        assert!(Gaussian::from_rows([[1.0f32].as_slice(), &[f32::NAN]]).is_err());
    }
}
