//! From the names in `[weights]` to folders on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use deem_engine::foundation::{
    DIFFUSION, Foundation, LLAMA, Language, Needs, TOKENIZER, TRAINED, VISION,
};
use deem_engine::run_config::{Alternatives, RunConfig, WeightSources};
use deem_hub::{Hub, Repository};

use crate::progress::Progress;

/// Folders of everything that a run's model is made of, without the diffusion model if it is not to draw;
/// downloads what is missing, unless `offline`.
pub fn resolve(run: &RunConfig, draws: bool, offline: bool) -> Result<Foundation> {
    let language = resolve_language(run, offline)?;
    let (weights, hub) = named(run, offline)?;
    let folder = |field: &str, names: &Alternatives, needs: &Needs| {
        first(&hub, names, needs).with_context(|| format!("weights.{field}"))
    };
    Ok(Foundation {
        vision: folder("vision", &weights.vision, &VISION)?,
        diffusion: draws
            .then(|| folder("diffusion", &weights.diffusion, &DIFFUSION))
            .transpose()?,
        language,
        trained: weights
            .trained
            .as_ref()
            .map(|names| folder("trained", names, &TRAINED))
            .transpose()?,
    })
}

/// As [`resolve`], of the language model alone.
pub fn resolve_language(run: &RunConfig, offline: bool) -> Result<Language> {
    let (weights, hub) = named(run, offline)?;
    let tokenizer = weights.tokenizer.as_ref().unwrap_or(&weights.llama);
    Ok(Language {
        llama: first(&hub, &weights.llama, &LLAMA).context("weights.llama")?,
        tokenizer: first(&hub, tokenizer, &TOKENIZER).context("weights.tokenizer")?,
    })
}

/// The names of a run's weights, and the hub that knows them.
fn named(run: &RunConfig, offline: bool) -> Result<(&WeightSources, Hub)> {
    let Some(weights) = &run.weights else {
        bail!("[model] without [weights]: say where its weights come from (docs/checkpoints.md)");
    };
    let hub = Hub::from_env(&weights.mirrors).offline(offline);
    Ok((weights, hub))
}

/// The first of several names that is there.
pub fn first(hub: &Hub, names: &Alternatives, needs: &Needs) -> Result<PathBuf> {
    let mut causes = Vec::new();
    for name in names.names() {
        match one(hub, name, needs) {
            Ok(path) => return Ok(path),
            Err(error) => causes.push(format!("{error:#}")),
        }
    }
    match causes.len() {
        0 => bail!("no name given"),
        1 => bail!(causes.remove(0)),
        _ => bail!("none of these will do:\n- {}", causes.join("\n- ")),
    }
}

/// The folder that a name means.
fn one(hub: &Hub, name: &str, needs: &Needs) -> Result<PathBuf> {
    let Some(repository) = Repository::parse(name)? else {
        return local(Path::new(name), needs);
    };
    let mut bar: Option<(String, Progress)> = None;
    let mut progress = |file: &str, done: u64, total: u64| {
        if bar.as_ref().is_none_or(|(name, _)| name != file) {
            bar = Some((file.to_owned(), Progress::new(file, total)));
        }
        if let Some((_, bar)) = &mut bar {
            bar.set(done, "bytes");
        }
    };
    Ok(hub.folder(&repository, &needs.choose, needs.expected, &mut progress)?)
}

fn local(path: &Path, needs: &Needs) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.into());
    }
    if !path.is_dir() {
        bail!("{}: not there", path.display());
    }
    if (needs.choose)(&names(path, "")).is_empty() {
        bail!("{}: expected {}", path.display(), needs.expected);
    }
    Ok(path.into())
}

/// Names of the files of a folder, and of the folders in it.
fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_file() {
            names.push(name);
        } else if prefix.is_empty() {
            names.extend(self::names(&entry.path(), &format!("{name}/")));
        }
    }
    names.sort();
    names
}
