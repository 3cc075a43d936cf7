//! Networks whose features of pictures are compared, against the programs that publish them
//! (tools/parity/export_feature_networks.py).

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use deem_model::efficientnet::EfficientNetLite0;
use deem_model::inception::InceptionV3;
use deem_model::weights::{LoadOptions, Rename, WeightsFile, load};

use crate::support::generated::write_generated;
use crate::support::{golden, relative, values};

/// Every key of the published file but the classifier's and counters must be read.
fn filled<M: Module>(network: M, name: &str, rename: Rename<'_>, classifier: &str) -> M {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write_generated(&golden(&format!("{name}.json")), &path);
    let options = LoadOptions {
        rename: Some(rename),
        allow_unused: &[classifier, "*.num_batches_tracked"],
        ..LoadOptions::default()
    };
    let file = WeightsFile::open(&path).unwrap();
    load(network, &file, &options).unwrap_or_else(|error| panic!("{error}"))
}

fn check(name: &str, forward: impl Fn(Tensor<4>) -> Tensor<2>) {
    let file = WeightsFile::open(&golden(&format!("{name}.safetensors"))).unwrap();
    let patches = file.f32("input.patches").unwrap();
    let [pictures, colours, rows, columns] = file.shape("input.patches").unwrap() else {
        panic!("four extents");
    };
    // Each patch is 16 pixels wide and high.
    let data = TensorData::new(patches, [pictures * colours, *rows, 1, *columns, 1]);
    let patches = Tensor::<5>::from_data(data, &Device::flex());
    let pixels = patches.repeat(&[1, 1, 16, 1, 16]);
    let pixels = pixels.reshape([*pictures, *colours, rows * 16, columns * 16]);
    let found = values(forward(pixels));
    let error = relative(&found, &file.f32("output.features").unwrap());
    println!("{name}: {error:.1e}");
    assert!(error < 1e-4, "{name}: {error:.1e}");
}

#[test]
fn inception_as_pytorch_fid_runs_it() {
    let network = InceptionV3::new(&Device::flex());
    // 1008 classes are another 2,065,392; running statistics are parameters here.
    assert_eq!(network.num_params(), 21_785_568 + 34_432);
    let network = filled(network, "inception", &InceptionV3::published_key, "fc.");
    check("inception", |pixels| network.forward(pixels));
}

#[test]
fn efficientnet_lite0_as_its_package_runs_it() {
    let network = EfficientNetLite0::new(&Device::flex());
    let key = &EfficientNetLite0::published_key;
    let network = filled(network, "efficientnet_lite0", key, "_fc.");
    check("efficientnet_lite0", |pixels| network.forward(pixels));
}
