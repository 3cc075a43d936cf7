use serde::{Deserialize, Serialize};

/// How a training timestep is drawn.
///
/// The draw itself is an argument: a number in `[0, 1)` or a standard normal one, so that the
/// caller's random state decides and tests need none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSampler {
    /// Every timestep equally likely (Ho et al. 2020).
    Uniform,
    /// Uniform, then squeezed towards the middle: `t' = round((t − 500)·0.6 + 500)`, of 1000
    /// timesteps 200 to 799. In DEEM's official code, not in the paper.
    #[default]
    Squeezed,
    /// `t / steps` is the logistic function of a standard normal draw (Esser et al. 2024).
    LogitNormal,
}

impl TimestepSampler {
    /// The timestep that a draw means.
    ///
    /// - `uniform`: in `[0, 1)`, used by `Uniform` and `Squeezed`
    /// - `normal`: standard normal, used by `LogitNormal`
    /// - `steps`: number of training timesteps, at least 1
    /// - returns a timestep below `steps`
    pub fn timestep(self, uniform: f64, normal: f64, steps: usize) -> usize {
        let last = steps.saturating_sub(1);
        let floor = |fraction: f64| ((fraction * steps as f64) as usize).min(last);
        match self {
            Self::Uniform => floor(uniform),
            Self::Squeezed => {
                let middle = steps as f64 / 2.0;
                let squeezed = (floor(uniform) as f64 - middle) * 0.6 + middle;
                (squeezed.round() as usize).min(last)
            }
            Self::LogitNormal => floor(1.0 / (1.0 + libm::exp(-normal))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TimestepSampler::{LogitNormal, Squeezed, Uniform};

    #[test]
    fn uniform_covers_every_timestep_once() {
        let all: Vec<usize> = (0..1000)
            .map(|i| Uniform.timestep((f64::from(i) + 0.5) / 1000.0, 0.0, 1000))
            .collect();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn squeezed_ends_at_200_and_799() {
        assert_eq!(Squeezed.timestep(0.0, 0.0, 1000), 200);
        assert_eq!(Squeezed.timestep(0.5, 0.0, 1000), 500);
        assert_eq!(Squeezed.timestep(0.6005, 0.0, 1000), 560);
        assert_eq!(Squeezed.timestep(0.9999999, 0.0, 1000), 799);
    }

    #[test]
    fn logit_normal_is_the_logistic_function() {
        assert_eq!(LogitNormal.timestep(0.0, 0.0, 1000), 500);
        assert_eq!(LogitNormal.timestep(0.0, 1.0, 1000), 731); // 1 / (1 + e⁻¹) = 0.73106
        assert_eq!(LogitNormal.timestep(0.0, 100.0, 1000), 999);
        assert_eq!(LogitNormal.timestep(0.0, -100.0, 1000), 0);
    }
}
