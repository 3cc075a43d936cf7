//! L_NIP: next-image prediction, the denoising error of an image given the text and images before it.

use burn::tensor::{Device, Tensor};
use deem_data::Batch;
use deem_kernels as kernels;
use deem_model::deem::{Deem, EncodedImages};
use deem_model::diffusion::Condition;
use deem_model::layout::Layout;

/// Indices of the images that count: not the first of a sample (`counted` says), and with more
/// context than `bos, soi`.
pub fn image_targets(layout: &Layout, counted: &[bool]) -> Vec<usize> {
    layout
        .images
        .iter()
        .enumerate()
        .filter(|(index, image)| counted[*index] && has_context(image.soi, image.document))
        .map(|(index, _)| index)
        .collect()
}

/// How many images of a batch count, as [`image_targets`] says.
pub(super) fn count_of_targets(batch: &Batch) -> usize {
    let images = batch.images.iter();
    images
        .filter(|image| image.counted_nip && has_context(image.soi, image.document_start))
        .count()
}

/// Whether more than `bos, soi` stands before an image.
fn has_context(soi: usize, document: usize) -> bool {
    soi - document > 1
}

/// Mean squared error of the predicted noise for the `targets` among a batch's images.
///
/// Where `drop` is true the context's condition is replaced by the trainable null condition
/// (classifier-free guidance). The UNet's synchroniser sees the previous image only.
///
/// # Shapes
/// - `hidden`: `[batch, seq, width]`
/// - `latents`, `noise`: `[targets, height, width, channels]`
/// - returns `[1]`; zero if there is no target
#[allow(clippy::too_many_arguments)]
pub fn next_image_loss(
    model: &Deem,
    hidden: Tensor<3>,
    layout: &Layout,
    encoded: &EncodedImages,
    targets: &[usize],
    latents: Tensor<4>,
    noise: Tensor<4>,
    timesteps: &[usize],
    drop: &[bool],
    device: &Device,
) -> Tensor<1> {
    if targets.is_empty() {
        return Tensor::zeros([1], device);
    }
    let positions: Vec<_> = targets
        .iter()
        .map(|&i| (layout.images[i].row, layout.images[i].soi))
        .collect();
    let tokens = model.context_condition(hidden, layout, &positions, drop);
    let previous: Vec<_> = targets.iter().map(|&i| layout.images[i].previous).collect();
    let condition = Condition {
        tokens,
        visible: encoded.visible(&previous),
    };
    let diffusion = model.diffusion();
    kernels::mean(diffusion.error(latents, noise, timesteps, condition))
}

#[cfg(test)]
mod tests {
    use deem_model::layout::StructureTokens;

    use super::*;

    #[test]
    fn images_without_context_do_not_count() {
        let special = StructureTokens {
            bos: 1,
            eos: 2,
            pad: 0,
            soi: 8,
            image: 9,
        };
        // bos image text image | bos text image
        let tokens = [1, 8, 9, 5, 8, 9, 1, 5, 8, 9, 0, 0];
        let layout = Layout::new(&tokens, 2, special, 1);
        assert_eq!(image_targets(&layout, &[true; 3]), [1, 2]);
        assert_eq!(image_targets(&layout, &[true, false, true]), [2]);
    }
}
