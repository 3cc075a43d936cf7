//! `deem data build-robustvqa`: pictures that an encoder takes for something else.

use std::path::Path;

use anyhow::{Result, bail};
use deem_collective::Collective;
use deem_data::benchmark::{ImageFolder, write_robust_vqa_entries};
use deem_data::image::ImageLimits;
use deem_engine::RunLock;
use deem_engine::evaluate::Shard;
use deem_engine::zero_shot::{HardPictures, Mining, mine};
use deem_metrics::answer::ParseMode;
use serde_json::json;

use crate::args::{BuildRobustVqa, MiningMode};
use crate::commands::encoder;
use crate::commands::setup::Setup;
use crate::commands::together;
use crate::interrupt;
use crate::progress::Progress;

/// Runs the command. Of several processes that were started together each looks at a share of the pictures, and the first
/// one writes what came of it.
pub fn run(setup: &Setup, args: &BuildRobustVqa) -> Result<()> {
    together::share(args.shard, |processes, shard| {
        build(setup, args, processes, shard)
    })
}

fn build(
    setup: &Setup,
    args: &BuildRobustVqa,
    processes: &dyn Collective,
    shard: Shard,
) -> Result<()> {
    let pictures = ImageFolder::read(&args.images, args.labels.as_deref())?;
    let limits = ImageLimits {
        max_pixels: args.max_megapixels * 1_000_000,
    };
    let output = args.output.as_deref().unwrap_or(&args.images);
    let _lock = RunLock::of_shard(output, shard)?;
    let encoder = encoder::open(setup, &args.encoder)?;
    let mining = Mining {
        mode: match args.mode {
            MiningMode::Strict => ParseMode::Strict,
            MiningMode::Paper => ParseMode::Paper,
        },
        limits,
        output,
        shard,
    };
    let first = processes.is_first();
    let mut bar =
        first.then(|| Progress::new("looking for mistakes", pictures.pictures.len() as u64));
    let mut started = false;
    let mut found = mine(&encoder, &pictures, mining, &mut |done| {
        if let Some(bar) = &mut bar {
            if !started {
                bar.skip_to(done as u64);
                started = true;
            }
            bar.set(done as u64, "");
        }
        !interrupt::asked()
    })?;
    if processes.size() > 1 {
        processes.barrier()?;
        if !first {
            return Ok(());
        }
        // Everybody's pictures have been looked at now.
        found = mine(&encoder, &pictures, mining, &mut |_| true)?;
    }
    if let Some(bar) = &bar {
        bar.finish();
    }
    let Some(found) = found else {
        eprintln!(
            "share {shard} is done; the share that ends last writes the file, and so does the same command without --shard"
        );
        return Ok(());
    };
    let labels = pictures.labels.len();
    write(args, encoder.name(), labels, &found, output)
}

/// Writes the file, and says what is in it.
fn write(
    args: &BuildRobustVqa,
    encoder: &str,
    labels: usize,
    found: &HardPictures,
    output: &Path,
) -> Result<()> {
    let readable = found.pictures - found.unreadable;
    if found.entries.is_empty() {
        bail!(
            "{encoder} takes none of {readable} readable pictures for something else: there is no hard one to ask about; \
             try a weaker encoder, or harder pictures"
        );
    }
    let list = args.list.clone().unwrap_or_else(|| list_of(&args.images));
    let file = output.join("robustvqa.json");
    write_robust_vqa_entries(&list, &found.entries, &file)?;
    if args.json {
        let summary = json!({
            "file": file.display().to_string(), "list": list, "encoder": encoder, "pictures": found.pictures,
            "labels": labels, "kept": found.entries.len(), "unreadable": found.unreadable,
        });
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        println!(
            "{}: {} of {readable} pictures in {list}, taken for something else by {encoder}",
            file.display(),
            found.entries.len(),
        );
    }
    if let Some(first) = &found.first_error {
        eprintln!(
            "note: {} pictures could not be read, the first: {first}",
            found.unreadable
        );
    }
    Ok(())
}

/// The list that a folder's pictures belong to, by its name.
fn list_of(folder: &Path) -> String {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = real
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase());
    let name: String = name.unwrap_or_default().replace(['-', ' '], "_");
    match name.replace('_', "").as_str() {
        "imageneta" => "imagenet_a".into(),
        "imagenetr" => "imagenet_r".into(),
        other if other.starts_with("imagenetv2") => "imagenet_v2".into(),
        "" => "pictures".into(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_folders_are_known_by_their_names() {
        let list = |name: &str| list_of(Path::new(name));
        assert_eq!(list("data/imagenet-a"), "imagenet_a");
        assert_eq!(list("ImageNetR"), "imagenet_r");
        assert_eq!(
            list("imagenetv2-matched-frequency-format-val"),
            "imagenet_v2"
        );
        assert_eq!(list("My Sketches"), "my_sketches");
    }
}
