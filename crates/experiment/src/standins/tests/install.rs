use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

use super::{Place, autoencoder, files, opened, preset, scaling_factor, tensors};
use crate::standins::{CARD, CHECKSUMS, EXPERIMENT, MODEL, PARTS, SAMPLES, StandIns, file_of};

#[test]
fn installing_puts_in_place_what_was_made() {
    let place = Place::new(&PARTS);
    let mut standins = place.with("overlay");
    let error = standins.install(&place.root()).unwrap_err().to_string();
    assert!(error.contains("nothing has been made"), "{error}");
    let made = autoencoder(&standins);
    standins.save_autoencoder(&made, 0.25).unwrap();
    standins.save("clip", &tensors(2.0)).unwrap();
    standins.save_card("# Made\n").unwrap();
    let sheet = RgbImage::from_pixel(2, 3, Rgb([1, 2, 3]));
    let drawn = standins.save_samples(&sheet).unwrap();
    assert_eq!(image::open(drawn).unwrap().into_rgb8(), sheet);
    let before = files(&place.root());
    let installed = standins.install(&place.root()).unwrap();
    let written = [
        "clip/model.safetensors",
        "autoencoder/model.safetensors",
        MODEL,
        CARD,
        SAMPLES,
        CHECKSUMS,
    ];
    assert_eq!(installed, written);
    for (path, content) in files(&place.root()) {
        let name = path.strip_prefix(place.root()).unwrap();
        let changed = before.get(&path) != Some(&content);
        assert_eq!(
            changed,
            written.iter().any(|w| Path::new(w) == name),
            "{name:?}"
        );
    }
    let there = StandIns::open(&place.root(), &[]).unwrap();
    assert_eq!(
        (there.identity(), opened(&there)),
        (standins.identity(), opened(&standins))
    );
    assert_eq!(
        (scaling_factor(&there), there.card().as_str()),
        (0.25, "# Made\n")
    );
    let text = fs::read_to_string(place.root().join(MODEL)).unwrap();
    assert!(
        text.contains("[model.unet]") && text.contains("# encoder view"),
        "the rest stays"
    );
    assert!(
        standins.install(&place.root()).unwrap().is_empty(),
        "all is there"
    );
    // A part that was lost comes back.
    let lost = place.root().join(file_of("llm"));
    fs::remove_file(&lost).unwrap();
    let mut other = place.with("llm");
    other.save("llm", &tensors(3.0)).unwrap();
    other.install(&place.root()).unwrap();
    assert!(lost.is_file());
}

#[test]
fn a_new_or_empty_folder_gets_everything() {
    let place = Place::new(&PARTS);
    fs::write(place.root().join("encoder-study.toml"), "a = 1\n").unwrap();
    let mut standins = place.with("overlay");
    standins.save("clip", &tensors(2.0)).unwrap();
    // What a killed program left.
    fs::create_dir_all(place.at("in/new.part/old")).unwrap();
    fs::create_dir_all(place.at("empty")).unwrap();
    for name in ["in/new", "empty"] {
        let installed = standins.install(&place.at(name)).unwrap();
        assert_eq!(installed.len(), files(&place.at(name)).len());
        let there = StandIns::open(&place.at(name), &[]).unwrap();
        assert_eq!(
            (there.identity(), opened(&there)),
            (standins.identity(), opened(&standins))
        );
        assert!(place.at(name).join("encoder-study.toml").is_file());
        assert!(!place.at(&format!("{name}.part")).exists());
    }
}

#[test]
fn no_other_folder_is_touched() {
    let place = Place::new(&[]);
    let mut standins = place.with("overlay");
    standins.save("clip", &tensors(2.0)).unwrap();
    fs::create_dir(place.at("letters")).unwrap();
    fs::write(place.at("letters/a.txt"), "a").unwrap();
    let before = files(place.folder.path());
    let error = standins.install(&place.at("letters")).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("letters/experiment.toml: not there"),
        "{error}"
    );
    assert!(
        error.contains("how the stand-ins beside it are made"),
        "{error}"
    );
    assert!(standins.install(&place.at("letters/a.txt")).is_err());
    let own = standins.install(&place.at("overlay")).unwrap_err();
    assert!(own.to_string().contains("experiment.toml"), "{own}");
    assert_eq!(files(place.folder.path()), before);
}

#[test]
fn what_would_open_as_another_model_is_refused() {
    let place = Place::new(&["clip"]);
    let mut standins = place.with("overlay");
    let made = autoencoder(&standins);
    standins.save_autoencoder(&made, 0.25).unwrap();
    let other = place.at("other");
    let model = fs::read_to_string(place.root().join(MODEL)).unwrap();
    let refused = |change: &dyn Fn(), expected: &[&str]| {
        let _ = fs::remove_dir_all(&other);
        preset(&other, "tiny");
        change();
        let before = files(place.folder.path());
        let error = standins.install(&other).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(files(place.folder.path()), before, "{error}");
    };
    let edited = |file: &str, from: &str, to: &str| {
        let text = fs::read_to_string(other.join(file)).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(other.join(file), text.replacen(from, to, 1)).unwrap();
    };
    refused(
        &|| edited(MODEL, "max_tokens = 160", "max_tokens = 161"),
        &["other/model.toml", "max_tokens"],
    );
    refused(
        &|| edited(MODEL, "layers_per_block = 1", "layers_per_block = 2"),
        &["other/model.toml", "model.autoencoder"],
    );
    refused(
        &|| {
            edited(
                EXPERIMENT,
                "max_position_embeddings = 64",
                "max_position_embeddings = 65",
            )
        },
        &["other/experiment.toml", "clip_text"],
    );
    refused(
        &|| edited(MODEL, "vision = \"./clip\"", "vision = \"../preset/clip\""),
        &["other/model.toml", "weights.vision", "./clip"],
    );
    refused(
        &|| edited(MODEL, "\nscaling_factor", "\n  scaling_factor"),
        &["other/model.toml", "scaling_factor"],
    );
    refused(
        &|| {
            let parts = Place::new(&["connect"]);
            fs::create_dir(other.join("connect")).unwrap();
            for file in [CHECKSUMS, "connect/model.safetensors"] {
                fs::copy(parts.root().join(file), other.join(file)).unwrap();
            }
        },
        &["other/connect/model.safetensors", "--standins"],
    );
    // The same networks will do.
    let _ = fs::remove_dir_all(&other);
    preset(&other, "tiny");
    standins.install(&other).unwrap();
    let there = StandIns::open(&other, &[]).unwrap();
    assert_eq!(
        (there.listing(), scaling_factor(&there)),
        (standins.listing(), 0.25)
    );
    assert_eq!(fs::read_to_string(place.root().join(MODEL)).unwrap(), model);
}

#[test]
fn damaged_parts_are_not_installed() {
    let place = Place::new(&PARTS);
    let mut standins = place.with("overlay");
    standins.save("clip", &tensors(2.0)).unwrap();
    standins.save("llm", &tensors(2.0)).unwrap();
    let path = place.at("overlay").join(file_of("llm"));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let before = files(&place.root());
    let error = standins.install(&place.root()).unwrap_err().to_string();
    assert!(
        error.contains("checksum") && error.contains("llm"),
        "{error}"
    );
    assert_eq!(files(&place.root()), before);
    assert!(standins.install(&place.at("new")).is_err());
    assert!(!place.at("new").exists() && !place.at("new.part").exists());
}

#[test]
fn what_rests_on_another_preset_stays_beside_it() {
    let place = Place::new(&[]);
    preset(&place.at("tiny"), "tiny");
    preset(&place.at("smol"), "smol");
    let smol = place.at("smol");
    let open = |overlay: &str| StandIns::with_overlay(&smol, &[], &place.at(overlay)).unwrap();
    let mut standins = open("overlay");
    standins.save("connect", &tensors(2.0)).unwrap();
    let error = standins.install(&place.at("new")).unwrap_err().to_string();
    assert!(
        error.contains("extends") && error.contains("../tiny/"),
        "{error}"
    );
    assert!(!place.at("new").exists() && !place.at("new.part").exists());
    // A copy elsewhere would rest on other parts.
    let elsewhere = place.at("elsewhere/smol");
    preset(&elsewhere, "smol");
    preset(&place.at("elsewhere/tiny"), "tiny");
    let error = standins.install(&elsewhere).unwrap_err().to_string();
    assert!(error.contains("weights.vision"), "{error}");

    let installed = standins.install(&smol).unwrap();
    assert_eq!(installed, ["connect/model.safetensors", CHECKSUMS]);
    let there = StandIns::open(&smol, &[]).unwrap();
    assert_eq!(there.identity(), standins.identity());
    let path = there.file("connect").unwrap();
    assert_eq!(path.checksum(), standins.identity_of("connect"));
}
