//! Stage 1, image-text alignment: captioned images and interleaved documents. As in the published
//! recipe the image comes before or after its text; text that no image precedes is not counted.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::dice::Dice;
use crate::sample::{Sample, Segment};
use crate::source::Source;
use crate::world::feed::{SceneFeed, provenance};
use crate::world::scene::{Draft, Facts, Scene};

/// Shares of the kinds of documents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InterleavedConfig {
    /// Share of documents with two images, which give the image loss something to learn.
    pub interleaved: f32,
    /// Among the others, share whose caption comes before the image.
    pub caption_first: f32,
    /// Share of captions that say everything instead of naming categories.
    pub full_captions: f32,
}

impl Default for InterleavedConfig {
    fn default() -> Self {
        Self {
            interleaved: 0.25,
            caption_first: 0.3,
            full_captions: 0.0,
        }
    }
}

/// Documents of one or two scenes.
#[derive(Clone, Debug)]
pub struct InterleavedSource {
    feed: SceneFeed,
    config: InterleavedConfig,
}

impl InterleavedSource {
    /// Documents from a feed.
    pub fn new(feed: SceneFeed, config: InterleavedConfig) -> Self {
        Self { feed, config }
    }

    fn caption(&self, facts: &Facts, dice: &mut Dice) -> String {
        if dice.chance(self.config.full_captions) {
            self.feed.captioner().full(facts, dice)
        } else {
            self.feed.usual_caption(facts, dice)
        }
    }

    /// A second scene that shares a concept with the first one half of the time.
    fn continued(&self, first: &Scene, dice: &mut Dice) -> Result<(Scene, Facts), DataError> {
        let corpus = self.feed.sampler().renderer().corpus();
        let mut draft = Draft::default();
        if dice.chance(0.5)
            && let Some(object) = first.objects.first()
        {
            draft.drawings.push(corpus.drawing(&object.drawing)?);
        }
        let scene = self.feed.sampler().sample_like(&draft, dice);
        let facts = Facts::new(&scene, corpus)?;
        Ok((scene, facts))
    }
}

impl Source for InterleavedSource {
    fn len(&self) -> Option<u64> {
        None
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let (scene, facts, mut dice) = self.feed.scene(index)?;
        let id = self.feed.id(index);
        let shown = |index| Segment::Image {
            index,
            counted: true,
        };
        let text = |text: String, counted| Segment::Text {
            text: format!(" {text}"),
            counted,
        };
        let interleaved = dice.chance(self.config.interleaved);
        let caption_first = dice.chance(if interleaved {
            0.5
        } else {
            self.config.caption_first
        });
        let caption = self.caption(&facts, &mut dice);
        let mut sample = Sample {
            images: vec![self.feed.picture(format!("{id}#0"), &scene)?],
            provenance: provenance(&scene),
            segments: if caption_first {
                vec![text(caption, false), shown(0)]
            } else {
                vec![shown(0), text(caption, true)]
            },
            id,
        };
        if interleaved {
            let (scene, facts) = self.continued(&scene, &mut dice)?;
            let caption = text(format!(". {}", self.caption(&facts, &mut dice)), true);
            sample
                .images
                .push(self.feed.picture(format!("{}#1", sample.id), &scene)?);
            sample.provenance.extend(provenance(&scene));
            if caption_first {
                sample.segments.extend([caption, shown(1)]);
            } else {
                sample.segments.extend([shown(1), caption]);
            }
        }
        if !caption_first {
            sample.segments.push(Segment::Eos { counted: true });
        }
        Ok(sample)
    }
}
