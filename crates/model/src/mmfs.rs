//! Multi-image multi-scale feature synchroniser, MMFS (DEEM §2.1, after MM-Interleaved §3.2).
//!
//! Deformable attention over the feature pyramids of several images at once. Each query shifts its
//! own reference point by learned offsets, weighs the samples of all images, levels and points in
//! one softmax, and may spend weight on an "ignore" slot instead. In the language model the block is
//! gated and looks from the image centre ([`GatedMmfs`]); in the UNet it is added to skip
//! connections and looks from each pixel's own place ([`UnetMmfs`]).

mod config;
mod gated;
mod unet;

pub use config::{MmfsConfig, MmfsError};
pub use gated::GatedMmfs;
pub use unet::UnetMmfs;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use deem_kernels::precision::{like, wide};
use deem_kernels::{self as kernels, Looks, Shifts};

use crate::nn::{Embedding, Linear};

/// Pyramids of the images of each sequence.
#[derive(Clone, Debug)]
pub struct ImageFeatures {
    /// `[batch, images, height, width, channels]`, finest level first.
    pub levels: Vec<Tensor<5>>,
}

/// Projected image features, ready to be sampled; reusable while the images stay the same (all
/// decoding steps, all denoising steps).
#[derive(Clone, Debug)]
pub struct MmfsValues {
    /// `[batch, images * cells, heads, head_dim]`
    value: Tensor<4>,
    /// `[height, width]` of each level of each image.
    shapes: Vec<[usize; 2]>,
    images: usize,
}

impl MmfsValues {
    /// Images of each row.
    pub(crate) fn images(&self) -> usize {
        self.images
    }

    /// One row of images each, as rows of a batch; images that are missing to the longest row are zeros. `None` if
    /// there are none at all.
    pub(crate) fn side_by_side(rows: &[Option<&Self>]) -> Option<Self> {
        let largest = rows.iter().flatten().max_by_key(|row| row.images)?;
        let [_, positions, heads, dim] = largest.value.dims();
        let (device, dtype) = (largest.value.device(), largest.value.dtype());
        let zeros = |count: usize| Tensor::zeros([1, count, heads, dim], (&device, dtype));
        let filled = rows.iter().map(|row| match row {
            None => zeros(positions),
            Some(row) if row.images == largest.images => row.value.clone(),
            Some(row) => {
                let missing = positions - row.value.dims()[1];
                Tensor::cat(vec![row.value.clone(), zeros(missing)], 1)
            }
        });
        Some(Self {
            value: Tensor::cat(filled.collect(), 0),
            shapes: largest.shapes.clone(),
            images: largest.images,
        })
    }
}

/// Deformable attention over several images.
///
/// Each level also has an "ignore" slot with the constant logit −ln(images · levels), for a value
/// that stays zero. All ignore slots together weigh exactly e⁰, so one slot with logit 0 replaces
/// them, and the result does not depend on how many invisible images pad a batch. Their columns in
/// `attention_weights` exist in checkpoints and are never read.
#[derive(Module, Debug)]
pub struct Mmfs {
    /// Query → offsets, `heads * points * 2` (x, y).
    pub sampling_offsets: Linear,
    /// Query → the vector from which offsets and logits are made.
    pub dynamic_offset_mask: Linear,
    /// The same vector → logits, `heads * levels * (points + 1)`.
    pub attention_weights: Linear,
    /// Image features → values.
    pub value_proj: Linear,
    /// Values → output.
    pub output_proj: Linear,
    /// Added to the query's vector, by how far back the image lies.
    pub query_relpos: Embedding,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    points: usize,
    #[module(skip)]
    max_images: usize,
    /// Nominal side of each level over the base side.
    #[module(skip)]
    scales: Vec<f64>,
    /// The maps of `query_relpos`, once nothing is learned any more.
    #[module(skip)]
    shifts: Option<Shifts>,
}

impl Mmfs {
    /// A synchroniser of the given dimensions.
    pub fn new(config: &MmfsConfig, device: &Device) -> Self {
        let MmfsConfig {
            query_dim,
            value_dim,
            attention_dim,
            heads,
            points,
            ..
        } = *config;
        let levels = config.levels.len();
        let linear = |inputs, outputs| Linear::new(inputs, outputs, true, device);
        Self {
            sampling_offsets: linear(query_dim, heads * points * 2),
            dynamic_offset_mask: linear(query_dim, query_dim),
            attention_weights: linear(query_dim, heads * levels * (points + 1)),
            value_proj: linear(value_dim, attention_dim),
            output_proj: linear(attention_dim, query_dim),
            query_relpos: Embedding::new(config.max_images, query_dim, device),
            heads,
            points,
            max_images: config.max_images,
            scales: config
                .levels
                .iter()
                .map(|side| *side as f64 / config.base_size as f64)
                .collect(),
            shifts: None,
        }
    }

    /// Its linear layers.
    pub(crate) fn linears_mut(&mut self) -> [&mut Linear; 5] {
        [
            &mut self.sampling_offsets,
            &mut self.dynamic_offset_mask,
            &mut self.attention_weights,
            &mut self.value_proj,
            &mut self.output_proj,
        ]
    }

    /// See [`crate::llama::Llama::prepacked`].
    pub(crate) fn prepack(&mut self) {
        for linear in self.linears_mut() {
            linear.prepack();
        }
        let table = wide(self.query_relpos.weight.val());
        let [offsets, logits] = [&self.sampling_offsets, &self.attention_weights]
            .map(|map| map.form().map(|form| form.linear(table.clone(), None)));
        self.shifts = offsets
            .zip(logits)
            .map(|(offsets, logits)| Shifts { offsets, logits });
    }

    /// [`Self::attend`] around the centre of each image, in one operation, of a block that is prepacked. `None` if it
    /// is not, or something is to be learned.
    pub(crate) fn look(
        &self,
        query: Tensor<3>,
        values: &MmfsValues,
        relative: Tensor<3, Int>,
    ) -> Option<Tensor<3>> {
        let maps = [&self.sampling_offsets, &self.attention_weights];
        let ready = maps.iter().all(|map| map.form().is_some());
        let shifts = self.shifts.as_ref().filter(|_| ready)?;
        let steps = self.scales.iter().zip(&values.shapes);
        let steps = steps.map(|(scale, [height, width])| {
            [
                (scale / *width as f64) as f32,
                (scale / *height as f64) as f32,
            ]
        });
        let looks = Looks {
            shapes: values.shapes.clone(),
            steps: steps.collect(),
            points: self.points,
            relative: relative.into_data().iter::<i64>().collect(),
        };
        let u = self.dynamic_offset_mask.forward(query);
        let [offsets, logits] = maps.map(|map| map.forward(u.clone()));
        let sampled = looks.sampled(values.value.clone(), offsets, logits, shifts)?;
        Some(self.output_proj.forward(sampled))
    }

    /// Attention from `query` to the images.
    ///
    /// # Shapes
    /// - `query`: `[batch, queries, query_dim]`
    /// - `reference`: `[1 or batch, 1 or queries, 2]`, x and y in 0..1
    /// - `features`: at least as many levels as configured; the coarsest ones are used
    /// - `relative`: `[batch, 1 or queries, images]`, visible images counted backwards (the nearest
    ///   has 1), 0 for an invisible one
    /// - returns `[batch, queries, query_dim]`
    ///
    /// # Panics
    /// If `features` has too few levels, or shapes disagree.
    pub fn forward(
        &self,
        query: Tensor<3>,
        reference: Tensor<3>,
        features: &ImageFeatures,
        relative: Tensor<3, Int>,
    ) -> Tensor<3> {
        self.attend(query, reference, &self.values(features), relative)
    }

    /// The part of [`Self::forward`] that depends on the images only.
    pub fn values(&self, features: &ImageFeatures) -> MmfsValues {
        self.values_after(features, |level| level)
    }

    fn values_after(
        &self,
        features: &ImageFeatures,
        norm: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> MmfsValues {
        let levels = self.scales.len();
        let given = features.levels.len();
        assert!(
            given >= levels,
            "MMFS needs {levels} pyramid levels, found {given}"
        );
        let coarsest = &features.levels[given - levels..];
        let [batch, images, ..] = coarsest[0].dims();
        let shapes = coarsest.iter().map(|level| {
            let [_, _, height, width, _] = level.dims();
            [height, width]
        });
        let shapes: Vec<[usize; 2]> = shapes.collect();
        let projected = coarsest
            .iter()
            .zip(&shapes)
            .map(|(level, [height, width])| {
                let channels = level.dims()[4];
                let level = level
                    .clone()
                    .reshape([batch, images, height * width, channels]);
                self.value_proj.forward(norm(level))
            });
        let value = Tensor::cat(projected.collect(), 2); // [batch, images, cells, attention_dim]
        let [_, _, cells, width] = value.dims();
        MmfsValues {
            value: value.reshape([batch, images * cells, self.heads, width / self.heads]),
            shapes: shapes.repeat(images),
            images,
        }
    }

    /// The part of [`Self::forward`] that depends on the queries.
    pub fn attend(
        &self,
        query: Tensor<3>,
        reference: Tensor<3>,
        values: &MmfsValues,
        relative: Tensor<3, Int>,
    ) -> Tensor<3> {
        let u = self.dynamic_offset_mask.forward(query);
        let locations = self.locations(u.clone(), reference, values, relative.clone());
        let weights = self.weights(u, values.images, relative);
        let sampled =
            kernels::deformable_attention(values.value.clone(), &values.shapes, locations, weights);
        self.output_proj.forward(sampled)
    }

    /// What every query gets that sees no image: `[query_dim]`. The same as [`Self::forward`] with
    /// invisible images only.
    pub fn unseen(&self) -> Tensor<1> {
        bias(&self.output_proj)
    }

    /// A linear map of `u + relpos[k]` for every image. The map is applied to `u` and to the table
    /// apart, so that its cost does not grow with the images.
    ///
    /// # Shapes
    /// - `u`: `[batch, queries, query_dim]`
    /// - returns `[batch, queries, images, out]`, in at least 32 bits: what it gives are coordinates and
    ///   logits
    fn per_image(
        &self,
        u: Tensor<3>,
        weight: Tensor<2>,
        bias: Tensor<1>,
        relative: Tensor<3, Int>,
    ) -> Tensor<4> {
        let [batch, rows, images] = relative.dims();
        let outputs = weight.dims()[0];
        let table = wide(self.query_relpos.weight.val());
        let table = kernels::linear(table, weight.clone(), None);
        let entries = relative
            .clamp(0, self.max_images as i64 - 1)
            .reshape([batch * rows * images]);
        let shift = table
            .select(0, entries)
            .reshape([batch, rows, images, outputs]);
        wide(kernels::linear(u, weight, Some(bias))).unsqueeze_dim::<4>(2) + shift
    }

    /// Where to sample: `[batch, queries, heads, images * levels, points, 2]`.
    fn locations(
        &self,
        u: Tensor<3>,
        reference: Tensor<3>,
        values: &MmfsValues,
        relative: Tensor<3, Int>,
    ) -> Tensor<6> {
        let [batch, queries, _] = u.dims();
        let (images, levels, pairs) = (values.images, self.scales.len(), self.points * 2);
        let weight = self.sampling_offsets.weight.val();
        let bias = bias(&self.sampling_offsets);
        let offsets = self
            .per_image(u, weight, bias, relative)
            .reshape([batch, queries, images, self.heads, pairs])
            .swap_dims(2, 3)
            .unsqueeze_dim::<6>(4); // [batch, queries, heads, images, 1, points * 2]
        let steps = self.scales.iter().zip(&values.shapes);
        let steps = steps.flat_map(|(scale, [height, width])| {
            [
                (scale / *width as f64) as f32,
                (scale / *height as f64) as f32,
            ]
            .repeat(self.points)
        });
        let steps = TensorData::new(steps.collect::<Vec<_>>(), [1, 1, 1, 1, levels, pairs]);
        let steps = Tensor::<6>::from_data(steps, (&offsets.device(), offsets.dtype()));
        let reference = like(reference, &offsets);
        let [rows, columns, _] = reference.dims();
        let reference = reference
            .repeat_dim(2, self.points)
            .reshape([rows, columns, 1, 1, 1, pairs]);
        (offsets * steps + reference).reshape([
            batch,
            queries,
            self.heads,
            images * levels,
            self.points,
            2,
        ])
    }

    /// How much each sample counts: `[batch, queries, heads, images * levels, points]`. What is
    /// missing to 1 goes to the ignore slot.
    fn weights(&self, u: Tensor<3>, images: usize, relative: Tensor<3, Int>) -> Tensor<5> {
        let [batch, queries, query_dim] = u.dims();
        let (heads, points, levels) = (self.heads, self.points, self.scales.len());
        let slots = levels * points;
        let weight = self
            .attention_weights
            .weight
            .val()
            .reshape([heads * levels, points + 1, query_dim])
            .narrow(1, 0, points)
            .reshape([heads * slots, query_dim]);
        let bias = bias(&self.attention_weights)
            .reshape([heads * levels, points + 1])
            .narrow(1, 0, points)
            .reshape([heads * slots]);
        let hidden: Tensor<5, Bool> = relative.clone().equal_elem(0).unsqueeze_dims(&[2, 4]); // [batch, 1 or queries, 1, images, 1]
        let logits = self
            .per_image(u, weight, bias, relative)
            .reshape([batch, queries, images, heads, slots])
            .swap_dims(2, 3); // [batch, queries, heads, images, slots]
        let (device, dtype) = (logits.device(), logits.dtype());
        let logits = logits + hidden.float().mul_scalar(-10_000.0).cast(dtype);
        let logits = logits.reshape([batch, queries, heads, images * slots]);
        let ignore = Tensor::zeros([batch, queries, heads, 1], (&device, dtype));
        kernels::softmax(Tensor::cat(vec![logits, ignore], 3))
            .narrow(3, 0, images * slots)
            .reshape([batch, queries, heads, images * levels, points])
    }
}

fn bias(linear: &Linear) -> Tensor<1> {
    linear.bias.as_ref().expect("MMFS maps have a bias").val()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;

    fn config() -> MmfsConfig {
        MmfsConfig {
            query_dim: 4,
            value_dim: 3,
            attention_dim: 2,
            heads: 1,
            points: 1,
            levels: vec![2, 1],
            base_size: 1,
            offset_init: 1.0,
            max_images: 3,
        }
    }

    fn features(device: &Device) -> ImageFeatures {
        ImageFeatures {
            levels: [4, 2, 1]
                .map(|side| Tensor::ones([1, 2, side, side, 3], device))
                .into(),
        }
    }

    fn set<const D: usize>(param: &mut Param<Tensor<D>>, values: &[f32]) {
        let shape = param.lazy_shape();
        let device = param.lazy_device();
        let data = TensorData::new(values.to_vec(), shape);
        *param = Param::initialized(param.id, Tensor::from_data(data, &device));
    }

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    /// All logits 0: four samples (2 images, 2 levels) and the ignore slot weigh 1/5 each. Features
    /// are 1, so the value is 3 everywhere inside, and the offset moves the fine level's sample to
    /// its border, where half of the bilinear weight is outside.
    #[test]
    fn weights_and_locations_by_hand() {
        let device = Device::flex();
        let mut mmfs = Mmfs::new(&config(), &device);
        set(&mut mmfs.value_proj.weight, &[1.0; 6]);
        set(&mut mmfs.output_proj.weight, &[1.0, 0.0].repeat(4));
        // 0.5 of a base cell to the right: base side 1, so both levels move by half of the image.
        set(mmfs.sampling_offsets.bias.as_mut().unwrap(), &[0.5, 0.0]);
        let query = Tensor::zeros([1, 1, 4], &device);
        let centre = Tensor::full([1, 1, 2], 0.5, &device);
        let at = |relative: [i64; 2]| {
            let relative = TensorData::new(relative.to_vec(), [1, 1, 2]);
            let relative = Tensor::<3, Int>::from_data(relative, &device);
            values(mmfs.forward(query.clone(), centre.clone(), &features(&device), relative))[0]
        };
        let expected = 4.0 / 5.0 * 3.0 * 0.5;
        assert!((at([2, 1]) - expected).abs() < 1e-5);
        // One image hidden: two samples and the ignore slot, and no trace of the hidden image.
        let expected = 2.0 / 3.0 * 3.0 * 0.5;
        assert!((at([0, 1]) - expected).abs() < 1e-5);
        // Nothing visible: everything is ignored.
        assert!(at([0, 0]).abs() < 1e-30);
        // Further back than the table reaches.
        assert_eq!(at([9, 1]), at([2, 1]));
    }

    #[test]
    fn all_problems_are_named_at_once() {
        assert_eq!(config().validate(), Ok(()));
        let config = MmfsConfig {
            heads: 3,
            levels: Vec::new(),
            max_images: 1,
            ..config()
        };
        let text = config.validate().unwrap_err().to_string();
        for field in ["attention_dim 2", "levels", "max_images"] {
            assert!(text.contains(field), "{text}");
        }
    }

    #[test]
    fn fresh_blocks_add_nothing() {
        let device = Device::flex();
        let gated = GatedMmfs::new(&config(), 1e-6, &device);
        let hidden = Tensor::ones([1, 5, 4], &device);
        let relative = Tensor::<3, Int>::ones([1, 5, 2], &device);
        let out = gated.forward(hidden, &features(&device), relative);
        assert_eq!(values(out), [0.0; 20]);

        let unet = UnetMmfs::new(&config(), 4, &device);
        let x = Tensor::ones([1, 2, 3, 4], &device);
        let out = unet.forward(x, &features(&device), Tensor::ones([1, 2], &device));
        assert_eq!(out.dims(), [1, 2, 3, 4]);
        assert_eq!(values(out), [0.0; 24]);
    }

    /// The figures of the paper's full-size build (spec: parameter counts).
    #[test]
    fn full_size_parameter_counts() {
        let device = Device::flex();
        let llm = MmfsConfig {
            query_dim: 4096,
            value_dim: 1024,
            attention_dim: 1024,
            heads: 16,
            points: 8,
            levels: vec![32, 16, 8],
            base_size: 16,
            offset_init: 3.0,
            max_images: 50,
        };
        assert_eq!(GatedMmfs::new(&llm, 1e-6, &device).num_params(), 25_057_969);
        let unet = |query_dim| {
            let config = MmfsConfig {
                query_dim,
                levels: vec![64, 32, 16, 8],
                max_images: 10,
                ..llm.clone()
            };
            UnetMmfs::new(&config, 64, &device).num_params()
        };
        let total = 4 * unet(320) + 3 * unet(640) + 6 * unet(1280);
        assert!((total as f64 / 1e6 - 56.98).abs() < 0.005, "{total}");
    }
}
