use burn::tensor::Tensor;
use burn::tensor::ops::{GridSampleOptions, GridSamplePaddingMode, InterpolateMode};

use crate::precision::{cast, wide};

/// Multi-scale deformable attention; see [`crate::deformable_attention`].
pub fn deformable_attention(
    value: Tensor<4>,
    spatial_shapes: &[[usize; 2]],
    locations: Tensor<6>,
    weights: Tensor<5>,
) -> Tensor<3> {
    let dtype = value.dtype();
    let (value, locations, weights) = (wide(value), wide(locations), wide(weights));
    let [batch, _, heads, dim] = value.dims();
    let [_, queries, _, _, points, _] = locations.dims();
    let options = GridSampleOptions {
        mode: InterpolateMode::Bilinear,
        padding_mode: GridSamplePaddingMode::Zeros,
        align_corners: false,
    };
    let mut start = 0;
    let mut total: Option<Tensor<3>> = None;
    for (level, &[height, width]) in spatial_shapes.iter().enumerate() {
        let map = value
            .clone()
            .narrow(1, start, height * width)
            .permute([0, 2, 3, 1]) // [batch, heads, dim, height * width]
            .reshape([batch * heads, dim, height, width]);
        let grid = locations
            .clone()
            .narrow(3, level, 1)
            .swap_dims(1, 2) // [batch, heads, queries, 1, points, 2]
            .reshape([batch * heads, queries, points, 2]);
        let sampled = map.grid_sample_2d(grid * 2.0 - 1.0, options.clone());
        let weight = weights
            .clone()
            .narrow(3, level, 1)
            .swap_dims(1, 2) // [batch, heads, queries, 1, points]
            .reshape([batch * heads, 1, queries, points]);
        // [batch * heads, dim, queries]
        let level_sum = (sampled * weight)
            .sum_dim(3)
            .reshape([batch * heads, dim, queries]);
        total = Some(match total {
            Some(sum) => sum + level_sum,
            None => level_sum,
        });
        start += height * width;
    }
    let total = total
        .expect("at least one level")
        .reshape([batch, heads * dim, queries])
        .swap_dims(1, 2);
    cast(total, dtype)
}
