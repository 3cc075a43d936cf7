use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::clip::adapter::{VitAdapter, VitAdapterConfig};
use crate::clip::config::ClipVisionConfig;
use crate::clip::levels::Pyramid;
use crate::clip::vit::ClipVit;
use crate::nn::Linear;

/// CLIP ViT with an adapter.
#[derive(Module, Debug)]
pub struct VitPyramid {
    /// The tower.
    pub vision_model: ClipVit,
    adapter: VitAdapter,
    /// To the pyramid's width, one per level; none if the ViT has that width already.
    adapter_levels: Vec<Linear>,
    /// The same for the sequence.
    adapter_sequence: Option<Linear>,
}

impl VitPyramid {
    pub(super) fn new(
        config: &ClipVisionConfig,
        adapter: &VitAdapterConfig,
        pyramid_dim: usize,
        device: &Device,
    ) -> Self {
        let width = config.hidden_size;
        let project = || Linear::new(width, pyramid_dim, true, device);
        let other = width != pyramid_dim;
        Self {
            vision_model: ClipVit::new(config, device),
            adapter: VitAdapter::new(adapter, width, config.num_attention_heads, device),
            adapter_levels: (0..if other { 4 } else { 0 }).map(|_| project()).collect(),
            adapter_sequence: other.then(project),
        }
    }

    /// # Shapes
    /// - `pixels`: `[batch, 3, height, width]`, normalised
    pub fn forward(&self, pixels: Tensor<4>) -> Pyramid {
        let output = self.adapter.forward(&self.vision_model, pixels);
        let Some(adapter_sequence) = &self.adapter_sequence else {
            return Pyramid {
                levels: output.levels,
                sequence: output.tokens,
            };
        };
        let mut projections = self.adapter_levels.iter();
        Pyramid {
            levels: output.levels.map(|level| match projections.next() {
                Some(projection) => projection.forward(level),
                None => level,
            }),
            sequence: adapter_sequence.forward(output.tokens),
        }
    }
}
