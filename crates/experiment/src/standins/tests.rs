mod install;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use deem::Part;
use deem_model::autoencoder::Autoencoder;
use deem_model::weights::StateTensor;
use tempfile::TempDir;

use super::*;

/// The files of a shipped preset that say what it is, in `folder`.
fn preset(folder: &Path, name: &str) {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/standins");
    fs::create_dir_all(folder).unwrap();
    for file in [MODEL, EXPERIMENT] {
        fs::copy(assets.join(name).join(file), folder.join(file)).unwrap();
    }
}

/// Weights of one number.
fn tensors(value: f32) -> [StateTensor; 1] {
    [StateTensor {
        name: "w".into(),
        shape: vec![1],
        values: vec![value],
    }]
}

/// All files below a folder, with their content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// A preset whose parts are numbers, and a folder for an overlay upon it.
struct Place {
    folder: TempDir,
}

impl Place {
    /// The preset with `parts`, each of the number 1.
    fn new(parts: &[&str]) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        preset(&place.root(), "tiny");
        if !parts.is_empty() {
            let mut first = place.with("first");
            for part in parts {
                first.save(part, &tensors(1.0)).unwrap();
            }
            first.install(&place.root()).unwrap();
        }
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.at("preset")
    }

    fn with(&self, overlay: &str) -> StandIns {
        StandIns::with_overlay(&self.root(), &[], &self.at(overlay)).unwrap()
    }
}

fn autoencoder(standins: &StandIns) -> Autoencoder {
    Autoencoder::new(&standins.preset().model.autoencoder, &Device::flex())
}

fn scaling_factor(standins: &StandIns) -> f64 {
    standins.preset().model.autoencoder.scaling_factor
}

/// Checksums of the files that a model of these stand-ins opens.
fn opened(standins: &StandIns) -> BTreeMap<String, String> {
    let description = standins.parts().unwrap().describe(Precision::F32).unwrap();
    let base = description.base.iter();
    base.filter(|base| base.part != Part::Tokenizer)
        .flat_map(|base| {
            let file = |(file, sum): (&String, &String)| {
                (format!("{}/{file}", base.part.name()), sum.clone())
            };
            base.files.iter().map(file).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn what_was_made_serves_before_what_the_folder_holds_and_leaves_it_alone() {
    let place = Place::new(&PARTS);
    let (before, own) = (
        files(&place.root()),
        StandIns::open(&place.root(), &[]).unwrap(),
    );
    let mut standins = place.with("overlay");
    assert_eq!(
        (standins.identity(), opened(&standins)),
        (own.identity(), opened(&own))
    );
    for part in ["clip", "miner", "llm", "connect"] {
        standins.save(part, &tensors(2.0)).unwrap();
    }
    standins.save_card("# Made\n").unwrap();
    assert_eq!(files(&place.root()), before);

    for standins in [standins, place.with("overlay")] {
        assert_eq!(standins.made(), ["clip", "miner", "llm", "connect"]);
        assert_eq!(standins.card(), "# Made\n");
        assert_ne!(standins.identity(), own.identity());
        let (now, old) = (opened(&standins), opened(&own));
        for (part, field) in [
            ("clip", "vision/model.safetensors"),
            ("llm", "llama/model.safetensors"),
            ("connect", "trained/model.safetensors"),
        ] {
            assert_ne!(standins.identity_of(part), own.identity_of(part));
            assert_eq!(standins.file(part).unwrap().checksum(), now[field]);
        }
        for (part, file) in [("unet", "unet"), ("autoencoder", "autoencoder")] {
            let file = format!("diffusion/{file}/model.safetensors");
            assert_eq!(standins.identity_of(part), own.identity_of(part));
            assert_eq!(now[&file], old[&file]);
        }
        assert_eq!(
            standins.identity_of("text_encoder"),
            own.identity_of("text_encoder")
        );
    }
}

#[test]
fn a_denoiser_and_its_latent_space_are_found_together() {
    let place = Place::new(&PARTS);
    let (before, own) = (
        files(&place.root()),
        StandIns::open(&place.root(), &[]).unwrap(),
    );
    let both = |standins: &StandIns| {
        let opened = opened(standins);
        for part in ["unet", "autoencoder"] {
            let file = format!("diffusion/{part}/model.safetensors");
            assert_eq!(opened[&file], standins.identity_of(part));
        }
    };
    let mut standins = place.with("unet");
    standins.save("unet", &tensors(2.0)).unwrap();
    both(&standins);
    assert_ne!(standins.identity_of("unet"), own.identity_of("unet"));
    assert_eq!(
        standins.identity_of("autoencoder"),
        own.identity_of("autoencoder")
    );
    // It goes on to mean the latents that it was made for.
    let model = fs::read_to_string(place.root().join(MODEL)).unwrap();
    let other = model.replace("scaling_factor = 0.46052", "scaling_factor = 0.9");
    assert_ne!(other, model);
    fs::write(place.root().join(MODEL), &other).unwrap();
    assert_eq!(scaling_factor(&place.with("unet")), 0.46052);
    assert_eq!(scaling_factor(&place.with("none")), 0.9);
    fs::write(place.root().join(MODEL), model).unwrap();

    let mut standins = place.with("autoencoder");
    let made = autoencoder(&standins);
    standins.save_autoencoder(&made, 0.123_456).unwrap();
    both(&standins);
    assert_eq!(standins.identity_of("unet"), own.identity_of("unet"));
    assert_eq!(scaling_factor(&standins), 0.12346);
    standins.autoencoder(&Device::flex()).unwrap();
    let stated = ["model.autoencoder.scaling_factor=0.5".to_owned()];
    let stated = StandIns::with_overlay(&place.root(), &stated, &place.at("autoencoder")).unwrap();
    assert_eq!(scaling_factor(&stated), 0.5);
    assert_eq!(files(&place.root()), before);
}

#[test]
fn stand_ins_are_made_from_nothing() {
    let place = Place::new(&[]);
    let before = files(&place.root());
    let mut standins = place.with("overlay");
    let error = standins.file("autoencoder").unwrap_err().to_string();
    assert!(
        error.contains("pretrain all") && error.contains("--install"),
        "{error}"
    );
    let made = autoencoder(&standins);
    standins.save_autoencoder(&made, 2.0).unwrap();
    standins.autoencoder(&Device::flex()).unwrap();
    for part in PARTS.into_iter().filter(|part| *part != "autoencoder") {
        standins.save(part, &tensors(2.0)).unwrap();
    }
    assert_eq!(opened(&standins).len(), 5);
    assert_eq!(files(&place.root()), before);

    let installed = standins.install(&place.root()).unwrap();
    assert_eq!(installed.len(), PARTS.len() + 2, "{installed:?}");
    let there = StandIns::open(&place.root(), &[]).unwrap();
    assert_eq!(
        (there.identity(), opened(&there), scaling_factor(&there)),
        (standins.identity(), opened(&standins), 2.0)
    );
}

#[test]
fn without_an_overlay_nothing_is_written() {
    let place = Place::new(&PARTS);
    let before = files(place.folder.path());
    let mut standins = StandIns::open(&place.root(), &[]).unwrap();
    let error = standins.save("clip", &tensors(2.0)).unwrap_err();
    assert!(error.to_string().contains("overlay"), "{error}");
    assert!(standins.save_card("x").is_err() && standins.install(&place.at("new")).is_err());
    assert_eq!(files(place.folder.path()), before);
}

#[test]
fn parts_of_another_preset_are_refused() {
    let place = Place::new(&[]);
    place.with("overlay").save("clip", &tensors(2.0)).unwrap();
    preset(&place.at("other"), "tiny");
    let model = place.at("other").join(MODEL);
    let text = fs::read_to_string(&model).unwrap();
    fs::write(&model, text.replace("name = \"tiny\"", "name = \"other\"")).unwrap();
    let refused = || {
        let found = StandIns::with_overlay(&place.at("other"), &[], &place.at("overlay"));
        found.unwrap_err().to_string()
    };
    let error = refused();
    for part in ["model.toml", "\"tiny\"", "\"other\"", "--output"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    fs::remove_file(place.at("overlay").join(MODEL)).unwrap();
    assert!(refused().contains("not there"));
}
