//! UNet against diffusers (tools/parity/export_diffusion.py), and its MMFS hook.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use deem_model::mmfs::ImageFeatures;
use deem_model::unet::{
    DownBlockType, PerBlock, UNet, UNetConfig, UnetSynchronizer, UnetSynchronizerConfig,
    UpBlockType,
};
use deem_model::weights::init::{Fill, initialize, normal};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::support::{Golden, flat};

fn unet(name: &str) {
    for recompute in [false, true] {
        unet_checkpointed(name, recompute);
    }
}

fn unet_checkpointed(name: &str, recompute: bool) {
    let mut golden = Golden::open(name);
    let config: UNetConfig = serde_json::from_value(golden.config()).unwrap();
    config.validate().unwrap();
    let model = UNet::new(&config, golden.device()).with_checkpointing(recompute);
    let model = golden.load(model);
    let timesteps = golden.integers::<1>("timestep").into_data();
    let timesteps: Vec<usize> = timesteps.iter::<i64>().map(|t| t as usize).collect();
    let sample = golden.input("sample");
    let condition = golden.input("encoder_hidden_states");
    let output = model.forward(sample, &timesteps, condition, None);
    golden.check(&model, &[("sample", flat(&output))]);
}

#[test]
fn linear_projections_heads_per_block_odd_size() {
    unet("unet_linear_heads_per_block");
}

#[test]
fn convolutional_projections_heads_for_all_and_unusual_options() {
    unet("unet_conv_heads_for_all");
}

#[test]
fn projected_condition_and_plain_middle() {
    unet("unet_projected_condition");
}

struct Small {
    unet: UNet,
    synchronizer: UnetSynchronizer,
    sample: Tensor<4>,
    condition: Tensor<3>,
    features: ImageFeatures,
    relative: Tensor<2, Int>,
}

impl Small {
    fn new(rules: &[(&str, Fill)], device: &Device) -> Self {
        let config = UNetConfig {
            block_out_channels: vec![8, 8],
            down_block_types: vec![
                DownBlockType::CrossAttnDownBlock2D,
                DownBlockType::DownBlock2D,
            ],
            up_block_types: vec![UpBlockType::UpBlock2D, UpBlockType::CrossAttnUpBlock2D],
            attention_head_dim: PerBlock::All(2),
            cross_attention_dim: PerBlock::All(6),
            layers_per_block: PerBlock::All(1),
            norm_num_groups: Some(4),
            ..UNetConfig::default()
        };
        config.validate().unwrap();
        let sync = UnetSynchronizerConfig {
            value_dim: 5,
            attention_dim: 4,
            heads: 2,
            points: 2,
            levels: vec![4, 2],
            base_size: 4,
            position_grid: 4,
            ..UnetSynchronizerConfig::default()
        };
        let synchronizer = UnetSynchronizer::new(&sync, &config, device);
        assert_eq!(synchronizer.mmfs_down_blocks.len(), 4);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut random = |shape: &[usize]| {
            let count = shape.iter().product();
            TensorData::new(normal(&mut rng, count, 1.0), shape.to_vec())
        };
        let level = |data| Tensor::<5>::from_data(data, device);
        Self {
            unet: initialize(UNet::new(&config, device), 5, &[]),
            synchronizer: initialize(synchronizer, 6, rules),
            sample: Tensor::from_data(random(&[2, 4, 4, 4]), device),
            condition: Tensor::from_data(random(&[2, 3, 6]), device),
            features: ImageFeatures {
                levels: vec![
                    level(random(&[2, 1, 4, 4, 5])),
                    level(random(&[2, 1, 2, 2, 5])),
                ],
            },
            relative: Tensor::from_ints([[1], [0]], device), // hidden from the second row
        }
    }

    fn predict(&self, look: bool) -> Tensor<4> {
        let images = look.then(|| {
            self.synchronizer
                .prepare(&self.features, self.relative.clone())
        });
        self.unet.forward(
            self.sample.clone(),
            &[10, 600],
            self.condition.clone(),
            images.as_ref(),
        )
    }
}

/// Convolutions and offsets away from zero.
const OPEN: &[(&str, Fill)] = &[
    ("sampling_offsets.bias", Fill::Uniform(1.0)),
    ("value_proj.bias", Fill::Constant(0.0)),
    ("conv.bias", Fill::Constant(0.0)),
    ("output_proj.bias", Fill::Constant(0.0)),
];

fn largest<const D: usize>(x: Tensor<D>) -> f32 {
    x.abs().max().into_scalar::<f32>()
}

#[test]
fn fresh_synchronizer_adds_nothing() {
    let device = Device::flex();
    let mut small = Small::new(OPEN, &device);
    for block in &mut small.synchronizer.mmfs_down_blocks {
        block.conv.weight = block.conv.weight.clone().map(|weight| weight * 0.0);
    }
    let middle = &mut small.synchronizer.mmfs_mid_block.conv.weight;
    *middle = middle.clone().map(|weight| weight * 0.0);
    assert_eq!(largest(small.predict(true) - small.predict(false)), 0.0);
}

#[test]
fn synchronizer_shows_visible_images_only() {
    let small = Small::new(OPEN, &Device::flex());
    let difference = small.predict(true) - small.predict(false);
    assert!(largest(difference.clone().slice_dim(0, 0..1)) > 1e-3);
    assert_eq!(largest(difference.slice_dim(0, 1..2)), 0.0);
}

#[test]
fn gradients_pass_the_frozen_unet_with_and_without_checkpointing() {
    let gradients = |checkpoint: bool| {
        let mut small = Small::new(OPEN, &Device::flex().autodiff());
        small.unet = small.unet.no_grad().with_checkpointing(checkpoint);
        small.condition = small.condition.require_grad();
        let fine = small.features.levels[0].clone().require_grad();
        small.features.levels[0] = fine.clone();
        let gradients = small.predict(true).square().mean().backward();
        assert!(small.unet.conv_in.weight.val().grad(&gradients).is_none());
        let weight = small.synchronizer.mmfs_down_blocks[1].conv.weight.val();
        (
            small.condition.grad(&gradients).unwrap(),
            fine.grad(&gradients).unwrap(),
            weight.grad(&gradients).unwrap(),
        )
    };
    let (plain, checkpointed) = (gradients(false), gradients(true));
    assert!(largest(plain.0.clone()) > 1e-6 && largest(plain.2.clone()) > 1e-6);
    assert!(largest(plain.1.clone().slice_dim(0, 0..1)) > 1e-6);
    assert!(largest(plain.1.clone().slice_dim(0, 1..2)) < 1e-30);
    assert!(largest(plain.0 - checkpointed.0) < 1e-6);
    assert!(largest(plain.1 - checkpointed.1) < 1e-6);
    assert!(largest(plain.2 - checkpointed.2) < 1e-6);
}

#[test]
fn stable_diffusion_has_as_many_parameters_as_published() {
    let device = Device::flex();
    let config = UNetConfig::stable_diffusion_2();
    assert_eq!(UNet::new(&config, &device).num_params(), 865_910_724);
    let sync = UnetSynchronizer::new(&UnetSynchronizerConfig::default(), &config, &device);
    assert_eq!(sync.mmfs_down_blocks.len() + 1, 13);
    let millions = sync.num_params() as f64 / 1e6;
    assert!((millions - 56.98).abs() < 0.005, "{millions}");
}
