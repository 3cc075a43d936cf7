//! McNemar's test (1947): do two runs differ in the questions that only one of them got right?

use statrs::distribution::{Binomial, DiscreteCDF};

/// Two-sided exact p-value: the probability of a split at least this uneven of the questions that only one run got
/// right, if each were as likely to get them. 1 if there are none.
///
/// It takes every question for independent of the others. Where several concern one image, or runs have several seeds,
/// it is too sure: the clustered interval of [`super::Difference`] is not.
///
/// ```
/// # use deem_metrics::statistics::mcnemar;
/// assert!((mcnemar(1, 5) - 14.0 / 64.0).abs() < 1e-12);
/// assert_eq!(mcnemar(3, 3), 1.0);
/// ```
#[must_use]
pub fn mcnemar(wins: usize, losses: usize) -> f64 {
    let fewer = wins.min(losses) as u64;
    match Binomial::new(0.5, (wins + losses) as u64) {
        Ok(fair) => (2.0 * fair.cdf(fewer)).min(1.0),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(mcnemar(0, 0), 1.0);
        // 2 · (1 + 10) / 2^10
        assert!((mcnemar(1, 9) - 22.0 / 1024.0).abs() < 1e-12);
        assert!((mcnemar(9, 1) - mcnemar(1, 9)).abs() < 1e-15);
        assert!(mcnemar(5000, 5400) < 1e-4);
    }
}
