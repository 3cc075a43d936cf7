//! Noise levels σ = √(1 − ᾱ)/√ᾱ of the sampling steps, evenly spaced in one sense or another.

use libm::{log, pow};

/// `steps` levels from `max` down to `min`, even in σ^(1/7) (Karras et al. 2022).
pub(super) fn karras(max: f64, min: f64, steps: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    ramp(pow(max, 1.0 / RHO), pow(min, 1.0 / RHO), steps)
        .map(|root| pow(root, RHO))
        .collect()
}

/// `steps` levels from `max` down to `min`, even in log σ (Lu et al. 2022, and "exponential").
pub(super) fn exponential(max: f64, min: f64, steps: usize) -> Vec<f64> {
    ramp(log(max), log(min), steps).map(libm::exp).collect()
}

/// `steps` levels from `max` down to `min` at even quantiles of a beta distribution with both shapes
/// 0.6 (Lee et al. 2024).
pub(super) fn beta(max: f64, min: f64, steps: usize) -> Vec<f64> {
    ramp(1.0, 0.0, steps)
        .map(|share| min + beta_quantile(share) * (max - min))
        .collect()
}

/// Quantile of the symmetric beta distribution with shape 0.6, by bisection of its lower half.
fn beta_quantile(share: f64) -> f64 {
    if share > 0.5 {
        return 1.0 - beta_quantile(1.0 - share);
    }
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if beta_share(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Distribution function of that distribution for `x` ≤ 0.5, by its power series.
fn beta_share(x: f64) -> f64 {
    const SHAPE: f64 = 0.6;
    // B(0.6, 0.6) = Γ(0.6)² / Γ(1.2)
    const BETA: f64 = 1.489_192_248_812_817 * 1.489_192_248_812_817 / 0.918_168_742_399_760_7;
    let mut coefficient = 1.0;
    let mut sum = 0.0;
    for k in 0..100 {
        let k = f64::from(k);
        sum += coefficient / (SHAPE + k);
        coefficient *= (1.0 - SHAPE + k) / (k + 1.0) * x;
    }
    pow(x, SHAPE) / BETA * sum
}

fn ramp(start: f64, end: f64, steps: usize) -> impl Iterator<Item = f64> {
    (0..steps).map(move |i| start + (end - start) * i as f64 / (steps.max(2) - 1) as f64)
}

/// The (fractional) training timestep that has noise level `sigma`, interpolating log σ.
///
/// `levels` rises with the timestep. Their logarithms are rounded to f32, as in diffusers: the
/// caller may truncate the result, and then the last bit decides.
pub(super) fn timestep_of(sigma: f64, levels: &[f64]) -> f64 {
    let rounded = |level: f64| f64::from(log(f64::from(level as f32)) as f32);
    let wanted = log(sigma.max(1e-10));
    let above = levels.partition_point(|level| rounded(*level) <= wanted);
    let low = above.saturating_sub(1).min(levels.len().saturating_sub(2));
    let high = (low + 1).min(levels.len() - 1);
    let (a, b) = (rounded(levels[low]), rounded(levels[high]));
    if a == b {
        return low as f64;
    }
    low as f64 + ((a - wanted) / (a - b)).clamp(0.0, 1.0)
}

/// The noise level at a training timestep.
pub(super) fn level(alpha_cumprod: f64) -> f64 {
    ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramps_keep_their_ends() {
        for sigmas in [karras(10.0, 0.1, 5), exponential(10.0, 0.1, 5)] {
            assert!((sigmas[0] - 10.0).abs() < 1e-9 && (sigmas[4] - 0.1).abs() < 1e-9);
            assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]));
        }
        assert!((exponential(100.0, 0.01, 5)[2] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn beta_quantiles_are_symmetric_and_denser_at_the_ends() {
        let sigmas = beta(1.0, 0.0, 5);
        assert!((sigmas[2] - 0.5).abs() < 1e-9, "{sigmas:?}");
        assert!((sigmas[1] + sigmas[3] - 1.0).abs() < 1e-12);
        assert!(sigmas[0] - sigmas[1] < sigmas[1] - sigmas[2]);
        assert!((beta_share(0.5) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn timesteps_interpolate_logarithms() {
        let levels = [0.1, 1.0, 10.0];
        assert_eq!(timestep_of(0.01, &levels), 0.0);
        assert_eq!(timestep_of(1.0, &levels), 1.0);
        assert!((timestep_of(10f64.sqrt(), &levels) - 1.5).abs() < 1e-6);
        assert_eq!(timestep_of(99.0, &levels), 2.0);
        assert!((level(0.5) - 1.0).abs() < 1e-12);
    }
}
