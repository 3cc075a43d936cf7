//! `deem data export`: samples in a published layout.

use std::path::Path;

use anyhow::{Error, Result};
use deem_data::DataError;
use deem_data::export::{Format, export};
use deem_data::source::Source;

use crate::args::ExportFormat;

/// Sources of the built-in world that a layout holds, the one that serves unless another is named first.
fn fitting(format: ExportFormat) -> &'static [&'static str] {
    match format {
        ExportFormat::Captions | ExportFormat::Webdataset => {
            &["diffusion", "instruction", "region"]
        }
        ExportFormat::Llava | ExportFormat::Parquet => &["instruction", "region"],
        ExportFormat::Coco => &["region"],
    }
}

/// The source that is written in a layout unless another is named.
pub fn default_source(format: ExportFormat) -> &'static str {
    fitting(format)[0]
}

/// Writes samples, and prints the entry that reads them back from beside the folder.
pub fn run(source: &dyn Source, format: ExportFormat, output: &Path, count: u64) -> Result<()> {
    let layout = match format {
        ExportFormat::Captions => Format::Captions,
        ExportFormat::Webdataset => Format::Webdataset,
        ExportFormat::Llava => Format::Llava,
        ExportFormat::Parquet => Format::Parquet,
        ExportFormat::Coco => Format::Coco,
    };
    let written = export(source, count, layout, output).map_err(|error| advised(error, format))?;
    if written.left_out > 0 {
        eprintln!("{} samples left out by rules", written.left_out);
    }
    eprintln!(
        "{} samples in {}; from a run's file in that folder they are read by",
        written.samples,
        output.display()
    );
    println!("{}", written.entry);
    Ok(())
}

/// An error, and which sources the layout holds if it is one of those that it cannot.
fn advised(error: DataError, format: ExportFormat) -> Error {
    let unfit = matches!(&error, DataError::Malformed { place, .. } if place == "export");
    if !unfit {
        return error.into();
    }
    let fitting = fitting(format).join(", --source ");
    Error::msg(format!(
        "{error}; of the built-in world this layout holds --source {fitting}"
    ))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use deem_data::source::{SourceContext, SourceRegistry};

    use super::*;
    use crate::commands::data::choose::described;

    #[test]
    fn every_layout_holds_what_is_said_to_fit() {
        let folder = tempfile::tempdir().unwrap();
        let context = SourceContext {
            seed: 1,
            image_size: 32,
            root: folder.path().into(),
            limits: Default::default(),
        };
        for format in ExportFormat::value_variants() {
            for name in fitting(*format) {
                let specs = described(name).unwrap();
                let source = SourceRegistry::standard().open(&specs, &context).unwrap();
                let output = folder.path().join(format!("{format:?} {name}"));
                run(&*source, *format, &output, 40).unwrap();
            }
            let specs = described("alignment").unwrap();
            let source = SourceRegistry::standard().open(&specs, &context).unwrap();
            let error = run(&*source, *format, &folder.path().join("x"), 3).unwrap_err();
            let told = format!("--source {}", default_source(*format));
            assert!(error.to_string().contains(&told), "{error}");
        }
    }
}
