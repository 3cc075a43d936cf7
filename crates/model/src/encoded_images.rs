//! What the image encoder hands on, and how each reader picks from it.

use burn::tensor::Tensor;
use deem_kernels as kernels;

use crate::clip::levels::Levels;
use crate::diffusion::{Condition, VisibleImages};
use crate::layout::Layout;
use crate::mmfs::ImageFeatures;

/// What the encoder understood of some images.
#[derive(Clone, Debug)]
pub struct EncodedImages {
    /// `[images, queries, llm_dim]`, embeddings for the language model.
    pub embeddings: Tensor<3>,
    /// `[images, queries, cross_dim]`, condition tokens for the diffusion model.
    pub condition: Tensor<3>,
    /// Masked feature maps, `[images, height, width, channels]` each.
    pub pyramid: Levels,
}

impl EncodedImages {
    /// The images of all parts, in their order; `None` if there are none.
    pub fn cat(parts: Vec<Self>) -> Option<Self> {
        if parts.len() < 2 {
            return parts.into_iter().next();
        }
        let embeddings = parts.iter().map(|part| part.embeddings.clone()).collect();
        let condition = parts.iter().map(|part| part.condition.clone()).collect();
        let pyramids = parts.into_iter().map(|part| part.pyramid);
        Some(Self {
            embeddings: Tensor::cat(embeddings, 0),
            condition: Tensor::cat(condition, 0),
            pyramid: Levels::cat(pyramids.collect()),
        })
    }

    /// Memory that its numbers take.
    pub fn bytes(&self) -> usize {
        let of = |dims: &[usize], size: usize| dims.iter().product::<usize>() * size;
        let flat = [&self.embeddings, &self.condition];
        let flat = flat.map(|x| of(&x.dims(), x.dtype().size()));
        let levels = self.pyramid.clone().into_array();
        let levels = levels.map(|x| of(&x.dims(), x.dtype().size()));
        flat.iter().chain(&levels).sum()
    }

    /// Some of the images, in a given order, possibly repeated.
    pub fn select(&self, which: &[usize]) -> Self {
        let pyramid = self.pyramid.clone();
        Self {
            embeddings: kernels::select(self.embeddings.clone(), which),
            condition: kernels::select(self.condition.clone(), which),
            pyramid: pyramid.map(|level| kernels::select(level, which)),
        }
    }

    /// What the diffusion model is told when it must restore these very images: their condition tokens,
    /// and each image as its own only visible one.
    pub fn own_condition(&self) -> Condition {
        let images = self.condition.dims()[0];
        let levels = self.pyramid.clone().into_iter();
        let device = self.condition.device();
        Condition {
            tokens: self.condition.clone(),
            visible: Some(VisibleImages {
                features: ImageFeatures {
                    levels: levels.map(|level| level.unsqueeze_dim(1)).collect(),
                },
                relative: Layout::int(vec![1; images], [images, 1], &device),
            }),
        }
    }

    /// For each target the image given by index, or an invisible one; `None` if all are.
    pub fn visible(&self, which: &[Option<usize>]) -> Option<VisibleImages> {
        if which.iter().all(Option::is_none) {
            return None;
        }
        let device = self.condition.device();
        let rows: Vec<usize> = which.iter().map(|i| i.unwrap_or(0)).collect();
        let levels = self.pyramid.clone().into_iter();
        let levels = levels.map(|level| kernels::select(level, &rows).unsqueeze_dim(1));
        let seen = which.iter().map(|i| i64::from(i.is_some())).collect();
        Some(VisibleImages {
            features: ImageFeatures {
                levels: levels.collect(),
            },
            relative: Layout::int(seen, [which.len(), 1], &device),
        })
    }

    /// The pyramids arranged by sequence: `[batch, images per row, height, width, channels]`.
    pub fn per_row(&self, layout: &Layout) -> Option<ImageFeatures> {
        let per_row = layout.images_per_row();
        if per_row == 0 {
            return None;
        }
        let slots = layout.image_slots();
        let levels = self.pyramid.clone().into_iter().map(|level| {
            let [_, height, width, channels] = level.dims();
            let shape = [layout.batch, per_row, height, width, channels];
            kernels::select(level, &slots).reshape(shape)
        });
        Some(ImageFeatures {
            levels: levels.collect(),
        })
    }
}
