use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::config::Projection;
use crate::activation::Activation;
use crate::clip::config::ConvNextConfig;
use crate::clip::convnext::ConvNext;
use crate::clip::levels::{Levels, Pyramid};
use crate::nn::Linear;

/// CLIP ConvNeXt with projected levels.
#[derive(Module, Debug)]
pub struct ConvNextPyramid {
    /// The tower, with open_clip's keys.
    pub visual: ConvNextVisual,
    adapter_c2: Linear,
    adapter_c3: Linear,
    adapter_c4: Linear,
    adapter_c5: Linear,
    adapter_cls: Linear,
}

/// Trunk and projection head (open_clip `TimmModel`).
#[derive(Module, Debug)]
pub struct ConvNextVisual {
    /// The image tower.
    pub trunk: ConvNext,
    /// To the space shared with text.
    pub head: Option<ProjectionHead>,
}

impl ConvNextVisual {
    /// A tower of the given dimensions, with a projection of this kind and width.
    pub(crate) fn new(
        config: &ConvNextConfig,
        projection: Option<(Projection, usize)>,
        device: &Device,
    ) -> Self {
        let head = |(kind, dim)| ProjectionHead::new(kind, config.dims[3], dim, device);
        Self {
            trunk: ConvNext::new(config, device),
            head: projection.map(head),
        }
    }
}

impl ConvNextPyramid {
    pub(super) fn new(
        config: &ConvNextConfig,
        pyramid_dim: usize,
        projection: Option<(Projection, usize)>,
        device: &Device,
    ) -> Self {
        let [c2, c3, c4, c5] = config.dims;
        let adapter = |inputs| Linear::new(inputs, pyramid_dim, true, device);
        Self {
            visual: ConvNextVisual::new(config, projection, device),
            adapter_c2: adapter(c2),
            adapter_c3: adapter(c3),
            adapter_c4: adapter(c4),
            adapter_c5: adapter(c5),
            adapter_cls: adapter(c5),
        }
    }

    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, normalised
    pub fn forward(&self, pixels: Tensor<4>) -> Pyramid {
        let output = self.visual.trunk.forward(pixels);
        let [c2, c3, c4, c5] = output.stages;
        let levels = Levels {
            c2: self.adapter_c2.forward(c2),
            c3: self.adapter_c3.forward(c3),
            c4: self.adapter_c4.forward(c4),
            c5: self.adapter_c5.forward(c5),
        };
        let global = self.adapter_cls.forward(output.pooled).unsqueeze_dim(1);
        let [batch, height, width, channels] = levels.c4.dims();
        let grid = levels.c4.clone().reshape([batch, height * width, channels]);
        Pyramid {
            levels,
            sequence: Tensor::cat(vec![global, grid], 1),
        }
    }
}

/// CLIP projection head: exactly one of its fields is there, under open_clip's name.
#[derive(Module, Debug)]
pub struct ProjectionHead {
    mlp: Option<ProjectionMlp>,
    proj: Option<Linear>,
}

#[derive(Module, Debug)]
struct ProjectionMlp {
    fc1: Linear,
    fc2: Linear,
}

impl ProjectionHead {
    fn new(kind: Projection, inputs: usize, outputs: usize, device: &Device) -> Self {
        let mlp = || ProjectionMlp {
            fc1: Linear::new(inputs, 2 * outputs, true, device),
            fc2: Linear::new(2 * outputs, outputs, false, device),
        };
        let proj = || Linear::new(inputs, outputs, false, device);
        Self {
            mlp: (kind == Projection::Mlp).then(mlp),
            proj: (kind == Projection::Linear).then(proj),
        }
    }

    /// `[batch, channels]` → `[batch, projection_dim]`
    pub fn forward(&self, pooled: Tensor<2>) -> Tensor<2> {
        let pooled = match &self.mlp {
            Some(mlp) => mlp
                .fc2
                .forward(Activation::Gelu.apply(mlp.fc1.forward(pooled))),
            None => pooled,
        };
        match &self.proj {
            Some(proj) => proj.forward(pooled),
            None => pooled,
        }
    }
}
