//! `deem data export`: samples in a published layout.

use std::path::Path;

use anyhow::Result;
use deem_data::export::{Format, export};
use deem_data::source::Source;

use crate::args::ExportFormat;

/// Writes samples, and prints the entry that reads them back from beside the folder.
pub fn run(source: &dyn Source, format: ExportFormat, output: &Path, count: u64) -> Result<()> {
    let format = match format {
        ExportFormat::Captions => Format::Captions,
        ExportFormat::Webdataset => Format::Webdataset,
        ExportFormat::Llava => Format::Llava,
        ExportFormat::Parquet => Format::Parquet,
        ExportFormat::Coco => Format::Coco,
    };
    let written = export(source, count, format, output)?;
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
