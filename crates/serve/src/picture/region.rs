//! Regions of pictures: a mask, a box or a polygon, in pixels of the picture as it came.

use deem_data::DataError;
use deem_data::image::{ImageLimits, decode_mask};
use deem_data::segmentation::Segmentation;
use image::{GrayImage, Luma};

use super::from_data_url;

/// Corners of a polygon at most.
const CORNERS: usize = 4096;

/// A region of a picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Region {
    /// A data URL of a picture of the same size, in which what is not black belongs to the region.
    Mask(String),
    /// `[x0, y0, x1, y1]`; `x1` and `y1` are the first outside.
    Box([f64; 4]),
    /// Corners `[x, y]`.
    Polygon(Vec<[f64; 2]>),
}

impl Region {
    /// The mask for the picture `name` of this size.
    ///
    /// # Errors
    /// The field and what is wrong with it: nothing inside the picture belongs to it, or it is none.
    pub fn mask(&self, name: &str, size: (u32, u32)) -> Result<GrayImage, (&'static str, String)> {
        let (field, mask) = match self {
            Self::Mask(url) => ("mask", decoded(url, name, size)),
            Self::Box(corners) => ("box", filled(*corners, size)),
            Self::Polygon(corners) => ("polygon", inside(corners, size)),
        };
        let mask = mask.map_err(|problem| (field, problem))?;
        if mask.pixels().all(|pixel| pixel.0[0] == 0) {
            let (width, height) = size;
            return Err((
                field,
                format!("nothing of {name} ({width}x{height} pixels) belongs to it"),
            ));
        }
        Ok(mask)
    }
}

fn decoded(url: &str, name: &str, size: (u32, u32)) -> Result<GrayImage, String> {
    // A mask of another size is to be named as such, not as too large.
    let max_pixels = u64::from(size.0) * u64::from(size.1);
    let limits = ImageLimits {
        max_pixels: max_pixels.max(1 << 24),
    };
    let name = format!("the mask of {name}");
    decode_mask(&from_data_url(url)?, &name, size, limits).map_err(|error| match error {
        DataError::ImageTooLarge { width, height, .. } => {
            format!(
                "{name} is {width}x{height} pixels, its picture {}x{}",
                size.0, size.1
            )
        }
        other => other.to_string(),
    })
}

fn filled([x0, y0, x1, y1]: [f64; 4], (width, height): (u32, u32)) -> Result<GrayImage, String> {
    if !(x0 < x1 && y0 < y1) {
        return Err(format!(
            "expected [x0, y0, x1, y1] with x0 < x1 and y0 < y1, found [{x0}, {y0}, {x1}, {y1}]"
        ));
    }
    let mut mask = GrayImage::new(width, height);
    let within = |from: f64, to: f64, size: u32| {
        let size = f64::from(size);
        from.floor().clamp(0.0, size) as u32..to.ceil().clamp(0.0, size) as u32
    };
    for y in within(y0, y1, height) {
        for x in within(x0, x1, width) {
            mask.put_pixel(x, y, Luma([255]));
        }
    }
    Ok(mask)
}

fn inside(corners: &[[f64; 2]], (width, height): (u32, u32)) -> Result<GrayImage, String> {
    if corners.len() > CORNERS {
        return Err(format!(
            "{} corners, expected at most {CORNERS}",
            corners.len()
        ));
    }
    let polygon = Segmentation::Polygons(vec![corners.concat()]);
    polygon
        .mask(width, height)
        .map_err(|(expected, found)| format!("expected {expected}, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::data_url;

    fn pixels(mask: &GrayImage) -> Vec<(u32, u32)> {
        let inside = mask.enumerate_pixels().filter(|(_, _, p)| p.0[0] > 0);
        inside.map(|(x, y, _)| (x, y)).collect()
    }

    #[test]
    fn boxes_by_hand() {
        let mask = Region::Box([1.0, 0.0, 3.0, 1.0])
            .mask("picture 1", (4, 4))
            .unwrap();
        assert_eq!(pixels(&mask), [(1, 0), (2, 0)]);
        let mask = Region::Box([2.5, 2.2, 99.0, 99.0])
            .mask("picture 1", (4, 4))
            .unwrap();
        assert_eq!(pixels(&mask), [(2, 2), (3, 2), (2, 3), (3, 3)]);
        for wrong in [
            [1.0, 1.0, 1.0, 2.0],
            [5.0, 5.0, 6.0, 6.0],
            [3.0, 0.0, 1.0, 1.0],
            [f64::NAN, 0.0, 1.0, 1.0],
        ] {
            let error = Region::Box(wrong).mask("picture 1", (4, 4)).unwrap_err();
            assert_eq!(error.0, "box");
        }
    }

    #[test]
    fn polygons_by_hand() {
        let square = vec![[1.0, 1.0], [3.0, 1.0], [3.0, 3.0], [1.0, 3.0]];
        let mask = Region::Polygon(square).mask("picture 1", (4, 4)).unwrap();
        assert_eq!(pixels(&mask), [(1, 1), (2, 1), (1, 2), (2, 2)]);
        let line = Region::Polygon(vec![[0.0, 0.0], [1.0, 1.0]]);
        assert_eq!(line.mask("picture 1", (4, 4)).unwrap_err().0, "polygon");
        let many = Region::Polygon(vec![[0.0, 0.0]; CORNERS + 1]);
        assert!(
            many.mask("picture 1", (4, 4))
                .unwrap_err()
                .1
                .contains("corners")
        );
    }

    #[test]
    fn masks_have_the_pictures_size_and_something_in_them() {
        let mut drawn = image::RgbImage::new(4, 4);
        drawn.put_pixel(3, 2, image::Rgb([255, 255, 255]));
        let mask = Region::Mask(data_url(&drawn).unwrap());
        assert_eq!(pixels(&mask.mask("picture 1", (4, 4)).unwrap()), [(3, 2)]);
        let (field, problem) = mask.mask("picture 1", (5, 4)).unwrap_err();
        assert_eq!(field, "mask");
        assert!(
            problem.contains("4x4") && problem.contains("5x4"),
            "{problem}"
        );
        let black = Region::Mask(data_url(&image::RgbImage::new(4, 4)).unwrap());
        assert!(
            black
                .mask("picture 1", (4, 4))
                .unwrap_err()
                .1
                .contains("nothing")
        );
    }
}
