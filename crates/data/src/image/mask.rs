//! Region masks as people have them: of one region, or of many, each with a number.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageFormat, Luma};
use png::{ColorType, Transformations};

use super::decode::format_of;
use super::{ImageLimits, decode_image};
use crate::DataError;

/// How many numbers of regions an error lists.
const LISTED: usize = 20;

/// Reads the region with a number from a mask, or all regions together. The numbers are the values of grey pictures
/// (of 8 or 16 bits), the indices of palettes, and `red + 256 · green + 65536 · blue` of coloured ones; 0 and what is
/// transparent belongs to no region.
///
/// # Errors
/// `Io`, `Image`, `ImageTooLarge` naming the file; `MaskSize` unless it has the size of its picture,
/// `(width, height)`; `EmptyMask` if nothing belongs to the region.
pub fn read_region(
    path: &Path,
    region: Option<u32>,
    size: (u32, u32),
    limits: ImageLimits,
) -> Result<GrayImage, DataError> {
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    decode_region(&bytes, &path.display().to_string(), region, size, limits)
}

/// As [`read_region`], from memory; `name` is used in errors.
///
/// # Errors
/// As there.
pub fn decode_region(
    bytes: &[u8],
    name: &str,
    region: Option<u32>,
    size: (u32, u32),
    limits: ImageLimits,
) -> Result<GrayImage, DataError> {
    // Checks size and soundness, whatever the format.
    let plain = decode_image(bytes, name, limits)?;
    let found = plain.dimensions();
    if found != size {
        return Err(DataError::MaskSize {
            name: name.to_owned(),
            width: size.0,
            height: size.1,
            found_width: found.0,
            found_height: found.1,
        });
    }
    let numbers = match indices(bytes) {
        Some(indices) => indices,
        None => numbers(bytes, name)?,
    };
    let inside = |number: &u32| match region {
        Some(region) => *number == region,
        None => *number > 0,
    };
    let values = numbers
        .iter()
        .map(|number| if inside(number) { 255 } else { 0 });
    let mask = GrayImage::from_raw(size.0, size.1, values.collect());
    let mask = mask.filter(|mask| mask.pixels().any(|pixel| *pixel != Luma([0])));
    mask.ok_or_else(|| {
        let regions: BTreeSet<u32> = numbers.into_iter().filter(|number| *number > 0).collect();
        DataError::EmptyMask {
            name: name.to_owned(),
            region,
            found: regions.into_iter().take(LISTED).collect(),
        }
    })
}

/// The indices of a PNG with a palette, which decoding to colours would lose.
fn indices(bytes: &[u8]) -> Option<Vec<u32>> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().ok()?;
    let info = reader.info();
    if info.color_type != ColorType::Indexed {
        return None;
    }
    let (width, bits) = (info.width as usize, info.bit_depth as usize);
    let mut rows = vec![0; reader.output_buffer_size()?];
    let frame = reader.next_frame(&mut rows).ok()?;
    let line = frame.line_size;
    let per_byte = 8 / bits;
    let index = |row: &[u8], x: usize| {
        let shift = 8 - bits * (x % per_byte + 1);
        u32::from(row[x / per_byte] >> shift) & ((1 << bits) - 1)
    };
    let rows = rows.chunks_exact(line).take(frame.height as usize);
    Some(
        rows.flat_map(|row| (0..width).map(move |x| index(row, x)))
            .collect(),
    )
}

/// The number of each pixel of a picture without a palette.
fn numbers(bytes: &[u8], name: &str) -> Result<Vec<u32>, DataError> {
    let wrong = |reason: String| DataError::Image {
        name: name.to_owned(),
        reason,
    };
    let format = format_of(bytes, name).ok_or_else(|| wrong("unknown kind of picture".into()))?;
    if format == ImageFormat::Jpeg {
        return Err(wrong(
            "a JPEG blurs the numbers of regions; save the mask as PNG".into(),
        ));
    }
    let picture = image::load_from_memory_with_format(bytes, format);
    let picture = picture.map_err(|e| wrong(e.to_string()))?;
    Ok(match picture {
        DynamicImage::ImageLuma8(grey) => grey.pixels().map(|p| p.0[0].into()).collect(),
        DynamicImage::ImageLuma16(grey) => grey.pixels().map(|p| p.0[0].into()).collect(),
        DynamicImage::ImageLumaA8(grey) => {
            let seen = |p: [u8; 2]| if p[1] > 0 { p[0].into() } else { 0 };
            grey.pixels().map(|p| seen(p.0)).collect()
        }
        DynamicImage::ImageLumaA16(grey) => {
            let seen = |p: [u16; 2]| if p[1] > 0 { p[0].into() } else { 0 };
            grey.pixels().map(|p| seen(p.0)).collect()
        }
        other => {
            let seen = |[red, green, blue, alpha]: [u8; 4]| match alpha {
                0 => 0,
                _ => u32::from(red) | u32::from(green) << 8 | u32::from(blue) << 16,
            };
            other.to_rgba8().pixels().map(|p| seen(p.0)).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Rgb};

    fn png(picture: DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn inside(bytes: &[u8], region: Option<u32>, size: (u32, u32)) -> Result<Vec<u8>, String> {
        let mask = decode_region(bytes, "m.png", region, size, ImageLimits::default());
        mask.map(|mask| mask.iter().map(|v| v / 255).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_of_16_bits_are_kept() {
        let grey = ImageBuffer::from_raw(3, 1, vec![0_u16, 7, 300]).unwrap();
        let bytes = png(DynamicImage::ImageLuma16(grey));
        assert_eq!(inside(&bytes, None, (3, 1)).unwrap(), [0, 1, 1]);
        assert_eq!(inside(&bytes, Some(7), (3, 1)).unwrap(), [0, 1, 0]);
        assert_eq!(inside(&bytes, Some(300), (3, 1)).unwrap(), [0, 0, 1]);
        let error = inside(&bytes, Some(8), (3, 1)).unwrap_err();
        assert!(
            error.contains("m.png") && error.contains('8') && error.contains("7, 300"),
            "{error}"
        );
        assert!(inside(&bytes, None, (1, 3)).is_err());
    }

    #[test]
    fn indices_of_palettes_are_kept_whatever_their_colours() {
        for (depth, row) in [
            (png::BitDepth::Eight, vec![0, 1, 2]),
            (png::BitDepth::Two, vec![0b0001_1000]),
        ] {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 3, 1);
            encoder.set_color(ColorType::Indexed);
            encoder.set_depth(depth);
            // Index 0 is white, 1 and 2 are black.
            encoder.set_palette(vec![255, 255, 255, 0, 0, 0, 0, 0, 0]);
            encoder
                .write_header()
                .unwrap()
                .write_image_data(&row)
                .unwrap();
            assert_eq!(
                inside(&bytes, None, (3, 1)).unwrap(),
                [0, 1, 1],
                "{depth:?}"
            );
            assert_eq!(
                inside(&bytes, Some(2), (3, 1)).unwrap(),
                [0, 0, 1],
                "{depth:?}"
            );
        }
    }

    #[test]
    fn coloured_and_empty_masks() {
        let coloured = ImageBuffer::from_fn(2, 1, |x, _| Rgb([0, x as u8, 0]));
        let bytes = png(DynamicImage::ImageRgb8(coloured));
        assert_eq!(inside(&bytes, Some(256), (2, 1)).unwrap(), [0, 1]);
        let empty = png(DynamicImage::new_luma8(2, 1));
        let error = inside(&empty, None, (2, 1)).unwrap_err();
        assert!(
            error.contains("m.png") && error.contains("empty"),
            "{error}"
        );
    }
}
