//! JPEG: the colours that libjpeg and Pillow make of it, and files that are cut off refused.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::ImageLimits;
use crate::DataError;

/// Whether bytes begin as a JPEG does.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// Decodes a JPEG, as it is stored, and how it is to be turned.
///
/// # Errors
/// `Image` or `ImageTooLarge`.
pub(super) fn decode(
    bytes: &[u8],
    name: &str,
    limits: ImageLimits,
) -> Result<(DynamicImage, Orientation), DataError> {
    let wrong = |reason: String| DataError::Image {
        name: name.to_owned(),
        reason,
    };
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| wrong(e.to_string()))?;
    let size = decoder.dimensions();
    let (width, height) = size.ok_or_else(|| wrong("it has no header".into()))?;
    let (width, height) = (width as u32, height as u32); // a JPEG's have 16 bits
    limits.admit(name, width, height)?;
    if !has_end(bytes) {
        return Err(wrong("it is cut off: its end is missing".into()));
    }
    // CMYK is taken for inverted, as Adobe writes it, whether the file says so or not.
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(ColorSpace::RGB));
    let pixels = decoder.decode().map_err(|e| wrong(e.to_string()))?;
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif))
        .unwrap_or(Orientation::NoTransforms);
    let picture = RgbImage::from_raw(width, height, pixels)
        .ok_or_else(|| wrong("its pixels are not as many as its size says".into()))?;
    Ok((picture.into(), orientation))
}

/// Whether the picture's end is marked. The blocks before its data, which hold thumbnails with ends of their own, are
/// passed over.
fn has_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let [0xff, kind, rest @ ..] = bytes.get(at..).unwrap_or_default() {
        let length = match (*kind, rest) {
            (0xff, _) => {
                at += 1; // filling
                continue;
            }
            (_, [high, low, ..]) => usize::from(u16::from_be_bytes([*high, *low])),
            _ => break,
        };
        at += 2 + length;
        if *kind == 0xda {
            let data = bytes.get(at..).unwrap_or_default();
            return data.windows(2).any(|pair| pair == [0xff, 0xd9]);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_thumbnails_are_not_the_pictures() {
        let start = b"\xff\xd8\xff\xe1\0\x06\xff\xd9ab\xff\xff\xda\0\x02data".to_vec();
        assert!(!has_end(&start));
        assert!(has_end(&[start, vec![0xff, 0xd9]].concat()));
        for cut in [
            &b"\xff\xd8"[..],
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xe1\xff\xff",
            b"\xff\xd8\xff\xff\xda\0",
        ] {
            assert!(!has_end(cut));
        }
    }
}
