use std::fmt::Debug;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Tensor};
use deem_kernels as kernels;

use crate::nn::{Conv2d, Conv2dOptions, Linear};

/// A per-pixel linear map, stored as a matrix or as a 1×1 convolution: the same arithmetic, two
/// shapes of weight in checkpoints (`use_linear_projection`).
#[derive(Clone, Debug)]
pub enum PixelProjection {
    /// Weight `[out, in]`.
    Linear(Linear),
    /// Weight `[out, in, 1, 1]`.
    Conv(Conv2d),
}

impl PixelProjection {
    /// A map from `inputs` to `outputs` channels.
    pub fn new(inputs: usize, outputs: usize, linear: bool, device: &Device) -> Self {
        if linear {
            Self::Linear(Linear::new(inputs, outputs, true, device))
        } else {
            Self::Conv(Conv2d::new(
                inputs,
                outputs,
                1,
                Conv2dOptions::default(),
                device,
            ))
        }
    }

    /// # Shapes
    /// - `x`: `[.., in]`
    /// - returns `[.., out]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Linear(linear) => linear.forward(x),
            Self::Conv(conv) => {
                let weight = conv.weight.val();
                let [outputs, inputs, _, _] = weight.dims();
                let bias = conv.bias.as_ref().map(|bias| bias.val());
                kernels::linear(x, weight.reshape([outputs, inputs]), bias)
            }
        }
    }
}

/// Runs the same method on whichever layer it is.
macro_rules! each {
    ($value:expr, $layer:ident => $body:expr) => {
        match $value {
            PixelProjection::Linear($layer) => $body,
            PixelProjection::Conv($layer) => $body,
        }
    };
}

/// The same, keeping the variant.
macro_rules! rebuild {
    ($value:expr, $layer:ident => $body:expr) => {
        match $value {
            PixelProjection::Linear($layer) => PixelProjection::Linear($body),
            PixelProjection::Conv($layer) => PixelProjection::Conv($body),
        }
    };
}

// Written by hand, because the derived implementation puts the variant's name into parameter paths.
impl Module for PixelProjection {
    fn collect_devices(&self, devices: Devices) -> Devices {
        each!(self, layer => layer.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        rebuild!(self, layer => layer.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        rebuild!(self, layer => layer.to_device(device))
    }

    fn train(self) -> Self {
        rebuild!(self, layer => layer.train())
    }

    fn valid(&self) -> Self {
        rebuild!(self, layer => layer.valid())
    }

    fn materialize(self) -> Self {
        rebuild!(self, layer => layer.materialize())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        each!(self, layer => layer.visit(visitor));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        rebuild!(self, layer => layer.map(mapper))
    }
}

impl ModuleDisplayDefault for PixelProjection {
    fn content(&self, content: Content) -> Option<Content> {
        each!(self, layer => layer.content(content))
    }
}

impl ModuleDisplay for PixelProjection {}
