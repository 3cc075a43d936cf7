use std::path::{Path, PathBuf};

use deem_data::DataError;
use deem_engine::EngineError;
use deem_hub::HubError;
use deem_model::weights::WeightsError;

/// How many names of many an error lists.
const LISTED: usize = 5;

/// What can go wrong with a usable model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name behind which there is no model.
    #[error(
        "{name}: no model here; expected a run's directory or checkpoint, an exported folder, the name of a preset \
         or hf://owner/name. Looked for:\n- {}",
        tried.join("\n- ")
    )]
    NotFound {
        /// The name.
        name: String,
        /// Everything that was looked for, and what was found instead.
        tried: Vec<String>,
    },
    /// A preset that does not exist.
    #[error(
        "preset {name:?}: {} is not there; {}",
        file.display(),
        if known.is_empty() {
            "there are no presets at all: the folder `assets` of deem's sources holds the shipped ones, copy it \
             beside the program, to `../share/deem` from there, or name it in DEEM_ASSETS"
                .to_owned()
        } else {
            format!("expected one of {known:?}, or the folder of one")
        }
    )]
    NoPreset {
        /// The name.
        name: String,
        /// Presets that exist.
        known: Vec<String>,
        /// The file that was looked for.
        file: PathBuf,
    },
    /// Weights that lack parameters which have been trained, or whose completeness cannot be shown.
    #[error(
        "{}: {} of {of} parameters are missing, first {}. {remedy}",
        path.display(), missing.len(), listed(missing)
    )]
    Incomplete {
        /// The weights.
        path: PathBuf,
        /// Paths of what is missing.
        missing: Vec<String>,
        /// How many were expected.
        of: usize,
        /// Why they are expected and what to do.
        remedy: String,
    },
    /// A part that is not the one that a result was trained on.
    #[error(
        "{}: {part} is not the one that this result was trained on: {file} is expected to have SHA-256 {expected}, \
         found {found}; restore that file, or train again",
        description.display()
    )]
    OtherBase {
        /// What names the part.
        description: PathBuf,
        /// Which part.
        part: String,
        /// The part's file.
        file: String,
        /// Its checksum when the result was made.
        expected: String,
        /// Its checksum now, or `nothing`.
        found: String,
    },
    /// A result that does not fit the configuration it is opened with.
    #[error(
        "{}: trained as another model than the configuration says ({difference}); open it without the \
         configuration, or with the one it was trained with",
        description.display()
    )]
    OtherModel {
        /// What describes the result.
        description: PathBuf,
        /// The first field that differs.
        difference: String,
    },
    /// A part of a model that is not where its name says.
    #[error("weights.{part}: {problem}")]
    Part {
        /// Field of `[weights]`.
        part: String,
        /// What was looked for, and what to do.
        problem: String,
    },
    /// A file whose content is not what it should be.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Something asked of a model that was opened for less.
    #[error("{asked} needs a model opened for {needs}, this one was opened for {opened}")]
    NotLoaded {
        /// What was asked.
        asked: &'static str,
        /// What it needs.
        needs: &'static str,
        /// What the model was opened for.
        opened: &'static str,
    },
    /// More text than the language model reads.
    #[error("{}", too_long(*tokens, *answer, *limit))]
    TooLong {
        /// Tokens so far.
        tokens: usize,
        /// Tokens that the answer may have; 0 if there is to be none, but a picture.
        answer: usize,
        /// Tokens that fit.
        limit: usize,
    },
    /// An option outside its range.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A file that cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// A name on a hub that cannot be had.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Bad pictures, texts or tokenizers.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Bad weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Bad configurations, and what else the engine says.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Error {
    /// Attaches a path to an operating-system error.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }

    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File {
            path: path.into(),
            problem: problem.into(),
        }
    }
}

/// The first few names.
fn listed(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
    let more = if names.len() > LISTED { ", …" } else { "" };
    first.join(", ") + more
}

fn too_long(tokens: usize, answer: usize, limit: usize) -> String {
    match answer {
        0 => format!(
            "the text to draw has {tokens} tokens, the language model reads {limit}; say it in fewer words"
        ),
        _ => format!(
            "the conversation has {tokens} tokens and the answer up to {answer}, the language model reads {limit}; \
             start over, or ask for less"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_any_preset_none_is_expected() {
        let told = |known: &[&str]| {
            let error = Error::NoPreset {
                name: "tinny".into(),
                known: known.iter().map(|name| (*name).to_owned()).collect(),
                file: "assets/standins/tinny/model.toml".into(),
            };
            error.to_string()
        };
        assert!(told(&["tiny"]).contains("expected one of [\"tiny\"]"));
        let none = told(&[]);
        assert!(
            none.contains("DEEM_ASSETS") && !none.contains("[]"),
            "{none}"
        );
    }
}
