//! What is done with a picture and its caption (DEEM, data of stage 1): the same rules for every source of
//! captions.

use serde::{Deserialize, Serialize};

use super::registry::Field;
use crate::DataError;
use crate::dice::Dice;
use crate::sample::{Sample, SampleImage, Segment};

/// The option `rules` of sources of captions; the defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaptionRules {
    /// Captions with fewer characters are left out.
    pub min_chars: usize,
    /// Whether captions are written in small letters.
    pub lower_case: bool,
    /// Share of samples whose caption stands before the image, in `[0, 1]`.
    pub caption_first: f32,
    /// Whether text that no image precedes counts in the text loss.
    pub count_leading_text: bool,
}

impl Default for CaptionRules {
    fn default() -> Self {
        Self {
            min_chars: 10,
            lower_case: true,
            caption_first: 0.5,
            count_leading_text: false,
        }
    }
}

/// How the option is listed.
pub(super) const FIELD: Field = Field {
    name: "rules",
    about: "{ min_chars = 10, lower_case = true, caption_first = 0.5, count_leading_text = false }: \
            what is done with captions; the paper's rules",
};

impl CaptionRules {
    /// The rules, if they can be followed.
    ///
    /// # Errors
    /// `Config` for a share outside `[0, 1]`.
    pub fn checked(self) -> Result<Self, DataError> {
        if (0.0..=1.0).contains(&self.caption_first) {
            return Ok(self);
        }
        let reason = format!("expected a share from 0 to 1, found {}", self.caption_first);
        Err(DataError::config("data.rules.caption_first", reason))
    }

    /// Whether a caption is used at all, to be asked before its picture is read.
    ///
    /// # Errors
    /// `Dropped` for a caption that is too short.
    pub fn admit(&self, name: &str, caption: &str) -> Result<(), DataError> {
        if caption.trim().chars().count() >= self.min_chars {
            return Ok(());
        }
        Err(DataError::Dropped {
            name: name.to_owned(),
            rule: "caption too short",
        })
    }

    /// The sample that a picture and its caption make; `dice` decides which comes first.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn sample(
        &self,
        image: SampleImage,
        caption: &str,
        dice: &mut Dice,
    ) -> Result<Sample, DataError> {
        self.admit(&image.id, caption)?;
        let caption = caption.trim();
        let caption_first = dice.chance(self.caption_first);
        let text = Segment::Text {
            text: if self.lower_case {
                format!(" {}", caption.to_lowercase())
            } else {
                format!(" {caption}")
            },
            counted: self.count_leading_text || !caption_first,
        };
        let shown = Segment::Image {
            index: 0,
            counted: true,
        };
        Ok(Sample {
            id: image.id.clone(),
            segments: if caption_first {
                vec![text, shown]
            } else {
                vec![shown, text, Segment::Eos { counted: true }]
            },
            provenance: vec![image.id.clone()],
            images: vec![image],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rules: CaptionRules, caption: &str, index: u64) -> Result<Sample, DataError> {
        let image = SampleImage {
            id: "a.jpg".into(),
            image: image::RgbImage::new(1, 1),
            mask: None,
        };
        rules.sample(image, caption, &mut Dice::new(1, "test", index))
    }

    #[test]
    fn the_papers_rules() {
        let rules = CaptionRules::default();
        let short = sample(rules, " a red ca ", 0).unwrap_err();
        assert_eq!(short.kind(), "caption too short");
        let mut first = 0;
        for index in 0..1000 {
            let made = sample(rules, " A Red Cat.\n", index).unwrap();
            assert_eq!(made.text(), " a red cat.");
            match &made.segments[..] {
                [
                    Segment::Text { counted: false, .. },
                    Segment::Image { counted: true, .. },
                ] => first += 1,
                [
                    Segment::Image { counted: true, .. },
                    Segment::Text { counted: true, .. },
                    Segment::Eos { counted: true },
                ] => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(
                sample(rules, " A Red Cat.\n", index).unwrap().segments,
                made.segments
            );
        }
        assert!(
            (450..550).contains(&first),
            "{first} of 1000 captions first"
        );
    }

    #[test]
    fn rules_can_be_changed() {
        let rules = CaptionRules {
            min_chars: 0,
            lower_case: false,
            caption_first: 1.0,
            count_leading_text: true,
        };
        let made = sample(rules, "Cat", 0).unwrap();
        assert_eq!(made.text(), " Cat");
        assert!(matches!(
            made.segments[0],
            Segment::Text { counted: true, .. }
        ));
        let wrong = CaptionRules {
            caption_first: 1.5,
            ..rules
        };
        assert!(
            wrong
                .checked()
                .unwrap_err()
                .to_string()
                .contains("caption_first")
        );
    }
}
