//! Decodes pictures that come from anywhere: size limits before any pixel is allocated, EXIF
//! orientation applied, transparency laid over white.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageReader, Limits, RgbImage};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// How large a picture may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageLimits {
    /// Largest number of pixels, width x height.
    pub max_pixels: u64,
}

impl ImageLimits {
    /// Bytes that the file of such a picture may have: 16 bits times four channels, and as much as a small file
    /// of its own.
    fn most_bytes(&self) -> u64 {
        self.max_pixels.saturating_mul(8).saturating_add(1 << 20)
    }
}

impl Default for ImageLimits {
    /// 100 million pixels.
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
        }
    }
}

/// Reads a picture file.
///
/// # Errors
/// `Io`, `Image` or `ImageTooLarge`, each naming the file.
pub fn read_image(path: &Path, limits: ImageLimits) -> Result<RgbImage, DataError> {
    let io = |e| DataError::io(path, e);
    let metadata = std::fs::metadata(path).map_err(io)?;
    let wrong = |reason: String| DataError::Image {
        name: path.display().to_string(),
        reason,
    };
    // Devices and pipes may never end.
    if !metadata.is_file() {
        return Err(wrong("expected a file".into()));
    }
    let most = limits.most_bytes();
    if metadata.len() > most {
        let reason = format!("expected at most {most} bytes, found {}", metadata.len());
        return Err(wrong(reason));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    decode_image(&bytes, &path.display().to_string(), limits)
}

/// Decodes a PNG, JPEG, WebP, GIF or BMP picture; `name` is used in errors.
///
/// # Errors
/// `Image` or `ImageTooLarge`.
pub fn decode_image(bytes: &[u8], name: &str, limits: ImageLimits) -> Result<RgbImage, DataError> {
    let (picture, _) = decode(bytes, name, limits)?;
    Ok(over_white(picture))
}

/// Reads a region mask; non-zero pixels are inside.
///
/// # Errors
/// As [`read_image`], and `MaskSize` unless it has the size of its picture, `(width, height)`.
pub fn read_mask(
    path: &Path,
    size: (u32, u32),
    limits: ImageLimits,
) -> Result<GrayImage, DataError> {
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    decode_mask(&bytes, &path.display().to_string(), size, limits)
}

/// Decodes a region mask; the result holds 255 inside and 0 outside. In a mask with transparency the
/// visible non-black pixels are inside.
///
/// # Errors
/// As [`decode_image`], and `MaskSize` unless it has the size of its picture, `(width, height)`.
pub fn decode_mask(
    bytes: &[u8],
    name: &str,
    size: (u32, u32),
    limits: ImageLimits,
) -> Result<GrayImage, DataError> {
    let (picture, _) = decode(bytes, name, limits)?;
    let found = (picture.width(), picture.height());
    if found != size {
        return Err(DataError::MaskSize {
            name: name.to_owned(),
            width: size.0,
            height: size.1,
            found_width: found.0,
            found_height: found.1,
        });
    }
    let mut mask = GrayImage::new(size.0, size.1);
    for (inside, pixel) in mask.pixels_mut().zip(picture.to_rgba8().pixels()) {
        inside.0[0] = if pixel.0[3] > 0 && pixel.0[..3].iter().any(|c| *c > 0) {
            255
        } else {
            0
        };
    }
    Ok(mask)
}

fn decode(
    bytes: &[u8],
    name: &str,
    limits: ImageLimits,
) -> Result<(DynamicImage, Orientation), DataError> {
    let failed = |e: image::ImageError| DataError::Image {
        name: name.to_owned(),
        reason: e.to_string(),
    };
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| DataError::Image {
            name: name.to_owned(),
            reason: e.to_string(),
        })?;
    reader.limits(Limits::no_limits());
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(DataError::ImageTooLarge {
            name: name.to_owned(),
            width,
            height,
            limit: limits.max_pixels,
        });
    }
    let mut allocation = Limits::default();
    // 16 bits times four channels, twice: decoders keep a second buffer.
    allocation.max_alloc = Some(limits.max_pixels.saturating_mul(16).saturating_add(1 << 20));
    decoder.set_limits(allocation).map_err(failed)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    Ok((picture, orientation))
}

fn over_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let picture = picture.to_rgba8();
    let mut flat = RgbImage::new(picture.width(), picture.height());
    for (to, from) in flat.pixels_mut().zip(picture.pixels()) {
        let alpha = u32::from(from.0[3]);
        for channel in 0..3 {
            let value = u32::from(from.0[channel]) * alpha + 255 * (255 - alpha);
            to.0[channel] = ((value + 127) / 255) as u8;
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgba, RgbaImage};

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn what_is_no_file_or_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let limits = ImageLimits { max_pixels: 4 };
        let error = read_image(folder.path(), limits).unwrap_err().to_string();
        assert!(error.contains("expected a file"), "{error}");
        let path = folder.path().join("long.png");
        std::fs::write(&path, vec![0; (1 << 20) + 33]).unwrap();
        let error = read_image(&path, limits).unwrap_err().to_string();
        assert!(
            error.contains("long.png") && error.contains("at most 1048608 bytes"),
            "{error}"
        );
    }

    #[test]
    fn transparency_lies_over_white() {
        let picture = RgbaImage::from_pixel(2, 1, Rgba([0, 100, 200, 51]));
        let flat = decode_image(&png(&picture.into()), "x", ImageLimits::default()).unwrap();
        // 0.2 * c + 0.8 * 255
        assert_eq!(flat.get_pixel(1, 0).0, [204, 224, 244]);
    }

    #[test]
    fn exif_orientation_is_applied() {
        // A 2x1 JPEG with an EXIF block that says "rotate by 90 degrees clockwise" becomes 1x2.
        let mut bytes = Cursor::new(Vec::new());
        image::RgbImage::new(2, 1)
            .write_to(&mut bytes, ImageFormat::Jpeg)
            .unwrap();
        let plain = bytes.into_inner();
        let exif: &[u8] =
            b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let mut rotated = vec![0xff, 0xd8, 0xff, 0xe1, 0, (exif.len() + 2) as u8];
        rotated.extend_from_slice(exif);
        rotated.extend_from_slice(&plain[2..]);
        assert_eq!(
            decode_image(&plain, "x", ImageLimits::default())
                .unwrap()
                .dimensions(),
            (2, 1)
        );
        assert_eq!(
            decode_image(&rotated, "x", ImageLimits::default())
                .unwrap()
                .dimensions(),
            (1, 2)
        );
    }

    #[test]
    fn limits_and_broken_files_are_named() {
        let picture = png(&DynamicImage::new_rgb8(20, 30));
        let error = decode_image(&picture, "big.png", ImageLimits { max_pixels: 599 })
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("big.png") && error.contains("20x30") && error.contains("599"),
            "{error}"
        );
        assert!(decode_image(&picture, "big.png", ImageLimits { max_pixels: 600 }).is_ok());
        for broken in [&picture[..40], b"hello".as_slice(), b"".as_slice()] {
            let error = decode_image(broken, "cut.png", ImageLimits::default())
                .unwrap_err()
                .to_string();
            assert!(error.contains("cut.png"), "{error}");
        }
    }

    #[test]
    fn masks_are_binary_and_of_the_same_size() {
        let mut mask = GrayImage::new(3, 2);
        mask.put_pixel(1, 1, image::Luma([3]));
        let bytes = png(&mask.into());
        let read = decode_mask(&bytes, "m.png", (3, 2), ImageLimits::default()).unwrap();
        assert_eq!(read.as_raw(), &[0, 0, 0, 0, 255, 0]);
        let error = decode_mask(&bytes, "m.png", (2, 3), ImageLimits::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("m.png") && error.contains("3x2") && error.contains("2x3"),
            "{error}"
        );
    }
}
