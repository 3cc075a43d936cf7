//! Pictures become tensors, and tensors pictures.

use burn::tensor::{Device, Tensor, TensorData};
use deem_data::image::{Crop, Filter, ViewConfig, Views, square_view};
use deem_data::{DataError, Dice};
use image::{GrayImage, Rgb, RgbImage};

use crate::EngineError;

/// The square that is seen of a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquareView {
    /// Side in pixels.
    pub side: usize,
    /// How a square is made of a picture.
    pub crop: Crop,
    /// How it is resampled.
    pub filter: Filter,
}

impl SquareView {
    /// CLIP's: the centre square, bicubically.
    pub fn centre(side: usize) -> Self {
        Self {
            side,
            crop: Crop::Center,
            filter: Filter::Bicubic,
        }
    }
}

/// The centre squares of pictures, resampled to `side` pixels.
///
/// # Shapes
/// - returns `[pictures, 3, side, side]` in [0, 1]
///
/// # Errors
/// `Data` naming a picture without pixels by its position.
pub fn to_tensor(
    pictures: &[RgbImage],
    side: usize,
    device: &Device,
) -> Result<Tensor<4>, EngineError> {
    views(pictures, SquareView::centre(side), device)
}

/// The squares that an encoder sees of pictures.
///
/// # Shapes
/// - returns `[pictures, 3, side, side]` in [0, 1]
///
/// # Errors
/// `Data` naming a picture without pixels by its position.
pub fn views(
    pictures: &[RgbImage],
    view: SquareView,
    device: &Device,
) -> Result<Tensor<4>, EngineError> {
    let SquareView { side, crop, filter } = view;
    let mut values = Vec::with_capacity(pictures.len() * 3 * side * side);
    for (index, picture) in pictures.iter().enumerate() {
        let name = format!("picture {index}");
        values.extend(square_view(&name, picture, side as u32, crop, filter)?);
    }
    Ok(planes(values, side, device))
}

/// The centre square of a picture, and of its mask, resampled to `side` pixels; no view for the diffusion model.
///
/// # Errors
/// `Config` or `MaskSize` naming the picture, see [`ViewConfig::views`].
pub fn centre_view(
    name: &str,
    picture: &RgbImage,
    mask: Option<&GrayImage>,
    side: usize,
) -> Result<Views, DataError> {
    let config = ViewConfig {
        encoder: side as u32,
        diffusion: 0,
        crop: Crop::Center,
    };
    config.views(name, picture, mask, &mut Dice::new(0, "crop", 0))
}

/// Square pictures that lie plane by plane on the host, as a tensor.
///
/// # Shapes
/// - `values`: `[pictures, 3, side, side]`, row-major
/// - returns the same
///
/// # Panics
/// If `values` is not a whole number of pictures.
pub fn planes(values: Vec<f32>, side: usize, device: &Device) -> Tensor<4> {
    let pictures = values.len() / (3 * side * side);
    let data = TensorData::new(values, [pictures, 3, side, side]);
    Tensor::from_data(data, device)
}

/// Pictures of `[pictures, 3, height, width]`; what lies outside [0, 1] becomes black or full.
pub fn from_tensor(pixels: Tensor<4>) -> Vec<RgbImage> {
    let [_, _, height, width] = pixels.dims();
    let values: Vec<f32> = pixels.into_data().iter::<f32>().collect();
    let plane = height * width;
    let picture = |values: &[f32]| {
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let at = y as usize * width + x as usize;
            let byte = |channel: usize| {
                let value = values[channel * plane + at] * 255.0;
                value.round().clamp(0.0, 255.0) as u8
            };
            Rgb([0, 1, 2].map(byte))
        })
    };
    values.chunks(3 * plane.max(1)).map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_come_back_as_they_went() {
        let picture =
            |shade: u8| RgbImage::from_fn(2, 2, |x, y| Rgb([shade, x as u8, 9 + y as u8]));
        let pictures = [picture(0), picture(255)];
        let device = Device::flex();
        let pixels = to_tensor(&pictures, 2, &device).unwrap();
        assert_eq!(pixels.dims(), [2, 3, 2, 2]);
        assert_eq!(from_tensor(pixels), pictures);
        let outside = planes(vec![-0.5, 2.0, 0.2], 1, &device);
        assert_eq!(from_tensor(outside)[0].get_pixel(0, 0), &Rgb([0, 255, 51]));
        let error = to_tensor(&[RgbImage::new(0, 0)], 2, &device).unwrap_err();
        assert!(error.to_string().contains("picture 0"), "{error}");
    }
}
