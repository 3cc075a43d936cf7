//! Samples of stages 2 and 3 in the protocols' words: a question, a caption, a region; only the answer counts.

use image::GrayImage;

use crate::DataError;
use crate::sample::{Sample, SampleImage, Segment};
use crate::storage::Pictures;
use crate::text::protocol;

/// Inside of regions with fewer pixels than this, nothing can be seen.
const MIN_REGION: usize = 32;

/// A picture of a name, read, perhaps with a region of it.
///
/// # Errors
/// As [`Pictures::read`].
pub(super) fn picture(pictures: &Pictures, name: &str) -> Result<SampleImage, DataError> {
    Ok(SampleImage {
        id: name.to_owned(),
        image: pictures.read(name)?,
        mask: None,
    })
}

/// A question that one word answers.
pub(super) fn question(id: String, image: SampleImage, question: &str, answer: &str) -> Sample {
    let question = format!("{} {}", question.trim(), protocol::ONE_WORD);
    learned(id, image, protocol::question_prompt(0, &question), answer)
}

/// A caption on request.
pub(super) fn caption(id: String, image: SampleImage, caption: &str) -> Sample {
    // The protocol's answer begins with "A photo of".
    learned(
        id,
        image,
        protocol::caption_prompt(0),
        &in_sentence(caption),
    )
}

/// The description of a region.
///
/// # Errors
/// `Dropped` for a region of hardly any pixels.
pub(super) fn region(
    id: String,
    image: SampleImage,
    mask: GrayImage,
    description: &str,
) -> Result<Sample, DataError> {
    admit_region(&id, &mask)?;
    let image = SampleImage {
        mask: Some(mask),
        ..image
    };
    Ok(learned(id, image, protocol::region_prompt(0), description))
}

/// A conversation about regions, each of which is the picture once more with its mask: `turns` are what was asked and
/// answered, in which `<ref>region1</ref>` is the first.
///
/// # Errors
/// As [`region`].
pub(super) fn regions(
    id: String,
    image: SampleImage,
    masks: Vec<GrayImage>,
    turns: &[(String, String)],
) -> Result<Sample, DataError> {
    let mut shown = Vec::new();
    for (index, mask) in masks.iter().enumerate() {
        admit_region(&id, mask)?;
        if index > 0 {
            shown.push(text(", "));
        }
        shown.push(Segment::Image {
            index,
            counted: false,
        });
        shown.push(text(&format!(" <ref>region{}</ref>", index + 1)));
    }
    let mut segments = Vec::new();
    for (number, (asked, answered)) in turns.iter().enumerate() {
        let mut content = if number == 0 {
            std::mem::take(&mut shown)
        } else {
            Vec::new()
        };
        let space = if number == 0 { " " } else { "" };
        content.push(text(&format!("{space}{}", asked.trim())));
        segments.extend(protocol::inline_prompt(number == 0, content));
        segments.extend(protocol::answer(answered.trim()));
    }
    let masked = |mask| SampleImage {
        mask: Some(mask),
        ..image.clone()
    };
    Ok(Sample {
        id,
        segments,
        provenance: vec![image.id.clone()],
        images: masks.into_iter().map(masked).collect(),
    })
}

fn learned(id: String, image: SampleImage, prompt: Vec<Segment>, answer: &str) -> Sample {
    let mut segments = prompt;
    segments.extend(protocol::answer(answer.trim()));
    Sample {
        id,
        segments,
        provenance: vec![image.id.clone()],
        images: vec![image],
    }
}

fn text(text: &str) -> Segment {
    Segment::Text {
        text: text.to_owned(),
        counted: false,
    }
}

fn admit_region(id: &str, mask: &GrayImage) -> Result<(), DataError> {
    if mask.iter().filter(|v| **v > 0).count() >= MIN_REGION {
        return Ok(());
    }
    Err(DataError::Dropped {
        name: id.to_owned(),
        rule: "region too small",
    })
}

/// A text as it goes on in a sentence: its first letter small, unless the word is in capitals.
fn in_sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), second) if !second.is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.trim().to_owned(),
    }
}

/// The answer that most of the annotators gave, of several the first.
pub(super) fn majority<'a>(answers: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let votes = |answer: &str| answers.clone().filter(|other| *other == answer).count();
    let mut best: Option<(&str, usize)> = None;
    for answer in answers.clone() {
        let count = votes(answer);
        if best.is_none_or(|(_, most)| count > most) {
            best = Some((answer, count));
        }
    }
    best.map(|(answer, _)| answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_annotators_decide_and_the_first_of_several_wins() {
        let of = |answers: &[&'static str]| majority(answers.iter().copied());
        assert_eq!(of(&["no", "yes", "yes"]), Some("yes"));
        assert_eq!(of(&["no", "yes", "yes", "no"]), Some("no"));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn captions_go_on_in_the_sentence() {
        assert_eq!(in_sentence(" A cat. "), "a cat.");
        assert_eq!(in_sentence("TV on a table"), "TV on a table");
        assert_eq!(in_sentence(""), "");
        assert_eq!(in_sentence("Two dogs"), "two dogs");
    }

    #[test]
    fn regions_stand_before_the_first_question() {
        let image = SampleImage {
            id: "a.jpg".into(),
            image: image::RgbImage::new(8, 8),
            mask: None,
        };
        let mask = GrayImage::from_pixel(8, 8, image::Luma([255]));
        let turns = [
            ("What is it?".to_owned(), "A cat.".to_owned()),
            ("Why?".into(), "So.".into()),
        ];
        let made = regions("x".into(), image.clone(), vec![mask.clone(), mask], &turns).unwrap();
        assert_eq!(made.images.len(), 2);
        assert_eq!(
            made.text(),
            "You are a helpful assistant.\n## USER:  <ref>region1</ref>,  <ref>region2</ref> What is it?\
             \n## ASSISTANT: A cat.\n## USER: Why?\n## ASSISTANT: So."
        );
        let empty = regions("x".into(), image, vec![GrayImage::new(8, 8)], &turns).unwrap_err();
        assert_eq!(empty.kind(), "region too small");
    }
}
