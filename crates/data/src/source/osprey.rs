//! Osprey's conversations about regions (Osprey-724K). A region is the picture once more with its mask; `<region1>` in
//! the text is the first.

use serde::Deserialize;

use super::instruction::{picture, regions};
use super::per_record::{self, FIELDS, Making, Record};
use super::records::Within;
use super::registry::SourceKind;
use crate::DataError;
use crate::sample::Sample;
use crate::segmentation::Segmentation;

/// Regions of a conversation; each costs as many tokens as a picture.
pub(super) const MAX_REGIONS: usize = 4;

pub(super) const KIND: SourceKind = SourceKind {
    name: "osprey",
    about: "Osprey-724K as published (osprey_conversation.json and its like, pictures of COCO 2017 by the last part of \
            file_name); conversations about more than four regions are left out",
    fields: FIELDS,
    build: per_record::open::<Conversation>,
};

#[derive(Deserialize)]
struct Conversation {
    file_name: String,
    width: u32,
    height: u32,
    annotation: Vec<Annotation>,
    conversations: Vec<Turn>,
}

#[derive(Deserialize)]
struct Annotation {
    segmentation: Segmentation,
}

#[derive(Deserialize)]
struct Turn {
    value: String,
}

impl Record for Conversation {
    const KIND: &'static str = KIND.name;
    const WITHIN: Within = Within::File;
    const EXPECTED: &'static str = "{\"file_name\": …, \"width\": …, \"height\": …, \"annotation\": [{\"segmentation\": …}], \
         \"conversations\": [{\"value\": …}]}";

    fn sample(self, making: &mut Making) -> Result<Sample, DataError> {
        if self.annotation.len() > MAX_REGIONS {
            return Err(making.left_out("too many regions"));
        }
        if self.annotation.is_empty() || self.conversations.len() < 2 {
            let found = format!(
                "{} regions, {} turns",
                self.annotation.len(),
                self.conversations.len()
            );
            return Err(making.malformed("a region, and a question with its answer", found));
        }
        // The sets' names are COCO 2014's, the pictures those of 2017.
        let file = self.file_name.rsplit('_').next().unwrap_or_default();
        let image = picture(making.pictures, file)?;
        let size = image.image.dimensions();
        if size != (self.width, self.height) {
            return Err(DataError::MaskSize {
                name: making.name.clone(),
                width: size.0,
                height: size.1,
                found_width: self.width,
                found_height: self.height,
            });
        }
        let mut masks = Vec::new();
        for annotation in &self.annotation {
            let mask = annotation.segmentation.mask(size.0, size.1);
            masks.push(mask.map_err(|(expected, found)| {
                making.malformed(&format!("a segmentation of {expected}"), found)
            })?);
        }
        let said = |turn: &Turn| marked(&turn.value);
        let turns: Vec<(String, String)> = self
            .conversations
            .chunks_exact(2)
            .map(|pair| (said(&pair[0]), said(&pair[1])))
            .collect();
        regions(making.name.clone(), image, masks, &turns)
    }
}

/// `<region1>` as the model reads it.
fn marked(text: &str) -> String {
    let mut out = text.replace("<image>", "").trim().to_owned();
    for number in 1..=MAX_REGIONS {
        let mark = format!("<ref>region{number}</ref>");
        out = out.replace(&format!("<region{number}>"), &mark);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_the_models() {
        assert_eq!(
            marked("<image>\nIs <region1> on <region4>, or <region9>?"),
            "Is <ref>region1</ref> on <ref>region4</ref>, or <region9>?"
        );
    }
}
