use serde::{Deserialize, Serialize};

use crate::scheduler::{NoiseConfig, SchedulerError, Spacing, Thresholding};

/// Which equation is solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SolverAlgorithm {
    /// Noise prediction, deterministic.
    #[serde(rename = "dpmsolver")]
    DpmSolver,
    /// Sample prediction, deterministic.
    #[serde(rename = "dpmsolver++", alias = "deis")]
    DpmSolverPlusPlus,
    /// Noise prediction, stochastic.
    #[serde(rename = "sde-dpmsolver")]
    SdeDpmSolver,
    /// Sample prediction, stochastic.
    #[serde(rename = "sde-dpmsolver++")]
    SdeDpmSolverPlusPlus,
}

/// How a second-order step weighs the change of the prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SolverType {
    /// At the middle of the step.
    #[serde(alias = "logrho", alias = "bh1", alias = "bh2")]
    Midpoint,
    /// By its integral.
    Heun,
}

/// The noise level after the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigma {
    /// None.
    Zero,
    /// That of training step 0.
    SigmaMin,
}

/// `scheduler_config.json` as `DPMSolverMultistepScheduler` reads it, with its defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DpmSolverConfig {
    /// The noise schedule.
    #[serde(flatten)]
    pub noise: NoiseConfig,
    /// 1, 2 or 3.
    pub solver_order: usize,
    /// The equation.
    pub algorithm_type: SolverAlgorithm,
    /// The second-order rule.
    pub solver_type: SolverType,
    /// Fall back to lower orders in the last steps, if there are fewer than 15.
    pub lower_order_final: bool,
    /// First order in the last step, always.
    pub euler_at_final: bool,
    /// Steps even in σ^(1/7).
    pub use_karras_sigmas: bool,
    /// Steps even in log σ.
    pub use_exponential_sigmas: bool,
    /// Steps even in λ.
    pub use_lu_lambdas: bool,
    /// Steps at the quantiles of a beta distribution.
    pub use_beta_sigmas: bool,
    /// Not supported.
    pub use_flow_sigmas: bool,
    /// Noise left at the end.
    pub final_sigmas_type: FinalSigma,
    /// Ignore training timesteps with a smaller λ; absent means none.
    pub lambda_min_clipped: Option<f64>,
    /// Where the steps lie.
    pub timestep_spacing: Spacing,
    /// Added to every timestep of leading spacing.
    pub steps_offset: usize,
    /// Dynamic thresholding.
    #[serde(flatten)]
    pub thresholding: Thresholding,
}

impl Default for DpmSolverConfig {
    fn default() -> Self {
        Self {
            noise: NoiseConfig::default(),
            solver_order: 2,
            algorithm_type: SolverAlgorithm::DpmSolverPlusPlus,
            solver_type: SolverType::Midpoint,
            lower_order_final: true,
            euler_at_final: false,
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            use_lu_lambdas: false,
            use_beta_sigmas: false,
            use_flow_sigmas: false,
            final_sigmas_type: FinalSigma::Zero,
            lambda_min_clipped: None,
            timestep_spacing: Spacing::Linspace,
            steps_offset: 0,
            thresholding: Thresholding::default(),
        }
    }
}

impl DpmSolverConfig {
    /// DPM-Solver++ 2M on the schedule of Stable Diffusion.
    pub fn stable_diffusion() -> Self {
        Self {
            noise: NoiseConfig::stable_diffusion(),
            steps_offset: 1,
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), SchedulerError> {
        let refuse = |field, found: &str, expected| {
            Err(SchedulerError::Config {
                field,
                found: found.into(),
                expected,
            })
        };
        self.thresholding.check()?;
        if let Some(least) = self.lambda_min_clipped.filter(|least| least.is_nan()) {
            return refuse("lambda_min_clipped", &least.to_string(), "a number");
        }
        if !(1..=3).contains(&self.solver_order) {
            let found = self.solver_order.to_string();
            return refuse("solver_order", &found, "1, 2 or 3");
        }
        if self.solver_order == 3 && self.algorithm_type == SolverAlgorithm::SdeDpmSolver {
            return refuse("solver_order", "3", "1 or 2 with sde-dpmsolver");
        }
        if self.use_flow_sigmas {
            return refuse("use_flow_sigmas", "true", "false: not supported");
        }
        if !self.predicts_sample() && self.final_sigmas_type == FinalSigma::Zero {
            let expected = "`sigma_min` with dpmsolver and sde-dpmsolver";
            return refuse("final_sigmas_type", "zero", expected);
        }
        Ok(())
    }

    pub(super) fn predicts_sample(&self) -> bool {
        matches!(
            self.algorithm_type,
            SolverAlgorithm::DpmSolverPlusPlus | SolverAlgorithm::SdeDpmSolverPlusPlus
        )
    }

    pub(super) fn stochastic(&self) -> bool {
        matches!(
            self.algorithm_type,
            SolverAlgorithm::SdeDpmSolver | SolverAlgorithm::SdeDpmSolverPlusPlus
        )
    }
}
