//! COCO's instances, and other sets in their layout: the region of an object, and what it is called.

use std::sync::Arc;

use image::GrayImage;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Source;
use super::coco::{Annotation, Coco, Picture};
use super::instruction::{picture, region};
use super::per_record::FIELDS;
use super::registry::{SourceContext, SourceKind, parse_options};
use crate::DataError;
use crate::image::ImageLimits;
use crate::sample::{Sample, SampleImage};
use crate::segmentation::Segmentation;
use crate::storage::{Blob, Pictures};

pub(super) const KIND: SourceKind = SourceKind {
    name: "coco-instances",
    about: "COCO instances as published (instances_train2017.json: polygons and run lengths), the category of a region; \
            crowds are left out",
    fields: FIELDS,
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    file: String,
    images: String,
}

/// An annotation with a mask.
#[derive(Deserialize)]
pub(super) struct Instance {
    #[serde(default)]
    pub id: u64,
    image_id: u64,
    category_id: u64,
    segmentation: Segmentation,
    #[serde(default)]
    iscrowd: u8,
}

impl Annotation for Instance {
    fn image_id(&self) -> u64 {
        self.image_id
    }
}

/// Annotations with masks, and their pictures.
pub(super) struct Instances {
    pub coco: Coco<Instance>,
    pictures: Pictures,
    limits: ImageLimits,
}

/// Opens the sets that have nothing but masks and categories.
///
/// # Errors
/// `Config`; those of the file.
pub(super) fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let file = context.blob("file", &options.file)?;
    let pictures = context.pictures("images", &options.images)?;
    Ok(Arc::new(Instances::open(&file, pictures, context.limits)?))
}

impl Instances {
    /// Opens a file.
    ///
    /// # Errors
    /// As [`Coco::open`].
    pub fn open(file: &Blob, pictures: Pictures, limits: ImageLimits) -> Result<Self, DataError> {
        let expected = "{\"image_id\": …, \"category_id\": …, \"segmentation\": …}";
        Ok(Self {
            coco: Coco::open(file, expected, true)?,
            pictures,
            limits,
        })
    }

    /// Picture and region of an annotation.
    ///
    /// # Errors
    /// Those of the picture; `Malformed` for a mask that cannot be; `MaskSize`.
    pub fn shown(
        &self,
        index: u64,
        instance: &Instance,
    ) -> Result<(SampleImage, GrayImage), DataError> {
        let listed = self.coco.picture(index, instance)?;
        let Picture { width, height, .. } = *listed;
        self.limits.admit(&listed.file_name, width, height)?;
        let mask = instance.segmentation.mask(width, height);
        let mask = mask.map_err(|(expected, found)| {
            let expected = format!("a segmentation of {expected}");
            self.coco.annotations.malformed(index, &expected, found)
        })?;
        let image = picture(&self.pictures, &listed.file_name)?;
        if image.image.dimensions() != mask.dimensions() {
            return Err(DataError::MaskSize {
                name: self.coco.annotations.name(index),
                width: image.image.width(),
                height: image.image.height(),
                found_width: width,
                found_height: height,
            });
        }
        Ok((image, mask))
    }
}

impl Source for Instances {
    fn len(&self) -> Option<u64> {
        Some(self.coco.annotations.len())
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let instance = self.coco.annotations.get(index)?;
        let name = self.coco.annotations.name(index);
        if instance.iscrowd != 0 {
            return Err(DataError::Dropped {
                name,
                rule: "a crowd",
            });
        }
        let category = self.coco.category(index, instance.category_id)?;
        let (image, mask) = self.shown(index, &instance)?;
        region(name, image, mask, &category)
    }
}
