//! From the entries of a run's `[[data]]` list to sources. A new kind of source is its own file and one line
//! in [`SourceRegistry::standard`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Source, a_okvqa, captions, coco_captions, coco_instances, gqa, images, llava, mmc4, ocr_vqa,
    osprey, parquet, part_imagenet, pascal_part, refcoco, text_caps, text_vqa, vcr, visual_genome,
    vqa, webdataset,
};
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
    /// Folder that relative paths start from: that of the run's file.
    pub root: PathBuf,
    /// Largest pictures that are read.
    pub limits: ImageLimits,
}

/// Opens a source from its fields.
pub type Build = fn(&Map<String, Value>, &SourceContext) -> Result<Arc<dyn Source>, DataError>;

/// A field of a kind of source, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it says, and what holds without it.
    pub about: &'static str,
}

/// A kind of source: how it is called, what it needs, how it is opened.
#[derive(Clone, Copy, Debug)]
pub struct SourceKind {
    /// Its name in `kind = "…"`.
    pub name: &'static str,
    /// What it reads.
    pub about: &'static str,
    /// Its own fields.
    pub fields: &'static [Field],
    /// Opens one.
    pub build: Build,
}

/// Kinds of sources by name.
#[derive(Clone, Debug)]
pub struct SourceRegistry {
    kinds: BTreeMap<String, SourceKind>,
}

impl SourceRegistry {
    /// The kinds that come with deem.
    pub fn standard() -> Self {
        let none = Self {
            kinds: BTreeMap::new(),
        };
        let kinds = [
            a_okvqa::KIND,
            captions::KIND,
            coco_captions::KIND,
            coco_instances::KIND,
            gqa::KIND,
            images::KIND,
            llava::KIND,
            mmc4::KIND,
            ocr_vqa::KIND,
            osprey::KIND,
            parquet::KIND,
            part_imagenet::KIND,
            pascal_part::KIND,
            refcoco::KIND,
            text_caps::KIND,
            text_vqa::KIND,
            vcr::KIND,
            visual_genome::KIND,
            vqa::KIND,
            webdataset::KIND,
            world::source::KIND,
        ];
        kinds.into_iter().fold(none, Self::with)
    }

    /// As this one, with one more kind (or another one of that name).
    #[must_use]
    pub fn with(mut self, kind: SourceKind) -> Self {
        self.kinds.insert(kind.name.to_owned(), kind);
        self
    }

    /// The kinds, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &SourceKind> {
        self.kinds.values()
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
            let kind = self.kinds.get(&spec.kind).ok_or_else(|| {
                let known: Vec<&str> = self.kinds().map(|kind| kind.name).collect();
                let reason = format!("no kind {:?}; there are {}", spec.kind, known.join(", "));
                DataError::config(format!("data[{index}].kind"), reason)
            })?;
            let source =
                (kind.build)(&spec.options, context).map_err(|error| error.within(index))?;
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
    let parse = |options: Map<String, Value>| serde_json::from_value(Value::Object(options));
    parse(options.clone()).map_err(|error: serde_json::Error| {
        let reason = error.to_string();
        // serde does not say which field is mistyped: the one without which the error is another.
        let culprit = options.keys().find(|name| {
            let mut others = options.clone();
            others.remove(*name);
            match parse(others) {
                Ok(_) => true,
                Err(other) => other.to_string() != reason,
            }
        });
        let known = reason.starts_with("missing field") || reason.starts_with("unknown field");
        match culprit.filter(|_| !known) {
            Some(name) => DataError::config(format!("data.{name}"), reason),
            None => DataError::config("data", reason),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Options {
        file: String,
        #[serde(default)]
        count: u8,
    }

    #[test]
    fn wrong_options_are_named() {
        for (options, told) in [
            (r#"{"file": 3}"#, "data.file"),
            (r#"{"file": "a", "count": "x"}"#, "data.count"),
            (r#"{"file": "a", "count": 300}"#, "data.count"),
            (r#"{"count": 3}"#, "missing field `file`"),
            (r#"{"file": "a", "cuont": 3}"#, "unknown field `cuont`"),
        ] {
            let options = serde_json::from_str(options).unwrap();
            let error = parse_options::<Options>(&options).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn kinds_are_listed_with_their_fields() {
        let registry = SourceRegistry::standard();
        let names: Vec<&str> = registry.kinds().map(|kind| kind.name).collect();
        for name in ["captions", "coco-instances", "mmc4", "parquet", "world"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(
            registry
                .kinds()
                .all(|kind| !kind.fields.is_empty() && !kind.about.is_empty())
        );
    }
}
