//! Linear probes: what can be read off an encoder's features by a fixed direction for each value of an attribute.
//!
//! A text tower says of a word nothing but a direction. What a probe finds is what the best of all text towers could say,
//! so it tells what is *in* the features from what the text tower that is there knows to *name*.

use std::collections::{BTreeMap, BTreeSet};

/// Ridge on the features' covariance, as a share of their mean variance.
const RIDGE: f64 = 1e-2;
/// Scenes that must show a value, and that must not, before a direction is fitted.
const LEAST: usize = 8;

/// Directions by value: ridge regression of "the scene shows this value" on centred features. Values that too few scenes
/// show, or too many, have none.
///
/// - `features`: one row a scene, all of one length
/// - `seen`: the values that each scene shows
pub fn directions(features: &[Vec<f64>], seen: &[BTreeSet<String>]) -> BTreeMap<String, Vec<f64>> {
    let width = features.first().map_or(0, Vec::len);
    let scenes = features.len().min(seen.len());
    let mut mean = vec![0.0; width];
    for row in features {
        mean.iter_mut()
            .zip(row)
            .for_each(|(m, x)| *m += x / scenes as f64);
    }
    let centred: Vec<Vec<f64>> = features
        .iter()
        .map(|row| row.iter().zip(&mean).map(|(x, m)| x - m).collect())
        .collect();
    let mut covariance = vec![vec![0.0; width]; width];
    for row in &centred {
        for (i, x) in row.iter().enumerate() {
            for (j, y) in row[..=i].iter().enumerate() {
                covariance[i][j] += x * y / scenes as f64;
            }
        }
    }
    let trace: f64 = (0..width).map(|i| covariance[i][i]).sum();
    let ridge = (RIDGE * trace / width.max(1) as f64).max(f64::MIN_POSITIVE);
    (0..width).for_each(|i| covariance[i][i] += ridge);
    let factor = cholesky(covariance);
    let values: BTreeSet<&String> = seen.iter().flatten().collect();
    let fitted = values.into_iter().filter_map(|value| {
        let shows: Vec<bool> = seen.iter().map(|values| values.contains(value)).collect();
        let count = shows.iter().filter(|shows| **shows).count();
        if count < LEAST || scenes - count < LEAST {
            return None;
        }
        // Of centred features the mean of the targets does not count.
        let mut moment = vec![0.0; width];
        for (row, _) in centred.iter().zip(&shows).filter(|(_, shows)| **shows) {
            moment
                .iter_mut()
                .zip(row)
                .for_each(|(m, x)| *m += x / scenes as f64);
        }
        Some((value.clone(), solve(&factor, moment)))
    });
    fitted.collect()
}

/// The lower triangle L of a positive definite matrix L Lᵀ, of which the lower triangle is given.
fn cholesky(mut matrix: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for i in 0..matrix.len() {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| matrix[i][k] * matrix[j][k]).sum();
            let rest = matrix[i][j] - known;
            matrix[i][j] = if i == j {
                rest.max(f64::MIN_POSITIVE).sqrt()
            } else {
                rest / matrix[j][j]
            };
        }
    }
    matrix
}

/// x of L Lᵀ x = b.
fn solve(lower: &[Vec<f64>], mut b: Vec<f64>) -> Vec<f64> {
    for i in 0..b.len() {
        let known: f64 = (0..i).map(|k| lower[i][k] * b[k]).sum();
        b[i] = (b[i] - known) / lower[i][i];
    }
    for i in (0..b.len()).rev() {
        let known: f64 = (i + 1..b.len()).map(|k| lower[k][i] * b[k]).sum();
        b[i] = (b[i] - known) / lower[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_by_hand() {
        // [[4, 2], [2, 5]] = L Lᵀ with L = [[2, 0], [1, 2]]; x = (1, 2) gives b = (8, 12).
        let lower = cholesky(vec![vec![4.0, 0.0], vec![2.0, 5.0]]);
        assert_eq!(lower, [vec![2.0, 0.0], vec![1.0, 2.0]]);
        assert_eq!(solve(&lower, vec![8.0, 12.0]), [1.0, 2.0]);
    }

    #[test]
    fn a_value_lies_where_its_scenes_do_and_rare_ones_nowhere() {
        // Scenes at ±1 on the first axis, of which those at +1 are red; the second axis is the same for all.
        let features: Vec<Vec<f64>> = (0..20usize)
            .map(|i| vec![if i.is_multiple_of(2) { 1.0 } else { -1.0 }, 3.0])
            .collect();
        let red = |i: usize| i.is_multiple_of(2).then(|| "red".to_owned());
        let rare = |i: usize| (i < LEAST - 1).then(|| "rare".to_owned());
        let seen: Vec<BTreeSet<String>> = (0..20)
            .map(|i| red(i).into_iter().chain(rare(i)).collect())
            .collect();
        let found = directions(&features, &seen);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["red"]);
        // Covariance 1 and mean variance ½; moment 10 · 1 / 20.
        let expected = 0.5 / (1.0 + RIDGE / 2.0);
        assert!((found["red"][0] - expected).abs() < 1e-12, "{found:?}");
        assert!(found["red"][1].abs() < 1e-9, "{found:?}");
    }
}
