//! Learning-rate schedule: linear warm-up, then cosine decay (spec: paper, Table 11).

use serde::{Deserialize, Serialize};

/// Shape of the learning rate over a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Optimizer steps in all.
    pub steps: u64,
    /// Steps over which the rate rises linearly from zero.
    pub warmup: u64,
    /// Fraction of the peak rate left at the end; with 1 the rate stays after the warm-up, and a run can be
    /// extended.
    #[serde(default)]
    pub floor: f64,
}

impl Schedule {
    /// Factor on the peak learning rate at a step (from 0).
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.steps.saturating_sub(self.warmup).max(1);
        let progress = ((step - self.warmup) as f64 / span as f64).min(1.0);
        let cosine = 0.5 * (1.0 + libm::cos(std::f64::consts::PI * progress));
        self.floor + (1.0 - self.floor) * cosine
    }

    /// Whether the rate stays after the warm-up, so that it does not depend on the number of steps.
    #[allow(clippy::float_cmp)] // the very number that makes the cosine vanish
    pub fn is_constant(&self) -> bool {
        self.floor == 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_linearly_then_falls_as_a_cosine() {
        let schedule = Schedule {
            steps: 14,
            warmup: 4,
            floor: 0.0,
        };
        assert_eq!(schedule.factor(0), 0.25);
        assert_eq!(schedule.factor(3), 1.0);
        assert_eq!(schedule.factor(4), 1.0);
        assert!((schedule.factor(9) - 0.5).abs() < 1e-12);
        assert!(schedule.factor(14) < 1e-12);
    }

    #[test]
    fn floor_is_kept() {
        let schedule = Schedule {
            steps: 10,
            warmup: 0,
            floor: 0.1,
        };
        assert!((schedule.factor(10) - 0.1).abs() < 1e-12);
        assert!((schedule.factor(99) - 0.1).abs() < 1e-12);
    }
}
