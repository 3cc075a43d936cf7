use std::path::PathBuf;

/// What can go wrong on the way to a model's files.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A name that is neither a path nor a repository.
    #[error("{0:?}: expected hf://owner/name, optionally with @revision and /folder")]
    Name(String),
    /// Neither here nor in the cache, and the network is not to be used.
    #[error(
        "{name}: not in the cache ({}), and the network is off (--offline or HF_HUB_OFFLINE); download it on \
         another machine and copy the folder there, or give the path of a local copy",
        cache.display()
    )]
    Offline {
        /// The repository.
        name: String,
        /// Where it would lie.
        cache: PathBuf,
    },
    /// Only a part is in the cache, and the network is not to be used.
    #[error(
        "{name}: {} not in the cache ({}), and the network is off (--offline or HF_HUB_OFFLINE); another program's \
         download broke off: let it go on without the option, or copy what is missing there",
        .missing.join(", "),
        cache.display()
    )]
    Incomplete {
        /// The repository.
        name: String,
        /// The files.
        missing: Vec<String>,
        /// Where they would lie.
        cache: PathBuf,
    },
    /// A repository without what was asked for.
    #[error("{name}: none of its files will do; expected {expected}")]
    Lacking {
        /// The repository.
        name: String,
        /// What was looked for.
        expected: String,
    },
    /// Every hub said no.
    #[error("{name}: no hub has it:\n  {}", .causes.join("\n  "))]
    Refused {
        /// The repository.
        name: String,
        /// What each hub said, and what to do.
        causes: Vec<String>,
    },
    /// A download that is not what the hub announced.
    #[error("{url}: {problem}; it was deleted, the same command downloads it again")]
    Damaged {
        /// The file.
        url: String,
        /// What was announced and what arrived.
        problem: String,
    },
    /// A file of the cache that cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
}

impl HubError {
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }
}
