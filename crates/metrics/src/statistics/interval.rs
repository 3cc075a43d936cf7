//! A mean and the 95 % confidence interval around it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A mean with its 95 % confidence interval.
///
/// A bound that the data cannot give (one image only, say) is infinite; it is written as `null`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub mean: f64,
    /// Lower bound.
    #[serde(serialize_with = "bound", deserialize_with = "low")]
    pub low: f64,
    /// Upper bound.
    #[serde(serialize_with = "bound", deserialize_with = "high")]
    pub high: f64,
}

impl Interval {
    /// An estimate whose uncertainty is unknown.
    #[must_use]
    pub fn unbounded(mean: f64) -> Self {
        Self {
            mean,
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
        }
    }

    /// The same in other units: `interval.scaled(100.0)` turns fractions into percent. `factor` must be positive.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            mean: self.mean * factor,
            low: self.low * factor,
            high: self.high * factor,
        }
    }

    /// The same with its bounds in the range of what it measures, where an approximation left it.
    #[must_use]
    pub fn within(self, least: f64, most: f64) -> Self {
        Self {
            low: self.low.max(least),
            high: self.high.min(most),
            ..self
        }
    }

    /// Fractions as percent.
    #[must_use]
    pub fn percent(self) -> Self {
        self.scaled(100.0)
    }

    /// Whether both bounds are finite.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.low.is_finite() && self.high.is_finite()
    }

    /// Whether zero lies outside of the interval.
    #[must_use]
    pub fn excludes_zero(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

fn bound<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    value.is_finite().then_some(*value).serialize(serializer)
}

fn low<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NEG_INFINITY))
}

fn high<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bounds_survive_json() {
        let interval = Interval::unbounded(0.5);
        let json = serde_json::to_string(&interval).unwrap();
        assert_eq!(json, r#"{"mean":0.5,"low":null,"high":null}"#);
        assert_eq!(serde_json::from_str::<Interval>(&json).unwrap(), interval);
        assert!(!interval.is_bounded() && !interval.excludes_zero());
    }

    #[test]
    fn zero_on_the_edge_is_not_excluded() {
        assert!(
            !Interval {
                mean: 1.0,
                low: 0.0,
                high: 2.0
            }
            .excludes_zero()
        );
        assert!(
            Interval {
                mean: 1.0,
                low: 0.1,
                high: 2.0
            }
            .excludes_zero()
        );
        assert!(
            Interval {
                mean: -1.0,
                low: -2.0,
                high: -0.1
            }
            .excludes_zero()
        );
    }
}
