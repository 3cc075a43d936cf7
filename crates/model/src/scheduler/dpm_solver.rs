//! DPM-Solver and DPM-Solver++ (Lu et al. 2022), multistep, after diffusers'
//! `DPMSolverMultistepScheduler`.
//!
//! The probability-flow equation is linear in the sample; what is integrated numerically is the
//! predicted clean sample (++) or noise as a function of λ = log(α/σ), extrapolated from the last
//! one to three predictions. Every update is a weighted sum of sample, predictions and noise, and
//! the weights are computed on the host.

mod config;
mod update;

use burn::tensor::Tensor;

pub use config::{DpmSolverConfig, FinalSigma, SolverAlgorithm, SolverType};
use update::{alpha_sigma, weights};

use super::sampler::{linspace, trailing};
use super::{NoiseSchedule, PredictionType, Sampler, SchedulerError, Spacing, sigmas};

/// The multistep solver for a fixed number of steps; remembers the last predictions.
#[derive(Clone, Debug)]
pub struct DpmSolver {
    config: DpmSolverConfig,
    timesteps: Vec<usize>,
    /// Noise level at each timestep, and after the last step.
    sigmas: Vec<f64>,
    /// Converted predictions of the steps taken, newest first.
    history: Vec<Tensor<4>>,
    next: usize,
}

impl DpmSolver {
    /// A solver with `steps` steps.
    ///
    /// # Errors
    /// `Steps` unless `1 ≤ steps ≤` training timesteps; `Config` for an unusable configuration.
    pub fn new(config: &DpmSolverConfig, steps: usize) -> Result<Self, SchedulerError> {
        config.check()?;
        let schedule = NoiseSchedule::new(&config.noise)?;
        let total = schedule.steps();
        if !(1..=total).contains(&steps) {
            return Err(SchedulerError::Steps {
                found: steps,
                limit: total,
            });
        }
        let mut levels: Vec<f64> = schedule
            .alphas_cumprod()
            .iter()
            .map(|alpha| sigmas::level(*alpha))
            .collect();
        if config.noise.rescale_betas_zero_snr {
            levels[total - 1] = sigmas::level(2f64.powi(-24)); // finite, as in diffusers
        }
        let (timesteps, mut chosen) = place(config, steps, &levels);
        if let Some(&found) = timesteps.iter().find(|t| **t >= total) {
            return Err(SchedulerError::Timestep {
                found,
                steps: total,
            });
        }
        chosen.push(match config.final_sigmas_type {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => levels[0],
        });
        // As in diffusers: a last step from the lowest level to itself is none at all.
        for level in &mut chosen {
            *level = f64::from(*level as f32);
        }
        Ok(Self {
            config: config.clone(),
            timesteps,
            sigmas: chosen,
            history: Vec::new(),
            next: 0,
        })
    }

    /// Clean sample (++) or noise that the network's output means at noise level `sigma`.
    fn convert(&self, sample: Tensor<4>, output: Tensor<4>, sigma: f64) -> Tensor<4> {
        let (alpha, sigma) = alpha_sigma(sigma);
        let prediction = self.config.noise.prediction_type;
        let threshold = self.config.thresholding;
        if self.config.predicts_sample() {
            let clean = match prediction {
                PredictionType::Epsilon => sample * (1.0 / alpha) - output * (sigma / alpha),
                PredictionType::Sample => output,
                PredictionType::VPrediction => sample * alpha - output * sigma,
            };
            if threshold.thresholding {
                threshold.apply(clean)
            } else {
                clean
            }
        } else {
            let noise = match prediction {
                PredictionType::Epsilon => output,
                PredictionType::Sample => sample.clone() * (1.0 / sigma) - output * (alpha / sigma),
                PredictionType::VPrediction => output * alpha + sample.clone() * sigma,
            };
            if threshold.thresholding {
                let clean = sample.clone() * (1.0 / alpha) - noise * (sigma / alpha);
                sample * (1.0 / sigma) - threshold.apply(clean) * (alpha / sigma)
            } else {
                noise
            }
        }
    }

    /// Order of the step at `index`, given how many predictions are known.
    fn order(&self, index: usize) -> usize {
        let steps = self.timesteps.len();
        let few = self.config.lower_order_final && steps < 15;
        let last = index + 1 == steps
            && (few
                || self.config.euler_at_final
                || self.config.final_sigmas_type == FinalSigma::Zero);
        let still = self.sigmas[index] == self.sigmas[index + 1];
        let limit = if last || still {
            1 // a step of no length has no slope
        } else if few && index + 2 == steps {
            2
        } else {
            3
        };
        self.config.solver_order.min(self.history.len()).min(limit)
    }
}

/// Timesteps and their noise levels.
fn place(config: &DpmSolverConfig, steps: usize, levels: &[f64]) -> (Vec<usize>, Vec<f64>) {
    let total = levels.len();
    let rounded = |level: f64| f64::from(level as f32); // as in diffusers
    let (min, max) = (rounded(levels[0]), rounded(levels[total - 1]));
    let even = if config.use_karras_sigmas {
        Some(sigmas::karras(max, min, steps))
    } else if config.use_lu_lambdas || config.use_exponential_sigmas {
        Some(sigmas::exponential(max, min, steps))
    } else if config.use_beta_sigmas {
        Some(sigmas::beta(max, min, steps))
    } else {
        None
    };
    if let Some(chosen) = even {
        let cosine = config.noise.beta_schedule == super::BetaSchedule::SquaredcosCapV2;
        let round = !(cosine || config.use_exponential_sigmas || config.use_beta_sigmas);
        let timesteps = chosen
            .iter()
            .map(|sigma| {
                let timestep = sigmas::timestep_of(*sigma, levels);
                (if round {
                    timestep.round_ties_even()
                } else {
                    timestep
                }) as usize
            })
            .collect();
        return (timesteps, chosen);
    }
    let clipped = config.lambda_min_clipped.map_or(0, |limit| {
        let below = |level: &&f64| -libm::log(**level) < limit;
        levels.iter().filter(below).count()
    });
    let last = total - clipped;
    let timesteps = match config.timestep_spacing {
        Spacing::Linspace => {
            let mut timesteps = linspace(last.saturating_sub(1), steps + 1);
            timesteps.pop();
            timesteps
        }
        Spacing::Leading => {
            let stride = last / (steps + 1);
            (1..=steps)
                .rev()
                .map(|i| (i * stride).saturating_add(config.steps_offset))
                .collect()
        }
        Spacing::Trailing => trailing(last, steps, total as f64 / steps as f64),
    };
    let chosen = timesteps
        .iter()
        .map(|t| levels[(*t).min(total - 1)])
        .collect();
    (timesteps, chosen)
}

impl Sampler for DpmSolver {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn stochastic(&self) -> bool {
        self.config.stochastic()
    }

    /// A step that does not follow the one before starts a new trajectory.
    fn step(
        &mut self,
        index: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        noise: Option<Tensor<4>>,
    ) -> Result<Tensor<4>, SchedulerError> {
        self.timestep(index)?;
        if self.stochastic() && noise.is_none() {
            return Err(SchedulerError::MissingNoise);
        }
        if index != self.next {
            self.history.clear();
        }
        let prediction = self.convert(sample.clone(), output, self.sigmas[index]);
        self.history.insert(0, prediction);
        self.history.truncate(self.config.solver_order);
        self.next = index + 1;

        let order = self.order(index);
        let weights = weights(
            self.config.algorithm_type,
            self.config.solver_type,
            order,
            self.sigmas[index],
            self.sigmas[index + 1],
        );
        // Divided differences become weights of the predictions themselves.
        let step = |i: usize| libm::log(self.sigmas[i]) - libm::log(self.sigmas[i + 1]);
        let [w0, w1, w2] = weights.differences;
        let mut mix = vec![w0];
        if order >= 2 {
            let r0 = step(index - 1) / step(index);
            mix = vec![w0 + w1 / r0, -w1 / r0];
            if order == 3 {
                let r1 = step(index - 2) / step(index);
                // D1 = a + r0/(r0+r1)·(a − b), D2 = (a − b)/(r0+r1), a = (m0−m1)/r0, b = (m1−m2)/r1
                let (wa, wb) = {
                    let share = r0 / (r0 + r1);
                    let bend = w2 / (r0 + r1);
                    (w1 * (1.0 + share) + bend, -w1 * share - bend)
                };
                mix = vec![w0 + wa / r0, wb / r1 - wa / r0, -wb / r1];
            }
        }
        let mut next = sample * weights.sample;
        for (prediction, weight) in self.history.iter().zip(mix) {
            next = next + prediction.clone() * weight;
        }
        Ok(match noise {
            Some(noise) if weights.noise != 0.0 => next + noise * weights.noise,
            _ => next,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::NoiseConfig;
    use burn::tensor::Device;

    fn solve(config: &DpmSolverConfig, steps: usize) -> f32 {
        // A constant true clean sample: every order is exact.
        let device = Device::flex();
        let clean = Tensor::<4>::from_floats([[[[0.7, -1.3]]]], &device);
        let mut sample = Tensor::<4>::from_floats([[[[-0.4, 2.0]]]], &device);
        let mut solver = DpmSolver::new(config, steps).unwrap();
        for index in 0..solver.timesteps().len() {
            let noise = solver.stochastic().then(|| sample.ones_like());
            sample = solver.step(index, sample, clean.clone(), noise).unwrap();
        }
        (sample - clean).abs().max().into_scalar::<f32>()
    }

    #[test]
    fn a_true_sample_prediction_is_reached_by_every_order() {
        for order in 1..=3 {
            for steps in [1, 4, 20] {
                let config = DpmSolverConfig {
                    solver_order: order,
                    noise: NoiseConfig {
                        prediction_type: PredictionType::Sample,
                        ..NoiseConfig::stable_diffusion()
                    },
                    ..DpmSolverConfig::default()
                };
                let error = solve(&config, steps);
                assert!(error < 1e-5, "order {order}, {steps} steps: {error}");
            }
        }
    }

    /// These levels end at the lowest one, where the last step starts already.
    #[test]
    fn a_step_of_no_length_changes_nothing() {
        let device = Device::flex();
        let x = Tensor::<4>::from_floats([[[[0.7, -1.3]]]], &device);
        for (algorithm, order) in [
            (SolverAlgorithm::SdeDpmSolver, 2),
            (SolverAlgorithm::DpmSolver, 3),
            (SolverAlgorithm::SdeDpmSolverPlusPlus, 2),
        ] {
            let config = DpmSolverConfig {
                algorithm_type: algorithm,
                solver_order: order,
                solver_type: SolverType::Heun,
                final_sigmas_type: FinalSigma::SigmaMin,
                lower_order_final: false,
                use_beta_sigmas: true,
                ..DpmSolverConfig::stable_diffusion()
            };
            let mut solver = DpmSolver::new(&config, 4).unwrap();
            let mut before = x.clone();
            for index in 0..3 {
                let output = x.clone() * index as f32;
                before = solver.step(index, before, output, Some(x.clone())).unwrap();
            }
            let after = solver.step(3, before.clone(), x.clone(), Some(x.clone()));
            let change = (after.unwrap() - before).abs().max().into_scalar::<f32>();
            assert_eq!(change, 0.0, "{algorithm:?}");
        }
    }

    #[test]
    fn skipping_a_step_forgets_the_history() {
        let device = Device::flex();
        let x = Tensor::<4>::ones([1, 1, 1, 1], &device);
        let config = DpmSolverConfig::stable_diffusion();
        let mut used = DpmSolver::new(&config, 10).unwrap();
        used.step(0, x.clone(), x.clone() * 5.0, None).unwrap();
        let mut fresh = DpmSolver::new(&config, 10).unwrap();
        let a = used.step(4, x.clone(), x.clone(), None).unwrap();
        let b = fresh.step(4, x.clone(), x, None).unwrap();
        assert_eq!(a.into_scalar::<f32>(), b.into_scalar::<f32>());
    }

    #[test]
    fn unsupported_fields_are_named() {
        let flow = DpmSolverConfig {
            use_flow_sigmas: true,
            ..DpmSolverConfig::default()
        };
        let error = DpmSolver::new(&flow, 5).unwrap_err().to_string();
        assert!(error.contains("use_flow_sigmas"), "{error}");
        let noise = DpmSolverConfig {
            algorithm_type: SolverAlgorithm::DpmSolver,
            ..DpmSolverConfig::default()
        };
        let error = DpmSolver::new(&noise, 5).unwrap_err().to_string();
        assert!(error.contains("sigma_min"), "{error}");
    }
}
