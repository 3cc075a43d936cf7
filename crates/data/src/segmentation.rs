//! Masks in COCO files: run lengths down the columns, plain or packed into a string, and polygons; all of them cover
//! the pixels that pycocotools says.

mod polygon;

use image::GrayImage;
use serde::{Deserialize, Serialize};

/// A COCO `segmentation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Segmentation {
    /// Closed polygons, each `[x0, y0, x1, y1, …]` in pixels; a pixel in any of them is inside.
    Polygons(Vec<Vec<f64>>),
    /// Run lengths, first outside, then inside, and so on, column by column.
    Rle {
        /// The runs.
        counts: Counts,
        /// Height and width.
        size: [u32; 2],
    },
}

/// Run lengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Counts {
    /// As numbers.
    Plain(Vec<u32>),
    /// As COCO's string of six-bit digits.
    Packed(String),
}

impl Segmentation {
    /// The mask, 255 inside, for a picture of this size.
    ///
    /// # Errors
    /// What was expected and what was found, in words.
    pub fn mask(&self, width: u32, height: u32) -> Result<GrayImage, (String, String)> {
        match self {
            Self::Polygons(polygons) => {
                if polygons.is_empty() {
                    return Err(("at least one polygon".into(), "none".into()));
                }
                let mut mask = GrayImage::new(width, height);
                for polygon in polygons {
                    polygon::fill(&mut mask, polygon)?;
                }
                Ok(mask)
            }
            Self::Rle { counts, size } => {
                if *size != [height, width] {
                    let expected = format!("size [{height}, {width}] of the picture");
                    return Err((expected, format!("{size:?}")));
                }
                let runs = match counts {
                    Counts::Plain(runs) => runs.clone(),
                    Counts::Packed(text) => {
                        unpack(text).ok_or(("COCO's run-length string".to_owned(), text.clone()))?
                    }
                };
                fill_runs(&runs, width, height)
            }
        }
    }
}

/// Run lengths of a mask's non-zero pixels.
pub fn encode_rle(mask: &GrayImage) -> Segmentation {
    let (width, height) = mask.dimensions();
    let mut runs = Vec::new();
    let (mut inside, mut run) = (false, 0);
    for x in 0..width {
        for y in 0..height {
            if (mask.get_pixel(x, y).0[0] > 0) != inside {
                runs.push(run);
                run = 0;
                inside = !inside;
            }
            run += 1;
        }
    }
    runs.push(run);
    Segmentation::Rle {
        counts: Counts::Plain(runs),
        size: [height, width],
    }
}

fn fill_runs(runs: &[u32], width: u32, height: u32) -> Result<GrayImage, (String, String)> {
    let total: u64 = runs.iter().map(|r| u64::from(*r)).sum();
    let pixels = u64::from(width) * u64::from(height);
    if total != pixels {
        return Err((
            format!("runs of {pixels} pixels in all"),
            format!("{total} pixels"),
        ));
    }
    let mut mask = GrayImage::new(width, height);
    let mut at = 0u32;
    for (index, run) in runs.iter().enumerate() {
        if index % 2 == 1 {
            for pixel in at..at + run {
                mask.put_pixel(pixel / height, pixel % height, image::Luma([255]));
            }
        }
        at += run;
    }
    Ok(mask)
}

/// COCO's string: digits of five bits, least first, bit 5 says "more", the sign of the last digit
/// extends; from the fourth run on the difference to the run two before.
fn unpack(text: &str) -> Option<Vec<u32>> {
    let mut runs: Vec<i64> = Vec::new();
    let mut bytes = text.bytes().peekable();
    while bytes.peek().is_some() {
        let (mut value, mut shift) = (0i64, 0u32);
        loop {
            let digit = i64::from(bytes.next()?.checked_sub(48)?);
            if digit > 63 || shift > 30 {
                return None;
            }
            value |= (digit & 0x1f) << shift;
            shift += 5;
            if digit & 0x20 == 0 {
                if digit & 0x10 != 0 {
                    value |= -1 << shift;
                }
                break;
            }
        }
        if runs.len() > 2 {
            value += runs[runs.len() - 2];
        }
        runs.push(value);
    }
    runs.into_iter().map(|r| u32::try_from(r).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn polygons_by_hand() {
        let square = Segmentation::Polygons(vec![vec![1.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0]]);
        let mask = square.mask(4, 4).unwrap();
        let inside: Vec<(u32, u32)> = mask
            .enumerate_pixels()
            .filter(|p| p.2.0[0] > 0)
            .map(|p| (p.0, p.1))
            .collect();
        assert_eq!(inside, [(1, 1), (2, 1), (1, 2), (2, 2)]);
        assert!(
            Segmentation::Polygons(vec![vec![1.0, 1.0, 3.0, 1.0]])
                .mask(4, 4)
                .is_err()
        );
        assert!(Segmentation::Polygons(vec![]).mask(4, 4).is_err());
        for wrong in [f64::NAN, f64::INFINITY, 1e9] {
            let corners = vec![vec![0.0, 0.0, wrong, 1.0, 1.0, 2.0]];
            assert!(Segmentation::Polygons(corners).mask(4, 4).is_err());
        }
    }

    #[test]
    fn packed_runs_by_hand() {
        // 6 -> '6'; 1 -> '1'; 40 = 8 + 1*32 -> 'X1'; then 4 - 1 = 3 -> '3'; 38 - 40 = -2 -> 0b11110 -> 'N'.
        assert_eq!(unpack("61X13N"), Some(vec![6, 1, 40, 4, 38]));
        assert_eq!(unpack("6 "), None);
        assert_eq!(unpack("X"), None);
    }

    #[test]
    fn wrong_sizes_are_named() {
        let rle = Segmentation::Rle {
            counts: Counts::Plain(vec![3, 2]),
            size: [2, 3],
        };
        let (expected, found) = rle.mask(3, 2).unwrap_err();
        assert!(
            expected.contains("6 pixels") && found.contains("5 pixels"),
            "{expected} {found}"
        );
        assert!(rle.mask(2, 3).unwrap_err().0.contains("size [3, 2]"));
    }

    proptest! {
        #[test]
        fn runs_round_trip(width in 1u32..9, height in 1u32..9, seed in any::<u64>()) {
            let mut dice = crate::Dice::new(seed, "mask", 0);
            let mask = GrayImage::from_fn(width, height, |_, _| image::Luma([if dice.chance(0.4) { 255 } else { 0 }]));
            prop_assert_eq!(encode_rle(&mask).mask(width, height).unwrap(), mask);
        }

        #[test]
        fn any_string_is_read_or_refused(text in ".{0,40}", width in 1u32..9) {
            let _ = Segmentation::Rle { counts: Counts::Packed(text), size: [4, width] }.mask(width, 4);
        }
    }
}
