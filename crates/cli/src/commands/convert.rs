//! `deem convert`: pickles and GGUF files to safetensors, official training checkpoints to deem's keys.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use deem::Locator;
use deem_engine::foundation::{PICKLED, SMALL, published_files};
use deem_model::weights::gguf::GgufFile;
use deem_model::weights::torch::TorchFile;
use deem_model::weights::{
    WeightsFile, find, is_official, read_tensors, to_deem, weight_files, write_stream,
};

use super::setup::downloads;
use crate::args::Convert;

/// Runs the command.
pub fn run(args: &Convert) -> Result<()> {
    let locator = Locator::new(&args.mirrors, args.offline);
    let input = locator.one(&args.input, &PICKLED, &mut downloads())?;
    let (mut pickles, mut files) = (Vec::new(), Vec::new());
    for path in inputs(&input)? {
        if is_pickle(&path) {
            pickles.push(TorchFile::open(&path)?);
        } else {
            files.push(WeightsFile::open(&path)?);
        }
    }
    for file in pickles.iter().filter(|file| !file.skipped().is_empty()) {
        let names = file.skipped().join(", ");
        eprintln!("{}: no tensors, left out: {names}", file.path().display());
    }
    let mut tensors = read_tensors(&pickles, &files);
    if is_official(tensors.iter().map(|tensor| tensor.name.as_str())) {
        let (renamed, dropped) = to_deem(tensors, &input)?;
        tensors = renamed;
        eprintln!("an official training checkpoint: keys are renamed (docs/checkpoints.md)");
        eprintln!("left out, constant or computed: {}", dropped.join(", "));
    }
    let target = target(&input, &args.output)?;
    if args.output.is_dir() {
        for path in inputs(&input)?.iter().filter(|path| is_gguf(path)) {
            for (name, content) in published_files(&GgufFile::open(path)?)? {
                let path = args.output.join(name);
                fs::write(&path, content).with_context(|| path.display().to_string())?;
            }
        }
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_stream(&mut tensors, &target, &metadata)?;
    println!("{}", target.display());
    Ok(())
}

fn is_pickle(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("bin" | "pt" | "pth" | "ckpt"))
}

fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// The files to read: a file itself, the shards that an index lists, the weights of a folder.
fn inputs(input: &Path) -> Result<Vec<PathBuf>> {
    let name = input
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let sharded = name.strip_suffix(".bin.index.json").is_some();
    if input.is_file() && !sharded {
        return Ok(vec![input.into()]);
    }
    let folder = if sharded {
        input.parent().unwrap_or(input)
    } else {
        input
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let chosen = ["bin", "pt", "pth"]
        .iter()
        .map(|ending| weight_files(&names, ending));
    let Some(chosen) = chosen.into_iter().find(|chosen| !chosen.is_empty()) else {
        return Ok(vec![find(input)?]);
    };
    let pickles = chosen.iter().filter(|name| !name.ends_with(".json"));
    Ok(pickles.map(|name| folder.join(name)).collect())
}

/// Where the tensors go: the file that was named, or `model.safetensors` in the folder that was named,
/// with the small files that belong to a model.
fn target(input: &Path, output: &Path) -> Result<PathBuf> {
    if output
        .extension()
        .is_some_and(|extension| extension == "safetensors")
    {
        if output.exists() {
            bail!(
                "{}: already there; delete it or name another",
                output.display()
            );
        }
        return Ok(output.into());
    }
    fs::create_dir_all(output).with_context(|| output.display().to_string())?;
    let target = output.join("model.safetensors");
    if target.exists() {
        bail!(
            "{}: already there; delete it or name another",
            target.display()
        );
    }
    for name in SMALL {
        let from = input.join(name);
        if from.is_file() && from != output.join(name) {
            fs::copy(&from, output.join(name)).with_context(|| from.display().to_string())?;
        }
    }
    Ok(target)
}
