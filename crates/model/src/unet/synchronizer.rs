//! MMFS on the UNet's skip connections (DEEM §2.1): one block for each, and one for the middle (13
//! for Stable Diffusion 2.1). Trainable, and apart from the frozen UNet.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use deem_kernels::precision::like;
use serde::{Deserialize, Serialize};

use super::UNetConfig;
use crate::mmfs::{ImageFeatures, MmfsConfig, MmfsValues, UnetMmfs};

/// Dimensions of the blocks; defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetSynchronizerConfig {
    /// Width of the image features.
    pub value_dim: usize,
    /// Width of the projected values.
    pub attention_dim: usize,
    /// Attention heads.
    pub heads: usize,
    /// Sampling points per head and level.
    pub points: usize,
    /// Nominal side of each level, finest first.
    pub levels: Vec<usize>,
    /// Side of the finest skip connection. A block's offsets count cells of its own map, so this is
    /// halved with each level of the UNet.
    pub base_size: usize,
    /// Initial offsets are uniform in ± this many cells.
    pub offset_init: f32,
    /// Rows of the table of relative image positions.
    pub max_images: usize,
    /// Side of the grid that the position tables are made for (the latent's side).
    pub position_grid: usize,
}

impl Default for UnetSynchronizerConfig {
    fn default() -> Self {
        Self {
            value_dim: 1024,
            attention_dim: 1024,
            heads: 16,
            points: 8,
            levels: vec![64, 32, 16, 8],
            base_size: 64,
            offset_init: 1.0,
            max_images: 10,
            position_grid: 64,
        }
    }
}

impl UnetSynchronizerConfig {
    /// The dimensions of a block on a map with `channels` channels, `reduction` times smaller than the
    /// finest one.
    pub fn mmfs(&self, channels: usize, reduction: usize) -> MmfsConfig {
        MmfsConfig {
            query_dim: channels,
            value_dim: self.value_dim,
            attention_dim: self.attention_dim,
            heads: self.heads,
            points: self.points,
            levels: self.levels.clone(),
            base_size: (self.base_size / reduction).max(1),
            offset_init: self.offset_init,
            max_images: self.max_images,
        }
    }
}

/// The MMFS blocks of a UNet.
#[derive(Module, Debug)]
pub struct UnetSynchronizer {
    /// One for each skip connection, in the order in which they are made.
    pub mmfs_down_blocks: Vec<UnetMmfs>,
    /// After the middle block.
    pub mmfs_mid_block: UnetMmfs,
}

impl UnetSynchronizer {
    /// Blocks for all skip connections and the middle of a UNet; allocates nothing.
    pub fn new(config: &UnetSynchronizerConfig, unet: &UNetConfig, device: &Device) -> Self {
        let block = |(channels, reduction)| {
            let mmfs = config.mmfs(channels, reduction);
            UnetMmfs::new(&mmfs, config.position_grid, device)
        };
        Self {
            mmfs_down_blocks: unet.skips().into_iter().map(block).collect(),
            mmfs_mid_block: block(unet.middle()),
        }
    }

    /// Projects the images for every block; reusable for all denoising steps.
    ///
    /// # Shapes
    /// - `features`: of `batch` rows
    /// - `relative`: `[batch, images]`, images counted backwards from 1, 0 for an invisible one
    pub fn prepare(&self, features: &ImageFeatures, relative: Tensor<2, Int>) -> UnetImages<'_> {
        let down = self.mmfs_down_blocks.iter();
        UnetImages {
            synchronizer: self,
            seen: Some(Seen {
                down: down.map(|block| block.values(features)).collect(),
                mid: self.mmfs_mid_block.values(features),
                relative,
            }),
        }
    }

    /// The same as [`Self::prepare`] with invisible images only.
    pub fn prepare_nothing(&self) -> UnetImages<'_> {
        UnetImages {
            synchronizer: self,
            seen: None,
        }
    }
}

/// Images that the UNet may look at, projected for every MMFS block.
#[derive(Clone, Debug)]
pub struct UnetImages<'a> {
    synchronizer: &'a UnetSynchronizer,
    seen: Option<Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    down: Vec<MmfsValues>,
    mid: MmfsValues,
    relative: Tensor<2, Int>,
}

impl UnetImages<'_> {
    /// Adds what each block finds to its skip connection, and to the middle.
    pub(super) fn add(
        &self,
        skips: Vec<Tensor<4>>,
        middle: Tensor<4>,
    ) -> (Vec<Tensor<4>>, Tensor<4>) {
        let UnetSynchronizer {
            mmfs_down_blocks,
            mmfs_mid_block,
        } = self.synchronizer;
        let Some(Seen {
            down,
            mid,
            relative,
        }) = &self.seen
        else {
            let skips = skips.into_iter().zip(mmfs_down_blocks);
            let add = |x: Tensor<4>, block: &UnetMmfs| x.clone() + like(block.unseen(), &x);
            let skips = skips.map(|(skip, block)| add(skip, block));
            return (skips.collect(), add(middle, mmfs_mid_block));
        };
        let look = |block: &UnetMmfs, x: Tensor<4>, values: &MmfsValues| {
            x.clone() + block.attend(x, values, relative.clone())
        };
        let skips = skips.into_iter().zip(mmfs_down_blocks.iter().zip(down));
        let skips = skips.map(|(skip, (block, values))| look(block, skip, values));
        (skips.collect(), look(mmfs_mid_block, middle, mid))
    }
}
