//! Mask-aware extractor E_M (spec: components): features of a region only.
//!
//! A binary mask of the image is reduced to the grid of a feature map; every cell whose bilinear
//! sample touches the region counts as inside, and the others are set to zero. The default mask is
//! the whole image.

use burn::tensor::Tensor;
use deem_kernels::precision::like;

use crate::position::{Filter, resize};

/// Reduces a mask to a grid: resized bilinearly, anything above zero is inside.
///
/// # Shapes
/// - `mask`: `[batch, height, width]`, positive inside the region, zero outside
/// - returns `[batch, height, width]` of the grid, 1 inside and 0 outside
pub fn mask_to_grid(mask: Tensor<3>, height: usize, width: usize) -> Tensor<3> {
    let dtype = mask.dtype();
    let filter = Filter::SingleBilinear;
    let mask = resize(mask.unsqueeze_dim(3), [height, width], filter);
    mask.greater_elem(0.0).float().cast(dtype).squeeze_dim(3)
}

/// Sets the features outside a region to zero.
///
/// # Shapes
/// - `features`: `[batch, height, width, channels]`
/// - `mask`: `[batch, mask_height, mask_width]`, positive inside; `None` is the whole image
/// - returns `[batch, height, width, channels]`
pub fn extract(features: Tensor<4>, mask: Option<&Tensor<3>>) -> Tensor<4> {
    let Some(mask) = mask else {
        return features;
    };
    let [_, height, width, _] = features.dims();
    let mask = mask_to_grid(mask.clone(), height, width);
    let mask = like(mask, &features).unsqueeze_dim(3);
    features * mask
}

/// The same for a sequence `[global; grid]`, whose global token is kept.
///
/// # Shapes
/// - `sequence`: `[batch, 1 + size[0] * size[1], channels]`
/// - `mask`: as in [`extract`]
/// - returns the shape of `sequence`
pub fn extract_sequence(
    sequence: Tensor<3>,
    size: [usize; 2],
    mask: Option<&Tensor<3>>,
) -> Tensor<3> {
    if mask.is_none() {
        return sequence;
    }
    let [batch, length, channels] = sequence.dims();
    let global = sequence.clone().narrow(1, 0, 1);
    let grid = sequence.narrow(1, 1, length - 1);
    let grid = grid.reshape([batch, size[0], size[1], channels]);
    let grid = extract(grid, mask).reshape([batch, length - 1, channels]);
    Tensor::cat(vec![global, grid], 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    /// The second of nine cells falls on the middle of the first of three pixels; rounded to single precision, a
    /// little beyond, so that it touches the second pixel, too (PyTorch 2.15 says the same).
    #[test]
    fn cells_touch_what_they_touch_in_pytorch() {
        let mask = Tensor::<3>::from_data([[[0.0, 1.0, 0.0]]], &Device::flex());
        let found = values(mask_to_grid(mask, 1, 9));
        assert_eq!(found, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    /// From 4 to 2, each cell averages the two by two pixels at its centre; one of them is enough.
    #[test]
    fn a_cell_is_inside_if_the_mask_touches_it() {
        let device = Device::flex();
        let mask = Tensor::<3>::from_data(
            [[
                [0.0, 0.0, 0.0, 0.0],
                [0.0, 1.0, 0.0, 0.0],
                [0.0, 0.0, 0.0, 0.0],
                [0.0, 0.0, 1.0, 1.0],
            ]],
            &device,
        );
        assert_eq!(
            values(mask_to_grid(mask.clone(), 2, 2)),
            [1.0, 0.0, 0.0, 1.0]
        );
        let features = Tensor::<4>::full([1, 2, 2, 1], 3.0, &device);
        let inside = extract(features.clone(), Some(&mask));
        assert_eq!(values(inside), [3.0, 0.0, 0.0, 3.0]);
        assert_eq!(values(extract(features, None)), [3.0; 4]);
        let sequence = Tensor::<3>::full([1, 5, 1], 3.0, &device);
        let inside = extract_sequence(sequence, [2, 2], Some(&mask));
        assert_eq!(values(inside), [3.0, 3.0, 0.0, 0.0, 3.0]);
    }
}
