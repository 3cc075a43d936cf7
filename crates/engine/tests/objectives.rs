//! Objectives that correct a bare encoder against formulas in double precision (tools/parity/export_objectives.py):
//! losses to 1e-5, gradients by the encoder's side of the condition to 1e-4.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use deem_engine::objective::{
    Denoiser, condition_features, denoising_loss, drop_conditions, embedding_condition,
    image_retention, noise_contrast, text_retention,
};
use deem_kernels as kernels;
use deem_model::autoencoder::{Autoencoder, AutoencoderConfig};
use deem_model::diffusion::Diffusion;
use deem_model::encoder_feedback::{ConditionTokens, EncoderFeatures, NoisePath};
use deem_model::scheduler::{NoiseConfig, NoiseSchedule, PredictionType};
use deem_model::unet::{UNet, UNetConfig};
use deem_model::weights::{LoadOptions, WeightsFile, load};
use serde_json::Value;

struct Golden {
    file: WeightsFile,
    json: Value,
    device: Device,
    unet: UNet,
    autoencoder: Autoencoder,
}

impl Golden {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/objectives");
        let json = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        let file = WeightsFile::open(&path.with_extension("safetensors")).unwrap();
        let device = Device::flex().autodiff();
        let config: UNetConfig = serde_json::from_value(json["unet"].clone()).unwrap();
        let options = LoadOptions {
            prefix: "weight.",
            ..LoadOptions::default()
        };
        let unet = load(UNet::new(&config, &device), &file, &options)
            .unwrap()
            .no_grad();
        let small = AutoencoderConfig {
            norm_num_groups: 4,
            block_out_channels: vec![4],
            ..AutoencoderConfig::default()
        };
        Self {
            autoencoder: Autoencoder::new(&small, &device),
            file,
            json,
            device,
            unet,
        }
    }

    fn input<const D: usize>(&self, name: &str) -> Tensor<D> {
        let key = format!("input.{name}");
        let shape: [usize; D] = self.file.shape(&key).unwrap().try_into().unwrap();
        let data = TensorData::new(self.file.f32(&key).unwrap(), shape);
        Tensor::from_data(data, &self.device)
    }

    fn timesteps(&self) -> Vec<usize> {
        serde_json::from_value(self.json["timesteps"].clone()).unwrap()
    }

    /// Compares a loss and its gradient by `input`.
    fn check<const D: usize>(&self, name: &str, input: &str, of: impl Fn(Tensor<D>) -> Tensor<1>) {
        let x = self.input::<D>(input).require_grad();
        let loss = of(x.clone());
        let gradient = x.grad(&loss.backward()).unwrap();
        let expected = self.json["losses"][name].as_f64().unwrap();
        let found = f64::from(loss.into_scalar::<f32>());
        assert!(
            (found - expected).abs() < 1e-5 * expected,
            "{name}: {found}, not {expected}"
        );
        let gradient: Vec<f32> = gradient.into_data().iter::<f32>().collect();
        let wanted = self.file.f32(&format!("grad.{name}")).unwrap();
        let size = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
        };
        let difference = size(&mut gradient.iter().zip(&wanted).map(|(a, b)| a - b));
        let size = size(&mut wanted.iter().copied());
        assert!(
            size > 0.0 && difference < 1e-4 * size,
            "{name}: gradient off by {difference} of {size}"
        );
    }

    fn with<T>(
        &self,
        prediction: PredictionType,
        path: NoisePath,
        then: impl Fn(Denoiser) -> T,
    ) -> T {
        let schedule = NoiseSchedule::new(&NoiseConfig {
            prediction_type: prediction,
            ..NoiseConfig::stable_diffusion()
        });
        let schedule = schedule.unwrap();
        let diffusion = Diffusion {
            unet: &self.unet,
            autoencoder: &self.autoencoder,
            schedule: &schedule,
            synchronizer: None,
            compute: FloatDType::F32,
        };
        then(Denoiser { diffusion, path })
    }
}

#[test]
fn feedback_and_the_straight_path() {
    let golden = Golden::open();
    for (name, prediction, path) in [
        (
            "feedback_epsilon",
            PredictionType::Epsilon,
            NoisePath::Diffusion,
        ),
        (
            "feedback_velocity",
            PredictionType::VPrediction,
            NoisePath::Diffusion,
        ),
        ("flow", PredictionType::Epsilon, NoisePath::Flow),
    ] {
        golden.with(prediction, path, |denoiser| {
            let noised = denoiser.noised(
                golden.input("latents"),
                golden.input("noise"),
                &golden.timesteps(),
            );
            golden.check::<3>(name, "tokens", |tokens| {
                denoising_loss(&noised, denoiser.predict(&noised, tokens))
            });
        });
    }
}

#[test]
fn inversion_of_a_generator() {
    let golden = Golden::open();
    golden.with(PredictionType::Epsilon, NoisePath::Diffusion, |denoiser| {
        let noised = denoiser.noised(
            golden.input("latents"),
            golden.input("noise"),
            &golden.timesteps(),
        );
        golden.check::<2>("inversion", "embeds", |embeds| {
            let told = embedding_condition(embeds, Some(golden.input("eta")), 0.5);
            let (weight, bias) = (golden.input("project_weight"), golden.input("project_bias"));
            let told = kernels::linear(told, weight, Some(bias));
            denoising_loss(&noised, denoiser.predict(&noised, told))
        });
    });
}

#[test]
fn contrast_of_predicted_noise() {
    let golden = Golden::open();
    let temperature = golden.json["temperature"].as_f64().unwrap();
    golden.with(PredictionType::Epsilon, NoisePath::Diffusion, |denoiser| {
        let noised = denoiser.noised(
            golden.input("latents"),
            golden.input("noise"),
            &golden.timesteps(),
        );
        let contrast = |tokens: Tensor<3>, second, negatives| {
            noise_contrast(
                &denoiser,
                &noised,
                denoiser.predict(&noised, tokens.clone()),
                tokens,
                second,
                temperature,
                negatives,
            )
        };
        golden.check::<3>("contrast", "tokens", |tokens| contrast(tokens, None, 0));
        golden.check::<3>("contrast_second", "tokens", |tokens| {
            contrast(tokens, Some(golden.input("second")), 1)
        });
    });
}

#[test]
fn retention_of_similarities() {
    let golden = Golden::open();
    let scale = golden.json["scale"].as_f64().unwrap();
    golden.check::<2>("text_retention", "embeds", |embeds| {
        text_retention(
            embeds,
            golden.input("reference"),
            golden.input("texts"),
            scale,
        )
    });
    golden.check::<2>("image_retention", "embeds", |embeds| {
        image_retention(embeds, golden.input("reference"), &golden.device)
    });
    let same = golden.input::<2>("reference");
    let none = image_retention(same.clone(), same.clone(), &golden.device);
    assert_eq!(none.into_scalar::<f32>(), 0.0);
    let none = text_retention(same.clone(), same, golden.input("texts"), scale);
    assert!(none.into_scalar::<f32>().abs() < 1e-6);
}

#[test]
fn conditions_of_an_encoder() {
    let golden = Golden::open();
    let features = EncoderFeatures {
        places: golden.input("places"),
        pooled: golden.input("pooled"),
        embeds: golden.input("embeds"),
    };
    let kept: Vec<Vec<usize>> = serde_json::from_value(golden.json["kept"].clone()).unwrap();
    let of = |tokens| condition_features(&features, tokens, &kept);
    let both = of(ConditionTokens::Both);
    let same = |found: &Tensor<3>, key: &str| {
        let found: Vec<f32> = found.clone().into_data().iter::<f32>().collect();
        assert_eq!(found, golden.file.f32(key).unwrap(), "{key}");
    };
    same(&both, "output.both");
    same(
        &drop_conditions(both, golden.input("null"), &[false, true, false]),
        "output.dropped",
    );
    assert_eq!(of(ConditionTokens::Class).dims(), [3, 1, 8]);
    assert_eq!(of(ConditionTokens::Local).dims(), [3, 2, 8]);
    assert_eq!(of(ConditionTokens::Embedding).dims(), [3, 1, 6]);
}
