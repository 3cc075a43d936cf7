use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use deem_kernels::precision::at_least_32;

use super::{ImageFeatures, Mmfs, MmfsConfig, MmfsValues};
use crate::nn::{Conv2d, Conv2dOptions, LayerNorm};
use crate::position::{PositionTable, pixel_centres};

/// MMFS on one skip connection (or the middle) of the UNet, behind a convolution that starts at
/// zero.
#[derive(Module, Debug)]
pub struct UnetMmfs {
    /// On the queries.
    pub query_norm: LayerNorm,
    /// On the image features.
    pub feat_norm: LayerNorm,
    /// The attention.
    pub mmfs: Mmfs,
    /// 1×1.
    pub conv: Conv2d,
    #[module(skip)]
    position: PositionTable,
}

impl UnetMmfs {
    /// A block whose own position table is made for a `position_grid` × `position_grid` map (the
    /// latent's side) and resized to the query's map.
    pub fn new(config: &MmfsConfig, position_grid: usize, device: &Device) -> Self {
        let options = Conv2dOptions::default();
        Self {
            query_norm: LayerNorm::new(config.query_dim, 1e-6, device),
            feat_norm: LayerNorm::new(config.value_dim, 1e-6, device),
            mmfs: Mmfs::new(config, device),
            conv: Conv2d::new(config.query_dim, config.query_dim, 1, options, device),
            position: PositionTable::new(position_grid, config.query_dim),
        }
    }

    /// What is to be added to the activation.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, query_dim]`
    /// - `features`: as in [`Mmfs::forward`]
    /// - `relative`: `[batch, images]`, images counted backwards from 1, 0 for an invisible one
    /// - returns `[batch, height, width, query_dim]`
    pub fn forward(
        &self,
        x: Tensor<4>,
        features: &ImageFeatures,
        relative: Tensor<2, Int>,
    ) -> Tensor<4> {
        self.attend(x, &self.values(features), relative)
    }

    /// The part of [`Self::forward`] that depends on the images only.
    pub fn values(&self, features: &ImageFeatures) -> MmfsValues {
        self.mmfs
            .values_after(features, |level| self.feat_norm.forward(level))
    }

    /// What is to be added to every cell if there is no image: `[1, 1, 1, query_dim]`.
    pub fn unseen(&self) -> Tensor<4> {
        self.conv.forward(self.mmfs.unseen().unsqueeze())
    }

    /// The part of [`Self::forward`] that depends on the activation.
    pub fn attend(&self, x: Tensor<4>, values: &MmfsValues, relative: Tensor<2, Int>) -> Tensor<4> {
        let [batch, height, width, channels] = x.dims();
        let centres = pixel_centres(height, width, &x.device(), at_least_32(x.dtype()));
        let query = self.position.add_to(self.query_norm.forward(x));
        let query = query.reshape([batch, height * width, channels]);
        let relative = relative.unsqueeze_dim(1); // [batch, 1, images]
        let attended = self.mmfs.attend(query, centres, values, relative);
        self.conv
            .forward(attended.reshape([batch, height, width, channels]))
    }
}
