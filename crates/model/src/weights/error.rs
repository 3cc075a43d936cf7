use std::path::PathBuf;

use crate::published::LFS_REMEDY;

/// What can be wrong with a weights file.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The file stands for another one.
    #[error("{}: {LFS_REMEDY}", path.display())]
    Pointer {
        /// The file.
        path: PathBuf,
    },
    /// The file breaks a rule of the safetensors format.
    #[error("{}: not a valid safetensors file ({rule}); download or produce it again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The broken rule.
        rule: String,
    },
    /// The file breaks a rule of the GGUF format, or holds what this program cannot use.
    #[error("{}: not a GGUF file that can be used: {rule}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The broken rule, or what cannot be used, and what to do.
        rule: String,
    },
    /// A pickle that is damaged, or holds something besides tensors.
    #[error("{}: {rule}; nothing in it was executed", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// The broken rule.
        rule: String,
    },
    /// A checkpoint whose tensors cannot be brought into deem's layout.
    #[error("{}: {problem}", path.display())]
    Convert {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A list of shards that cannot be, or does not agree with its shards.
    #[error("{}: not a valid index of shards ({problem}); download it again", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A folder without weights.
    #[error("{}: no weights here; expected {expected}", path.display())]
    Absent {
        /// The folder.
        path: PathBuf,
        /// Which files would do, and what to do.
        expected: String,
    },
    /// The content is not what was published.
    #[error(
        "{}: checksum {found} does not match the recorded {expected}; the file is damaged or was replaced: \
         restore it (git checkout, or download again)",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Recorded SHA-256, hexadecimal.
        expected: String,
        /// SHA-256 of the file, hexadecimal.
        found: String,
    },
    /// The tensors do not fit the module.
    #[error("{}: weights do not fit {module}{}", path.display(), report(missing, unused, misshapen))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Type of the module that was to be filled.
        module: String,
        /// Keys the module needs and the file lacks.
        missing: Vec<String>,
        /// Keys in the file that nothing reads.
        unused: Vec<String>,
        /// Keys of another shape or type: what was expected and found.
        misshapen: Vec<String>,
    },
    /// Tensors with NaN or infinite numbers.
    #[error("{}: NaN or infinite numbers in {}; the file is damaged, or training failed: take another one", path.display(), keys.join(", "))]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensors' keys.
        keys: Vec<String>,
    },
}

fn report(missing: &[String], unused: &[String], misshapen: &[String]) -> String {
    let mut text = String::new();
    for (title, keys) in [
        ("missing", missing),
        ("unused", unused),
        ("of another shape or type", misshapen),
    ] {
        if !keys.is_empty() {
            text.push_str(&format!("\n  {title} ({}):", keys.len()));
            for key in keys {
                text.push_str(&format!("\n    {key}"));
            }
        }
    }
    text
}
