//! Residual blocks and changes of resolution, shared by UNet and autoencoder.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::Activation;
use super::config::TimeScaleShift;
use crate::nn::{Conv2d, Conv2dOptions, GroupNorm, Linear};

/// What all residual blocks of a network share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResnetOptions {
    pub groups: usize,
    pub eps: f64,
    pub act: Activation,
    /// Width of the timestep embedding; `None` in the autoencoder.
    pub time_dim: Option<usize>,
    pub time_scale_shift: TimeScaleShift,
    /// The sum of block and shortcut is divided by this.
    pub output_scale: f64,
}

/// Norm, activation, convolution, twice, plus a shortcut (diffusers `ResnetBlock2D`).
#[derive(Module, Debug)]
pub struct ResnetBlock {
    /// Before the first convolution.
    pub norm1: GroupNorm,
    /// 3×3.
    pub conv1: Conv2d,
    /// Timestep embedding → shift, or scale and shift.
    pub time_emb_proj: Option<Linear>,
    /// Before the second convolution.
    pub norm2: GroupNorm,
    /// 3×3.
    pub conv2: Conv2d,
    /// 1×1, where the number of channels changes.
    pub conv_shortcut: Option<Conv2d>,
    #[module(skip)]
    act: Activation,
    #[module(skip)]
    time_scale_shift: TimeScaleShift,
    #[module(skip)]
    output_scale: f64,
}

impl ResnetBlock {
    pub(crate) fn new(
        inputs: usize,
        outputs: usize,
        options: &ResnetOptions,
        device: &Device,
    ) -> Self {
        let ResnetOptions {
            groups,
            eps,
            act,
            time_dim,
            time_scale_shift,
            output_scale,
        } = *options;
        let time_outputs = match time_scale_shift {
            TimeScaleShift::Default => outputs,
            TimeScaleShift::ScaleShift => 2 * outputs,
        };
        let shortcut = || Conv2d::new(inputs, outputs, 1, Conv2dOptions::default(), device);
        Self {
            norm1: GroupNorm::new(groups, inputs, eps, device),
            conv1: Conv2d::new(inputs, outputs, 3, same(3), device),
            time_emb_proj: time_dim.map(|dim| Linear::new(dim, time_outputs, true, device)),
            norm2: GroupNorm::new(groups, outputs, eps, device),
            conv2: Conv2d::new(outputs, outputs, 3, same(3), device),
            conv_shortcut: (inputs != outputs).then(shortcut),
            act,
            time_scale_shift,
            output_scale,
        }
    }

    /// # Shapes
    /// - `x`: `[batch, height, width, in]`
    /// - `time`: `[batch, time_dim]`, after the activation, which is the same for all blocks
    /// - returns `[batch, height, width, out]`
    pub fn forward(&self, x: Tensor<4>, time: Option<Tensor<2>>) -> Tensor<4> {
        let hidden = self
            .conv1
            .forward(self.act.after_norm(&self.norm1, x.clone()));
        let time = self.time_emb_proj.as_ref().zip(time).map(|(proj, time)| {
            let [batch, _] = time.dims();
            let time = proj.forward(time);
            let width = time.dims()[1];
            time.reshape([batch, 1, 1, width])
        });
        let hidden = match (self.time_scale_shift, time) {
            (TimeScaleShift::Default, Some(shift)) => {
                self.act.after_norm(&self.norm2, hidden + shift)
            }
            (TimeScaleShift::ScaleShift, Some(time)) => {
                let width = time.dims()[3] / 2;
                let scale = time.clone().narrow(3, 0, width) + 1.0;
                let shift = time.narrow(3, width, width);
                self.act.forward(self.norm2.forward(hidden) * scale + shift)
            }
            (_, None) => self.act.after_norm(&self.norm2, hidden),
        };
        let hidden = self.conv2.forward(hidden);
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        let sum = shortcut + hidden;
        if self.output_scale == 1.0 {
            sum
        } else {
            sum / self.output_scale
        }
    }
}

/// Halves the resolution by a strided convolution (diffusers `Downsample2D`).
#[derive(Module, Debug)]
pub struct Downsample {
    /// 3×3, stride 2.
    pub conv: Conv2d,
}

impl Downsample {
    /// - `padding`: on all sides; 0 pads one row below and one column to the right
    pub(crate) fn new(channels: usize, padding: usize, device: &Device) -> Self {
        let options = Conv2dOptions {
            stride: [2, 2],
            padding: match padding {
                0 => [0, 1, 0, 1],
                padding => [padding; 4],
            },
            groups: 1,
        };
        Self {
            conv: Conv2d::new(channels, channels, 3, options, device),
        }
    }

    /// # Shapes
    /// - `x`: `[batch, height, width, channels]`
    /// - returns half of height and width, rounded up for even padding
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }
}

/// Repeats pixels, then convolves (diffusers `Upsample2D`).
#[derive(Module, Debug)]
pub struct Upsample {
    /// 3×3.
    pub conv: Conv2d,
}

impl Upsample {
    pub(crate) fn new(channels: usize, device: &Device) -> Self {
        Self {
            conv: Conv2d::new(channels, channels, 3, same(3), device),
        }
    }

    /// # Shapes
    /// - `x`: `[batch, height, width, channels]`
    /// - `size`: height and width of the result, twice those of `x` if not given
    pub fn forward(&self, x: Tensor<4>, size: Option<[usize; 2]>) -> Tensor<4> {
        let [_, height, width, _] = x.dims();
        let double = [2 * height, 2 * width];
        self.conv.forward(match size {
            Some(size) if size != double => nearest(x, size),
            _ => nearest_double(x),
        })
    }
}

/// Options of a convolution with an odd kernel that keeps the size.
pub(crate) fn same(kernel: usize) -> Conv2dOptions {
    Conv2dOptions {
        padding: [(kernel - 1) / 2; 4],
        ..Conv2dOptions::default()
    }
}

/// Every pixel becomes 2×2 pixels.
fn nearest_double(x: Tensor<4>) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    // Doubled columns, then doubled rows: both are copies of contiguous runs.
    let pixels = x.reshape([batch * height * width, 1, channels]);
    let columns = Tensor::cat(vec![pixels.clone(), pixels], 1);
    let rows = columns.reshape([batch * height, 1, 2 * width * channels]);
    Tensor::cat(vec![rows.clone(), rows], 1).reshape([batch, 2 * height, 2 * width, channels])
}

/// Nearest-neighbour resize to any size (`floor(i · from / to)`, as `torch.nn.functional`).
fn nearest(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, from_height, from_width, _] = x.dims();
    let device = x.device();
    let indices = |from: usize, to: usize| {
        let scale = from as f32 / to as f32;
        let indices: Vec<i64> = (0..to)
            .map(|i| ((i as f32 * scale) as i64).min(from as i64 - 1))
            .collect();
        Tensor::<1, burn::tensor::Int>::from_ints(indices.as_slice(), &device)
    };
    x.select(1, indices(from_height, height))
        .select(2, indices(from_width, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_resizes_repeat_pixels() {
        let device = Device::flex();
        let x = Tensor::<4>::from_floats([[[[1.0], [2.0]], [[3.0], [4.0]]]], &device);
        let values = |x: Tensor<4>| x.try_into_vec_as::<f32>().unwrap();
        let double = [
            1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 3.0, 3.0, 4.0, 4.0,
        ];
        assert_eq!(values(nearest_double(x.clone())), double);
        assert_eq!(values(nearest(x.clone(), [4, 4])), double);
        let odd = [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0];
        assert_eq!(values(nearest(x, [3, 3])), odd);
    }
}
