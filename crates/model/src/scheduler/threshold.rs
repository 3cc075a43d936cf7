use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::SchedulerError;

/// Dynamic thresholding of the predicted clean sample (Saharia et al. 2022, §2.3), for models of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thresholding {
    /// Whether to do it.
    pub thresholding: bool,
    /// The bound of an image is this quantile of its absolute values, …
    pub dynamic_thresholding_ratio: f64,
    /// … at least 1, and at most this.
    pub sample_max_value: f64,
}

impl Default for Thresholding {
    fn default() -> Self {
        Self {
            thresholding: false,
            dynamic_thresholding_ratio: 0.995,
            sample_max_value: 1.0,
        }
    }
}

impl Thresholding {
    /// Checks the numbers, if they are used.
    ///
    /// # Errors
    /// `Config` naming the field.
    pub(super) fn check(&self) -> Result<(), SchedulerError> {
        let (ratio, most) = (self.dynamic_thresholding_ratio, self.sample_max_value);
        let wrong = |field, found: f64, expected| {
            Err(SchedulerError::Config {
                field,
                found: found.to_string(),
                expected,
            })
        };
        match self.thresholding {
            true if !(0.0..=1.0).contains(&ratio) => {
                wrong("dynamic_thresholding_ratio", ratio, "a number from 0 to 1")
            }
            true if !most.is_finite() || most <= 0.0 => {
                wrong("sample_max_value", most, "a finite number above 0")
            }
            _ => Ok(()),
        }
    }

    /// Clips each image to its bound and divides it by that.
    ///
    /// # Shapes
    /// `sample`: `[batch, ..]`, returned in the same shape.
    pub(super) fn apply(&self, sample: Tensor<4>) -> Tensor<4> {
        let shape = sample.dims();
        let (batch, count) = (shape[0], shape[1..].iter().product::<usize>());
        let flat = sample.reshape([batch, count]);
        let sorted = flat.clone().abs().sort(1);
        let rank = self.dynamic_thresholding_ratio.clamp(0.0, 1.0) * (count - 1) as f64;
        let below = sorted.clone().narrow(1, rank.floor() as usize, 1);
        let above = sorted.narrow(1, rank.ceil() as usize, 1);
        let quantile = below.clone() + (above - below).mul_scalar(rank.fract());
        let bound = quantile
            .clamp_min(1.0)
            .clamp_max(self.sample_max_value)
            .expand([batch, count]);
        let clipped = flat.min_pair(bound.clone()).max_pair(bound.clone().neg());
        (clipped / bound).reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_quantile_of_each_image_bounds_it() {
        let sample = Tensor::<1>::from_floats([4.0, -2.0, 0.5, 0.1, 0.2, -0.4], &Device::flex());
        let rule = Thresholding {
            thresholding: true,
            dynamic_thresholding_ratio: 0.75, // half-way between 2 and 4; of the second image 0.3
            sample_max_value: 10.0,
        };
        let out = rule.apply(sample.reshape([2, 3, 1, 1]));
        let out = out.try_into_vec_as::<f32>().unwrap();
        let expected = [1.0, -2.0 / 3.0, 0.5 / 3.0, 0.1, 0.2, -0.4];
        for (found, expected) in out.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{out:?}");
        }
    }
}
