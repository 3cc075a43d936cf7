//! Bicubic resampling with antialiasing (the cubic with a = -1/2, widened when shrinking), the same
//! filter as Pillow's BICUBIC, so that pictures look to the model as they do to reference preprocessing.

use image::{GrayImage, RgbImage, RgbaImage};

/// For each output position: first input position and the weights from there on, which sum to 1.
fn weights(from: usize, start: f32, length: f32, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = length / to as f32;
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    (0..to)
        .map(|i| {
            let center = start + (i as f32 + 0.5) * scale;
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

/// Part of a picture to resample: left, top, width, height in pixels; it may be fractional.
pub(crate) type Window = [f32; 4];

/// Resamples `window` of interleaved `[height, width, C]` values to `[out_height, out_width, C]`.
pub(crate) fn resample<const C: usize>(
    data: &[f32],
    size: (usize, usize),
    window: Window,
    out: (usize, usize),
) -> Vec<f32> {
    let (width, height) = size;
    let (out_width, out_height) = out;
    let columns = weights(width, window[0], window[2], out_width);
    let rows = weights(height, window[1], window[3], out_height);
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
    if picture.dimensions() == (width, height) || picture.width() == 0 || picture.height() == 0 {
        return picture.clone();
    }
    let data: Vec<f32> = picture.as_raw().iter().map(|v| f32::from(*v)).collect();
    let size = (picture.width() as usize, picture.height() as usize);
    let whole = [0.0, 0.0, size.0 as f32, size.1 as f32];
    let out = resample::<3>(&data, size, whole, (width as usize, height as usize));
    let bytes = out.into_iter().map(byte).collect();
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}

/// Resizes a mask or grey picture.
pub fn resize_gray(picture: &GrayImage, width: u32, height: u32) -> GrayImage {
    if picture.dimensions() == (width, height) || picture.width() == 0 || picture.height() == 0 {
        return picture.clone();
    }
    let data: Vec<f32> = picture.as_raw().iter().map(|v| f32::from(*v)).collect();
    let size = (picture.width() as usize, picture.height() as usize);
    let whole = [0.0, 0.0, size.0 as f32, size.1 as f32];
    let out = resample::<1>(&data, size, whole, (width as usize, height as usize));
    let bytes = out.into_iter().map(byte).collect();
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
    let whole = [0.0, 0.0, size.0 as f32, size.1 as f32];
    let out = resample::<4>(&data, size, whole, (width as usize, height as usize));
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
        let out = resample::<1>(&values, (4, 1), [0.0, 0.0, 4.0, 1.0], (2, 1));
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
