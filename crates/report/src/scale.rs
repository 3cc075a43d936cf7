//! Axes: from values to places, and round numbers for ticks.

use crate::text::number;

/// A linear axis that begins and ends at round numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    pub low: f64,
    pub high: f64,
    /// Round numbers from `low` to `high`.
    pub ticks: Vec<f64>,
}

impl Scale {
    /// An axis that holds all finite values, with about `count` steps.
    pub(crate) fn around(values: impl IntoIterator<Item = f64>, count: usize) -> Self {
        let finite = values.into_iter().filter(|v| v.is_finite());
        let (mut low, mut high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low < 1e-9 * high.abs().max(1e-6) {
            let margin = if high == 0.0 { 1.0 } else { 0.1 * high.abs() };
            (low, high) = (low - margin, high + margin);
        }
        let step = round_step((high - low) / count.max(1) as f64);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let ticks = (0..=(last - first) as usize)
            .map(|i| (first + i as f64) * step)
            .collect();
        Self {
            low: first * step,
            high: last * step,
            ticks,
        }
    }

    /// Place of a value on the axis, in percent.
    pub(crate) fn percent(&self, value: f64) -> f64 {
        (100.0 * (value - self.low) / (self.high - self.low)).clamp(0.0, 100.0)
    }

    /// A tick with as many decimals as the steps need.
    pub(crate) fn label(&self, tick: f64) -> String {
        let step = self.ticks.get(1).map_or(1.0, |second| second - self.low);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        number(tick, decimals)
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = step / power;
    power
        * if factor <= 1.0 {
            1.0
        } else if factor <= 2.0 {
            2.0
        } else if factor <= 5.0 {
            5.0
        } else {
            10.0
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let scale = Scale::around([-3.2, 16.7], 4);
        assert_eq!((scale.low, scale.high), (-5.0, 20.0));
        assert_eq!(scale.ticks, [-5.0, 0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(scale.percent(0.0), 20.0);
        assert_eq!(scale.label(-5.0), "\u{2212}5");
        assert_eq!(scale.percent(1000.0), 100.0);
    }

    #[test]
    fn small_steps_have_decimals_and_odd_input_an_axis() {
        let scale = Scale::around([0.012, 0.034], 3);
        assert_eq!(scale.label(scale.ticks[0]), "0.01");
        assert_eq!(Scale::around([], 3).ticks, [0.0, 0.5, 1.0]);
        let flat = Scale::around([2.0, 2.0, f64::NAN], 2);
        assert!(flat.low < 2.0 && flat.high > 2.0);
        let zero = Scale::around([0.0], 2);
        assert!(
            zero.low < 0.0 && zero.high > 0.0 && zero.label(0.0) == "0",
            "{zero:?} {}",
            zero.label(0.0)
        );
    }
}
