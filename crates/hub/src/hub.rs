//! The cache: `models--owner--name/refs/REVISION` names a commit, `snapshots/COMMIT/` holds its files.
//! What is there is used without asking a hub.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::download::{Client, Listing};
use crate::{HubError, Repository};

/// The hub that is asked unless `HF_ENDPOINT` says otherwise.
const PUBLIC: &str = "https://huggingface.co";

/// Told while a file arrives: its name, bytes so far, bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// A cache and the hubs that fill it.
#[derive(Clone, Debug)]
pub struct Hub {
    cache: PathBuf,
    endpoints: Vec<String>,
    token: Option<String>,
    offline: bool,
}

impl Hub {
    /// A hub with everything stated; the first of `endpoints` is asked first.
    pub fn new(cache: PathBuf, endpoints: Vec<String>, token: Option<String>) -> Self {
        let endpoints = endpoints.into_iter();
        Self {
            cache,
            endpoints: endpoints
                .map(|url| url.trim_end_matches('/').into())
                .collect(),
            token,
            offline: false,
        }
    }

    /// The hub that the environment describes: `HF_HUB_CACHE` or `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`
    /// (or the token file of `HF_HOME`), `HF_HUB_OFFLINE`. `mirrors` are asked after it.
    pub fn from_env(mirrors: &[String]) -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let home = variable("HF_HOME").map_or_else(
            || {
                let own = variable("XDG_CACHE_HOME").map(PathBuf::from);
                let own = own.or_else(|| env::home_dir().map(|home| home.join(".cache")));
                own.unwrap_or_default().join("huggingface")
            },
            PathBuf::from,
        );
        let cache = variable("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from);
        let mut endpoints = vec![variable("HF_ENDPOINT").unwrap_or_else(|| PUBLIC.into())];
        endpoints.extend_from_slice(mirrors);
        let token = variable("HF_TOKEN").or_else(|| {
            let text = fs::read_to_string(home.join("token")).ok()?;
            Some(text.trim().to_owned()).filter(|token| !token.is_empty())
        });
        let offline = variable("HF_HUB_OFFLINE").is_some_and(|value| value != "0");
        Self::new(cache, endpoints, token).offline(offline)
    }

    /// The same, without ever using the network if `offline`.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline |= offline;
        self
    }

    /// The local folder of a repository with the files that `choose` picks from the names of all its
    /// files (relative to the repository's folder); downloads what is missing.
    ///
    /// `expected` says what `choose` looks for, for the error if it picks nothing.
    ///
    /// # Errors
    /// `Offline`, `Refused`, `Lacking`, `Damaged`; `Io` naming a file of the cache.
    pub fn folder(
        &self,
        name: &Repository,
        choose: &dyn Fn(&[String]) -> Vec<String>,
        expected: &str,
        progress: Progress,
    ) -> Result<PathBuf, HubError> {
        let repository = self.cache.join(name.cache_folder());
        let (folder, names) = snapshot(&repository, name);
        let chosen = choose(&names);
        if !chosen.is_empty() && chosen.iter().all(|file| folder.join(file).is_file()) {
            return Ok(folder);
        }
        if self.offline && chosen.is_empty() && !names.is_empty() {
            return Err(HubError::Lacking {
                name: format!("{name} in the cache"),
                expected: expected.into(),
            });
        }
        if self.offline {
            return Err(HubError::Offline {
                name: name.to_string(),
                cache: repository,
            });
        }
        let mut causes = Vec::new();
        for endpoint in &self.endpoints {
            let client = Client::new(endpoint, self.token.as_deref());
            match client.list(name) {
                Ok(listing) => {
                    return self.fill(&client, name, &listing, choose, expected, progress);
                }
                Err(cause) => causes.push(format!("{endpoint}: {cause}")),
            }
        }
        Err(HubError::Refused {
            name: name.to_string(),
            causes,
        })
    }

    fn fill(
        &self,
        client: &Client,
        name: &Repository,
        listing: &Listing,
        choose: &dyn Fn(&[String]) -> Vec<String>,
        expected: &str,
        progress: Progress,
    ) -> Result<PathBuf, HubError> {
        let names = listing.below(name);
        let chosen = choose(&names);
        if chosen.is_empty() {
            return Err(HubError::Lacking {
                name: name.to_string(),
                expected: expected.into(),
            });
        }
        let repository = self.cache.join(name.cache_folder());
        let snapshot = repository.join("snapshots").join(&listing.commit);
        for file in &listing.files {
            let wanted = name.below(&file.name);
            if wanted.is_some_and(|below| chosen.iter().any(|chosen| chosen == below)) {
                let target = snapshot.join(&file.name);
                client.download(name, &listing.commit, file, &target, progress)?;
            }
        }
        let reference = repository.join("refs").join(&name.revision);
        write(&reference, listing.commit.as_bytes())?;
        let listing_path = listing_path(&repository, &listing.commit);
        write(
            &listing_path,
            &serde_json::to_vec(listing).unwrap_or_default(),
        )?;
        Ok(snapshot.join(&name.folder))
    }
}

/// The folder of a repository in the cache, and the names of its files: those that the hub listed when they
/// were downloaded from here, or, where another program filled the cache, those that are there.
fn snapshot(repository: &Path, name: &Repository) -> (PathBuf, Vec<String>) {
    let commit = fs::read_to_string(repository.join("refs").join(&name.revision));
    let commit = commit.map_or_else(|_| name.revision.clone(), |text| text.trim().to_owned());
    let folder = repository
        .join("snapshots")
        .join(&commit)
        .join(&name.folder);
    let names = match Listing::saved(&listing_path(repository, &commit)) {
        Some(listing) => listing.below(name),
        None => files(&folder, ""),
    };
    (folder, names)
}

/// Where the list of a commit's files is kept.
fn listing_path(repository: &Path, commit: &str) -> PathBuf {
    repository.join("listings").join(format!("{commit}.json"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(HubError::io(parent))?;
    fs::write(path, bytes).map_err(HubError::io(path))
}

/// Names of all files below a folder, with `/` between their parts.
fn files(folder: &Path, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            names.extend(files(&path, &format!("{name}/")));
        } else if path.is_file() {
            names.push(name);
        }
    }
    names.sort();
    names
}
