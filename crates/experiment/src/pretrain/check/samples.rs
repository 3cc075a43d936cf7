//! What the diffusion model draws, for people to look at.

use burn::tensor::Device;
use deem_engine::EngineError;
use deem_engine::generate::{ImageOptions, Start, sample_latents};
use deem_engine::pictures::from_tensor;
use deem_model::diffusion::Condition;
use image::{Rgb, RgbImage, imageops};

use super::SEED;
use crate::pretrain::CaptionedDiffusion;
use crate::standins::StandIns;

/// Pairs of pictures in a row of the sheet, and rows.
const PAIRS: [usize; 2] = [6, 8];
/// Pixels between pictures, and twice as many between pairs.
const GAP: u32 = 4;

/// A sheet of 48 pairs: a scene as it is drawn, and at its right what the diffusion model draws for its dense caption.
///
/// # Errors
/// Stand-ins that are missing or do not fit.
pub fn samples(standins: &StandIns, device: &Device) -> Result<RgbImage, EngineError> {
    let data = standins.data()?;
    let feed = data.plain_feed("samples", SEED)?;
    let model = CaptionedDiffusion::of(standins, &data.tokenizer, device)?;
    let [columns, rows] = PAIRS;
    let (mut scenes, mut captions) = (Vec::new(), Vec::new());
    for index in 0..(columns * rows) as u64 {
        let pair = feed.pair(index, true)?;
        scenes.push(pair.image);
        captions.push(pair.caption);
    }
    let (diffusion, pictures) = (model.diffusion(), model.pixels(&scenes));
    let start = Start::Noise(diffusion.latents(pictures.clone()).dims());
    let options = ImageOptions {
        seed: SEED,
        ..ImageOptions::default()
    };
    let null = model.condition(&vec![String::new(); captions.len()])?;
    let told = Condition::of_tokens(model.condition(&captions)?);
    let drawn = sample_latents(&diffusion, told, null, start, &options, &mut |_, _| true)?;
    let drawn = from_tensor(diffusion.decode(drawn));
    Ok(sheet(&from_tensor(pictures), &drawn, columns as u32))
}

/// Pairs of equally large pictures at twice their size, so many in a row.
fn sheet(left: &[RgbImage], right: &[RgbImage], columns: u32) -> RgbImage {
    let side = 2 * left.first().map_or(0, RgbImage::width);
    let (width, height) = (2 * side + 3 * GAP, side + GAP);
    let rows = (left.len() as u32).div_ceil(columns);
    let mut sheet = RgbImage::from_pixel(columns * width, rows * height, Rgb([60, 60, 60]));
    for (pair, pictures) in (0..).zip(left.iter().zip(right)) {
        let (x, y) = (
            pair % columns * width + GAP,
            pair / columns * height + GAP / 2,
        );
        for (picture, x) in [(pictures.0, x), (pictures.1, x + side + GAP)] {
            let large = imageops::resize(picture, side, side, imageops::FilterType::Nearest);
            imageops::replace(&mut sheet, &large, x.into(), y.into());
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stand_side_by_side() {
        let picture = |red| RgbImage::from_pixel(3, 3, Rgb([red, 0, 0]));
        let left: Vec<_> = (0..3).map(picture).collect();
        let right: Vec<_> = (10..13).map(picture).collect();
        let sheet = sheet(&left, &right, 2);
        assert_eq!(sheet.dimensions(), (2 * 24, 2 * 10));
        let seen = |x, y| sheet.get_pixel(x, y).0;
        assert_eq!([seen(4, 2), seen(9, 7)], [[0, 0, 0]; 2]);
        assert_eq!([seen(14, 2), seen(19, 7)], [[10, 0, 0]; 2]);
        assert_eq!([seen(28, 2), seen(38, 2)], [[1, 0, 0], [11, 0, 0]]);
        assert_eq!([seen(4, 12), seen(14, 12)], [[2, 0, 0], [12, 0, 0]]);
        assert_eq!([seen(10, 2), seen(28, 12)], [[60; 3]; 2]);
    }
}
