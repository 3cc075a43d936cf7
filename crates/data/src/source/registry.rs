//! From the entries of a run's `[[data]]` list to sources. A new kind of source is its own file and one line
//! in [`SourceRegistry::standard`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Source;
use crate::DataError;
use crate::image::ImageLimits;
use crate::mixture::{Mixture, Shuffled};
use crate::world;

/// One entry of a `[[data]]` list: a kind of source, its share of the mixture, and what the kind needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSpec {
    /// Name of the kind, as `captions`.
    pub kind: String,
    /// Share of the mixture, relative to the other entries.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: f64,
    /// The kind's own fields.
    #[serde(flatten)]
    pub options: Map<String, Value>,
}

fn one() -> f64 {
    1.0
}

#[allow(clippy::float_cmp)] // the very number that is left out
fn is_one(weight: &f64) -> bool {
    *weight == 1.0
}

/// What every source of a run is opened with.
#[derive(Clone, Debug)]
pub struct SourceContext {
    /// Seed of the order of samples and of whatever a source draws.
    pub seed: u64,
    /// Side of the pictures that the encoder sees, in pixels; what draws its pictures draws them so.
    pub image_size: u32,
    /// Folder that relative paths start from.
    pub root: PathBuf,
    /// Largest pictures that are read.
    pub limits: ImageLimits,
}

/// Opens a source from its fields.
pub type Build = fn(&Map<String, Value>, &SourceContext) -> Result<Arc<dyn Source>, DataError>;

/// Kinds of sources by name.
#[derive(Clone)]
pub struct SourceRegistry {
    kinds: BTreeMap<String, Build>,
}

impl SourceRegistry {
    /// The kinds that come with deem.
    pub fn standard() -> Self {
        let none = Self {
            kinds: BTreeMap::new(),
        };
        none.with("world", world::source::open)
    }

    /// As this one, with one more kind (or another one of that name).
    #[must_use]
    pub fn with(mut self, kind: &str, build: Build) -> Self {
        self.kinds.insert(kind.to_owned(), build);
        self
    }

    /// Names of the kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    /// The mixture of a `[[data]]` list. Finite sources are shuffled anew each epoch; a single source stands
    /// alone.
    ///
    /// # Errors
    /// `Config` naming the entry for an unknown kind, a field that is missing, unknown or mistyped, or a
    /// weight that cannot be meant; those of opening the source.
    pub fn open(
        &self,
        specs: &[SourceSpec],
        context: &SourceContext,
    ) -> Result<Arc<dyn Source>, DataError> {
        let mut parts = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let build = self.kinds.get(&spec.kind).ok_or_else(|| {
                let known: Vec<&str> = self.kinds().collect();
                let reason = format!("no kind {:?}; there are {}", spec.kind, known.join(", "));
                DataError::config(format!("data[{index}].kind"), reason)
            })?;
            let source = build(&spec.options, context).map_err(|error| error.within(index))?;
            let shuffled: Arc<dyn Source> = match source.len() {
                Some(_) => Arc::new(Shuffled::new(source, context.seed ^ index as u64)),
                None => source,
            };
            parts.push((shuffled, spec.weight));
        }
        if parts.len() == 1 && parts[0].1 > 0.0 {
            return Ok(parts.remove(0).0);
        }
        Ok(Arc::new(Mixture::new(parts, context.seed)?))
    }
}

/// A kind's fields as its own type.
///
/// # Errors
/// `Config` naming the field that is missing, unknown or mistyped.
pub fn parse_options<T: DeserializeOwned>(options: &Map<String, Value>) -> Result<T, DataError> {
    serde_json::from_value(Value::Object(options.clone()))
        .map_err(|error| DataError::config("data", error.to_string()))
}
