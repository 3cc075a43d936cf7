//! DDIM sampling (Song et al. 2021, formulas 12 and 16), after diffusers' `DDIMScheduler`.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::sampler::{linspace, trailing};
use super::{
    NoiseConfig, NoiseSchedule, PredictionType, Sampler, SchedulerError, Spacing, Thresholding,
};

/// `scheduler_config.json` as diffusers' `DDIMScheduler` reads it, with its defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DdimConfig {
    /// The noise schedule.
    #[serde(flatten)]
    pub noise: NoiseConfig,
    /// Clip the predicted clean sample to ± `clip_sample_range`.
    pub clip_sample: bool,
    /// Bound of the clipping.
    pub clip_sample_range: f64,
    /// End in a noiseless sample, instead of at the noise of training step 0.
    pub set_alpha_to_one: bool,
    /// Added to every timestep of leading spacing.
    pub steps_offset: usize,
    /// Where the steps lie.
    pub timestep_spacing: Spacing,
    /// Dynamic thresholding, in place of clipping.
    #[serde(flatten)]
    pub thresholding: Thresholding,
    /// Amount of noise added at each step: 0 is deterministic, 1 is DDPM. Ours, not a field of
    /// diffusers' file.
    pub eta: f64,
}

impl Default for DdimConfig {
    fn default() -> Self {
        Self {
            noise: NoiseConfig::default(),
            clip_sample: true,
            clip_sample_range: 1.0,
            set_alpha_to_one: true,
            steps_offset: 0,
            timestep_spacing: Spacing::Leading,
            thresholding: Thresholding::default(),
            eta: 0.0,
        }
    }
}

impl DdimConfig {
    /// The sampler that Stable Diffusion is published with.
    pub fn stable_diffusion() -> Self {
        Self {
            noise: NoiseConfig::stable_diffusion(),
            clip_sample: false,
            set_alpha_to_one: false,
            steps_offset: 1,
            ..Self::default()
        }
    }
}

impl DdimConfig {
    fn check(&self) -> Result<(), SchedulerError> {
        let (range, eta) = (self.clip_sample_range, self.eta);
        let wrong = |field, found: f64, expected| {
            Err(SchedulerError::Config {
                field,
                found: found.to_string(),
                expected,
            })
        };
        if self.clip_sample && !(range.is_finite() && range > 0.0) {
            return wrong("clip_sample_range", range, "a finite number above 0");
        }
        if !(eta.is_finite() && eta >= 0.0) {
            return wrong("eta", eta, "a finite number from 0 on");
        }
        self.thresholding.check()
    }
}

/// The DDIM sampler for a fixed number of steps.
#[derive(Clone, Debug)]
pub struct Ddim {
    config: DdimConfig,
    schedule: NoiseSchedule,
    timesteps: Vec<usize>,
    stride: usize,
}

impl Ddim {
    /// A sampler with `steps` steps.
    ///
    /// # Errors
    /// `Steps` unless `1 ≤ steps ≤` training timesteps; `Config` for an unusable configuration.
    pub fn new(config: &DdimConfig, steps: usize) -> Result<Self, SchedulerError> {
        config.check()?;
        let schedule = NoiseSchedule::new(&config.noise)?;
        let total = schedule.steps();
        if !(1..=total).contains(&steps) {
            return Err(SchedulerError::Steps {
                found: steps,
                limit: total,
            });
        }
        let stride = total / steps;
        let timesteps = match config.timestep_spacing {
            Spacing::Linspace => linspace(total - 1, steps),
            Spacing::Leading => (0..steps)
                .rev()
                .map(|i| (i * stride).saturating_add(config.steps_offset))
                .collect(),
            Spacing::Trailing => trailing(total, steps, total as f64 / steps as f64),
        };
        if let Some(&found) = timesteps.iter().find(|t| **t >= total) {
            return Err(SchedulerError::Timestep {
                found,
                steps: total,
            });
        }
        Ok(Self {
            config: config.clone(),
            schedule,
            timesteps,
            stride,
        })
    }

    /// One step from any training timestep, whether or not it is among [`Sampler::timesteps`].
    ///
    /// # Errors
    /// `Timestep` outside the training schedule, `MissingNoise` if `eta > 0` and there is none.
    pub fn step_at(
        &self,
        timestep: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        noise: Option<Tensor<4>>,
    ) -> Result<Tensor<4>, SchedulerError> {
        let alphas = self.schedule.alphas_cumprod();
        let alpha = *alphas.get(timestep).ok_or(SchedulerError::Timestep {
            found: timestep,
            steps: alphas.len(),
        })?;
        let previous = match timestep.checked_sub(self.stride) {
            Some(timestep) => alphas[timestep],
            None if self.config.set_alpha_to_one => 1.0,
            None => alphas[0],
        };
        let (signal, sigma) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let variance = (1.0 - previous) / (1.0 - alpha) * (1.0 - alpha / previous);
        let deviation = self.config.eta * variance.max(0.0).sqrt();
        let direction = (1.0 - previous - deviation * deviation).max(0.0).sqrt();

        // Clean sample and noise as combinations of (sample, output).
        let (clean, epsilon) = match self.config.noise.prediction_type {
            PredictionType::Epsilon => ([1.0 / signal, -sigma / signal], [0.0, 1.0]),
            PredictionType::Sample => ([0.0, 1.0], [1.0 / sigma, -signal / sigma]),
            PredictionType::VPrediction => ([signal, -sigma], [sigma, signal]),
        };
        let scale = previous.sqrt();
        let threshold = self.config.thresholding;
        let next = if threshold.thresholding || self.config.clip_sample {
            let clean = combine(sample.clone(), output.clone(), clean);
            let clean = if threshold.thresholding {
                threshold.apply(clean)
            } else {
                let range = self.config.clip_sample_range;
                clean.clamp(-range, range)
            };
            clean * scale + combine(sample, output, epsilon) * direction
        } else {
            let weight = |i: usize| scale * clean[i] + direction * epsilon[i];
            combine(sample, output, [weight(0), weight(1)])
        };
        if deviation == 0.0 && self.config.eta == 0.0 {
            return Ok(next);
        }
        let noise = noise.ok_or(SchedulerError::MissingNoise)?;
        Ok(next + noise * deviation)
    }
}

fn combine(sample: Tensor<4>, output: Tensor<4>, weights: [f64; 2]) -> Tensor<4> {
    sample * weights[0] + output * weights[1]
}

impl Sampler for Ddim {
    fn timesteps(&self) -> &[usize] {
        &self.timesteps
    }

    fn stochastic(&self) -> bool {
        self.config.eta > 0.0
    }

    fn step(
        &mut self,
        index: usize,
        sample: Tensor<4>,
        output: Tensor<4>,
        noise: Option<Tensor<4>>,
    ) -> Result<Tensor<4>, SchedulerError> {
        self.step_at(self.timestep(index)?, sample, output, noise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn a_true_noise_prediction_leads_back_to_the_sample_in_any_number_of_steps() {
        let device = Device::flex();
        let clean = Tensor::<4>::from_floats([[[[0.7, -1.3]]]], &device);
        let noise = Tensor::<4>::from_floats([[[[-0.4, 2.0]]]], &device);
        let config = DdimConfig {
            set_alpha_to_one: true,
            ..DdimConfig::stable_diffusion()
        };
        for steps in [1, 7, 50] {
            let mut ddim = Ddim::new(&config, steps).unwrap();
            let schedule = NoiseSchedule::new(&config.noise).unwrap();
            let start = ddim.timesteps()[0];
            let mut sample = schedule
                .add_noise(clean.clone(), noise.clone(), &[start])
                .unwrap();
            for index in 0..steps {
                sample = ddim.step(index, sample, noise.clone(), None).unwrap();
            }
            let error = (sample - clean.clone()).abs().max().into_scalar::<f32>();
            assert!(error < 2e-5, "{steps} steps: {error}");
        }
    }

    #[test]
    fn published_file_is_read_with_fields_of_other_classes() {
        let config: DdimConfig = super::super::from_json(
            r#"{"_class_name": "PNDMScheduler", "_diffusers_version": "0.8.0", "beta_end": 0.012,
                "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false,
                "num_train_timesteps": 1000, "prediction_type": "epsilon", "set_alpha_to_one": false,
                "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null,
                "lambda_min_clipped": -Infinity}"#,
        )
        .unwrap();
        assert_eq!(config, DdimConfig::stable_diffusion());
    }

    #[test]
    fn bad_requests_are_named() {
        let config = DdimConfig::default();
        assert!(matches!(
            Ddim::new(&config, 0).unwrap_err(),
            SchedulerError::Steps { .. }
        ));
        let offset = DdimConfig {
            steps_offset: 1,
            ..config.clone()
        };
        assert!(matches!(
            Ddim::new(&offset, 1000).unwrap_err(),
            SchedulerError::Timestep { found: 1000, .. }
        ));
        let mut noisy = Ddim::new(&DdimConfig { eta: 1.0, ..config }, 2).unwrap();
        let x = Tensor::zeros([1, 1, 1, 1], &Device::flex());
        assert_eq!(
            noisy.step(0, x.clone(), x.clone(), None).unwrap_err(),
            SchedulerError::MissingNoise
        );
        assert!(matches!(
            noisy.step(2, x.clone(), x, None).unwrap_err(),
            SchedulerError::Index { found: 2, steps: 2 }
        ));
    }

    #[test]
    fn numbers_that_no_sample_survives_are_named() {
        let usual = DdimConfig::stable_diffusion;
        let thresholding = |ratio: f64, most: f64| Thresholding {
            thresholding: true,
            dynamic_thresholding_ratio: ratio,
            sample_max_value: most,
        };
        for (field, config) in [
            (
                "eta",
                DdimConfig {
                    eta: f64::NAN,
                    ..usual()
                },
            ),
            (
                "clip_sample_range",
                DdimConfig {
                    clip_sample: true,
                    clip_sample_range: -1.0,
                    ..usual()
                },
            ),
            (
                "dynamic_thresholding_ratio",
                DdimConfig {
                    thresholding: thresholding(f64::NAN, 1.0),
                    ..usual()
                },
            ),
            (
                "sample_max_value",
                DdimConfig {
                    thresholding: thresholding(0.9, 0.0),
                    ..usual()
                },
            ),
        ] {
            let error = Ddim::new(&config, 4).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
