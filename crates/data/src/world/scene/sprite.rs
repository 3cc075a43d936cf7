//! Drawings at the sizes in which scenes use them: cut to their outline, resampled once, kept.

use std::sync::OnceLock;

use image::{RgbaImage, imageops};

use crate::image::resize_rgba_premultiplied;

/// Largest side kept in memory; larger ones are resampled each time.
const KEPT: usize = 64;

/// A drawing at one size.
#[derive(Debug)]
pub(super) struct Bitmap {
    /// Straight alpha.
    pub image: RgbaImage,
    /// Outline with its holes filled, one flag a pixel.
    pub solid: Vec<bool>,
}

/// A drawing cut to its outline, with the sizes asked for so far.
#[derive(Debug)]
pub(super) struct Sprite {
    cut: RgbaImage,
    sizes: Vec<OnceLock<Bitmap>>,
    /// Dark, median and bright luminance of its visible pixels, `[0, 1]`.
    pub luminance: [f32; 3],
    /// Mean colour of its outermost visible pixels, `[0, 255]`.
    pub rim: [f32; 3],
}

impl Sprite {
    pub fn new(drawing: &RgbaImage) -> Self {
        let cut = cut(drawing);
        let luminance = luminance_range(&cut);
        let rim = rim(&cut);
        Self {
            cut,
            sizes: (0..=KEPT).map(|_| OnceLock::new()).collect(),
            luminance,
            rim,
        }
    }

    /// Calls `use_it` with the drawing at this longest side, in pixels.
    pub fn with<T>(&self, side: usize, use_it: impl FnOnce(&Bitmap) -> T) -> T {
        match self.sizes.get(side) {
            Some(slot) => use_it(slot.get_or_init(|| self.at(side))),
            None => use_it(&self.at(side)),
        }
    }

    fn at(&self, side: usize) -> Bitmap {
        let (width, height) = self.cut.dimensions();
        let longest = width.max(height).max(1) as f32;
        let scaled = |v: u32| ((v as f32 / longest * side as f32).round() as u32).max(1);
        let image = resize_rgba_premultiplied(&self.cut, scaled(width), scaled(height));
        let solid = fill(&image);
        Bitmap { image, solid }
    }
}

/// The smallest part of a drawing that holds every visible pixel.
fn cut(drawing: &RgbaImage) -> RgbaImage {
    let visible = drawing
        .enumerate_pixels()
        .filter(|(_, _, p)| p.0[3] > 24)
        .map(|(x, y, _)| (x, y));
    let bounds = visible.fold(None, |bounds: Option<[u32; 4]>, (x, y)| {
        let [left, top, right, bottom] = bounds.unwrap_or([x, y, x, y]);
        Some([left.min(x), top.min(y), right.max(x), bottom.max(y)])
    });
    match bounds {
        Some([left, top, right, bottom]) => {
            imageops::crop_imm(drawing, left, top, right - left + 1, bottom - top + 1).to_image()
        }
        None => drawing.clone(),
    }
}

pub(super) fn luminance(rgb: [f32; 3]) -> f32 {
    (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]) / 255.0
}

fn rgb(pixel: &image::Rgba<u8>) -> [f32; 3] {
    [
        f32::from(pixel.0[0]),
        f32::from(pixel.0[1]),
        f32::from(pixel.0[2]),
    ]
}

fn luminance_range(drawing: &RgbaImage) -> [f32; 3] {
    let mut seen: Vec<f32> = drawing
        .pixels()
        .filter(|p| p.0[3] > 128)
        .map(|p| luminance(rgb(p)))
        .collect();
    seen.sort_by(f32::total_cmp);
    let at = |share: f32| {
        seen.get((share * seen.len() as f32) as usize)
            .copied()
            .unwrap_or(0.5)
    };
    [at(0.02), at(0.5), at(0.98)]
}

fn rim(drawing: &RgbaImage) -> [f32; 3] {
    let (width, height) = drawing.dimensions();
    let visible = |x: i64, y: i64| {
        x >= 0
            && y >= 0
            && x < i64::from(width)
            && y < i64::from(height)
            && drawing.get_pixel(x as u32, y as u32).0[3] > 128
    };
    let (mut sum, mut count) = ([0f32; 3], 0f32);
    for (x, y, pixel) in drawing.enumerate_pixels() {
        let (x, y) = (i64::from(x), i64::from(y));
        let outer = visible(x, y)
            && !(visible(x - 1, y) && visible(x + 1, y) && visible(x, y - 1) && visible(x, y + 1));
        if outer {
            rgb(pixel).iter().zip(&mut sum).for_each(|(v, s)| *s += v);
            count += 1.0;
        }
    }
    sum.map(|s| s / count.max(1.0))
}

/// Everything that cannot be reached from outside without crossing a visible pixel.
fn fill(image: &RgbaImage) -> Vec<bool> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let visible: Vec<bool> = image.pixels().map(|p| p.0[3] > 127).collect();
    let mut outside = vec![false; width * height];
    let mut open: Vec<(usize, usize)> =
        (0..width).flat_map(|x| [(x, 0), (x, height - 1)]).collect();
    open.extend((0..height).flat_map(|y| [(0, y), (width - 1, y)]));
    while let Some((x, y)) = open.pop() {
        let at = y * width + x;
        if visible[at] || outside[at] {
            continue;
        }
        outside[at] = true;
        if x > 0 {
            open.push((x - 1, y));
        }
        if x + 1 < width {
            open.push((x + 1, y));
        }
        if y > 0 {
            open.push((x, y - 1));
        }
        if y + 1 < height {
            open.push((x, y + 1));
        }
    }
    outside.into_iter().map(|o| !o).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgba;

    #[test]
    fn cut_scale_and_fill_a_ring() {
        let mut ring = RgbaImage::new(16, 16);
        for (x, y) in (4..12).flat_map(|i| [(i, 4), (i, 11), (4, i), (11, i)]) {
            ring.put_pixel(x, y, Rgba([0, 0, 0, 255]));
        }
        let sprite = Sprite::new(&ring);
        assert_eq!(sprite.cut.dimensions(), (8, 8));
        assert_eq!(sprite.rim, [0.0; 3]);
        sprite.with(8, |bitmap| {
            assert!(bitmap.solid.iter().all(|s| *s), "the hole is filled");
            assert_eq!(bitmap.image.get_pixel(4, 4).0[3], 0);
        });
        sprite.with(80, |bitmap| assert_eq!(bitmap.image.dimensions(), (80, 80)));
    }
}
