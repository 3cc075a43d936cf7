use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_kernels as kernels;

use super::ProjectionKind;
use crate::nn::{LayerNorm, Linear};

const NORM_EPS: f64 = 1e-5;

/// From an encoder's features to a denoiser's condition, token by token.
#[derive(Module, Debug)]
pub struct ConditionProjection {
    /// First of all, in an MLP.
    pub norm: Option<LayerNorm>,
    /// Encoder width → condition width.
    pub fc1: Linear,
    /// Condition width → condition width, after GELU, in an MLP.
    pub fc2: Option<Linear>,
}

impl ConditionProjection {
    /// A projection of the given kind; nothing for [`ProjectionKind::None`].
    pub fn new(
        kind: ProjectionKind,
        inputs: usize,
        outputs: usize,
        device: &Device,
    ) -> Option<Self> {
        let mlp = kind == ProjectionKind::Mlp;
        (kind != ProjectionKind::None).then(|| Self {
            norm: mlp.then(|| LayerNorm::new(inputs, NORM_EPS, device)),
            fc1: Linear::new(inputs, outputs, true, device),
            fc2: mlp.then(|| Linear::new(outputs, outputs, true, device)),
        })
    }

    /// # Shapes
    /// - `features`: `[pictures, tokens, inputs]`
    /// - returns `[pictures, tokens, outputs]`
    pub fn forward(&self, features: Tensor<3>) -> Tensor<3> {
        let features = match &self.norm {
            Some(norm) => norm.forward(features),
            None => features,
        };
        let projected = self.fc1.forward(features);
        match &self.fc2 {
            Some(fc2) => fc2.forward(kernels::gelu(projected)),
            None => projected,
        }
    }
}
