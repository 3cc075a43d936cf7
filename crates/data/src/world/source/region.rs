//! Stage 3, mask-text instruction tuning: describe the region that a mask marks.

use image::GrayImage;

use crate::DataError;
use crate::sample::{Sample, SampleImage};
use crate::source::Source;
use crate::text;
use crate::world::feed::{SceneFeed, provenance};
use crate::world::scene::{Facts, Rendered};

/// Scenes with the mask of one group and its description.
#[derive(Clone, Debug)]
pub struct RegionSource(SceneFeed);

impl RegionSource {
    /// Regions from a feed.
    pub fn new(feed: SceneFeed) -> Self {
        Self(feed)
    }
}

impl Source for RegionSource {
    fn len(&self) -> Option<u64> {
        None
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let (scene, facts, mut dice) = self.0.scene(index)?;
        let id = self.0.id(index);
        let group = dice.below(facts.groups.len());
        let rendered = self
            .0
            .sampler()
            .renderer()
            .render_with_masks(&scene, self.0.resolution())?;
        let mask = group_mask(&rendered, &facts, group);
        let mut segments = text::region_prompt(0);
        segments.extend(text::answer(
            &self.0.captioner().region_reference(&facts.groups[group]),
        ));
        Ok(Sample {
            images: vec![SampleImage {
                id: id.clone(),
                image: rendered.image,
                mask: Some(mask),
            }],
            provenance: provenance(&scene),
            segments,
            id,
        })
    }
}

/// Pixels of all members of a group.
pub(crate) fn group_mask(rendered: &Rendered, facts: &Facts, group: usize) -> GrayImage {
    let mut union = GrayImage::new(rendered.image.width(), rendered.image.height());
    for object in &facts.groups[group].objects {
        for (to, from) in union.pixels_mut().zip(rendered.masks[*object].pixels()) {
            to.0[0] |= from.0[0];
        }
    }
    union
}
