//! The blocks, under torchvision's names; branches side by side along the channels.

use burn::module::Module;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, activation, module};

use crate::nn::{BatchNorm2d, Conv2d, Conv2dOptions};

/// Convolution, norm and ReLU.
#[derive(Module, Debug)]
pub(super) struct BasicConv2d {
    conv: Conv2d,
    bn: BatchNorm2d,
}

impl BasicConv2d {
    pub(super) fn new(
        inputs: usize,
        outputs: usize,
        kernel: [usize; 2],
        stride: usize,
        [rows, columns]: [usize; 2],
        device: &Device,
    ) -> Self {
        let options = Conv2dOptions {
            stride: [stride; 2],
            padding: [rows, rows, columns, columns],
            groups: 1,
        };
        Self {
            conv: Conv2d::rectangular(inputs, outputs, kernel, options, device).without_bias(),
            bn: BatchNorm2d::new(outputs, 1e-3, device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        activation::relu(self.bn.after(&self.conv, x))
    }
}

/// A convolution of stride 1 that keeps height and width.
fn same(inputs: usize, outputs: usize, kernel: [usize; 2], device: &Device) -> BasicConv2d {
    BasicConv2d::new(
        inputs,
        outputs,
        kernel,
        1,
        kernel.map(|side| side / 2),
        device,
    )
}

/// A convolution that halves height and width.
fn halving(inputs: usize, outputs: usize, device: &Device) -> BasicConv2d {
    BasicConv2d::new(inputs, outputs, [3, 3], 2, [0, 0], device)
}

/// One after the other.
fn chain<const N: usize>(layers: [&BasicConv2d; N], x: Tensor<4>) -> Tensor<4> {
    layers.into_iter().fold(x, |x, layer| layer.forward(x))
}

/// `x`: `[batch, height, width, channels]`
pub(super) fn max_pool(x: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    let options = MaxPoolOptions::new([3, 3])
        .with_stride([stride; 2])
        .with_padding([padding; 2]);
    module::max_pool2d(x.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
}

/// What is smoothed or thickened beside the convolutions of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    /// Of what is there: padding does not count.
    Average,
    Max,
}

impl Pool {
    /// 3×3, stride 1, the same height and width. `x`: `[batch, height, width, channels]`
    fn apply(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Max => max_pool(x, 1, 1),
            Self::Average => {
                let options = AvgPoolOptions::new([3, 3])
                    .with_stride([1, 1])
                    .with_padding([1, 1])
                    .with_count_include_pad(false);
                module::avg_pool2d(x.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
            }
        }
    }
}

/// At 35×35.
#[derive(Module, Debug)]
pub(super) struct InceptionA {
    branch1x1: BasicConv2d,
    branch5x5_1: BasicConv2d,
    branch5x5_2: BasicConv2d,
    branch3x3dbl_1: BasicConv2d,
    branch3x3dbl_2: BasicConv2d,
    branch3x3dbl_3: BasicConv2d,
    branch_pool: BasicConv2d,
}

impl InceptionA {
    pub(super) fn new(inputs: usize, pooled: usize, device: &Device) -> Self {
        let conv = |inputs, outputs, side: usize| same(inputs, outputs, [side; 2], device);
        Self {
            branch1x1: conv(inputs, 64, 1),
            branch5x5_1: conv(inputs, 48, 1),
            branch5x5_2: conv(48, 64, 5),
            branch3x3dbl_1: conv(inputs, 64, 1),
            branch3x3dbl_2: conv(64, 96, 3),
            branch3x3dbl_3: conv(96, 96, 3),
            branch_pool: conv(inputs, pooled, 1),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let doubled = [
            &self.branch3x3dbl_1,
            &self.branch3x3dbl_2,
            &self.branch3x3dbl_3,
        ];
        let branches = vec![
            self.branch1x1.forward(x.clone()),
            chain([&self.branch5x5_1, &self.branch5x5_2], x.clone()),
            chain(doubled, x.clone()),
            self.branch_pool.forward(Pool::Average.apply(x)),
        ];
        Tensor::cat(branches, 3)
    }
}

/// From 35×35 to 17×17.
#[derive(Module, Debug)]
pub(super) struct InceptionB {
    branch3x3: BasicConv2d,
    branch3x3dbl_1: BasicConv2d,
    branch3x3dbl_2: BasicConv2d,
    branch3x3dbl_3: BasicConv2d,
}

impl InceptionB {
    pub(super) fn new(inputs: usize, device: &Device) -> Self {
        Self {
            branch3x3: halving(inputs, 384, device),
            branch3x3dbl_1: same(inputs, 64, [1, 1], device),
            branch3x3dbl_2: same(64, 96, [3, 3], device),
            branch3x3dbl_3: halving(96, 96, device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let doubled = [
            &self.branch3x3dbl_1,
            &self.branch3x3dbl_2,
            &self.branch3x3dbl_3,
        ];
        let branches = vec![
            self.branch3x3.forward(x.clone()),
            chain(doubled, x.clone()),
            max_pool(x, 2, 0),
        ];
        Tensor::cat(branches, 3)
    }
}

/// At 17×17, with kernels of one row or one column.
#[derive(Module, Debug)]
pub(super) struct InceptionC {
    branch1x1: BasicConv2d,
    branch7x7_1: BasicConv2d,
    branch7x7_2: BasicConv2d,
    branch7x7_3: BasicConv2d,
    branch7x7dbl_1: BasicConv2d,
    branch7x7dbl_2: BasicConv2d,
    branch7x7dbl_3: BasicConv2d,
    branch7x7dbl_4: BasicConv2d,
    branch7x7dbl_5: BasicConv2d,
    branch_pool: BasicConv2d,
}

impl InceptionC {
    pub(super) fn new(inputs: usize, inner: usize, device: &Device) -> Self {
        let point = |outputs| same(inputs, outputs, [1, 1], device);
        let row = |outputs| same(inner, outputs, [1, 7], device);
        let column = |outputs| same(inner, outputs, [7, 1], device);
        Self {
            branch1x1: point(192),
            branch7x7_1: point(inner),
            branch7x7_2: row(inner),
            branch7x7_3: column(192),
            branch7x7dbl_1: point(inner),
            branch7x7dbl_2: column(inner),
            branch7x7dbl_3: row(inner),
            branch7x7dbl_4: column(inner),
            branch7x7dbl_5: row(192),
            branch_pool: point(192),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let single = [&self.branch7x7_1, &self.branch7x7_2, &self.branch7x7_3];
        let doubled = [
            &self.branch7x7dbl_1,
            &self.branch7x7dbl_2,
            &self.branch7x7dbl_3,
            &self.branch7x7dbl_4,
            &self.branch7x7dbl_5,
        ];
        let branches = vec![
            self.branch1x1.forward(x.clone()),
            chain(single, x.clone()),
            chain(doubled, x.clone()),
            self.branch_pool.forward(Pool::Average.apply(x)),
        ];
        Tensor::cat(branches, 3)
    }
}

/// From 17×17 to 8×8.
#[derive(Module, Debug)]
pub(super) struct InceptionD {
    branch3x3_1: BasicConv2d,
    branch3x3_2: BasicConv2d,
    branch7x7x3_1: BasicConv2d,
    branch7x7x3_2: BasicConv2d,
    branch7x7x3_3: BasicConv2d,
    branch7x7x3_4: BasicConv2d,
}

impl InceptionD {
    pub(super) fn new(inputs: usize, device: &Device) -> Self {
        Self {
            branch3x3_1: same(inputs, 192, [1, 1], device),
            branch3x3_2: halving(192, 320, device),
            branch7x7x3_1: same(inputs, 192, [1, 1], device),
            branch7x7x3_2: same(192, 192, [1, 7], device),
            branch7x7x3_3: same(192, 192, [7, 1], device),
            branch7x7x3_4: halving(192, 192, device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let seven = [
            &self.branch7x7x3_1,
            &self.branch7x7x3_2,
            &self.branch7x7x3_3,
            &self.branch7x7x3_4,
        ];
        let branches = vec![
            chain([&self.branch3x3_1, &self.branch3x3_2], x.clone()),
            chain(seven, x.clone()),
            max_pool(x, 2, 0),
        ];
        Tensor::cat(branches, 3)
    }
}

/// At 8×8, where a 3×3 kernel is a row and a column side by side.
#[derive(Module, Debug)]
pub(super) struct InceptionE {
    branch1x1: BasicConv2d,
    branch3x3_1: BasicConv2d,
    branch3x3_2a: BasicConv2d,
    branch3x3_2b: BasicConv2d,
    branch3x3dbl_1: BasicConv2d,
    branch3x3dbl_2: BasicConv2d,
    branch3x3dbl_3a: BasicConv2d,
    branch3x3dbl_3b: BasicConv2d,
    branch_pool: BasicConv2d,
    #[module(skip)]
    pool: Pool,
}

impl InceptionE {
    pub(super) fn new(inputs: usize, pool: Pool, device: &Device) -> Self {
        let point = |outputs| same(inputs, outputs, [1, 1], device);
        let row = || same(384, 384, [1, 3], device);
        let column = || same(384, 384, [3, 1], device);
        Self {
            branch1x1: point(320),
            branch3x3_1: point(384),
            branch3x3_2a: row(),
            branch3x3_2b: column(),
            branch3x3dbl_1: point(448),
            branch3x3dbl_2: same(448, 384, [3, 3], device),
            branch3x3dbl_3a: row(),
            branch3x3dbl_3b: column(),
            branch_pool: point(192),
            pool,
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let single = self.branch3x3_1.forward(x.clone());
        let doubled = chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2], x.clone());
        let branches = vec![
            self.branch1x1.forward(x.clone()),
            self.branch3x3_2a.forward(single.clone()),
            self.branch3x3_2b.forward(single),
            self.branch3x3dbl_3a.forward(doubled.clone()),
            self.branch3x3dbl_3b.forward(doubled),
            self.branch_pool.forward(self.pool.apply(x)),
        ];
        Tensor::cat(branches, 3)
    }
}
