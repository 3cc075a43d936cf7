//! Symmetric systems of equations by Cholesky's factors.

/// Lower triangle `L` of a symmetric matrix `L Lᵀ`, of which the lower triangle is read. `None` if it is not positive
/// definite.
pub(crate) fn cholesky(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    for i in 0..matrix.len() {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| matrix[i][k] * matrix[j][k]).sum();
            let rest = matrix[i][j] - dot;
            if i > j {
                matrix[i][j] = rest / matrix[j][j];
            } else if rest > 0.0 {
                matrix[i][i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    Some(matrix)
}

/// Solves `L Lᵀ x = b`.
pub(crate) fn solve(lower: &[Vec<f64>], mut b: Vec<f64>) -> Vec<f64> {
    for i in 0..b.len() {
        let dot: f64 = (0..i).map(|k| lower[i][k] * b[k]).sum();
        b[i] = (b[i] - dot) / lower[i][i];
    }
    for i in (0..b.len()).rev() {
        let dot: f64 = (i + 1..b.len()).map(|k| lower[k][i] * b[k]).sum();
        b[i] = (b[i] - dot) / lower[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_by_hand() {
        // [[4, 2], [2, 5]] = L Lᵀ with L = [[2, 0], [1, 2]]; x = (1, 2) gives b = (8, 12).
        let lower = cholesky(vec![vec![4.0, 0.0], vec![2.0, 5.0]]).unwrap();
        assert_eq!(lower, [vec![2.0, 0.0], vec![1.0, 2.0]]);
        assert_eq!(solve(&lower, vec![8.0, 12.0]), [1.0, 2.0]);
        assert!(cholesky(vec![vec![1.0, 0.0], vec![2.0, 1.0]]).is_none());
    }
}
