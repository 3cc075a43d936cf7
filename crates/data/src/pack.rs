//! Turns samples into one token sequence with labels (DEEM §2.1 "Sequence layout", training rules).
//!
//! Each sample starts with bos. An image is `<soi>` followed by its placeholders. `labels[i]` is the
//! token at position i itself where it counts in the text loss, and -100 elsewhere: the objective
//! compares it with the prediction made at position i - 1. Never counted: bos, placeholders, prompt text,
//! and `<soi>` directly after bos.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::sample::{Sample, Segment};
use crate::text::TextTokenizer;

/// Label of tokens that do not count.
pub const IGNORED: i64 = -100;

/// Rules of packing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackConfig {
    /// Longest sequence.
    pub max_tokens: usize,
    /// Placeholders per image.
    pub image_tokens: usize,
    /// Whether the first image of a sequence counts in the image loss when it has context. The official
    /// recipe says no.
    #[serde(default)]
    pub count_first_image: bool,
}

/// One row of a batch before padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Token ids where they count in the text loss, [`IGNORED`] elsewhere.
    pub labels: Vec<i64>,
    /// The images, in order.
    pub images: Vec<PackedImage>,
    /// Positions of bos.
    pub document_starts: Vec<usize>,
    /// How many of the samples went in; the others did not fit.
    pub samples: usize,
}

/// An image of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedImage {
    /// Which of the given samples it belongs to.
    pub sample: usize,
    /// Which of that sample's images it is.
    pub image: usize,
    /// Position of its `<soi>`; the placeholders follow.
    pub soi: usize,
    /// Position of the nearest bos before it.
    pub document_start: usize,
    /// Whether it counts in the image loss.
    pub counted: bool,
}

impl PackConfig {
    /// Packs samples into one sequence. The first sample is cut where it exceeds the limit, never inside
    /// an image; a later one that does not fit whole ends the sequence.
    ///
    /// # Errors
    /// `Config` if the limit does not hold one image; `Malformed` if a segment refers to a missing image;
    /// `Tokenizer`.
    pub fn pack(&self, samples: &[Sample], tokenizer: &TextTokenizer) -> Result<Packed, DataError> {
        if self.max_tokens < self.image_tokens + 3 {
            let reason = format!(
                "{} tokens do not hold an image of {} tokens",
                self.max_tokens, self.image_tokens
            );
            return Err(DataError::config("max_tokens", reason));
        }
        let mut packed = Packed {
            tokens: vec![],
            labels: vec![],
            images: vec![],
            document_starts: vec![],
            samples: 0,
        };
        for (index, sample) in samples.iter().enumerate() {
            let before = (
                packed.tokens.len(),
                packed.images.len(),
                packed.document_starts.len(),
            );
            let whole = self.append(&mut packed, index, sample, tokenizer)?;
            if !whole && index > 0 {
                packed.tokens.truncate(before.0);
                packed.labels.truncate(before.0);
                packed.images.truncate(before.1);
                packed.document_starts.truncate(before.2);
                break;
            }
            packed.samples += 1;
            if !whole {
                tracing::debug!(
                    sample = sample.id,
                    max_tokens = self.max_tokens,
                    "sample was cut"
                );
                break;
            }
        }
        if let (false, Some(first)) = (self.count_first_image, packed.images.first_mut()) {
            first.counted = false;
        }
        Ok(packed)
    }

    /// Appends one sample; false if it was cut.
    fn append(
        &self,
        packed: &mut Packed,
        index: usize,
        sample: &Sample,
        tokenizer: &TextTokenizer,
    ) -> Result<bool, DataError> {
        let special = tokenizer.special();
        let explicit = matches!(sample.segments.first(), Some(Segment::Bos));
        let implied = (!explicit).then_some(&Segment::Bos);
        for segment in implied.into_iter().chain(&sample.segments) {
            let room = self.max_tokens.saturating_sub(packed.tokens.len());
            let at = packed.tokens.len();
            match segment {
                Segment::Bos => {
                    if room == 0 {
                        return Ok(false);
                    }
                    packed.document_starts.push(at);
                    packed.tokens.push(special.bos);
                    packed.labels.push(IGNORED);
                }
                Segment::Eos { counted } => {
                    if room == 0 {
                        return Ok(false);
                    }
                    packed.tokens.push(special.eos);
                    packed.labels.push(if *counted {
                        i64::from(special.eos)
                    } else {
                        IGNORED
                    });
                }
                Segment::Text { text, counted } => {
                    let ids = tokenizer.encode(text)?;
                    for id in ids.iter().take(room) {
                        packed.tokens.push(*id);
                        packed
                            .labels
                            .push(if *counted { i64::from(*id) } else { IGNORED });
                    }
                    if ids.len() > room {
                        return Ok(false);
                    }
                }
                Segment::Image {
                    index: image,
                    counted,
                } => {
                    if *image >= sample.images.len() {
                        return Err(DataError::malformed(
                            &sample.id,
                            "segments",
                            format!("an image below {}", sample.images.len()),
                            format!("image {image}"),
                        ));
                    }
                    if room < self.image_tokens + 1 {
                        return Ok(false);
                    }
                    let document_start = packed.document_starts.last().copied().unwrap_or(0);
                    let has_context = at > document_start + 1;
                    let counted = *counted && has_context;
                    packed.images.push(PackedImage {
                        sample: index,
                        image: *image,
                        soi: at,
                        document_start,
                        counted,
                    });
                    packed.tokens.push(special.soi);
                    packed.labels.push(if counted {
                        i64::from(special.soi)
                    } else {
                        IGNORED
                    });
                    packed
                        .tokens
                        .extend(std::iter::repeat_n(special.image, self.image_tokens));
                    packed
                        .labels
                        .extend(std::iter::repeat_n(IGNORED, self.image_tokens));
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::SampleImage;
    use image::RgbImage;

    fn picture(id: &str) -> SampleImage {
        SampleImage {
            id: id.into(),
            image: RgbImage::new(2, 2),
            mask: None,
        }
    }

    fn text(text: &str, counted: bool) -> Segment {
        Segment::Text {
            text: text.into(),
            counted,
        }
    }

    fn shown(index: usize) -> Segment {
        Segment::Image {
            index,
            counted: true,
        }
    }

    /// "a cat" before its image, then the image, then "a dog" and a second image.
    fn document() -> Sample {
        Sample {
            id: "d".into(),
            segments: vec![
                text("a cat", false),
                shown(0),
                text("a dog", true),
                shown(1),
                Segment::Eos { counted: true },
            ],
            images: vec![picture("0"), picture("1")],
            provenance: vec![],
        }
    }

    fn config(max_tokens: usize, count_first_image: bool) -> PackConfig {
        PackConfig {
            max_tokens,
            image_tokens: 2,
            count_first_image,
        }
    }

    #[test]
    fn tokens_labels_and_images_by_hand() {
        let tokenizer = TextTokenizer::builtin().unwrap();
        let s = *tokenizer.special();
        let id = |w: &str| tokenizer.id_of(w).unwrap();
        let packed = config(64, true).pack(&[document()], &tokenizer).unwrap();
        let (a, cat, dog) = (id("a"), id("cat"), id("dog"));
        assert_eq!(
            packed.tokens,
            [
                s.bos, a, cat, s.soi, s.image, s.image, a, dog, s.soi, s.image, s.image, s.eos
            ]
        );
        let n = IGNORED;
        let l = i64::from;
        assert_eq!(
            packed.labels,
            [
                n,
                n,
                n,
                l(s.soi),
                n,
                n,
                l(a),
                l(dog),
                l(s.soi),
                n,
                n,
                l(s.eos)
            ]
        );
        let image = |image, soi, counted| PackedImage {
            sample: 0,
            image,
            soi,
            document_start: 0,
            counted,
        };
        assert_eq!(packed.images, [image(0, 3, true), image(1, 8, true)]);
        let official = config(64, false).pack(&[document()], &tokenizer).unwrap();
        assert_eq!(official.images, [image(0, 3, false), image(1, 8, true)]);
    }

    #[test]
    fn an_image_right_after_bos_counts_nowhere() {
        let tokenizer = TextTokenizer::builtin().unwrap();
        let sample = Sample {
            id: "i".into(),
            segments: vec![shown(0), text("a cat", true)],
            images: vec![picture("0")],
            provenance: vec![],
        };
        let packed = config(64, true)
            .pack(&[sample.clone(), sample], &tokenizer)
            .unwrap();
        assert_eq!(packed.document_starts, [0, 6]);
        assert_eq!(
            packed
                .images
                .iter()
                .map(|i| (i.sample, i.soi, i.document_start, i.counted))
                .collect::<Vec<_>>(),
            [(0, 1, 0, false), (1, 7, 6, false)]
        );
        assert_eq!(packed.labels[1], IGNORED);
        assert_eq!(packed.labels[7], IGNORED);
    }

    #[test]
    fn cuts_never_split_an_image_and_later_samples_fit_whole_or_not_at_all() {
        let tokenizer = TextTokenizer::builtin().unwrap();
        let whole = 12;
        for limit in 5..30 {
            let packed = config(limit, true)
                .pack(&[document(), document(), document()], &tokenizer)
                .unwrap();
            assert!(packed.tokens.len() <= limit);
            assert_eq!(packed.tokens.len(), packed.labels.len());
            let soi = packed
                .tokens
                .iter()
                .filter(|t| **t == tokenizer.special().soi)
                .count();
            let placeholders = packed
                .tokens
                .iter()
                .filter(|t| **t == tokenizer.special().image)
                .count();
            assert_eq!(
                (soi, placeholders),
                (packed.images.len(), 2 * packed.images.len()),
                "limit {limit}"
            );
            assert_eq!(packed.samples, (limit / whole).clamp(1, 3));
        }
        assert!(config(4, true).pack(&[document()], &tokenizer).is_err());
    }

    #[test]
    fn missing_images_are_named() {
        let tokenizer = TextTokenizer::builtin().unwrap();
        let sample = Sample {
            id: "broken".into(),
            segments: vec![shown(1)],
            images: vec![picture("0")],
            provenance: vec![],
        };
        let error = config(64, true)
            .pack(&[sample], &tokenizer)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("broken") && error.contains("image 1"),
            "{error}"
        );
    }
}
