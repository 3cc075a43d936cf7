//! The one error type of the crate: what was expected, what was found, and where.

use std::path::PathBuf;

/// What a file begins with that stands for another one (Git Large File Storage), and what to do about it.
pub(crate) const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
pub(crate) const LFS_REMEDY: &str = "a Git LFS pointer, not the file itself: run `git lfs pull` in its repository, \
                                     or download the file again";

/// Everything that can go wrong between a file on disk and a batch.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// A picture could not be decoded.
    #[error("{name}: not a readable picture: {reason}")]
    Image {
        /// File name or record name.
        name: String,
        /// The decoder's reason.
        reason: String,
    },
    /// A picture is larger than the configured limit.
    #[error(
        "{name}: {width}x{height} pixels exceed the limit of {limit} pixels (raise `max_pixels`; on the command line `--max-megapixels`)"
    )]
    ImageTooLarge {
        /// File name or record name.
        name: String,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Largest number of pixels allowed.
        limit: u64,
    },
    /// A mask does not have the size of its picture.
    #[error(
        "{name}: the mask is {found_width}x{found_height} pixels, its picture {width}x{height}; they must be equal"
    )]
    MaskSize {
        /// Name of the mask.
        name: String,
        /// Width of the picture.
        width: u32,
        /// Height of the picture.
        height: u32,
        /// Width of the mask.
        found_width: u32,
        /// Height of the mask.
        found_height: u32,
    },
    /// A mask in which nothing belongs to the region that is asked about.
    #[error("{name}: {}", empty_mask(*region, found))]
    EmptyMask {
        /// Name of the mask.
        name: String,
        /// Number of the region, if one was named.
        region: Option<u32>,
        /// Numbers of the regions that are there, the first of them.
        found: Vec<u32>,
    },
    /// A sound record that a rule leaves out, which is no failure.
    #[error("{name}: left out ({rule})")]
    Dropped {
        /// Name of the record.
        name: String,
        /// The rule.
        rule: &'static str,
    },
    /// A record of a file breaks the file's format.
    #[error("{file}, {place}: expected {expected}, found {found}")]
    Malformed {
        /// File name.
        file: String,
        /// Line, record or field.
        place: String,
        /// What the format asks for.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The tokenizer does not fit the model.
    #[error("tokenizer {name}: {reason}")]
    Tokenizer {
        /// File name.
        name: String,
        /// What is missing or disagrees, and what to do.
        reason: String,
    },
    /// A source, split or benchmark has nothing in it.
    #[error("{what} is empty: {hint}")]
    Empty {
        /// Which set.
        what: String,
        /// What to check.
        hint: String,
    },
    /// A setting is out of range or contradicts another one.
    #[error("setting `{field}`: {reason}")]
    Config {
        /// Name of the setting.
        field: String,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// A scene or benchmark names something the corpus does not have.
    #[error("{what} `{name}` is not in the corpus ({available} available)")]
    Unknown {
        /// Kind of thing: drawing, concept, style.
        what: &'static str,
        /// Its name.
        name: String,
        /// How many of the kind there are.
        available: usize,
    },
    /// More records failed than the ceiling allows.
    #[error(
        "{skipped} of {read} records could not be read, more than the ceiling of {ceiling:.1} %; causes: {causes}"
    )]
    TooManyBadRecords {
        /// Records that failed.
        skipped: u64,
        /// Records asked for.
        read: u64,
        /// Ceiling in percent.
        ceiling: f64,
        /// Causes with counts.
        causes: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A program that the operation needs failed or is not installed.
    #[error("{program}: {reason}")]
    Program {
        /// The program.
        program: String,
        /// What happened and what to do.
        reason: String,
    },
}

impl DataError {
    /// As it is, and which entry of a `[[data]]` list it concerns.
    pub(crate) fn within(self, entry: usize) -> Self {
        match self {
            Self::Config { field, reason } => {
                let own = field.strip_prefix("data").unwrap_or(&field);
                let dot = if own.is_empty() || own.starts_with('.') {
                    ""
                } else {
                    "."
                };
                Self::Config {
                    field: format!("data[{entry}]{dot}{own}"),
                    reason,
                }
            }
            other => other,
        }
    }

    /// Short name of the kind of error, for counting causes.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Io { .. } => "unreadable file",
            Self::Image { .. } => "undecodable picture",
            Self::ImageTooLarge { .. } => "picture too large",
            Self::MaskSize { .. } => "mask of another size",
            Self::EmptyMask { .. } => "empty mask",
            Self::Dropped { rule, .. } => rule,
            Self::Malformed { .. } => "malformed record",
            Self::Tokenizer { .. } => "tokenizer",
            Self::Empty { .. } => "empty set",
            Self::Config { .. } => "setting",
            Self::Unknown { .. } => "unknown name",
            Self::TooManyBadRecords { .. } => "too many bad records",
            Self::Interrupted => "interrupted",
            Self::Program { .. } => "program",
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, cause: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            cause,
        }
    }

    pub(crate) fn malformed(
        file: impl Into<String>,
        place: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            file: file.into(),
            place: place.into(),
            expected: expected.into(),
            found: found.into(),
        }
    }

    pub(crate) fn config(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

fn empty_mask(region: Option<u32>, found: &[u32]) -> String {
    let numbers: Vec<String> = found.iter().map(u32::to_string).collect();
    match region {
        Some(region) if !found.is_empty() => {
            format!(
                "region {region} is not in the mask; it holds {}",
                numbers.join(", ")
            )
        }
        _ => "the mask is empty: all of it is 0 or transparent".into(),
    }
}
