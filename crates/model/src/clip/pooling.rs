//! How SigLIP sums up a picture: a learnt query attends to all patches (Zhai et al. 2022, "Scaling vision transformers",
//! §3.3; transformers `SiglipMultiheadAttentionPoolingHead`).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use deem_kernels::AttentionMask;
use deem_kernels::precision::like;

use super::encoder::{Attention, EncoderDims, Mlp};
use crate::nn::{LayerNorm, param};

/// Attention of one learnt query, and an MLP.
#[derive(Module, Debug)]
pub struct AttentionPooling {
    /// `[1, 1, width]`
    probe: Param<Tensor<3>>,
    attention: Attention,
    layernorm: LayerNorm,
    mlp: Mlp,
}

impl AttentionPooling {
    pub(super) fn new(dims: EncoderDims, device: &Device) -> Self {
        let EncoderDims { width, eps, .. } = dims;
        Self {
            probe: param([1, 1, width], 0.0, device),
            attention: Attention::new(width, dims.heads, device),
            layernorm: LayerNorm::new(width, eps, device),
            mlp: Mlp::new(width, dims.intermediate, dims.activation, device),
        }
    }

    /// # Shapes
    /// - `patches`: `[batch, patches, width]`
    /// - returns `[batch, width]`
    pub fn forward(&self, patches: Tensor<3>) -> Tensor<2> {
        let [batch, _, width] = patches.dims();
        let probe = like(self.probe.val(), &patches).expand([batch, 1, width]);
        let mask = AttentionMask::default();
        let seen = self.attention.forward(probe, patches, mask);
        let hidden = self.mlp.forward(self.layernorm.forward(seen.clone()));
        (seen + hidden).reshape([batch, width])
    }
}
