//! Linear probes: what can be read off an encoder's features by a fixed direction for each value of an attribute.
//!
//! A text tower says of a word nothing but a direction. What a probe finds is what the best of all text towers could say,
//! so it tells what is *in* the features from what the text tower that is there knows to *name*.

use std::collections::{BTreeMap, BTreeSet};

use crate::cholesky::{cholesky, solve};

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
    // Features that are no numbers have no directions.
    let Some(factor) = cholesky(covariance) else {
        return BTreeMap::new();
    };
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

#[cfg(test)]
mod tests {
    use super::*;

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
