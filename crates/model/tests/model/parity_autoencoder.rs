//! Autoencoder against diffusers (tools/parity/export_diffusion.py).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use deem_model::autoencoder::{Autoencoder, AutoencoderConfig, has_legacy_keys, legacy_key};
use deem_model::weights::{LoadOptions, WeightsFile, load};

use crate::support::{Golden, flat};

fn check(golden: &mut Golden, model: &Autoencoder) {
    let posterior = model.encode(golden.input("pixels"));
    let outputs = [
        ("mean", flat(&posterior.mean)),
        ("logvar", flat(&posterior.logvar)),
        ("sample", flat(&model.decode(golden.input("latents")))),
    ];
    golden.check(model, &outputs);
}

fn autoencoder(name: &str) {
    let mut golden = Golden::open(name);
    let config: AutoencoderConfig = serde_json::from_value(golden.config()).unwrap();
    config.validate().unwrap();
    let model = golden.load(Autoencoder::new(&config, golden.device()));
    check(&mut golden, &model);
}

#[test]
fn three_resolutions() {
    autoencoder("autoencoder");
}

#[test]
fn without_attention_and_quantising_convolutions() {
    autoencoder("autoencoder_bare");
}

#[test]
fn old_names_of_attention_layers() {
    let golden = Golden::open("autoencoder_old_names");
    let config: AutoencoderConfig = serde_json::from_value(golden.config()).unwrap();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/autoencoder_old_names.safetensors"
    );
    let file = WeightsFile::open(path.as_ref()).unwrap();
    assert!(has_legacy_keys(file.keys()));
    let rename = |path: &str| legacy_key(path);
    let options = LoadOptions {
        prefix: "weight.",
        rename: Some(&rename),
        ..LoadOptions::default()
    };
    let device = Device::flex();
    let model = load(Autoencoder::new(&config, &device), &file, &options).unwrap();
    let data = |key: &str| {
        let shape: [usize; 4] = file.shape(key).unwrap().try_into().unwrap();
        let values = file.f32(key).unwrap();
        Tensor::<1>::from_floats(values.as_slice(), &device).reshape(shape)
    };
    let posterior = model.encode(data("input.pixels"));
    let decoded = model.decode(data("input.latents"));
    for (key, found) in [
        ("output.mean", posterior.mean),
        ("output.logvar", posterior.logvar),
        ("output.sample", decoded),
    ] {
        let difference: Tensor<4> = found - data(key);
        let largest = difference.abs().max().into_scalar::<f32>();
        assert!(largest < 1e-4, "{key}: {largest:e}");
    }
}

#[test]
fn stable_diffusion_has_as_many_parameters_as_published() {
    let config = AutoencoderConfig::stable_diffusion();
    let model = Autoencoder::new(&config, &Device::flex());
    assert_eq!(model.num_params(), 83_653_863);
}
