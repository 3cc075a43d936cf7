//! Regions in COCO's layout: masks as run lengths, what is said of a region as its category.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::turns::turns;
use super::{Writer, png, put, unfit};
use crate::DataError;
use crate::sample::Sample;
use crate::segmentation::encode_rle;

const FILE: &str = "instances.json";

pub(super) struct Regions {
    folder: PathBuf,
    images: Vec<Value>,
    annotations: Vec<Value>,
    categories: Vec<String>,
}

impl Regions {
    pub fn new(folder: &Path) -> Result<Self, DataError> {
        let images = folder.join("images");
        std::fs::create_dir_all(&images).map_err(|e| DataError::io(images, e))?;
        Ok(Self {
            folder: folder.to_owned(),
            images: Vec::new(),
            annotations: Vec::new(),
            categories: Vec::new(),
        })
    }
}

impl Writer for Regions {
    fn add(&mut self, number: u64, sample: &Sample) -> Result<(), DataError> {
        let (turns, _) = turns(sample)?;
        let (turn, image, mask) = match (turns.as_slice(), sample.images.as_slice()) {
            ([turn], [image]) => (turn, image, image.mask.as_ref()),
            (turns, images) => {
                let found = format!("{} turns, {} pictures", turns.len(), images.len());
                return Err(unfit(sample, "one turn about one picture", found));
            }
        };
        let mask = mask.ok_or_else(|| unfit(sample, "a picture with a region", "no region"))?;
        let name = format!("{number:06}.png");
        put(
            &self.folder,
            &format!("images/{name}"),
            &png(&image.image, &name)?,
        )?;
        let known = self.categories.iter().position(|c| *c == turn.answer);
        let category = known.unwrap_or_else(|| {
            self.categories.push(turn.answer.clone());
            self.categories.len() - 1
        });
        let (width, height) = mask.dimensions();
        let id = number + 1;
        self.images
            .push(json!({ "id": id, "file_name": name, "width": width, "height": height }));
        let area = mask.iter().filter(|v| **v > 0).count();
        self.annotations.push(json!({
            "id": id, "image_id": id, "category_id": category + 1, "iscrowd": 0, "area": area,
            "segmentation": encode_rle(mask),
        }));
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<String, DataError> {
        let categories: Vec<Value> = self
            .categories
            .iter()
            .enumerate()
            .map(|(number, name)| json!({ "id": number + 1, "name": name }))
            .collect();
        let file = json!({
            "images": self.images, "annotations": self.annotations, "categories": categories,
        });
        put(&self.folder, FILE, file.to_string().as_bytes())?;
        Ok(format!(
            r#"kind = "coco-instances", file = "{FILE}", images = "images""#
        ))
    }
}
