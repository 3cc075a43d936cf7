//! COCO's files: pictures and categories by number in memory, annotations read as they are asked for.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::records::{Records, Within};
use crate::DataError;
use crate::storage::Blob;

/// A picture of a file.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Picture {
    id: u64,
    /// Its file below the folder of pictures.
    pub file_name: String,
    /// Pixels.
    #[serde(default)]
    pub width: u32,
    /// Pixels.
    #[serde(default)]
    pub height: u32,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

/// An annotation of a picture.
pub(super) trait Annotation: DeserializeOwned {
    /// Its picture.
    fn image_id(&self) -> u64;
}

/// A file of annotations `A`.
pub(super) struct Coco<A> {
    pub annotations: Records<A>,
    pictures: HashMap<u64, Picture>,
    categories: HashMap<u64, String>,
}

impl<A: Annotation> Coco<A> {
    /// Reads the lists of pictures and, where asked for, of categories, and finds the annotations.
    ///
    /// # Errors
    /// As [`Records::open`].
    pub fn open(
        blob: &Blob,
        expected: &'static str,
        with_categories: bool,
    ) -> Result<Self, DataError> {
        let mut pictures = HashMap::new();
        let list = "{\"id\": …, \"file_name\": …, \"width\": …, \"height\": …}";
        Records::<Picture>::open(blob.clone(), Within::List("images"), list)?.each(
            |_, picture| {
                pictures.insert(picture.id, picture);
                Ok(())
            },
        )?;
        let mut categories = HashMap::new();
        if with_categories {
            let list = "{\"id\": …, \"name\": …}";
            Records::<Category>::open(blob.clone(), Within::List("categories"), list)?.each(
                |_, category| {
                    categories.insert(category.id, category.name);
                    Ok(())
                },
            )?;
        }
        let annotations = Records::open(blob.clone(), Within::List("annotations"), expected)?;
        Ok(Self {
            annotations,
            pictures,
            categories,
        })
    }

    /// The picture of annotation number `index`.
    ///
    /// # Errors
    /// `Malformed` for one that the file does not list.
    pub fn picture(&self, index: u64, annotation: &A) -> Result<&Picture, DataError> {
        let id = annotation.image_id();
        self.pictures.get(&id).ok_or_else(|| {
            self.annotations
                .malformed(index, "a picture of the list", format!("image_id {id}"))
        })
    }

    /// The category of annotation number `index`, in words.
    ///
    /// # Errors
    /// `Malformed` for one that the file does not list.
    pub fn category(&self, index: u64, id: u64) -> Result<String, DataError> {
        let name = self.categories.get(&id).ok_or_else(|| {
            let found = format!("category_id {id}");
            self.annotations
                .malformed(index, "a category of the list", found)
        })?;
        Ok(name.replace(['_', ':'], " ").trim().to_lowercase())
    }
}
