//! Which source a command is about: described on the command line, or in a run's file.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use deem_data::image::ImageLimits;
use deem_data::source::{Source, SourceContext, SourceRegistry, SourceSpec};
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

/// Opens the source.
pub fn open(setup: &Setup, chosen: &ChosenSource) -> Result<Arc<dyn Source>> {
    let (specs, side, root) = match &chosen.config {
        Some(path) => {
            let table: Table = config::read(path, &setup.overrides)?;
            let specs = of_file(&table, chosen.stage.as_deref())
                .with_context(|| path.display().to_string())?;
            (specs, side(&table), folder_of(path))
        }
        None => (described(&chosen.source)?, None, PathBuf::from(".")),
    };
    let side = match side {
        Some(side) => side,
        None => setup.without_overrides().open()?.preset().model.image_size as u32,
    };
    let context = SourceContext {
        seed: chosen.seed,
        image_size: side,
        root,
        limits: ImageLimits::default(),
    };
    Ok(SourceRegistry::standard().open(&specs, &context)?)
}

/// Side of the encoder's pictures, if the file says so.
fn side(table: &Table) -> Option<u32> {
    let side = table.get("model")?.get("image_size")?.as_integer()?;
    side.try_into().ok()
}

/// `data` of a run, or of one of its `[[stages]]`.
fn of_file(table: &Table, stage: Option<&str>) -> Result<Vec<SourceSpec>> {
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
    let found = found.ok_or_else(|| {
        let names: Vec<String> = stages.iter().filter_map(|table| name(table)).collect();
        anyhow!(
            "no stage {:?}; there are {}",
            stage.unwrap_or_default(),
            names.join(", ")
        )
    })?;
    let data = found.get("data").context("it has no `data`")?;
    data.clone().try_into().context("data")
}

/// What `--source` describes.
fn described(text: &str) -> Result<Vec<SourceSpec>> {
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
        assert_eq!(of_file(&one, None).unwrap()[0].kind, "a");
        let several: Table = "[[stages]]\nname = \"x\"\ndata = [{ kind = \"a\" }]\n\
                              [[stages]]\nname = \"y\"\ndata = [{ kind = \"b\" }]\n"
            .parse()
            .unwrap();
        assert_eq!(of_file(&several, None).unwrap()[0].kind, "a");
        assert_eq!(of_file(&several, Some("y")).unwrap()[0].kind, "b");
        let error = of_file(&several, Some("z")).unwrap_err().to_string();
        assert!(error.contains("x, y"), "{error}");
    }
}
