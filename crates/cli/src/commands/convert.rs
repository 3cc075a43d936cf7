//! `deem convert`: pickles and GGUF files to safetensors, official training checkpoints to deem's keys, corrected encoders out of
//! their runs.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use deem::Locator;
use deem_engine::encoder_feedback::encoder_at;
use deem_engine::foundation::{PICKLED, SMALL, published_files};
use deem_model::weights::gguf::GgufFile;
use deem_model::weights::torch::TorchFile;
use deem_model::weights::{
    WeightsFile, check_shards, find, is_official, pickles, read_tensors, shards, to_deem,
    weight_files, write_stream,
};

use super::setup::downloads;
use crate::args::Convert;

/// Runs the command.
pub fn run(args: &Convert) -> Result<()> {
    let locator = Locator::new(&args.mirrors, args.offline);
    let input = encoder_at(Path::new(&args.input));
    one_of(&input)?;
    let input = locator.one(&input.to_string_lossy(), &PICKLED, &mut downloads())?;
    let (mut pickles, mut files) = (Vec::new(), Vec::new());
    let read = Input::of(&input)?;
    for path in &read.files {
        if is_pickle(path) {
            pickles.push(TorchFile::open(path)?);
        } else {
            files.push(WeightsFile::open(path)?);
        }
    }
    for file in pickles.iter().filter(|file| !file.skipped().is_empty()) {
        let names = file.skipped().join(", ");
        eprintln!("{}: no tensors, left out: {names}", file.path().display());
    }
    for file in pickles.iter().filter(|file| !file.foreign().is_empty()) {
        let names = file.foreign().join(", ");
        eprintln!(
            "{}: of classes that are not read, left out: {names}",
            file.path().display()
        );
    }
    let mut tensors = read_tensors(&pickles, &files);
    if tensors.is_empty() {
        bail!("{}: it holds no tensors", input.display());
    }
    if let Some(index) = &read.index {
        let found: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        check_shards(index, &found)?;
    }
    if is_official(tensors.iter().map(|tensor| tensor.name.as_str())) {
        let (renamed, dropped) = to_deem(tensors, &input)?;
        tensors = renamed;
        eprintln!("an official training checkpoint: keys are renamed (docs/checkpoints.md)");
        eprintln!("left out, constant or computed: {}", dropped.join(", "));
    }
    let target = target(&input, &args.output)?;
    if args.output.is_dir() {
        for path in read.files.iter().filter(|path| is_gguf(path)) {
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

/// Refuses a folder of several pickles of which none has a published name.
fn one_of(input: &Path) -> Result<()> {
    if !input.is_dir() {
        return Ok(());
    }
    let entries = fs::read_dir(input).with_context(|| input.display().to_string())?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    let pickles = pickles(&names);
    match pickles.as_slice() {
        [first, _, ..] if (PICKLED.choose)(&names).is_empty() => bail!(
            "{}: {} lie here, none of which has a published name; name the one that is meant: `deem convert {} OUT`",
            input.display(),
            pickles.join(", "),
            input.join(first).display()
        ),
        _ => Ok(()),
    }
}

fn is_pickle(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("bin" | "pt" | "pth" | "ckpt"))
}

fn is_gguf(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// What is to be read.
struct Input {
    /// A file, or all shards of an index.
    files: Vec<PathBuf>,
    /// The index, which lists what they hold.
    index: Option<PathBuf>,
}

impl Input {
    /// The files that a file, an index of shards or a folder means.
    fn of(input: &Path) -> Result<Self> {
        let chosen = if input.is_file() {
            input.to_owned()
        } else {
            let mut names = Vec::new();
            for entry in fs::read_dir(input).with_context(|| input.display().to_string())? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            let pickles = ["bin", "pt", "pth"].map(|ending| weight_files(&names, ending));
            match pickles.into_iter().flatten().next() {
                Some(name) => input.join(name),
                None => find(input)?,
            }
        };
        if chosen.extension().is_some_and(|ending| ending == "json") {
            return Ok(Self {
                files: shards(&chosen)?,
                index: Some(chosen),
            });
        }
        Ok(Self {
            files: vec![chosen],
            index: None,
        })
    }
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
