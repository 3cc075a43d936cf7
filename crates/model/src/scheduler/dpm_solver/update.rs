use libm::{exp, expm1, log};

use super::{SolverAlgorithm, SolverType};

/// `α` and `σ` with `α² + σ² = 1` and the given ratio `σ/α`.
pub(super) fn alpha_sigma(ratio: f64) -> (f64, f64) {
    let alpha = 1.0 / (ratio * ratio + 1.0).sqrt();
    (alpha, ratio * alpha)
}

/// Weights of an update: of the sample, of the prediction and its first and second differences,
/// and of fresh noise.
pub(super) struct Weights {
    pub sample: f64,
    pub differences: [f64; 3],
    pub noise: f64,
}

/// The integrals of a step of length `h` in λ, from `(α₀, σ₀)` to `(α, σ)`.
pub(super) fn weights(
    algorithm: SolverAlgorithm,
    solver: SolverType,
    order: usize,
    from: f64,
    to: f64,
) -> Weights {
    let ((alpha0, sigma0), (alpha, sigma)) = (alpha_sigma(from), alpha_sigma(to));
    let h = log(from) - log(to); // λ = −ln(σ/α)
    let midpoint = order == 2 && solver == SolverType::Midpoint;
    let (sample, scale, z, noise) = match algorithm {
        SolverAlgorithm::DpmSolverPlusPlus => (sigma / sigma0, alpha, -h, 0.0),
        SolverAlgorithm::DpmSolver => (alpha / alpha0, -sigma, h, 0.0),
        SolverAlgorithm::SdeDpmSolverPlusPlus => {
            let noise = sigma * (1.0 - exp(-2.0 * h)).max(0.0).sqrt();
            (sigma / sigma0 * exp(-h), alpha, -2.0 * h, noise)
        }
        SolverAlgorithm::SdeDpmSolver => {
            let noise = sigma * (exp(2.0 * h) - 1.0).max(0.0).sqrt();
            (alpha / alpha0, -2.0 * sigma, h, noise)
        }
    };
    // Exponential integrals of the step: of the prediction, its slope and its curvature.
    let growth = expm1(z);
    let plus_plus = matches!(
        algorithm,
        SolverAlgorithm::DpmSolverPlusPlus | SolverAlgorithm::SdeDpmSolverPlusPlus
    );
    let zeroth = if plus_plus { -growth } else { growth };
    let first = if order == 1 {
        0.0
    } else if midpoint {
        0.5 * zeroth
    } else if plus_plus {
        1.0 - growth / z
    } else {
        growth / z - 1.0
    };
    let second = match algorithm {
        _ if order < 3 => 0.0,
        SolverAlgorithm::DpmSolverPlusPlus => 0.5 - (growth - z) / (z * z),
        // Diffusers' sign of the constant, although it does not vanish with the step.
        SolverAlgorithm::SdeDpmSolverPlusPlus => -0.5 - (growth - z) / (z * z),
        _ => (growth - z) / (z * z) - 0.5,
    };
    Weights {
        sample,
        differences: [zeroth, first, second].map(|weight| weight * scale),
        noise,
    }
}
