//! What the built-in world teaches: a source for each purpose.

mod clip;
mod diffusion;
mod instruct;
mod interleaved;
mod language;
mod region;

pub use clip::{ClipSource, Gathered};
pub use diffusion::{Curriculum, DiffusionSource};
pub use instruct::{InstructConfig, InstructSource};
pub use interleaved::{InterleavedConfig, InterleavedSource};
pub use language::{LanguageConfig, LanguageSource};
pub use region::RegionSource;
pub(crate) use region::group_mask;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::World;
use super::design::Design;
use super::scene::WebCaptions;
use crate::DataError;
use crate::mixture::Mixture;
use crate::source::{Field, Source, SourceContext, SourceKind, parse_options};

/// What the built-in world teaches a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Stage 1: images with captions that name what is there, or as much of it as the design says, and interleaved
    /// documents.
    Alignment,
    /// Warm start: the same with captions that say everything.
    Description,
    /// Stage 2: questions and answers.
    Instruction,
    /// Stage 3: regions and their descriptions.
    Region,
    /// Pictures with captions that say everything, one each.
    Captions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    task: Task,
    captions: Option<WebCaptions>,
}

pub(crate) const KIND: SourceKind = SourceKind {
    name: "world",
    about: "the built-in scenes, drawn as they are asked for; endless",
    fields: &[
        Field {
            name: "task",
            about: "alignment, description, instruction, region or captions",
        },
        Field {
            name: "captions",
            about: "what they leave out: { noise = 0.1, further = 0.2, complete = 0.0 }",
        },
    ],
    build: open,
};

/// Opens `{ kind = "world", task = … }`.
fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let Options { task, captions } = parse_options(options)?;
    let design = Design {
        captions: captions.unwrap_or_default(),
        ..Design::default()
    };
    World::of(design)?.source(task, context.seed, context.image_size)
}

impl World {
    /// Endless samples for a task: `seed` chooses the scenes, `side` is that of their pictures in pixels.
    ///
    /// # Errors
    /// Those of the scene sampler.
    pub fn source(&self, task: Task, seed: u64, side: u32) -> Result<Arc<dyn Source>, DataError> {
        let scenes = || self.design().scenes.clone();
        let feed = |purpose| self.training_feed(scenes(), purpose, seed, side);
        let documents = |feed| -> Arc<dyn Source> {
            Arc::new(InterleavedSource::new(feed, InterleavedConfig::default()))
        };
        Ok(match task {
            Task::Alignment => {
                let share = f64::from(self.design().web_pictures);
                let web = self.web_feed(scenes(), "alignment-web", seed, side)?;
                let parts = vec![
                    (documents(feed("alignment")?), 1.0 - share),
                    (documents(web), share),
                ];
                Arc::new(Mixture::new(parts, seed)?)
            }
            Task::Description => Arc::new(InterleavedSource::new(
                feed("description")?,
                InterleavedConfig {
                    full_captions: 1.0,
                    ..InterleavedConfig::default()
                },
            )),
            Task::Instruction => Arc::new(InstructSource::new(
                feed("instruction")?,
                self.design().instructions.clone(),
            )),
            Task::Region => Arc::new(RegionSource::new(feed("region")?)),
            Task::Captions => {
                let feed = self.described_feed(scenes(), "diffusion", seed, side)?;
                Arc::new(DiffusionSource::new(feed))
            }
        })
    }
}
