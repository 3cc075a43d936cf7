//! MMFS against an independent implementation (tools/parity/export_mmfs.py).

use burn::tensor::Tensor;
use deem_model::mmfs::{GatedMmfs, ImageFeatures, Mmfs, UnetMmfs};

use crate::support::{Golden, flat};

fn features(golden: &mut Golden) -> ImageFeatures {
    let names = (0..4).map(|index| format!("level_{index}"));
    let present: Vec<_> = names.filter(|name| golden.has(name)).collect();
    ImageFeatures {
        levels: present.iter().map(|name| golden.input(name)).collect(),
    }
}

#[test]
fn mmfs() {
    let mut golden = Golden::open("mmfs");
    let config = serde_json::from_value(golden.config()).unwrap();
    let module = golden.load(Mmfs::new(&config, golden.device()));
    let features = features(&mut golden);
    let query = golden.input("query");
    let reference = golden.input("reference");
    let output = module.forward(query, reference, &features, golden.integers("relative"));
    golden.check(&module, &[("output", flat(&output))]);
}

#[test]
fn in_the_language_model() {
    let mut golden = Golden::open("mmfs_gated");
    let config = serde_json::from_value(golden.config()).unwrap();
    let module = golden.load(GatedMmfs::new(&config, 1e-6, golden.device()));
    let mut features = features(&mut golden);
    // A level finer than the configured ones, which must not be used.
    let finest = Tensor::full([1, 2, 8, 8, 6], 7.0, golden.device());
    features.levels.insert(0, finest);
    let hidden = golden.input("hidden");
    let output = module.forward(hidden, &features, golden.integers("relative"));
    golden.check(&module, &[("output", flat(&output))]);
}

#[test]
fn in_the_unet() {
    let mut golden = Golden::open("mmfs_unet");
    let mut config = golden.config();
    let grid = config.as_object_mut().unwrap().remove("position_grid");
    let grid = grid.unwrap().as_u64().unwrap() as usize;
    let config = serde_json::from_value(config).unwrap();
    let module = golden.load(UnetMmfs::new(&config, grid, golden.device()));
    let features = features(&mut golden);
    let x = golden.input("x");
    let output = module.forward(x, &features, golden.integers("relative"));
    golden.check(&module, &[("output", flat(&output))]);
}
