//! Bicubic resampling with antialiasing (the cubic with a = -1/2, widened when shrinking), the same
//! filter as Pillow's BICUBIC, so that pictures look to the model as they do to reference preprocessing.
//!
//! Opaque pictures are resampled in bytes, as Pillow does it: what the first pass makes is rounded and cut off at black
//! and white before the second one, which shows at sharp edges.

use std::borrow::Cow;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{GrayImage, RgbImage, RgbaImage};

/// For each output position: first input position and the weights from there on, which sum to 1.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f32 / to as f32;
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    (0..to)
        .map(|i| {
            let center = (i as f32 + 0.5) * scale;
            let first = ((center - support).floor().max(0.0) as usize).min(from - 1);
            let last = ((center + support).ceil().max(1.0) as usize).clamp(first + 1, from);
            let mut taps: Vec<f32> = (first..last)
                .map(|p| cubic((p as f32 + 0.5 - center) / stretch))
                .collect();
            let sum: f32 = taps.iter().sum();
            taps.iter_mut().for_each(|w| *w /= sum);
            (first, taps)
        })
        .collect()
}

fn cubic(x: f32) -> f32 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// How pictures are resampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The cubic with a = -1/2, Pillow's BICUBIC.
    #[default]
    Bicubic,
    /// The triangle, Pillow's BILINEAR.
    Bilinear,
}

impl Filter {
    /// How far it reaches on either side, in pixels of the coarser picture.
    fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Bilinear => 1.0,
        }
    }

    fn kernel(self) -> FilterType {
        match self {
            Self::Bicubic => FilterType::CatmullRom,
            Self::Bilinear => FilterType::Bilinear,
        }
    }
}

/// Part of a picture to resample: left, top, width, height in pixels; it may be fractional.
pub(crate) type Window = [f64; 4];

/// Resamples `window` of an interleaved `[height, width, C]` picture to `[side, side, C]`, C being 1 or 3, within one
/// level of Pillow's `resize((side, side), filter, box)`: what lies around the window has its part in its rim.
pub(crate) fn square<const C: usize>(
    data: &[u8],
    size: (u32, u32),
    window: Window,
    side: u32,
    filter: Filter,
) -> Cow<'_, [u8]> {
    const { assert!(C == 1 || C == 3) };
    let pixels = if C == 1 {
        PixelType::U8
    } else {
        PixelType::U8x3
    };
    let window = inside(size, window);
    let whole = [0.0, 0.0, f64::from(size.0), f64::from(size.1)];
    if size == (side, side) && window == whole {
        return data.into();
    }
    resized(data, size, pixels, (side, side), window, filter).into()
}

/// A window that rounding has not put outside its picture.
fn inside(size: (u32, u32), [left, top, width, height]: Window) -> Window {
    let (all_wide, all_high) = (f64::from(size.0), f64::from(size.1));
    let (left, top) = (left.clamp(0.0, all_wide), top.clamp(0.0, all_high));
    [
        left,
        top,
        width.min(all_wide - left),
        height.min(all_high - top),
    ]
}

/// One pass across and one down, in the order that Pillow 13 takes, which shows where the first one is cut off at black
/// or white: across first, unless that saves less than half of the lines that the other one saves.
fn resized(
    data: &[u8],
    size: (u32, u32),
    pixels: PixelType,
    out: (u32, u32),
    [left, top, width, height]: Window,
    filter: Filter,
) -> Vec<u8> {
    let saved = |from: u32, to: u32| u64::from(from.saturating_sub(to));
    if saved(size.1, out.1) > 2 * saved(size.0, out.0) {
        // The library's own order.
        return pass(data, size, pixels, out, [left, top, width, height], filter);
    }
    let scale = height / f64::from(out.1.max(1));
    let reach = filter.support() * scale.max(1.0);
    // The rows that the second pass looks at.
    let first = (top - reach).floor().max(0.0);
    let last = (top + height + reach).ceil().min(f64::from(size.1));
    let wide = (out.0, (last - first) as u32);
    let across = [left, first, width, last - first];
    let rows = pass(data, size, pixels, wide, across, filter);
    let below = [0.0, top - first, f64::from(out.0), height];
    pass(&rows, wide, pixels, out, below, filter)
}

fn pass(
    data: &[u8],
    size: (u32, u32),
    pixels: PixelType,
    out: (u32, u32),
    [left, top, width, height]: Window,
    filter: Filter,
) -> Vec<u8> {
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter.kernel()))
        .use_alpha(false)
        .crop(left, top, width, height);
    let mut target = Image::new(out.0, out.1, pixels);
    ImageRef::new(size.0, size.1, data, pixels)
        .map_err(|error| error.to_string())
        .and_then(|source| {
            Resizer::new()
                .resize(&source, &mut target, &options)
                .map_err(|error| error.to_string())
        })
        .expect("as many bytes as the picture has, and a window inside");
    target.into_vec()
}

/// Resamples interleaved `[height, width, C]` values to `[out_height, out_width, C]`.
fn resample<const C: usize>(data: &[f32], size: (usize, usize), out: (usize, usize)) -> Vec<f32> {
    let (width, height) = size;
    let (out_width, out_height) = out;
    let columns = weights(width, out_width);
    let rows = weights(height, out_height);
    let first_row = rows.iter().map(|r| r.0).min().unwrap_or(0);
    let last_row = rows.iter().map(|r| r.0 + r.1.len()).max().unwrap_or(0);
    let mut wide = vec![[0f32; C]; (last_row - first_row) * out_width]; // [rows used, out_width]
    for y in first_row..last_row {
        let source = &data[y * width * C..(y + 1) * width * C];
        let target = &mut wide[(y - first_row) * out_width..(y - first_row + 1) * out_width];
        for (pixel, (first, taps)) in target.iter_mut().zip(&columns) {
            for (tap, value) in taps.iter().zip(source[first * C..].chunks_exact(C)) {
                for c in 0..C {
                    pixel[c] += tap * value[c];
                }
            }
        }
    }
    let mut result = vec![0f32; out_width * out_height * C];
    for (target, (first, taps)) in result.chunks_exact_mut(out_width * C).zip(&rows) {
        for (k, tap) in taps.iter().enumerate() {
            let line =
                &wide[(first - first_row + k) * out_width..(first - first_row + k + 1) * out_width];
            for (to, from) in target.chunks_exact_mut(C).zip(line) {
                for c in 0..C {
                    to[c] += tap * from[c];
                }
            }
        }
    }
    result
}

fn byte(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as u8
}

/// Resizes a colour picture.
pub fn resize_rgb(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let size = picture.dimensions();
    if size == (width, height) || size.0 == 0 || size.1 == 0 {
        return picture.clone();
    }
    let whole = [0.0, 0.0, f64::from(size.0), f64::from(size.1)];
    let bytes = resized(
        picture.as_raw(),
        size,
        PixelType::U8x3,
        (width, height),
        whole,
        Filter::Bicubic,
    );
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}

/// Resizes a mask or grey picture.
pub fn resize_gray(picture: &GrayImage, width: u32, height: u32) -> GrayImage {
    let size = picture.dimensions();
    if size == (width, height) || size.0 == 0 || size.1 == 0 {
        return picture.clone();
    }
    let whole = [0.0, 0.0, f64::from(size.0), f64::from(size.1)];
    let bytes = resized(
        picture.as_raw(),
        size,
        PixelType::U8,
        (width, height),
        whole,
        Filter::Bicubic,
    );
    GrayImage::from_raw(width, height, bytes).unwrap_or_default()
}

/// Resizes a picture with straight alpha; colours are weighted by alpha, so that what lies hidden
/// under transparent pixels does not bleed out.
pub fn resize_rgba_premultiplied(picture: &RgbaImage, width: u32, height: u32) -> RgbaImage {
    if picture.dimensions() == (width, height) || picture.width() == 0 || picture.height() == 0 {
        return picture.clone();
    }
    let data: Vec<f32> = picture
        .pixels()
        .flat_map(|p| {
            let alpha = f32::from(p.0[3]) / 255.0;
            [
                f32::from(p.0[0]) * alpha,
                f32::from(p.0[1]) * alpha,
                f32::from(p.0[2]) * alpha,
                f32::from(p.0[3]),
            ]
        })
        .collect();
    let size = (picture.width() as usize, picture.height() as usize);
    let out = resample::<4>(&data, size, (width as usize, height as usize));
    let bytes = out
        .chunks_exact(4)
        .flat_map(|p| {
            let alpha = p[3].clamp(0.0, 255.0);
            let scale = if alpha > 0.0 { 255.0 / alpha } else { 0.0 };
            [
                byte(p[0] * scale),
                byte(p[1] * scale),
                byte(p[2] * scale),
                byte(alpha),
            ]
        })
        .collect();
    RgbaImage::from_raw(width, height, bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_four_samples_matches_hand_computation() {
        // stretch 2, taps at distances .25 .75 1.25 (1.75) of the first output sample's centre:
        // cubic: .8671875 .2265625 ... computed below from the definition, normalised.
        let w = |x: f32| {
            if x < 1.0 {
                1.5 * x * x * x - 2.5 * x * x + 1.0
            } else {
                -0.5 * x * x * x + 2.5 * x * x - 4.0 * x + 2.0
            }
        };
        let taps = [w(0.25), w(0.25), w(0.75), w(1.25)];
        let values = [10.0, 20.0, 40.0, 80.0];
        let expected =
            taps.iter().zip(values).map(|(t, v)| t * v).sum::<f32>() / taps.iter().sum::<f32>();
        let out = resample::<1>(&values, (4, 1), (2, 1));
        assert!((out[0] - expected).abs() < 1e-4, "{out:?} {expected}");
    }

    #[test]
    fn constant_pictures_stay_constant_and_hidden_colours_stay_hidden() {
        let flat = RgbImage::from_pixel(7, 5, image::Rgb([10, 200, 33]));
        assert!(
            resize_rgb(&flat, 13, 3)
                .pixels()
                .all(|p| p.0 == [10, 200, 33])
        );
        let mut sprite = RgbaImage::from_pixel(8, 8, image::Rgba([255, 0, 0, 0]));
        for y in 0..8 {
            for x in 4..8 {
                sprite.put_pixel(x, y, image::Rgba([0, 0, 255, 255]));
            }
        }
        for pixel in resize_rgba_premultiplied(&sprite, 3, 3)
            .pixels()
            .filter(|p| p.0[3] > 0)
        {
            assert_eq!(&pixel.0[..3], &[0, 0, 255]);
        }
    }
}
