//! How a square is made of a picture.

use image::{GenericImage, GrayImage, ImageBuffer, Luma, Pixel, Rgb, RgbImage};
use serde::de::{Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// What lies around a padded picture: the mean colour of the pictures that CLIP was trained with.
pub(super) const GROUND: Rgb<u8> = Rgb([122, 116, 104]);

/// How a square is made of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crop {
    /// The largest centred square.
    #[default]
    Center,
    /// The whole picture, centred on a square of a plain colour.
    Pad,
    /// The whole picture, squeezed to a square.
    Squeeze,
    /// A square of random place and of at least this share of the shorter side, in `(0, 1]`.
    Random(f32),
}

impl Crop {
    const EXPECTED: &str = "\"center\", \"pad\", \"squeeze\" or { random = SHARE }, SHARE being at least so much of the shorter side";
}

impl<'de> Deserialize<'de> for Crop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;
        impl<'de> Visitor<'de> for Named {
            type Value = Crop;

            fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
                out.write_str(Crop::EXPECTED)
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Crop, E> {
                match name {
                    "center" => Ok(Crop::Center),
                    "pad" => Ok(Crop::Pad),
                    "squeeze" => Ok(Crop::Squeeze),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Crop, A::Error> {
                let wrong = |field: &str| A::Error::invalid_value(Unexpected::Str(field), &Named);
                match map.next_key::<String>()?.as_deref() {
                    Some("random") => {}
                    other => return Err(wrong(other.unwrap_or("an empty table"))),
                }
                let share = map.next_value()?;
                match map.next_entry::<String, IgnoredAny>()? {
                    Some((other, _)) => Err(wrong(&other)),
                    None => Ok(Crop::Random(share)),
                }
            }
        }
        deserializer.deserialize_any(Named)
    }
}

/// A picture whole, centred on a square of one colour.
pub(super) fn padded<P: Pixel>(
    picture: &ImageBuffer<P, Vec<P::Subpixel>>,
    ground: P,
) -> ImageBuffer<P, Vec<P::Subpixel>> {
    let (width, height) = picture.dimensions();
    let side = width.max(height);
    let mut square = ImageBuffer::from_pixel(side, side, ground);
    let copied = square.copy_from(picture, (side - width) / 2, (side - height) / 2);
    copied.expect("the square holds the picture");
    square
}

/// A picture whole, centred on a square of a plain colour, as [`Crop::Pad`] shows it.
pub fn on_square(picture: &RgbImage) -> RgbImage {
    padded(picture, GROUND)
}

/// The mask of a picture that [`on_square`] shows whole.
pub fn mask_on_square(mask: &GrayImage) -> GrayImage {
    padded(mask, Luma([0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Crop, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn every_crop_has_one_name() {
        for crop in [Crop::Center, Crop::Pad, Crop::Squeeze, Crop::Random(0.5)] {
            let json = serde_json::to_string(&crop).unwrap();
            assert_eq!(read(&json), Ok(crop));
        }
        for wrong in [
            "\"random\"",
            "\"middle\"",
            "{\"center\": 1}",
            "{}",
            "3",
            "{\"random\": 0.5, \"x\": 1}",
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains("{ random = SHARE }"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_padded_picture_is_whole() {
        let wide = RgbImage::from_pixel(4, 2, Rgb([1, 2, 3]));
        let square = on_square(&wide);
        assert_eq!(square.dimensions(), (4, 4));
        assert_eq!(*square.get_pixel(3, 0), GROUND);
        assert_eq!(square.get_pixel(0, 1).0, [1, 2, 3]);
        assert_eq!(square.get_pixel(3, 2).0, [1, 2, 3]);
        assert_eq!(*square.get_pixel(0, 3), GROUND);
    }
}
