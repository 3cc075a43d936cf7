//! Odds of what scenes look like.

use serde::{Deserialize, Serialize};

use crate::DataError;

/// Odds of what a scene looks like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SceneConfig {
    /// Share of scenes with one large object.
    pub single: f32,
    /// Weights of 1 to 5 objects in the other scenes.
    pub objects: [f32; 5],
    /// Weights of 1 to 3 groups where there are enough objects.
    pub groups: [f32; 3],
    /// Share of groups that are not upright.
    pub turned: f32,
    /// Share of groups in another colour than their own.
    pub tinted: f32,
    /// Share of groups with left and right swapped.
    pub mirrored: f32,
    /// Chance that a further concept is a usual companion of an earlier one.
    pub companions: f32,
    /// Size of the other things relative to the main one, where there are others, `(0, 1]`; 1: all are equal and
    /// nothing is the main thing.
    pub others: f32,
}

impl Default for SceneConfig {
    fn default() -> Self {
        Self {
            single: 0.35,
            objects: [0.14, 0.34, 0.28, 0.16, 0.08],
            groups: [0.3, 0.5, 0.2],
            turned: 0.5,
            tinted: 0.5,
            mirrored: 0.5,
            companions: 0.4,
            others: 1.0,
        }
    }
}

impl SceneConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// `Config` naming the field, for odds outside `[0, 1]` or weights that are negative or all zero.
    pub fn validate(&self) -> Result<(), DataError> {
        for (field, odds) in [
            ("single", self.single),
            ("turned", self.turned),
            ("tinted", self.tinted),
            ("mirrored", self.mirrored),
            ("companions", self.companions),
        ] {
            if !(0.0..=1.0).contains(&odds) {
                return Err(DataError::config(
                    format!("scene.{field}"),
                    format!("{odds} is not in [0, 1]"),
                ));
            }
        }
        if !(self.others > 0.0 && self.others <= 1.0) {
            let reason = format!("{} is not in (0, 1]", self.others);
            return Err(DataError::config("scene.others", reason));
        }
        for (field, weights) in [
            ("objects", self.objects.as_slice()),
            ("groups", self.groups.as_slice()),
        ] {
            if weights.iter().any(|w| *w < 0.0 || !w.is_finite())
                || weights.iter().sum::<f32>() <= 0.0
            {
                let reason = format!("{weights:?} must be non-negative and not all zero");
                return Err(DataError::config(format!("scene.{field}"), reason));
            }
        }
        Ok(())
    }
}
