//! Square views as programs in PyTorch cut them, whose numbers are to be compared with.

use image::RgbImage;

use super::resample::{Filter, square};
use super::view::planar;
use crate::DataError;

fn check(name: &str, picture: &RgbImage, side: u32) -> Result<(), DataError> {
    if side == 0 || picture.width() == 0 || picture.height() == 0 {
        let reason = format!("{name}: picture and view need at least one pixel");
        return Err(DataError::config("view", reason));
    }
    Ok(())
}

/// torchvision's `Resize(side)` and `CenterCrop(side)` of a Pillow picture: the shorter side is resampled to `side`, the
/// longer one in proportion, rounded down, of which the middle is cut out. Within one level of 255, as Pillow's own
/// `resize(…, box)` of that middle.
///
/// Differs from [`Crop::Center`](super::Crop::Center), which does not round, by less than a pixel.
///
/// # Shapes
/// - returns `[3, side, side]` in [0, 1]
///
/// # Errors
/// `Config` naming the picture if it or the view has no pixels.
pub fn resized_centre_view(
    name: &str,
    picture: &RgbImage,
    side: u32,
    filter: Filter,
) -> Result<Vec<f32>, DataError> {
    check(name, picture, side)?;
    let size = picture.dimensions();
    let short = u64::from(size.0.min(size.1));
    // Begin and length, in pixels of the picture, of what is seen along a side.
    let seen = |length: u32| {
        let resized = u64::from(side) * u64::from(length) / short;
        let before = ((resized - u64::from(side)) as f64 / 2.0).round_ties_even();
        let pixel = f64::from(length) / resized as f64;
        (before * pixel, f64::from(side) * pixel)
    };
    let ((left, width), (top, height)) = (seen(size.0), seen(size.1));
    let window = [left, top, width, height];
    let bytes = square::<3>(picture.as_raw(), size, window, side, filter);
    let mut view = Vec::new();
    planar(&bytes, &mut view);
    Ok(view)
}

/// `torch.nn.functional.interpolate(…, mode="bilinear", align_corners=False)` of a whole picture, which is squeezed to a
/// square: between the four nearest pixels, however much smaller the square is (no antialiasing).
///
/// # Shapes
/// - returns `[3, side, side]` in [0, 1]
///
/// # Errors
/// `Config` naming the picture if it or the view has no pixels.
pub fn interpolated_view(name: &str, picture: &RgbImage, side: u32) -> Result<Vec<f32>, DataError> {
    check(name, picture, side)?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let side = side as usize;
    let (columns, rows) = (neighbours(width, side), neighbours(height, side));
    let (data, plane) = (picture.as_raw(), side * side);
    let mut view = vec![0f32; 3 * plane];
    for (y, (above, below, down)) in rows.into_iter().enumerate() {
        for (x, (left, right, along)) in columns.iter().enumerate() {
            for channel in 0..3 {
                let pixel = |row: usize, column: usize| {
                    f32::from(data[(row * width + column) * 3 + channel]) / 255.0
                };
                let line =
                    |row: usize| (1.0 - along) * pixel(row, *left) + along * pixel(row, *right);
                let value = (1.0 - down) * line(above) + down * line(below);
                view[channel * plane + y * side + x] = value;
            }
        }
    }
    Ok(view)
}

/// For each of `to` positions: its neighbours among `from`, and how far it is from the first to the second.
fn neighbours(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let scale = from as f32 / to as f32;
    let position = |at: usize| ((at as f32 + 0.5) * scale - 0.5).max(0.0);
    (0..to)
        .map(position)
        .map(|position| {
            let first = (position as usize).min(from - 1);
            (first, (first + 1).min(from - 1), position - first as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_pixels_by_hand() {
        let picture =
            RgbImage::from_fn(4, 1, |x, _| image::Rgb([[0, 51, 102, 255][x as usize]; 3]));
        let near = |found: &[f32], expected: &[f32]| {
            let pairs = found.iter().zip(expected);
            assert!(
                pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6),
                "{found:?}"
            );
        };
        // Half as wide: at 0.5 and 2.5.
        let smaller = interpolated_view("x", &picture, 2).unwrap();
        near(&smaller[..4], &[0.1, 0.7, 0.1, 0.7]);
        // Twice as wide: at 0 (cut off), 0.25, 0.75, …
        let larger = interpolated_view("x", &picture, 8).unwrap();
        near(&larger[..4], &[0.0, 0.05, 0.15, 0.25]);
        assert!((larger[7] - 1.0).abs() < 1e-6);
        let empty = interpolated_view("x", &RgbImage::new(0, 1), 2).unwrap_err();
        assert!(empty.to_string().contains("at least one pixel"), "{empty}");
    }

    #[test]
    fn the_middle_by_hand() {
        // 5×2 to 2: 5 · 2 / 2 = 5 wide, of which (5 − 2) / 2 = 1.5, to even 2, are left out before.
        let picture = RgbImage::from_fn(5, 2, |x, _| image::Rgb([(x * 51) as u8; 3]));
        let view = resized_centre_view("x", &picture, 2, Filter::Bilinear).unwrap();
        assert_eq!(&view[..4], &[0.4, 0.6, 0.4, 0.6]);
        assert!(resized_centre_view("x", &picture, 0, Filter::Bilinear).is_err());
    }
}
