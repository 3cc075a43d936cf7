use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use deem_kernels as kernels;
use deem_kernels::precision::{at_least_32, like, wide};

use super::{ImageFeatures, Mmfs, MmfsConfig, MmfsValues};
use crate::nn::{RmsNorm, param};

/// MMFS in a layer of the language model: between self-attention and MLP, behind a gate that starts
/// closed.
#[derive(Module, Debug)]
pub struct GatedMmfs {
    /// `[1]`; the result is multiplied by its hyperbolic tangent.
    pub gate: Param<Tensor<1>>,
    /// On the queries.
    pub norm1: RmsNorm,
    /// On the image features.
    pub norm2: RmsNorm,
    /// The attention.
    pub attn: Mmfs,
}

impl GatedMmfs {
    /// A block with the language model's norm constant.
    pub fn new(config: &MmfsConfig, rms_norm_eps: f64, device: &Device) -> Self {
        Self {
            gate: param([1], 0.0, device),
            norm1: RmsNorm::new(config.query_dim, rms_norm_eps, device),
            norm2: RmsNorm::new(config.value_dim, rms_norm_eps, device),
            attn: Mmfs::new(config, device),
        }
    }

    /// What is to be added to the residual stream.
    ///
    /// # Shapes
    /// - `hidden`: `[batch, positions, query_dim]`
    /// - `features`, `relative`: as in [`Mmfs::forward`]
    /// - returns `[batch, positions, query_dim]`
    pub fn forward(
        &self,
        hidden: Tensor<3>,
        features: &ImageFeatures,
        relative: Tensor<3, Int>,
    ) -> Tensor<3> {
        self.attend(hidden, &self.values(features), relative)
    }

    /// The part of [`Self::forward`] that depends on the images only.
    pub fn values(&self, features: &ImageFeatures) -> MmfsValues {
        self.attn
            .values_after(features, |level| self.norm2.forward(level))
    }

    /// What is to be added at every position if there is no image: `[1, 1, query_dim]`.
    pub fn unseen(&self) -> Tensor<3> {
        (wide(self.attn.unseen()) * kernels::tanh(wide(self.gate.val()))).unsqueeze()
    }

    /// The part of [`Self::forward`] that depends on the text.
    pub fn attend(
        &self,
        hidden: Tensor<3>,
        values: &MmfsValues,
        relative: Tensor<3, Int>,
    ) -> Tensor<3> {
        let query = self.norm1.forward(hidden);
        let looked = self.attn.look(query.clone(), values, relative.clone());
        let attended = looked.unwrap_or_else(|| {
            let dtype = at_least_32(query.dtype());
            let centre = Tensor::full([1, 1, 2], 0.5, (&query.device(), dtype));
            self.attn.attend(query, centre, values, relative)
        });
        let gate = like(kernels::tanh(self.gate.val()), &attended);
        attended * gate.unsqueeze::<3>()
    }
}
