//! Decodes pictures that come from anywhere: size limits before any pixel is allocated, EXIF orientation applied,
//! colours as Pillow's `convert("RGB")` makes them.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage,
};
use serde::{Deserialize, Serialize};

use super::jpeg;
use crate::DataError;

/// Whether a file's name ends as those of pictures that are decoded here.
pub(crate) fn is_picture(name: &str) -> bool {
    let ending = name.rsplit('.').next().unwrap_or_default().to_lowercase();
    ENDINGS.contains(&ending.as_str())
}

/// How names of pictures end.
const ENDINGS: [&str; 16] = [
    "jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "pnm", "ppm", "pgm", "pbm", "pam",
    "ico", "tga", "qoi",
];
/// What is read, for errors.
const READ: &str = "PNG, JPEG, WebP, GIF, BMP, TIFF, PNM, ICO, TGA and QOI are read";

/// What kind of picture a file is: what it begins with says so, but for TGA, which only its name tells.
pub(super) fn format_of(bytes: &[u8], name: &str) -> Option<ImageFormat> {
    let guessed = image::guess_format(bytes).ok();
    let named = || name.to_lowercase().ends_with(".tga");
    guessed.or_else(|| named().then_some(ImageFormat::Tga))
}

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

    /// Refuses a picture by its size.
    ///
    /// # Errors
    /// `ImageTooLarge`.
    pub(crate) fn admit(&self, name: &str, width: u32, height: u32) -> Result<(), DataError> {
        if u64::from(width) * u64::from(height) <= self.max_pixels {
            return Ok(());
        }
        Err(DataError::ImageTooLarge {
            name: name.to_owned(),
            width,
            height,
            limit: self.max_pixels,
        })
    }

    /// Refuses a picture file by its length.
    ///
    /// # Errors
    /// `Image`.
    pub(crate) fn admit_bytes(&self, name: &str, bytes: u64) -> Result<(), DataError> {
        let most = self.most_bytes();
        if bytes <= most {
            return Ok(());
        }
        Err(DataError::Image {
            name: name.to_owned(),
            reason: format!("expected at most {most} bytes, found {bytes}"),
        })
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
    let name = path.display().to_string();
    // Devices and pipes may never end.
    if !metadata.is_file() {
        return Err(DataError::Image {
            name,
            reason: "expected a file".into(),
        });
    }
    limits.admit_bytes(&name, metadata.len())?;
    let bytes = std::fs::read(path).map_err(io)?;
    decode_image(&bytes, &name, limits)
}

/// Decodes a PNG, JPEG, WebP, GIF, BMP, TIFF, PNM, ICO, TGA or QOI picture, of several the first, of icons the largest;
/// `name` is used in errors, and tells that a file is a TGA.
///
/// Colours are those of Pillow's `exif_transpose` and `convert("RGB")` within one level (lossy formats within what
/// decoders differ): transparency is dropped, of 16 bits the upper eight are kept, CMYK is converted without a profile.
///
/// Differs from Pillow: grey of 16 bits is scaled, not cut off at 255.
///
/// # Errors
/// `Image` or `ImageTooLarge`.
pub fn decode_image(bytes: &[u8], name: &str, limits: ImageLimits) -> Result<RgbImage, DataError> {
    Ok(opaque(decode(bytes, name, limits)?))
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
    let picture = decode(bytes, name, limits)?;
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

fn decode(bytes: &[u8], name: &str, limits: ImageLimits) -> Result<DynamicImage, DataError> {
    let (mut picture, orientation) = if jpeg::is_jpeg(bytes) {
        jpeg::decode(bytes, name, limits)?
    } else {
        other(png_of_icon(bytes).unwrap_or(bytes), name, limits)?
    };
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// The largest picture of an icon, if it is a PNG. The `image` crate reads only those with transparency from icons.
fn png_of_icon(bytes: &[u8]) -> Option<&[u8]> {
    if !bytes.starts_with(&[0, 0, 1, 0]) {
        return None;
    }
    let number = |at: usize, length: usize| {
        let bytes = bytes.get(at..at + length)?.iter().rev();
        Some(bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    // Of 256 pixels only the lower eight bits are written.
    let side = |at: usize| Some(number(at, 1)?.wrapping_sub(1) % 256 + 1);
    let entries = (0..number(4, 2)?).map(|entry| 6 + 16 * entry);
    let sizes = entries.filter_map(|at| Some((side(at)? * side(at + 1)?, number(at + 6, 2)?, at)));
    let (_, _, largest) = sizes.max()?;
    let (length, start) = (number(largest + 8, 4)?, number(largest + 12, 4)?);
    let png = bytes.get(start..start.checked_add(length)?)?;
    png.starts_with(b"\x89PNG").then_some(png)
}

/// A picture that is no JPEG, as it is stored, and how it is to be turned.
fn other(
    bytes: &[u8],
    name: &str,
    limits: ImageLimits,
) -> Result<(DynamicImage, Orientation), DataError> {
    let wrong = |reason: String| DataError::Image {
        name: name.to_owned(),
        reason,
    };
    let failed = |e: image::ImageError| match e {
        image::ImageError::Unsupported(_) => wrong(format!("{e}; {READ}")),
        _ => wrong(e.to_string()),
    };
    let mut reader = ImageReader::new(Cursor::new(bytes));
    if let Some(format) = format_of(bytes, name) {
        reader.set_format(format);
    }
    reader.limits(Limits::no_limits());
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    limits.admit(name, width, height)?;
    if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
        return Err(wrong(
            "colours of 32 bits, of which nobody says what is white; save it with 8 or 16 bits"
                .into(),
        ));
    }
    let mut allocation = Limits::default();
    // 16 bits times four channels, twice: decoders keep a second buffer.
    allocation.max_alloc = Some(limits.max_pixels.saturating_mul(16).saturating_add(1 << 20));
    decoder.set_limits(allocation).map_err(failed)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok((picture, orientation))
}

/// Eight bits a colour, without transparency.
fn opaque(picture: DynamicImage) -> RgbImage {
    let upper = |value: u16| (value >> 8) as u8;
    let (width, height) = (picture.width(), picture.height());
    let bytes: Vec<u8> = match &picture {
        DynamicImage::ImageRgb16(wide) => wide.iter().map(|v| upper(*v)).collect(),
        DynamicImage::ImageRgba16(wide) => {
            let colours = wide.pixels().flat_map(|p| [p.0[0], p.0[1], p.0[2]]);
            colours.map(upper).collect()
        }
        DynamicImage::ImageLuma16(wide) => wide.iter().flat_map(|v| [upper(*v); 3]).collect(),
        DynamicImage::ImageLumaA16(wide) => {
            wide.pixels().flat_map(|p| [upper(p.0[0]); 3]).collect()
        }
        DynamicImage::ImageRgba8(some) => some
            .pixels()
            .flat_map(|p| [p.0[0], p.0[1], p.0[2]])
            .collect(),
        DynamicImage::ImageLumaA8(some) => some.pixels().flat_map(|p| [p.0[0]; 3]).collect(),
        _ => return picture.into_rgb8(),
    };
    RgbImage::from_raw(width, height, bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgba, RgbaImage};

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
    fn transparency_is_dropped_and_of_16_bits_the_upper_ones_are_kept() {
        let picture = RgbaImage::from_pixel(2, 1, Rgba([0, 100, 200, 51]));
        let flat = decode_image(&png(&picture.into()), "x", ImageLimits::default()).unwrap();
        assert_eq!(flat.get_pixel(1, 0).0, [0, 100, 200]);
        let grey = image::ImageBuffer::from_pixel(1, 1, image::Luma([0x12ff_u16]));
        let flat = decode_image(&png(&grey.into()), "x", ImageLimits::default()).unwrap();
        assert_eq!(flat.get_pixel(0, 0).0, [0x12; 3]);
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

    #[test]
    fn colours_without_a_white_are_refused() {
        let picture = image::ImageBuffer::from_pixel(2, 1, image::Rgb([0.5_f32, 900.0, -1.0]));
        let mut bytes = Cursor::new(Vec::new());
        let picture = DynamicImage::ImageRgb32F(picture);
        picture.write_to(&mut bytes, ImageFormat::Tiff).unwrap();
        let error = decode_image(bytes.get_ref(), "f.tif", ImageLimits::default()).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("f.tif") && told.contains("32 bits"), "{told}");
    }

    #[test]
    fn only_its_name_tells_a_targa() {
        let picture = RgbImage::from_pixel(2, 3, image::Rgb([9, 8, 7]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Tga).unwrap();
        let read = |name| decode_image(bytes.get_ref(), name, ImageLimits::default());
        assert_eq!(read("a.TGA").unwrap(), picture);
        assert!(read("a.bin").unwrap_err().to_string().contains("TGA"));
    }

    #[test]
    fn what_is_read_is_said_of_what_is_not() {
        for bytes in [&b"GIMP or so"[..], b"", b"\0\0\0\x20ftypavif"] {
            let error = decode_image(bytes, "x", ImageLimits::default()).unwrap_err();
            assert!(error.to_string().contains("PNG, JPEG"), "{error}");
        }
    }
}
