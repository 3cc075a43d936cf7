//! Which source a command is about: described on the command line, or in a run's file.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use deem_data::image::{Crop, ImageLimits, ViewConfig};
use deem_data::source::{Source, SourceContext, SourceRegistry, SourceSpec};
use deem_data::text::TextTokenizer;
use deem_engine::config;
use toml::{Table, Value};

use crate::args::ChosenSource;
use crate::commands::setup::{Setup, folder_of};

/// Tasks of the built-in world by the names that `--source` takes.
const WORLD: [(&str, &str); 5] = [
    ("alignment", "alignment"),
    ("description", "description"),
    ("instruction", "instruction"),
    ("region", "region"),
    ("diffusion", "captions"),
];

/// Sources, and how a model would see them.
pub struct Chosen {
    /// The entries of a `[[data]]` list.
    pub specs: Vec<SourceSpec>,
    /// What they are opened with.
    pub context: SourceContext,
    /// The squares that a model would see.
    pub views: ViewConfig,
    /// What turns text to tokens: the preset's, if it is on this machine.
    pub tokenizer: Option<TextTokenizer>,
}

impl Chosen {
    /// All entries, as they are mixed.
    ///
    /// # Errors
    /// Those of opening them.
    pub fn source(&self) -> Result<Arc<dyn Source>> {
        Ok(SourceRegistry::standard().open(&self.specs, &self.context)?)
    }

    /// One entry alone.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn entry(&self, number: usize) -> Result<Arc<dyn Source>> {
        let spec = SourceSpec {
            weight: 1.0,
            ..self.specs[number].clone()
        };
        Ok(SourceRegistry::standard().open(&[spec], &self.context)?)
    }
}

/// Finds out which sources are meant.
///
/// - `default`: the built-in world's source that serves unless another is named
///
/// # Errors
/// For a file or description that cannot be read.
pub fn choose(setup: &Setup, chosen: &ChosenSource, default: &str) -> Result<Chosen> {
    let preset = setup.without_overrides().open()?;
    let mut views = ViewConfig {
        encoder: preset.preset().model.image_size as u32,
        diffusion: preset.preset().model.diffusion_size as u32,
        crop: Crop::Center,
    };
    let (specs, root) = match &chosen.config {
        Some(path) => {
            let table: Table = config::read(path, &setup.overrides)?;
            let stage = of_file(&table, chosen.stage.as_deref());
            let stage = stage.with_context(|| path.display().to_string())?;
            let data = stage.get("data").context("it has no `data`");
            let specs = data.and_then(|data| data.clone().try_into().context("data"));
            views.encoder = side(&table, "image_size").unwrap_or(views.encoder);
            views.diffusion = side(&table, "diffusion_size").unwrap_or(views.diffusion);
            if let Some(crop) = stage.get("crop") {
                views.crop = crop.clone().try_into().context("crop")?;
            }
            let specs: Vec<SourceSpec> = specs.with_context(|| path.display().to_string())?;
            if specs.is_empty() {
                bail!(
                    "{}: data: expected at least one source, found an empty list",
                    path.display()
                );
            }
            (specs, folder_of(path))
        }
        None => {
            let source = chosen.source.as_deref().unwrap_or(default);
            (described(source)?, PathBuf::from("."))
        }
    };
    Ok(Chosen {
        specs,
        context: SourceContext {
            seed: chosen.seed,
            image_size: views.encoder,
            root,
            limits: ImageLimits::default(),
        },
        views,
        tokenizer: preset.tokenizer().ok(),
    })
}

/// A side of the model's pictures, if the file says so.
fn side(table: &Table, name: &str) -> Option<u32> {
    let side = table.get("model")?.get(name)?.as_integer()?;
    side.try_into().ok()
}

/// The run, or one of its `[[stages]]`.
fn of_file<'a>(table: &'a Table, stage: Option<&str>) -> Result<&'a Table> {
    let name = |table: &Table| table.get("name").and_then(Value::as_str).map(str::to_owned);
    let stages: Vec<&Table> = match table.get("stages") {
        Some(Value::Array(stages)) => stages.iter().filter_map(Value::as_table).collect(),
        _ => vec![table],
    };
    let found = match stage {
        None => stages.first(),
        Some(wanted) => stages
            .iter()
            .find(|table| name(table).as_deref() == Some(wanted)),
    };
    found.copied().ok_or_else(|| {
        let names: Vec<String> = stages.iter().filter_map(|table| name(table)).collect();
        anyhow!(
            "no stage {:?}; there are {}",
            stage.unwrap_or_default(),
            names.join(", ")
        )
    })
}

/// What `--source` describes.
pub fn described(text: &str) -> Result<Vec<SourceSpec>> {
    if let Some((_, task)) = WORLD.iter().find(|(name, _)| *name == text) {
        let entry = format!("{{ kind = \"world\", task = \"{task}\" }}");
        return described(&entry);
    }
    if !text.trim_start().starts_with(['{', '[']) {
        let names: Vec<&str> = WORLD.iter().map(|(name, _)| *name).collect();
        bail!(
            "--source {text:?}: expected {}, or a table as '{{ kind = \"captions\", … }}' (`deem data list` names \
             the kinds)",
            names.join(", ")
        );
    }
    let mut table: Table = format!("source = {text}")
        .parse()
        .with_context(|| format!("--source {text:?}"))?;
    let specs = match table.remove("source") {
        Some(Value::Array(list)) => Value::Array(list),
        Some(one) => Value::Array(vec![one]),
        None => bail!("--source {text:?}: expected a table"),
    };
    specs
        .try_into()
        .with_context(|| format!("--source {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_described_in_three_ways() {
        assert_eq!(
            described("diffusion").unwrap()[0].options["task"],
            "captions"
        );
        let one = described("{ kind = \"captions\", file = \"c\", weight = 2.0 }").unwrap();
        assert_eq!((one[0].kind.as_str(), one[0].weight), ("captions", 2.0));
        assert_eq!(
            described("[{ kind = \"a\" }, { kind = \"b\" }]")
                .unwrap()
                .len(),
            2
        );
        assert!(
            described("captions")
                .unwrap_err()
                .to_string()
                .contains("deem data list")
        );
        assert!(described("{ file = 1 }").is_err());
        assert!(described("{ kind = ").is_err());
    }

    #[test]
    fn a_file_has_one_stage_or_several() {
        let one: Table = "data = [{ kind = \"a\" }]".parse().unwrap();
        let kind = |table: &Table, stage| {
            let found = of_file(table, stage).unwrap();
            found["data"][0]["kind"]
                .as_str()
                .map(str::to_owned)
                .unwrap()
        };
        assert_eq!(kind(&one, None), "a");
        let several: Table = "[[stages]]\nname = \"x\"\ndata = [{ kind = \"a\" }]\n\
                              [[stages]]\nname = \"y\"\ndata = [{ kind = \"b\" }]\n"
            .parse()
            .unwrap();
        assert_eq!(kind(&several, None), "a");
        assert_eq!(kind(&several, Some("y")), "b");
        let error = of_file(&several, Some("z")).unwrap_err().to_string();
        assert!(error.contains("x, y"), "{error}");
    }
}
