//! The forward process of denoising diffusion (Ho et al. 2020): `x_t = √ᾱ_t x + √(1 − ᾱ_t) ε`.
//!
//! Betas and alphas are rounded to f32, as in diffusers, whose tables published models were
//! trained with; everything derived from them is f64.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::SchedulerError;

/// Shape of the noise schedule over the training timesteps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Betas evenly spaced.
    #[default]
    Linear,
    /// Square roots of betas evenly spaced (latent diffusion).
    ScaledLinear,
    /// Squared cosine of Nichol and Dhariwal, betas capped at 0.999.
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredcosCapV2,
    /// Logistic curve of GeoDiff.
    Sigmoid,
}

/// What the network's output means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise ε.
    #[default]
    Epsilon,
    /// The clean sample.
    Sample,
    /// The velocity `√ᾱ ε − √(1 − ᾱ) x` (Salimans and Ho 2022).
    VPrediction,
}

/// The part of `scheduler_config.json` that every diffusers scheduler shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoiseConfig {
    /// Number of timesteps the model was trained with.
    pub num_train_timesteps: usize,
    /// First beta.
    pub beta_start: f64,
    /// Last beta.
    pub beta_end: f64,
    /// Curve between them.
    pub beta_schedule: BetaSchedule,
    /// Explicit betas, instead of a curve.
    pub trained_betas: Option<Vec<f64>>,
    /// What the network predicts.
    pub prediction_type: PredictionType,
    /// Shift the schedule so that the last step is pure noise (Lin et al. 2024).
    pub rescale_betas_zero_snr: bool,
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 1e-4,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            prediction_type: PredictionType::Epsilon,
            rescale_betas_zero_snr: false,
        }
    }
}

impl NoiseConfig {
    /// The schedule of Stable Diffusion (scaled linear, 0.00085 to 0.012, epsilon prediction).
    pub fn stable_diffusion() -> Self {
        Self {
            beta_start: 0.000_85,
            beta_end: 0.012,
            beta_schedule: BetaSchedule::ScaledLinear,
            ..Self::default()
        }
    }
}

/// Signal and noise levels of every training timestep.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    alphas_cumprod: Vec<f64>,
    config: NoiseConfig,
}

impl NoiseSchedule {
    /// The schedule that a configuration describes.
    ///
    /// # Errors
    /// `Config` if there are no timesteps, or betas lie outside `[0, 1)`.
    pub fn new(config: &NoiseConfig) -> Result<Self, SchedulerError> {
        let mut betas = betas(config)?;
        if config.rescale_betas_zero_snr {
            betas = zero_terminal_snr(&betas);
        }
        let mut product = 1.0;
        let alphas_cumprod: Vec<f64> = betas
            .iter()
            .map(|beta| {
                product *= f64::from((1.0 - f64::from(*beta)) as f32);
                product
            })
            .collect();
        // Noise that does not grow cannot be rescaled to end in nothing else.
        if let Some(found) = alphas_cumprod.iter().find(|level| !level.is_finite()) {
            return Err(SchedulerError::Config {
                field: "rescale_betas_zero_snr",
                found: format!("true, which makes {found} of these betas"),
                expected: "false, or betas above 0",
            });
        }
        Ok(Self {
            alphas_cumprod,
            config: config.clone(),
        })
    }

    /// Number of training timesteps.
    pub fn steps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// What the network predicts.
    pub fn prediction(&self) -> PredictionType {
        self.config.prediction_type
    }

    /// What it was made from.
    pub fn config(&self) -> &NoiseConfig {
        &self.config
    }

    /// `ᾱ` of every training timestep.
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// `x_t = √ᾱ_t x + √(1 − ᾱ_t) ε`.
    ///
    /// # Shapes
    /// - `sample`, `noise`: `[batch, ..]`
    /// - `timesteps`: one for each row of the batch, or one for all, below [`Self::steps`]
    ///
    /// # Errors
    /// `Timestep`, `Batch`.
    pub fn add_noise<const D: usize>(
        &self,
        sample: Tensor<D>,
        noise: Tensor<D>,
        timesteps: &[usize],
    ) -> Result<Tensor<D>, SchedulerError> {
        let (signal, sigma) = self.levels(&sample, timesteps)?;
        Ok(sample * signal + noise * sigma)
    }

    /// `v = √ᾱ_t ε − √(1 − ᾱ_t) x`; shapes and errors as in [`Self::add_noise`].
    pub fn velocity<const D: usize>(
        &self,
        sample: Tensor<D>,
        noise: Tensor<D>,
        timesteps: &[usize],
    ) -> Result<Tensor<D>, SchedulerError> {
        let (signal, sigma) = self.levels(&sample, timesteps)?;
        Ok(noise * signal - sample * sigma)
    }

    /// What the network should have predicted; shapes and errors as in [`Self::add_noise`].
    pub fn target<const D: usize>(
        &self,
        sample: Tensor<D>,
        noise: Tensor<D>,
        timesteps: &[usize],
    ) -> Result<Tensor<D>, SchedulerError> {
        match self.config.prediction_type {
            PredictionType::Epsilon => Ok(noise),
            PredictionType::Sample => Ok(sample),
            PredictionType::VPrediction => self.velocity(sample, noise, timesteps),
        }
    }

    /// The clean sample that a prediction implies; shapes and errors as in [`Self::add_noise`].
    pub fn predict_sample<const D: usize>(
        &self,
        noisy: Tensor<D>,
        output: Tensor<D>,
        timesteps: &[usize],
    ) -> Result<Tensor<D>, SchedulerError> {
        let (signal, sigma) = self.levels(&noisy, timesteps)?;
        Ok(match self.config.prediction_type {
            PredictionType::Epsilon => (noisy - output * sigma) / signal,
            PredictionType::Sample => output,
            PredictionType::VPrediction => noisy * signal - output * sigma,
        })
    }

    /// `√ᾱ` and `√(1 − ᾱ)`, shaped `[batch or 1, 1, ..]`, where `like` is.
    fn levels<const D: usize>(
        &self,
        like: &Tensor<D>,
        timesteps: &[usize],
    ) -> Result<(Tensor<D>, Tensor<D>), SchedulerError> {
        let batch = like.dims()[0];
        if timesteps.len() != 1 && timesteps.len() != batch {
            return Err(SchedulerError::Batch {
                found: timesteps.len(),
                batch,
            });
        }
        let steps = self.steps();
        if let Some(&found) = timesteps.iter().find(|t| **t >= steps) {
            return Err(SchedulerError::Timestep { found, steps });
        }
        let mut shape = [1; D];
        shape[0] = timesteps.len();
        let column = |level: fn(f64) -> f64| {
            let values: Vec<f32> = timesteps
                .iter()
                .map(|t| level(self.alphas_cumprod[*t]) as f32)
                .collect();
            Tensor::from_data(
                TensorData::new(values, shape),
                (&like.device(), like.dtype()),
            )
        };
        Ok((column(f64::sqrt), column(|alpha| (1.0 - alpha).sqrt())))
    }
}

/// More timesteps than any model has; a file that asks for more is damaged.
const MAX_STEPS: usize = 1_000_000;

fn betas(config: &NoiseConfig) -> Result<Vec<f32>, SchedulerError> {
    if config.num_train_timesteps > MAX_STEPS {
        return Err(SchedulerError::Config {
            field: "num_train_timesteps",
            found: config.num_train_timesteps.to_string(),
            expected: "at most 1000000",
        });
    }
    let betas: Vec<f32> = match &config.trained_betas {
        Some(betas) => betas.iter().map(|beta| *beta as f32).collect(),
        None => {
            let steps = config.num_train_timesteps;
            let line = |start: f64, end: f64, i: usize| {
                start + (end - start) * i as f64 / (steps.max(2) - 1) as f64
            };
            let (start, end) = (config.beta_start, config.beta_end);
            let beta = |i: usize| match config.beta_schedule {
                BetaSchedule::Linear => line(start, end, i),
                BetaSchedule::ScaledLinear => line(start.sqrt(), end.sqrt(), i).powi(2),
                BetaSchedule::SquaredcosCapV2 => {
                    let alpha_bar = |t: f64| {
                        let angle = (t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2;
                        libm::cos(angle).powi(2)
                    };
                    let (t1, t2) = (i as f64 / steps as f64, (i + 1) as f64 / steps as f64);
                    (1.0 - alpha_bar(t2) / alpha_bar(t1)).min(0.999)
                }
                BetaSchedule::Sigmoid => {
                    (end - start) / (1.0 + libm::exp(-line(-6.0, 6.0, i))) + start
                }
            };
            (0..steps).map(|i| beta(i) as f32).collect()
        }
    };
    if betas.is_empty() {
        return Err(SchedulerError::Config {
            field: "num_train_timesteps",
            found: "0".into(),
            expected: "at least one timestep",
        });
    }
    if let Some(beta) = betas.iter().find(|beta| !(0.0..1.0).contains(*beta)) {
        return Err(SchedulerError::Config {
            field: "beta_start, beta_end or trained_betas",
            found: beta.to_string(),
            expected: "betas in [0, 1)",
        });
    }
    Ok(betas)
}

/// Rescales betas so that the last timestep carries no signal (Lin et al. 2024, algorithm 1).
///
/// Every step is rounded to f32, as in diffusers: the first betas are small differences from 1, of which
/// rounding is a part that published models were trained with.
fn zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0;
    let roots: Vec<f32> = betas
        .iter()
        .map(|beta| {
            product *= f64::from(1.0 - beta);
            (product as f32).sqrt()
        })
        .collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let mut previous = 1.0;
    roots
        .iter()
        .map(|root| {
            let root = (root - last) * scale;
            let alpha_bar = root * root;
            let beta = 1.0 - alpha_bar / previous;
            previous = alpha_bar;
            beta
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn three_steps(prediction: PredictionType) -> NoiseSchedule {
        NoiseSchedule::new(&NoiseConfig {
            trained_betas: Some(vec![0.0, 0.75, 0.5]), // ᾱ = 1, 1/4, 1/8
            prediction_type: prediction,
            ..NoiseConfig::default()
        })
        .unwrap()
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn noise_and_velocity_follow_the_definition() {
        let schedule = three_steps(PredictionType::VPrediction);
        let device = Device::flex();
        let x = Tensor::<2>::from_floats([[2.0], [2.0]], &device);
        let noise = Tensor::<2>::from_floats([[4.0], [4.0]], &device);
        let noisy = schedule
            .add_noise(x.clone(), noise.clone(), &[0, 1])
            .unwrap();
        let root = 0.75f32.sqrt();
        assert_eq!(values(noisy), [2.0, 1.0 + 4.0 * root]);
        let target = schedule.target(x.clone(), noise.clone(), &[0, 1]).unwrap();
        assert_eq!(values(target), [4.0, 2.0 - 2.0 * root]);
    }

    #[test]
    fn predictions_recover_the_sample() {
        let device = Device::flex();
        let x = Tensor::<2>::from_floats([[2.0, -1.0]], &device);
        let noise = Tensor::<2>::from_floats([[0.5, 3.0]], &device);
        for prediction in [
            PredictionType::Epsilon,
            PredictionType::Sample,
            PredictionType::VPrediction,
        ] {
            let schedule = three_steps(prediction);
            let noisy = schedule.add_noise(x.clone(), noise.clone(), &[2]).unwrap();
            let output = schedule.target(x.clone(), noise.clone(), &[2]).unwrap();
            let back = values(schedule.predict_sample(noisy, output, &[2]).unwrap());
            assert!(
                (back[0] - 2.0).abs() < 1e-5 && (back[1] + 1.0).abs() < 1e-5,
                "{back:?}"
            );
        }
    }

    #[test]
    fn zero_terminal_snr_ends_in_pure_noise_and_keeps_the_start() {
        let config = NoiseConfig::stable_diffusion();
        let plain = NoiseSchedule::new(&config).unwrap();
        let rescaled = NoiseSchedule::new(&NoiseConfig {
            rescale_betas_zero_snr: true,
            ..config
        });
        // The last beta is 1, which only this option may produce.
        let rescaled = rescaled.unwrap();
        assert_eq!(rescaled.alphas_cumprod()[999], 0.0);
        let (a, b) = (rescaled.alphas_cumprod()[0], plain.alphas_cumprod()[0]);
        assert!((a - b).abs() < 1e-6); // single precision
    }

    #[test]
    fn bad_input_is_named() {
        let schedule = three_steps(PredictionType::Epsilon);
        let x = Tensor::<2>::zeros([2, 1], &Device::flex());
        let late = schedule.add_noise(x.clone(), x.clone(), &[0, 3]);
        assert_eq!(
            late.unwrap_err(),
            SchedulerError::Timestep { found: 3, steps: 3 }
        );
        let many = schedule.add_noise(x.clone(), x, &[0, 1, 2]);
        assert_eq!(
            many.unwrap_err(),
            SchedulerError::Batch { found: 3, batch: 2 }
        );
        let negative = NoiseConfig {
            beta_start: -0.1,
            ..NoiseConfig::default()
        };
        assert!(NoiseSchedule::new(&negative).is_err());
        let none = NoiseConfig {
            trained_betas: Some(vec![0.0; 3]),
            rescale_betas_zero_snr: true,
            ..NoiseConfig::default()
        };
        let error = NoiseSchedule::new(&none).unwrap_err().to_string();
        assert!(error.contains("rescale_betas_zero_snr"), "{error}");
    }
}
