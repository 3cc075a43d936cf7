//! What the built-in world teaches: a source for each purpose.

mod clip;
mod diffusion;
mod instruct;
mod interleaved;
mod language;
mod region;

pub use clip::ClipSource;
pub use diffusion::DiffusionSource;
pub use instruct::{InstructConfig, InstructSource};
pub use interleaved::{InterleavedConfig, InterleavedSource};
pub use language::{LanguageConfig, LanguageSource};
pub use region::RegionSource;
pub(crate) use region::group_mask;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::World;
use super::corpus::Subset;
use super::scene::SceneConfig;
use crate::DataError;
use crate::source::{Field, Source, SourceContext, SourceKind, parse_options};

/// What the built-in world teaches a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Stage 1: images with captions that name what is there, and interleaved documents.
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
}

pub(crate) const KIND: SourceKind = SourceKind {
    name: "world",
    about: "the built-in scenes, drawn as they are asked for; endless",
    fields: &[Field {
        name: "task",
        about: "alignment, description, instruction, region or captions",
    }],
    build: open,
};

/// Opens `{ kind = "world", task = … }`.
fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    World::builtin(Subset::Core)?.source(options.task, context.seed, context.image_size)
}

impl World {
    /// Endless samples for a task: `seed` chooses the scenes, `side` is that of their pictures in pixels.
    ///
    /// # Errors
    /// Those of the scene sampler.
    pub fn source(&self, task: Task, seed: u64, side: u32) -> Result<Arc<dyn Source>, DataError> {
        let feed = |purpose| self.training_feed(SceneConfig::default(), purpose, seed, side);
        Ok(match task {
            Task::Alignment => Arc::new(InterleavedSource::new(
                feed("alignment")?,
                InterleavedConfig::default(),
            )),
            Task::Description => Arc::new(InterleavedSource::new(
                feed("description")?,
                InterleavedConfig {
                    full_captions: 1.0,
                    ..InterleavedConfig::default()
                },
            )),
            Task::Instruction => Arc::new(InstructSource::new(
                feed("instruction")?,
                InstructConfig::default(),
            )),
            Task::Region => Arc::new(RegionSource::new(feed("region")?)),
            Task::Captions => Arc::new(DiffusionSource::new(feed("diffusion")?)),
        })
    }
}
