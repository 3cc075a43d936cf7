//! Normalised discounted cumulative gain of ranked answer options (VisDial).

use crate::{MetricsError, Result};

/// NDCG of one question in [0, 1]; nothing if no option is relevant.
///
/// Options are ranked by score, equal scores in their given order, and the first k count, where k is the number of
/// options of non-zero relevance.
///
/// # Errors
/// `Length` unless there is one relevance for each score; `OutOfRange` for a score or relevance that is not a number,
/// or a negative relevance.
pub fn ndcg(scores: &[f64], relevance: &[f64]) -> Result<Option<f64>> {
    if scores.len() != relevance.len() {
        return Err(MetricsError::Length {
            what: "NDCG",
            expected: scores.len(),
            found: relevance.len(),
        });
    }
    if let Some(&found) = scores
        .iter()
        .find(|s| s.is_nan())
        .or(relevance.iter().find(|r| r.is_nan() || **r < 0.0))
    {
        return Err(MetricsError::OutOfRange {
            what: "NDCG",
            found,
            expected: "numbers, relevances of at least 0",
            question: String::new(),
        });
    }
    let considered = relevance.iter().filter(|r| **r > 0.0).count();
    let gain = |order: &[usize]| -> f64 {
        order
            .iter()
            .take(considered)
            .enumerate()
            .map(|(rank, &i)| relevance[i] / libm::log2(rank as f64 + 2.0))
            .sum()
    };
    let descending = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
        order
    };
    let best = gain(&descending(relevance));
    Ok((best > 0.0).then(|| gain(&descending(scores)) / best))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Relevances in ranked order 0, 1 | 0.5; k = 2: DCG = 0/1 + 1/1.58496; ideal = 1 + 0.5/1.58496
        let value = ndcg(&[0.1, 0.9, 0.5], &[0.5, 0.0, 1.0]).unwrap().unwrap();
        let second = 1.0 / 3f64.log2();
        assert!((value - second / (1.0 + 0.5 * second)).abs() < 1e-12);
        assert_eq!(ndcg(&[3.0, 2.0, 1.0], &[1.0, 0.5, 0.0]).unwrap(), Some(1.0));
    }

    #[test]
    fn nothing_relevant_has_no_ndcg() {
        assert_eq!(ndcg(&[1.0, 2.0], &[0.0, 0.0]).unwrap(), None);
        assert!(ndcg(&[1.0], &[1.0, 0.0]).is_err());
        assert!(ndcg(&[f64::NAN], &[1.0]).is_err());
        assert!(ndcg(&[1.0], &[-1.0]).is_err());
    }
}
