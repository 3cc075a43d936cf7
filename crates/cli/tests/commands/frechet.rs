//! `deem score frechet` on folders of pictures, with an EfficientNet-lite0 of generated weights.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

use super::evaluate::{json_of, keys};
use super::generated::write_generated;
use super::{fails, succeeds};

/// Some pictures of stripes, one of them in a folder of its own.
fn pictures(folder: &Path, count: u32, colour: u8) {
    fs::create_dir_all(folder.join("more")).unwrap();
    for number in 0..count {
        let picture = RgbImage::from_fn(40 + number, 30, |x, y| {
            let shade = (x * (number + 2) + y * 7) as u8;
            Rgb([shade, colour, shade.wrapping_mul(3)])
        });
        let name = match number {
            0 => "more/0.png".to_owned(),
            _ => format!("{number}.png"),
        };
        picture.save(folder.join(name)).unwrap();
    }
}

#[test]
fn folders_of_pictures_are_compared_by_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/efficientnet_lite0.json");
    write_generated(&golden, &folder.join("lite0.safetensors"));
    pictures(&folder.join("drawn"), 5, 10);
    pictures(&folder.join("real"), 18, 200);
    fs::write(folder.join("drawn/notes.txt"), "no picture").unwrap();
    let compare = |predictions: &'static str, references: &'static str| {
        let sides = ["--predictions", predictions, "--references", references];
        [&["score", "frechet", "--json"][..], &sides].concat()
    };
    let network = ["--features", "lite0.safetensors"];
    let kept = ["--save-features", "kept"];
    let first = [&compare("drawn", "real")[..], &network, &kept].concat();
    let scores = json_of(&succeeds(&first, folder));
    let expected = [
        "Fréchet-lite0",
        "samples",
        "reference_samples",
        "width",
        "weights",
    ];
    assert_eq!(keys(&scores), expected);
    assert_eq!(
        (scores["samples"].as_u64(), scores["width"].as_u64()),
        (Some(5), Some(1280))
    );
    assert_eq!(scores["reference_samples"], 18);
    assert!(scores["Fréchet-lite0"].as_f64().unwrap() > 0.1, "{scores}");

    // Features that were kept stand for their pictures, and know their network.
    let (drawn, real) = (
        "kept/predictions.safetensors",
        "kept/references.safetensors",
    );
    assert_eq!(json_of(&succeeds(&compare(drawn, real), folder)), scores);
    let mixed = [&compare("drawn", real)[..], &network].concat();
    assert_eq!(json_of(&succeeds(&mixed, folder)), scores);

    fs::write(folder.join("drawn/2.png"), "broken").unwrap();
    fs::write(folder.join("drawn/4.png"), "broken").unwrap();
    fs::write(folder.join("other.safetensors"), "broken").unwrap();
    fs::write(folder.join("other.pth"), b"PK\x03\x04").unwrap();
    fs::create_dir(folder.join("one")).unwrap();
    fs::copy(folder.join("real/1.png"), folder.join("one/1.png")).unwrap();
    let with =
        |sides: Vec<&'static str>, file: &'static str| [&sides[..], &["--features", file]].concat();
    for (arguments, said) in [
        (compare("drawn", "real"), "--features FILE"),
        (with(compare(drawn, real), network[1]), "are no folders"),
        (
            with(compare("drawn", "real"), network[1]),
            "2 of 5 pictures cannot be read, the first: drawn/2.png",
        ),
        (with(compare("one", "real"), network[1]), "1.png alone"),
        (
            with(compare("kept", "real"), network[1]),
            "it should hold pictures",
        ),
        (
            with(compare("drawn", "real"), "other.safetensors"),
            "other.safetensors",
        ),
        (with(compare("drawn", "real"), "other.pth"), "other.pth"),
        (
            with(compare("drawn", "real"), real),
            "1 tensors, the first features",
        ),
        (
            with(vec!["score", "yes-no", "--predictions", "x"], "x"),
            "only frechet does",
        ),
        (
            vec!["score", "frechet", "--predictions", "drawn"],
            "--references",
        ),
    ] {
        let (code, error) = fails(&arguments, folder);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}
