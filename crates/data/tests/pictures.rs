//! Decoding and resampling against Pillow (tools/parity/export_pictures.py), and files that are not whole.

use std::path::{Path, PathBuf};

use deem_data::Dice;
use deem_data::image::{
    Crop, Filter, ImageLimits, ViewConfig, decode_image, interpolated_view, read_image,
    resize_gray, resize_rgb, resized_centre_view,
};
use image::RgbImage;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    decoded: Vec<Decoded>,
    squares: Vec<Square>,
}

#[derive(Deserialize)]
struct Decoded {
    file: String,
    reference: String,
}

#[derive(Deserialize)]
struct Square {
    file: String,
    crop: Crop,
    side: u32,
    reference: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures")
}

fn golden() -> Golden {
    serde_json::from_slice(&std::fs::read(folder().join("pictures.json")).unwrap()).unwrap()
}

fn read(name: &str) -> RgbImage {
    read_image(&folder().join(name), ImageLimits::default()).unwrap()
}

/// Largest and mean difference of two pictures of one size, in levels.
fn differences(name: &str, found: &RgbImage, reference: &str) -> (u8, f64) {
    let path = folder().join(reference);
    let reference = image::open(path).unwrap().to_rgb8();
    assert_eq!(found.dimensions(), reference.dimensions(), "{name}");
    let pairs = found.iter().zip(reference.iter());
    let all: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = all.iter().map(|d| f64::from(*d)).sum();
    (*all.iter().max().unwrap(), sum / all.len() as f64)
}

fn difference(name: &str, found: &RgbImage, reference: &str) -> u8 {
    differences(name, found, reference).0
}

#[test]
fn colours_and_turns_are_pillows() {
    for case in golden().decoded {
        let (most, mean) = differences(&case.file, &read(&case.file), &case.reference);
        // Decoders of lossy formats round in their own ways, and widen colours of half the width in their own.
        let (most_allowed, mean_allowed) = match case.file.as_str() {
            "webp-lossy.webp" | "jpeg-420.jpg" => (10, 1.0),
            lossy if lossy.ends_with(".jpg") => (2, 0.5),
            _ => (0, 0.0),
        };
        let fits = most <= most_allowed && mean <= mean_allowed;
        assert!(fits, "{}: {most} levels, {mean:.3} in the mean", case.file);
    }
}

#[test]
fn squares_are_pillows() {
    for case in golden().squares {
        let picture = read(&case.file);
        let config = ViewConfig {
            encoder: case.side,
            diffusion: 0,
            crop: case.crop,
        };
        let views = config.views("x", &picture, None, &mut Dice::new(0, "t", 0));
        let planes = views.unwrap().encoder;
        let area = (case.side * case.side) as usize;
        let view = RgbImage::from_fn(case.side, case.side, |x, y| {
            let at = (y * case.side + x) as usize;
            image::Rgb([0, 1, 2].map(|c| (planes[c * area + at] * 255.0).round() as u8))
        });
        let found = difference(&case.file, &view, &case.reference);
        assert!(found <= 1, "{}: {found} levels", case.reference);
        if case.crop == Crop::Squeeze {
            let whole = resize_rgb(&picture, case.side, case.side);
            assert!(difference(&case.file, &whole, &case.reference) <= 1);
        }
    }
}

#[test]
fn grey_is_resampled_as_colours_are() {
    let picture = read("sharp-0.png");
    let grey = image::imageops::grayscale(&picture);
    let colours = image::DynamicImage::from(grey.clone()).to_rgb8();
    let (small, wide) = (resize_gray(&grey, 20, 31), resize_rgb(&colours, 20, 31));
    assert!(
        small
            .pixels()
            .zip(wide.pixels())
            .all(|(a, b)| a.0[0].abs_diff(b.0[0]) <= 1)
    );
}

/// One of the two is there (tools/parity/export_feature_networks.py).
#[derive(Deserialize)]
struct PublishedView {
    file: String,
    side: u32,
    /// In [0, 1].
    interpolated: Option<Vec<f32>>,
    /// Bytes.
    resized_centre: Option<Vec<f32>>,
}

#[test]
fn views_are_those_of_pytorch_and_torchvision() {
    let golden = std::fs::read(folder().join("published_views.json")).unwrap();
    let golden: Vec<PublishedView> = serde_json::from_slice(&golden).unwrap();
    assert_eq!(golden.len(), 4);
    let close = |found: &[f32], expected: &[f32], least: f32| {
        assert_eq!(found.len(), expected.len());
        let pairs = found.iter().zip(expected);
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < least
    };
    for case in golden {
        let PublishedView { file, side, .. } = case;
        let picture = read(&file);
        if let Some(expected) = case.interpolated {
            let found = interpolated_view(&file, &picture, side).unwrap();
            assert!(close(&found, &expected, 2e-6), "{file}, {side}");
        }
        if let Some(expected) = case.resized_centre {
            let found = resized_centre_view(&file, &picture, side, Filter::Bilinear).unwrap();
            let bytes: Vec<f32> = found.iter().map(|v| v * 255.0).collect();
            assert!(close(&bytes, &expected, 1.01), "{file}, {side}");
        }
    }
}

/// Pictures that are cut off are refused, wherever: none is filled up with grey.
#[test]
fn what_is_cut_off_is_refused() {
    for name in [
        "jpeg-444.jpg",
        "jpeg-progressive.jpg",
        "png-rgb.png",
        "png-palette.png",
        "gif.gif",
        "webp-lossless.webp",
        "webp-lossy.webp",
        "bmp.bmp",
        "tiff-raw.tif",
        "tiff-tiff_lzw.tif",
        "colours.ppm",
        "png-inside.ico",
        "packed.tga",
        "colours.qoi",
    ] {
        let bytes = std::fs::read(folder().join(name)).unwrap();
        for percent in [1, 10, 50, 90] {
            let cut = &bytes[..bytes.len() * percent / 100];
            let error = decode_image(cut, name, ImageLimits::default()).unwrap_err();
            let told = error.to_string();
            assert!(told.contains(name), "{told}");
            assert_eq!(error.kind(), "undecodable picture");
        }
    }
}

/// Headers that promise more than is there are refused by size, before anything is made of them.
#[test]
fn bombs_are_refused_by_their_headers() {
    let limits = ImageLimits { max_pixels: 900 };
    for name in [
        "jpeg-444.jpg",
        "png-rgb.png",
        "gif.gif",
        "webp-lossless.webp",
        "bmp.bmp",
        "tiff-raw.tif",
        "colours.ppm",
        "png-inside.ico",
        "colours.tga",
        "colours.qoi",
    ] {
        let error = read_image(&folder().join(name), limits).unwrap_err();
        assert_eq!(error.kind(), "picture too large");
        let told = error.to_string();
        assert!(told.contains("40x24") && told.contains("900"), "{told}");
    }
    // A JPEG and a PNG that say that they are 65,535 pixels wide and high.
    let mut jpeg = std::fs::read(folder().join("jpeg-444.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    let error = decode_image(&jpeg, "x", ImageLimits::default()).unwrap_err();
    assert_eq!(error.kind(), "picture too large");
}
