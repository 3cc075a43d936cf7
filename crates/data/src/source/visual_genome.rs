//! Visual Genome: descriptions of boxes. One region of a picture is drawn each epoch.

use image::{GrayImage, Luma};
use serde::Deserialize;

use super::instruction::{picture, region};
use super::per_record::{self, FIELDS, Making, Record};
use super::records::Within;
use super::registry::SourceKind;
use crate::DataError;
use crate::sample::Sample;

pub(super) const KIND: SourceKind = SourceKind {
    name: "visual-genome",
    about: "Visual Genome as published (region_descriptions.json; pictures by number, VG_100K and VG_100K_2 put together)",
    fields: FIELDS,
    build: per_record::open::<Described>,
};

#[derive(Deserialize)]
struct Described {
    id: u64,
    regions: Vec<Region>,
}

#[derive(Deserialize)]
struct Region {
    region_id: u64,
    x: i64,
    y: i64,
    width: i64,
    height: i64,
    phrase: String,
}

impl Record for Described {
    const KIND: &'static str = KIND.name;
    const WITHIN: Within = Within::File;
    const EXPECTED: &'static str = "{\"id\": …, \"regions\": [{\"region_id\": …, \"x\": …, \"y\": …, \"width\": …, \"height\": …, \"phrase\": …}]}";

    fn sample(self, making: &mut Making) -> Result<Sample, DataError> {
        let Some(drawn) = making.dice.pick(&self.regions) else {
            return Err(making.left_out("no region"));
        };
        let image = picture(making.pictures, &format!("{}.jpg", self.id))?;
        let mask = drawn.mask(image.image.dimensions());
        region(
            format!("visual-genome/{}", drawn.region_id),
            image,
            mask,
            drawn.phrase.trim(),
        )
    }
}

impl Region {
    /// Its box, as far as the picture reaches.
    fn mask(&self, (width, height): (u32, u32)) -> GrayImage {
        let within = |from: i64, length: i64, all: u32| {
            let end = from.saturating_add(length);
            from.clamp(0, i64::from(all)) as u32..end.clamp(0, i64::from(all)) as u32
        };
        let mut mask = GrayImage::new(width, height);
        for y in within(self.y, self.height, height) {
            for x in within(self.x, self.width, width) {
                mask.put_pixel(x, y, Luma([255]));
            }
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_end_at_the_pictures_rim() {
        let region = |x, y, width, height| Region {
            region_id: 1,
            x,
            y,
            width,
            height,
            phrase: String::new(),
        };
        let area = |r: Region| r.mask((10, 8)).iter().filter(|v| **v > 0).count();
        assert_eq!(area(region(1, 2, 3, 4)), 12);
        assert_eq!(area(region(-2, -2, 4, 4)), 4);
        assert_eq!(area(region(8, 0, i64::MAX, 1)), 2);
        assert_eq!(area(region(i64::MIN, 0, -5, 8)), 0);
    }
}
