//! A GPU against the CPU: one training step of every stage, and a drawing.
//!
//!     DEEM_DEVICE=wgpu cargo test --release --workspace --features wgpu --test engine gpu
//!
//! Passes without DEEM_DEVICE: only who has a GPU can run it.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_engine::generate::{ImageOptions, restore};
use deem_engine::objective::DeemBatch;
use deem_engine::train::parameters::select;
use deem_engine::train::{Shares, Task};
use deem_model::deem::Deem;
use deem_model::weights::{LoadOptions, WeightsFile, load, state, write};
use safetensors::Dtype;

use crate::common;

fn gpu() -> Option<Device> {
    let name = std::env::var("DEEM_DEVICE").ok()?;
    Some(deem_engine::device(&name).expect("a device"))
}

/// The same weights on both.
fn models(devices: &[Device; 2]) -> [Deem; 2] {
    let preset = common::preset();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors = state(&common::model(&preset, &Device::flex()));
    write(&tensors, &path, Dtype::F32, Default::default()).unwrap();
    let file = WeightsFile::open(&path).unwrap();
    devices.each_ref().map(|device| {
        let model = Deem::new(&preset.model, device).unwrap();
        load(model, &file, &LoadOptions::default()).unwrap()
    })
}

fn difference(found: &[f64], expected: &[f64]) -> f64 {
    let pairs = found.iter().zip(expected);
    let error: f64 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
    let norm: f64 = expected.iter().map(|x| x * x).sum();
    (error / norm).sqrt()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

#[test]
fn a_step_of_every_stage_is_the_same() {
    let Some(gpu) = gpu() else { return };
    let preset = common::preset();
    let devices = [Device::flex(), gpu].map(Device::autodiff);
    for stage in 0..3 {
        let results = models(&devices).into_iter().zip(&devices);
        let results = results.map(|(model, device)| {
            let task = common::task(&preset, stage, device);
            let (piece, batch) = common::first(&task);
            let (model, _) = select(model, &preset.stages[stage].train.groups).unwrap();
            let loss = task.loss(&model, &batch, &piece, &Shares::whole());
            let total = values(loss.total.clone())[0];
            let gradients = loss.gradients(&model);
            let paths: Vec<String> = gradients.paths().map(str::to_owned).collect();
            let all = paths
                .iter()
                .flat_map(|path| values(gradients.get(path).unwrap().clone()));
            (total, gradients.norm(|_| true), all.collect::<Vec<_>>())
        });
        let results: Vec<_> = results.collect();
        let [(loss, norm, expected), (gpu_loss, gpu_norm, found)] = &results[..] else {
            unreachable!("two devices")
        };
        assert!(
            (gpu_loss / loss - 1.0).abs() < 1e-5,
            "stage {stage}: {gpu_loss} {loss}"
        );
        assert!(
            (gpu_norm / norm - 1.0).abs() < 1e-4,
            "stage {stage}: {gpu_norm} {norm}"
        );
        let error = difference(found, expected);
        println!("stage {stage}: gradient {error:.1e}");
        assert!(error < 1e-3, "stage {stage}: {error}");
    }
}

#[test]
fn a_drawing_is_the_same() {
    let Some(gpu) = gpu() else { return };
    let devices = [Device::flex(), gpu];
    let (_, batch) = common::first(&common::task(&common::preset(), 0, &devices[0]));
    let images = models(&devices)
        .into_iter()
        .zip(&devices)
        .map(|(model, device)| {
            let model = model.no_grad();
            let batch = DeemBatch::new(&batch, &model, device);
            let encoded = batch.encode(&model).expect("images");
            let options = ImageOptions {
                steps: 3,
                ..ImageOptions::default()
            };
            let targets = batch.targets.clone().expect("images");
            values(restore(&model, &encoded, targets, 0.5, &options, &mut |_, _| true).unwrap())
        });
    let images: Vec<_> = images.collect();
    let error = difference(&images[1], &images[0]);
    assert!(error < 1e-4, "{error}");
}
