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

/// Which files of a repository are wanted; names are relative to the repository's folder.
pub struct Wanted<'a> {
    /// Of the names of all files, those that are read.
    pub choose: &'a dyn Fn(&[String]) -> Vec<String>,
    /// The files that some of those in a folder name, as an index names shards; they are wanted, too.
    pub named: &'a dyn Fn(&Path, &[String]) -> Vec<String>,
    /// What `choose` looks for, for the error if it picks nothing.
    pub expected: &'a str,
}

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

    /// The hub that the environment describes, as huggingface_hub reads it; `mirrors` are asked after it.
    ///
    /// | | |
    /// |---|---|
    /// | `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME` | the cache |
    /// | `HF_HOME`, else `huggingface` in `XDG_CACHE_HOME` or `~/.cache` | cache and token |
    /// | `HF_ENDPOINT` | the hub that is asked first |
    /// | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, else the file `HF_TOKEN_PATH` or `token` in `HF_HOME` | the token |
    /// | `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE` | 1, true, yes or on: no network |
    ///
    /// In paths `~` and `$NAME` are expanded.
    pub fn from_env(mirrors: &[String]) -> Self {
        Self::of_variables(&|name| env::var(name).ok(), mirrors)
    }

    /// As [`Self::from_env`], of other variables.
    fn of_variables(variables: &dyn Fn(&str) -> Option<String>, mirrors: &[String]) -> Self {
        let first = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| variables(name));
            values.find(|value| !value.is_empty())
        };
        let path = |names: &[&str]| first(names).map(|path| expanded(&path, variables));
        let home = path(&["HF_HOME"]).unwrap_or_else(|| {
            let caches = path(&["XDG_CACHE_HOME"]);
            caches
                .unwrap_or_else(|| expanded("~/.cache", variables))
                .join("huggingface")
        });
        let cache = path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]);
        let mut endpoints = vec![first(&["HF_ENDPOINT"]).unwrap_or_else(|| PUBLIC.into())];
        endpoints.extend_from_slice(mirrors);
        let token = first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).or_else(|| {
            let file = path(&["HF_TOKEN_PATH"]).unwrap_or_else(|| home.join("token"));
            fs::read_to_string(file).ok()
        });
        let token = token.map(|token| token.trim().to_owned());
        let offline = first(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]).is_some_and(|value| {
            ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())
        });
        let cache = cache.unwrap_or_else(|| home.join("hub"));
        let token = token.filter(|token| !token.is_empty());
        Self::new(cache, endpoints, token).offline(offline)
    }

    /// The same, without ever using the network if `offline`.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline |= offline;
        self
    }

    /// The local folder of a repository with the files that are wanted; downloads what is missing.
    ///
    /// # Errors
    /// `Offline`, `Incomplete`, `Refused`, `Lacking`, `Damaged`; `Io` naming a file of the cache.
    pub fn folder(
        &self,
        name: &Repository,
        wanted: &Wanted,
        progress: Progress,
    ) -> Result<PathBuf, HubError> {
        let Wanted {
            choose,
            named,
            expected,
        } = wanted;
        let repository = self.cache.join(name.cache_folder());
        let (folder, names) = snapshot(&repository, name);
        let chosen = choose(&names);
        let all = chosen.iter().cloned().chain(named(&folder, &chosen));
        let missing: Vec<String> = all.filter(|file| !folder.join(file).is_file()).collect();
        if !chosen.is_empty() && missing.is_empty() {
            return Ok(folder);
        }
        if self.offline && chosen.is_empty() && !names.is_empty() {
            return Err(HubError::Lacking {
                name: format!("{name} in the cache"),
                expected: (*expected).into(),
            });
        }
        if self.offline && !chosen.is_empty() {
            return Err(HubError::Incomplete {
                name: name.to_string(),
                missing,
                cache: folder,
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
                    return self.fill(&client, name, &listing, wanted, progress);
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
        wanted: &Wanted,
        progress: Progress,
    ) -> Result<PathBuf, HubError> {
        let lacking = |expected: String| HubError::Lacking {
            name: name.to_string(),
            expected,
        };
        let chosen = (wanted.choose)(&listing.below(name));
        if chosen.is_empty() {
            return Err(lacking(wanted.expected.into()));
        }
        let repository = self.cache.join(name.cache_folder());
        let snapshot = repository.join("snapshots").join(&listing.commit);
        let mut bring = |names: &[String]| {
            for wanted in names {
                let mut files = listing.files.iter();
                let file = files.find(|file| name.below(&file.name) == Some(wanted));
                let file =
                    file.ok_or_else(|| lacking(format!("{wanted}, which an index names")))?;
                let target = snapshot.join(&file.name);
                client.download(name, &listing.commit, file, &target, progress)?;
            }
            Ok(())
        };
        bring(&chosen)?;
        bring(&(wanted.named)(&snapshot.join(&name.folder), &chosen))?;
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

/// A path in which `~` at its beginning, `$NAME` and `${NAME}` are replaced, as a shell does it. Names that are
/// not set stay.
fn expanded(path: &str, variables: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    let mut out = String::new();
    let mut rest = path;
    if path == "~" || path.starts_with("~/") {
        let home = variables("HOME").filter(|home| !home.is_empty());
        let home = home.or_else(|| Some(env::home_dir()?.to_string_lossy().into_owned()));
        out.push_str(&home.unwrap_or_else(|| "~".into()));
        rest = &path[1..];
    }
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = match after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            Some((name, _)) => (name, name.len() + 2),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let name = &after[..end.unwrap_or(after.len())];
                (name, name.len())
            }
        };
        match variables(name).filter(|_| !name.is_empty()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[at..at + 1 + length]),
        }
        rest = &after[length..];
    }
    PathBuf::from(out + rest)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Hub {
        let find = |name: &str| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Hub::of_variables(&find, &[])
    }

    #[test]
    fn the_environment_means_what_it_means_to_huggingface_hub() {
        let home = ("HOME", "/home/x");
        let cache = |variables: &[(&str, &str)]| {
            let all = [&[home], variables].concat();
            hub(&all).cache.display().to_string()
        };
        assert_eq!(cache(&[]), "/home/x/.cache/huggingface/hub");
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/c")]), "/c/huggingface/hub");
        assert_eq!(cache(&[("HF_HOME", "~/y")]), "/home/x/y/hub");
        assert_eq!(
            cache(&[("HF_HOME", "$D/${E}z"), ("D", "/d"), ("E", "e")]),
            "/d/ez/hub"
        );
        assert_eq!(cache(&[("HF_HOME", "/$UNSET/a~")]), "/$UNSET/a~/hub");
        assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "~/old")]), "/home/x/old");
        let both = [("HF_HUB_CACHE", "/new"), ("HUGGINGFACE_HUB_CACHE", "/old")];
        assert_eq!(cache(&both), "/new");
        for (value, offline) in [
            ("1", true),
            ("true", true),
            ("Yes", true),
            ("on", true),
            ("0", false),
            ("false", false),
            ("no", false),
            ("off", false),
            ("", false),
        ] {
            assert_eq!(
                hub(&[("HF_HUB_OFFLINE", value)]).offline,
                offline,
                "{value:?}"
            );
        }
        let other = ("TRANSFORMERS_OFFLINE", "1");
        assert!(hub(&[other]).offline);
        assert!(!hub(&[other, ("HF_HUB_OFFLINE", "0")]).offline);
        let token = |variables: &[(&str, &str)]| hub(variables).token;
        assert_eq!(token(&[("HF_TOKEN", " t\n")]).as_deref(), Some("t"));
        assert_eq!(
            token(&[("HUGGING_FACE_HUB_TOKEN", "old")]).as_deref(),
            Some("old")
        );
        assert_eq!(token(&[("HF_HOME", "/nowhere")]), None);
    }
}
