use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use deem_kernels as kernels;

use super::{Conv2d, param};

/// Normalisation of a channels-last map by statistics that were gathered in training (`torch.nn.BatchNorm2d` in
/// inference).
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// `[channels]`
    pub weight: Param<Tensor<1>>,
    /// `[channels]`
    pub bias: Param<Tensor<1>>,
    /// `[channels]`
    pub running_mean: Param<Tensor<1>>,
    /// `[channels]`
    pub running_var: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl BatchNorm2d {
    /// A norm over `channels`.
    pub fn new(channels: usize, eps: f64, device: &Device) -> Self {
        Self {
            weight: param([channels], 1.0, device),
            bias: param([channels], 0.0, device),
            running_mean: param([channels], 0.0, device),
            running_var: param([channels], 1.0, device),
            eps,
        }
    }

    /// A convolution without bias and this norm of what it gives. A norm in inference scales and shifts, which the kernel
    /// does as well: both are one convolution.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, in]`
    /// - returns `[batch, height', width', channels]`
    pub fn after(&self, conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
        let [channels] = self.weight.lazy_shape().dims();
        let scale = self.weight.val() / kernels::sqrt(self.running_var.val().add_scalar(self.eps));
        let shift = self.bias.val() - self.running_mean.val() * scale.clone();
        let weight = conv.weight.val() * scale.reshape([channels, 1, 1, 1]);
        kernels::conv2d(x, weight, Some(shift), conv.options)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::nn::Conv2dOptions;
    use crate::weights::set;

    #[test]
    fn one_channel_by_hand() {
        let device = Device::flex();
        let mut conv = Conv2d::new(1, 1, 1, Conv2dOptions::default(), &device).without_bias();
        conv.weight = set(conv.weight, TensorData::new(vec![2.0_f32], [1, 1, 1, 1]));
        let mut norm = BatchNorm2d::new(1, 1.0, &device);
        let one = |value: f32| TensorData::new(vec![value], [1]);
        norm.weight = set(norm.weight, one(3.0));
        norm.bias = set(norm.bias, one(0.5));
        norm.running_mean = set(norm.running_mean, one(4.0));
        norm.running_var = set(norm.running_var, one(8.0));
        let x = Tensor::<4>::from_data(TensorData::new(vec![5.0_f32], [1, 1, 1, 1]), &device);
        // (2 · 5 − 4) / √(8 + 1) · 3 + 0.5
        assert_eq!(norm.after(&conv, x).into_scalar::<f32>(), 6.5);
    }
}
