//! Choosing the next token.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sampling {
    /// The most probable token.
    #[default]
    Greedy,
    /// Drawn from the smallest set of tokens whose probabilities sum to `top_p`
    /// (Holtzman et al., 2020).
    Nucleus {
        /// Divides the logits.
        temperature: f32,
        /// Probability mass kept.
        top_p: f32,
        /// Seed of the draws.
        seed: u64,
    },
}

/// The next token, given its logits. `draw` numbers the decision within a generation.
pub fn choose(logits: &[f32], sampling: Sampling, draw: u64) -> usize {
    let Sampling::Nucleus {
        temperature,
        top_p,
        seed,
    } = sampling
    else {
        return argmax(logits);
    };
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let highest = logits[order[0]];
    let weights: Vec<f64> = order
        .iter()
        .map(|i| libm::exp(f64::from((logits[*i] - highest) / temperature.max(1e-3))))
        .collect();
    let total: f64 = weights.iter().sum();
    let mut mass = 0.0;
    let kept = weights
        .iter()
        .take_while(|weight| {
            let inside = mass < f64::from(top_p) * total;
            mass += **weight;
            inside
        })
        .count()
        .max(1);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(draw);
    let mut left = rng.random::<f64>() * weights[..kept].iter().sum::<f64>();
    for (index, weight) in weights[..kept].iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return order[index];
        }
    }
    order[kept - 1]
}

/// Index of the largest value; the first of equals.
pub(super) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

/// Log-probabilities of logits.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let highest = f64::from(logits[argmax(logits)]);
    let terms = logits.iter().map(|l| libm::exp(f64::from(*l) - highest));
    let norm = highest + libm::log(terms.sum());
    logits.iter().map(|l| f64::from(*l) - norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(choose(&[0.0, 2.0, 2.0, 1.0], Sampling::Greedy, 0), 1);
    }

    #[test]
    fn nucleus_never_leaves_its_mass_and_keeps_its_proportions() {
        // Probabilities 0.6, 0.3, 0.1: the first two reach 0.8, so the third never comes.
        let logits = [0.3f32.ln(), 0.6f32.ln(), 0.1f32.ln()];
        let mut counts = [0; 3];
        for draw in 0..2000 {
            let sampling = Sampling::Nucleus {
                temperature: 1.0,
                top_p: 0.8,
                seed: 7,
            };
            counts[choose(&logits, sampling, draw)] += 1;
        }
        assert_eq!(counts[2], 0);
        assert!(
            (f64::from(counts[1]) / 2000.0 - 2.0 / 3.0).abs() < 0.05,
            "{counts:?}"
        );
    }

    #[test]
    fn log_softmax_of_equal_logits_is_uniform() {
        for value in log_softmax(&[3.0, 3.0]) {
            assert!((value + std::f64::consts::LN_2).abs() < 1e-12);
        }
    }
}
