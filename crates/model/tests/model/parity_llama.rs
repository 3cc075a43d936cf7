//! Language model against transformers (tools/parity/export_llama.py), and against itself: with
//! and without a cache, padding, checkpointing.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use deem_model::llama::{
    Llama, LlamaCache, LlamaConfig, LlamaInput, LlamaMmfsConfig, RopeParameters,
    consecutive_positions,
};
use deem_model::mmfs::ImageFeatures;
use deem_model::weights::init::{Fill, initialize, normal};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::support::{Golden, flat};

fn llama(name: &str) {
    for recompute in [false, true] {
        llama_checkpointed(name, recompute);
    }
}

fn llama_checkpointed(name: &str, recompute: bool) {
    let mut golden = Golden::open(name);
    let config: LlamaConfig = serde_json::from_value(golden.config()).unwrap();
    config.validate().unwrap();
    let model = Llama::new(&config, None, golden.device()).with_checkpointing(recompute);
    let model = golden.load(model);
    let ids = golden.integers::<2>("input_ids");
    let padding = golden.integers::<2>("attention_mask").equal_elem(1);
    let [batch, seq] = ids.dims();
    let forward = |embeds| {
        let input = LlamaInput {
            embeds,
            positions: consecutive_positions(batch, 0, seq),
            key_padding: Some(padding.clone()),
            images: None,
            cache: None,
        };
        model.forward(input).hidden
    };
    let hidden = forward(golden.input("inputs_embeds"));
    let embedded = model.embed(ids);
    let of_ids = model.lm_head(forward(embedded.clone()));
    let outputs = [
        ("logits", flat(&model.lm_head(hidden.clone()))),
        ("hidden", flat(&hidden)),
        ("embedded", flat(&embedded)),
        ("logits_of_ids", flat(&of_ids)),
    ];
    golden.check(&model, &outputs);
}

#[test]
fn plain() {
    llama("llama");
}

#[test]
fn grouped_heads_biases_tied_embeddings_llama3_rotation_left_padding() {
    llama("llama_grouped_padded");
}

#[test]
fn one_key_value_head_linear_rotation_gelu() {
    llama("llama_linear");
}

#[test]
fn other_rotations() {
    llama("llama_yarn");
    llama("llama_dynamic");
    llama("llama_longrope");
}

/// A small model with MMFS in layers 0 and 2, open gates and random weights everywhere.
struct Small {
    model: Llama,
    images: ImageFeatures,
    /// `[2, 7, 2]`
    relative: Tensor<3, Int>,
    /// `[2, 7, 16]`
    embeds: Tensor<3>,
    device: Device,
}

const SEQ: usize = 7;

impl Small {
    fn new(device: Device) -> Self {
        let config = LlamaConfig {
            vocab_size: 11,
            hidden_size: 16,
            intermediate_size: 20,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            ..LlamaConfig::default()
        };
        let mmfs = LlamaMmfsConfig {
            every: 2,
            value_dim: 6,
            attention_dim: 8,
            heads: 2,
            points: 2,
            levels: vec![4, 2],
            base_size: 2,
            offset_init: 1.0,
            max_images: 3,
        };
        let rules = [
            ("mmfs.gate", Fill::Constant(0.8)),
            ("sampling_offsets.bias", Fill::Uniform(1.0)),
            ("norm", Fill::Uniform(1.0)),
            ("embed", Fill::Normal(1.0)),
        ];
        let model = Llama::new(&config, Some(&mmfs), &device);
        assert_eq!(
            model.mmfs_paths(),
            ["model.layers.0.mmfs.", "model.layers.2.mmfs."]
        );
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut random = |shape: &[usize]| {
            let count = shape.iter().product();
            TensorData::new(normal(&mut rng, count, 1.0), shape.to_vec())
        };
        let level = |data| Tensor::<5>::from_data(data, &device);
        let images = ImageFeatures {
            levels: vec![
                level(random(&[2, 2, 4, 4, 6])),
                level(random(&[2, 2, 2, 2, 6])),
            ],
        };
        // The second image comes into sight at position 4.
        let relative: Vec<i64> = (0..2 * SEQ)
            .flat_map(|i| if i % SEQ < 4 { [1, 0] } else { [2, 1] })
            .collect();
        let relative = TensorData::new(relative, [2, SEQ, 2]);
        Self {
            model: initialize(model, 7, &rules),
            images,
            relative: Tensor::from_data(relative, &device),
            embeds: Tensor::from_data(random(&[2, SEQ, 16]), &device),
            device,
        }
    }

    fn read(
        &self,
        columns: std::ops::Range<usize>,
        padding: Option<Tensor<2, Bool>>,
        cache: Option<&mut LlamaCache>,
    ) -> Tensor<3> {
        let count = columns.len();
        let images = self.model.prepare_images(&self.images);
        let relative = self.relative.clone().slice_dim(1, columns.clone());
        let hidden = self.model.forward(LlamaInput {
            embeds: self.embeds.clone().slice_dim(1, columns.clone()),
            positions: consecutive_positions(2, columns.start, count),
            key_padding: padding.map(|padding| padding.slice_dim(1, 0..columns.end)),
            images: Some((&images, relative)),
            cache,
        });
        hidden.hidden
    }

    /// The first row begins with two padded positions.
    fn padding(&self) -> Tensor<2, Bool> {
        let mut real = vec![true; 2 * SEQ];
        real[..2].fill(false);
        Tensor::from_data(TensorData::new(real, [2, SEQ]), &self.device)
    }
}

fn largest_difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar::<f32>()
}

#[test]
fn cached_and_uncached_decoding_agree() {
    let small = Small::new(Device::flex());
    for padding in [None, Some(small.padding())] {
        let whole = small.read(0..SEQ, padding.clone(), None);
        let mut cache = LlamaCache::new();
        let parts: Vec<_> = [0..3, 3..4, 4..6, 6..7]
            .map(|columns| small.read(columns, padding.clone(), Some(&mut cache)))
            .into();
        assert_eq!(cache.len(), SEQ);
        let parts = Tensor::cat(parts, 1);
        // From position 2 on nothing is padded.
        let (whole, parts) = (whole.slice_dim(1, 2..), parts.slice_dim(1, 2..));
        assert!(whole.clone().abs().max().into_scalar::<f32>() > 0.1);
        assert!(largest_difference(whole, parts) < 1e-5);
    }
}

#[test]
fn images_and_only_images_in_sight_matter() {
    let mut small = Small::new(Device::flex());
    let before = small.read(0..SEQ, None, None);
    let second = small.images.levels[0].clone().slice_dim(1, 1..2) + 1.0;
    let first = small.images.levels[0].clone().slice_dim(1, 0..1);
    small.images.levels[0] = Tensor::cat(vec![first, second], 1);
    let after = small.read(0..SEQ, None, None);
    let difference = (after - before).abs();
    let blind = difference
        .clone()
        .slice_dim(1, 0..4)
        .max()
        .into_scalar::<f32>();
    let seeing = difference.slice_dim(1, 4..5).max().into_scalar::<f32>();
    assert_eq!(blind, 0.0);
    assert!(seeing > 1e-3);
}

#[test]
fn padding_changes_nothing_for_the_other_positions() {
    let small = Small::new(Device::flex());
    let padded = small.read(0..SEQ, Some(small.padding()), None);
    let alone = Small {
        embeds: small.embeds.clone().slice_dim(1, 2..),
        relative: small.relative.clone().slice_dim(1, 2..),
        ..Small::new(Device::flex())
    };
    let alone = alone.read(0..SEQ - 2, None, None);
    let padded = padded.slice([0..1, 2..SEQ]);
    assert!(largest_difference(padded, alone.slice([0..1, 0..SEQ - 2])) < 1e-5);
}

#[test]
fn caches_can_be_reordered_and_cut() {
    let small = Small::new(Device::flex());
    let mut cache = LlamaCache::new();
    let whole = small.read(0..SEQ, None, Some(&mut cache));
    let mut cut = cache.truncate(4);
    assert_eq!(cut.len(), 4);
    let again = small.read(4..SEQ, None, Some(&mut cut));
    assert!(largest_difference(again, whole.clone().slice_dim(1, 4..)) < 1e-5);
    assert!(cache.truncate(0).is_empty());

    // Both rows continue the second row.
    let rows = Tensor::<1, Int>::from_ints([1, 1], &small.device);
    let mut swapped = cache.truncate(4).select(rows.clone());
    let twice = Small {
        embeds: small.embeds.clone().select(0, rows.clone()),
        relative: small.relative.clone().select(0, rows.clone()),
        images: ImageFeatures {
            levels: small
                .images
                .levels
                .iter()
                .map(|l| l.clone().select(0, rows.clone()))
                .collect(),
        },
        ..Small::new(Device::flex())
    };
    let continued = twice.read(4..SEQ, None, Some(&mut swapped));
    let expected = whole.select(0, rows).slice_dim(1, 4..);
    assert!(largest_difference(continued, expected) < 1e-5);
}

#[test]
fn checkpointing_changes_no_gradient() {
    let gradients = |checkpoint: bool| {
        let mut small = Small::new(Device::flex().autodiff());
        // The language model is frozen, its MMFS blocks are trained.
        let blocks: Vec<_> = small
            .model
            .model
            .layers
            .iter()
            .map(|l| l.mmfs.clone())
            .collect();
        small.model = small.model.no_grad().with_checkpointing(checkpoint);
        for (layer, block) in small.model.model.layers.iter_mut().zip(blocks) {
            layer.mmfs = block;
        }
        small.embeds = small.embeds.require_grad();
        let hidden = small.read(0..SEQ, None, None);
        let gradients = hidden.square().mean().backward();
        let first = small.model.model.layers[0].mmfs.as_ref().unwrap();
        let embeds = small.embeds.grad(&gradients).unwrap();
        let value = first.attn.value_proj.weight.val().grad(&gradients).unwrap();
        let query = small.model.model.layers[0].self_attn.q_proj.weight.val();
        assert!(query.grad(&gradients).is_none());
        (embeds, value)
    };
    let (plain, checkpointed) = (gradients(false), gradients(true));
    assert!(plain.1.clone().abs().max().into_scalar::<f32>() > 1e-6);
    assert!(largest_difference(plain.0, checkpointed.0) < 1e-6);
    assert!(largest_difference(plain.1, checkpointed.1) < 1e-6);
}

#[test]
fn appended_tokens_embed_to_zero() {
    let small = Small::new(Device::flex());
    let ids = Tensor::<2, Int>::from_ints([[10, 11, 3]], &small.device);
    let embedded = small.model.embed(ids).abs().sum_dim(2);
    let sums: Vec<f32> = embedded.try_into_vec_as::<f32>().unwrap();
    assert!(sums[0] > 0.0 && sums[1] == 0.0 && sums[2] > 0.0);
}

#[test]
fn vicuna_has_as_many_parameters_as_published() {
    let model = Llama::new(&LlamaConfig::default(), None, &Device::flex());
    assert_eq!(model.num_params(), 6_738_415_616);
    let smol = LlamaConfig {
        vocab_size: 49_152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: Some(3),
        tie_word_embeddings: true,
        rope_parameters: Some(RopeParameters::default()),
        ..LlamaConfig::default()
    };
    let model = Llama::new(&smol, None, &Device::flex());
    assert_eq!(model.num_params(), 134_515_008);
}
