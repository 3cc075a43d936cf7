//! Turns a picture into the encoder view and the diffusion view: two square pictures of different
//! resolution from one geometric crop, so that what the diffusion model restores is what the encoder saw.

use image::{GrayImage, RgbImage};
use serde::{Deserialize, Serialize};

use super::crop::{Crop, mask_on_square, on_square};
use super::resample::{Filter, Window, square};
use crate::DataError;
use crate::dice::Dice;

/// Sizes of the views.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewConfig {
    /// Side of the encoder view in pixels.
    pub encoder: u32,
    /// Side of the diffusion view in pixels; 0 leaves it out.
    pub diffusion: u32,
    /// The crop both views share.
    #[serde(default)]
    pub crop: Crop,
}

/// The views of one picture, planar, in `[0, 1]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Views {
    /// `[3, E, E]`
    pub encoder: Vec<f32>,
    /// `[3, D, D]`; empty if there is none.
    pub diffusion: Vec<f32>,
    /// `[E, E]`, 1 inside the region and 0 outside; present if the picture has a mask.
    pub mask: Option<Vec<f32>>,
}

impl ViewConfig {
    /// Cuts and resamples one picture. `dice` decides a random crop only.
    ///
    /// # Errors
    /// `Config` if a size is 0 or a crop share outside `(0, 1]`; `MaskSize` if the mask has another size.
    pub fn views(
        &self,
        name: &str,
        picture: &RgbImage,
        mask: Option<&GrayImage>,
        dice: &mut Dice,
    ) -> Result<Views, DataError> {
        let mut views = Views::default();
        views.mask = self.append(
            name,
            picture,
            mask,
            dice,
            [&mut views.encoder, &mut views.diffusion],
        )?;
        Ok(views)
    }

    /// As [`Self::views`], with the views put behind those that are there, the encoder's and the diffusion model's;
    /// returns the mask.
    ///
    /// # Errors
    /// As [`Self::views`].
    pub(crate) fn append(
        &self,
        name: &str,
        picture: &RgbImage,
        mask: Option<&GrayImage>,
        dice: &mut Dice,
        [encoder, diffusion]: [&mut Vec<f32>; 2],
    ) -> Result<Option<Vec<f32>>, DataError> {
        if self.crop == Crop::Pad && picture.width() != picture.height() {
            let whole = Self {
                crop: Crop::Center,
                ..*self
            };
            let (picture, mask) = (on_square(picture), mask.map(mask_on_square));
            return whole.append(name, &picture, mask.as_ref(), dice, [encoder, diffusion]);
        }
        if self.encoder == 0 || picture.width() == 0 || picture.height() == 0 {
            return Err(DataError::config(
                "views.encoder",
                format!("{name}: picture and view need at least one pixel"),
            ));
        }
        if let Some(mask) = mask
            && mask.dimensions() != picture.dimensions()
        {
            return Err(DataError::MaskSize {
                name: name.to_owned(),
                width: picture.width(),
                height: picture.height(),
                found_width: mask.width(),
                found_height: mask.height(),
            });
        }
        let size = picture.dimensions();
        let window = self.window(f64::from(size.0), f64::from(size.1), dice)?;
        let filter = Filter::Bicubic;
        let view = |side: u32, into: &mut Vec<f32>| {
            let pixels = square::<3>(picture.as_raw(), size, window, side, filter);
            planar(&pixels, into);
        };
        view(self.encoder, encoder);
        if self.diffusion > 0 {
            view(self.diffusion, diffusion);
        }
        Ok(mask.map(|mask| {
            let inside: Vec<u8> = mask.iter().map(|v| u8::from(*v > 0) * 255).collect();
            let view = square::<1>(&inside, size, window, self.encoder, filter);
            view.iter()
                .map(|v| f32::from(u8::from(*v >= 128)))
                .collect()
        }))
    }

    /// Whether crops can be cut as the settings say.
    ///
    /// # Errors
    /// `Config` for a share outside `(0, 1]`.
    pub fn check(&self) -> Result<(), DataError> {
        match self.crop {
            Crop::Random(least) if !(least > 0.0 && least <= 1.0) => Err(DataError::config(
                "crop.random",
                format!("expected a share of the shorter side in (0, 1], found {least}"),
            )),
            _ => Ok(()),
        }
    }

    fn window(&self, width: f64, height: f64, dice: &mut Dice) -> Result<Window, DataError> {
        let short = width.min(height);
        match self.crop {
            Crop::Squeeze => Ok([0.0, 0.0, width, height]),
            Crop::Center | Crop::Pad => {
                Ok([(width - short) / 2.0, (height - short) / 2.0, short, short])
            }
            Crop::Random(least) => {
                self.check()?;
                let side = short * f64::from(dice.between(least, 1.0));
                Ok([
                    f64::from(dice.unit()) * (width - side),
                    f64::from(dice.unit()) * (height - side),
                    side,
                    side,
                ])
            }
        }
    }
}

/// One square view of a whole picture that is cut by no chance.
///
/// # Shapes
/// - returns `[3, side, side]` in [0, 1]
///
/// # Errors
/// `Config` naming the picture if it or the view has no pixels, or the crop is random.
pub fn square_view(
    name: &str,
    picture: &RgbImage,
    side: u32,
    crop: Crop,
    filter: Filter,
) -> Result<Vec<f32>, DataError> {
    let problem = |reason: &str| DataError::config("view", format!("{name}: {reason}"));
    if side == 0 || picture.width() == 0 || picture.height() == 0 {
        return Err(problem("picture and view need at least one pixel"));
    }
    let padded = (crop == Crop::Pad).then(|| on_square(picture));
    let picture = padded.as_ref().unwrap_or(picture);
    let size = picture.dimensions();
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let short = width.min(height);
    let window = match crop {
        Crop::Squeeze => [0.0, 0.0, width, height],
        Crop::Center | Crop::Pad => [(width - short) / 2.0, (height - short) / 2.0, short, short],
        Crop::Random(_) => return Err(problem("a random crop has no one view")),
    };
    let mut view = Vec::new();
    let pixels = square::<3>(picture.as_raw(), size, window, side, filter);
    planar(&pixels, &mut view);
    Ok(view)
}

/// Bytes `[height, width, 3]` to `[3, height, width]` in `[0, 1]`, put behind what is there.
pub(super) fn planar(data: &[u8], out: &mut Vec<f32>) {
    let level: [f32; 256] = std::array::from_fn(|v| v as f32 / 255.0);
    let (pixels, _) = data.as_chunks::<3>();
    out.reserve(data.len());
    for channel in 0..3 {
        out.extend(
            pixels
                .iter()
                .map(|pixel| level[usize::from(pixel[channel])]),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> RgbImage {
        RgbImage::from_fn(8, 4, |x, y| {
            image::Rgb([(x * 30) as u8, (y * 60) as u8, 255])
        })
    }

    #[test]
    fn the_centre_square_is_cut_without_resampling_and_planar() {
        let config = ViewConfig {
            encoder: 4,
            diffusion: 0,
            crop: Crop::Center,
        };
        let picture = RgbImage::from_fn(4, 4, |x, y| {
            image::Rgb([(x * 51) as u8, (y * 51) as u8, 255])
        });
        let views = config
            .views("x", &picture, None, &mut Dice::new(0, "t", 0))
            .unwrap();
        assert_eq!(&views.encoder[..4], &[0.0, 0.2, 0.4, 0.6]);
        assert_eq!(
            &views.encoder[16..24],
            &[0.0, 0.0, 0.0, 0.0, 0.2, 0.2, 0.2, 0.2]
        );
        assert!(views.encoder[32..].iter().all(|v| *v == 1.0));
        assert!(views.diffusion.is_empty());
    }

    #[test]
    fn a_view_by_hand() {
        let picture = RgbImage::from_fn(4, 2, |x, _| image::Rgb([(x * 60) as u8; 3]));
        let view = |crop, filter| square_view("x", &picture, 2, crop, filter).unwrap();
        let near = |found: &[f32], expected: [f32; 2]| {
            let pairs = found.iter().zip(expected.iter().cycle());
            assert!(
                pairs.clone().all(|(a, b)| (a * 255.0 - b).abs() < 1.0),
                "{found:?}"
            );
        };
        near(&view(Crop::Center, Filter::Bicubic), [60.0, 120.0]);
        // The triangle of two pixels on either side of 0.5 and 2.5: weights 3, 3, 1 and 1, 3, 3 (of 7).
        near(
            &view(Crop::Squeeze, Filter::Bilinear),
            [300.0 / 7.0, 960.0 / 7.0],
        );
        assert!(square_view("x", &picture, 2, Crop::Random(0.5), Filter::Bicubic).is_err());
        assert!(square_view("x", &RgbImage::new(0, 0), 2, Crop::Center, Filter::Bicubic).is_err());
    }

    #[test]
    fn both_views_and_the_mask_share_the_crop() {
        let config = ViewConfig {
            encoder: 4,
            diffusion: 8,
            crop: Crop::Random(0.5),
        };
        let mask = GrayImage::from_fn(8, 4, |x, _| image::Luma([if x < 4 { 255 } else { 0 }]));
        let views = config
            .views("x", &picture(), Some(&mask), &mut Dice::new(5, "t", 1))
            .unwrap();
        let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
        assert!((mean(&views.encoder[..16]) - mean(&views.diffusion[..64])).abs() < 0.01);
        assert_eq!(views.mask.as_ref().map(Vec::len), Some(16));
        let wrong = GrayImage::new(4, 8);
        assert!(
            config
                .views("x", &picture(), Some(&wrong), &mut Dice::new(5, "t", 1))
                .is_err()
        );
        let config = ViewConfig {
            crop: Crop::Random(1.5),
            ..config
        };
        assert!(
            config
                .views("x", &picture(), None, &mut Dice::new(5, "t", 1))
                .is_err()
        );
    }
}
