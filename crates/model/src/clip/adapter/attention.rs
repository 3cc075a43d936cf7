use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use deem_kernels as kernels;
use deem_kernels::precision::{at_least_32, wide};

use super::widths::Widths;
use crate::nn::Linear;
use crate::position::pixel_centres;

/// Multi-scale deformable attention from the cells of some maps to others.
#[derive(Module, Debug)]
pub(super) struct DeformableAttention {
    sampling_offsets: Linear,
    attention_weights: Linear,
    value_proj: Linear,
    output_proj: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    points: usize,
}

impl DeformableAttention {
    pub(super) fn new(widths: Widths, levels: usize, device: &Device) -> Self {
        let Widths {
            model,
            heads,
            points,
            value,
            ..
        } = widths;
        let linear = |inputs, outputs| Linear::new(inputs, outputs, true, device);
        let slots = heads * levels * points;
        let mut sampling_offsets = linear(model, slots * 2);
        sampling_offsets.bias = Some(star(heads, levels, points, device));
        Self {
            sampling_offsets,
            attention_weights: linear(model, slots),
            value_proj: linear(model, value),
            output_proj: linear(value, model),
            heads,
            points,
        }
    }

    /// `query` holds the cells of the maps `from`, `feat` those of `to`.
    pub(super) fn forward(
        &self,
        query: Tensor<3>,
        from: &[[usize; 2]],
        feat: Tensor<3>,
        to: &[[usize; 2]],
    ) -> Tensor<3> {
        let [batch, queries, _] = query.dims();
        let (heads, points, levels) = (self.heads, self.points, to.len());
        let (device, dtype) = (query.device(), at_least_32(query.dtype()));
        let [_, cells, _] = feat.dims();
        let value = self.value_proj.forward(feat);
        let width = value.dims()[2];
        let value = value.reshape([batch, cells, heads, width / heads]);

        let centres = from
            .iter()
            .map(|[h, w]| pixel_centres(*h, *w, &device, dtype));
        let centres = Tensor::cat(centres.collect(), 1).reshape([1, queries, 1, 1, 1, 2]);
        let steps = to
            .iter()
            .flat_map(|[height, width]| [1.0 / *width as f32, 1.0 / *height as f32]);
        let steps = TensorData::new(steps.collect::<Vec<_>>(), [1, 1, 1, levels, 1, 2]);
        let steps = Tensor::<6>::from_data(steps, &device).cast(dtype);
        let offsets = wide(self.sampling_offsets.forward(query.clone()))
            .reshape([batch, queries, heads, levels, points, 2]);
        let weights = wide(self.attention_weights.forward(query)).reshape([
            batch,
            queries,
            heads,
            levels * points,
        ]);
        let weights = kernels::softmax(weights).reshape([batch, queries, heads, levels, points]);
        let locations = offsets * steps + centres;
        let sampled = kernels::deformable_attention(value, to, locations, weights);
        self.output_proj.forward(sampled)
    }
}

/// Offsets in a direction per head, one more cell per point (Deformable DETR's initial bias).
fn star(heads: usize, levels: usize, points: usize, device: &Device) -> Param<Tensor<1>> {
    let shape = [heads * levels * points * 2];
    let init = move |device: &Device, require_grad: bool| {
        let mut values = Vec::with_capacity(shape[0]);
        for head in 0..heads {
            let (y, x) = libm::sincos(std::f64::consts::TAU * head as f64 / heads as f64);
            let longest = x.abs().max(y.abs());
            for slot in 0..levels * points {
                let cells = (slot % points + 1) as f64;
                values.extend([x, y].map(|v| (v / longest * cells) as f32));
            }
        }
        let bias = Tensor::<1>::from_data(TensorData::new(values, shape), device);
        bias.set_require_grad(require_grad)
    };
    let shape = Shape::from(shape);
    Param::uninitialized(ParamId::new(), init, device.clone(), true, shape)
}
