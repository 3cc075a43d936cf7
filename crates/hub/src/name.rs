use std::fmt;
use std::path::{Component, Path};

use crate::HubError;

/// `hf://owner/name[@revision][/sub/folder]`; a revision may be that of a pull request, `refs/pr/N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `owner/name`.
    pub id: String,
    /// Branch, tag or commit; `main` unless stated.
    pub revision: String,
    /// Folder inside, without slashes at its ends; empty for the whole repository.
    pub folder: String,
}

impl Repository {
    /// Reads a name; `None` if it does not begin with `hf://` and so is a path.
    ///
    /// # Errors
    /// `Name` if what follows is no repository.
    pub fn parse(text: &str) -> Result<Option<Self>, HubError> {
        let Some(rest) = text.strip_prefix("hf://") else {
            return Ok(None);
        };
        let mut parts = rest.trim_end_matches('/').splitn(3, '/');
        let owner = parts.next().unwrap_or_default();
        let name = parts.next().unwrap_or_default();
        let folder = parts.next().unwrap_or_default();
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        let (request, folder) = match folder.strip_prefix("pr/").filter(|_| revision == "refs") {
            Some(rest) => {
                let (number, folder) = rest.split_once('/').unwrap_or((rest, ""));
                (Some(number), folder)
            }
            None => (None, folder),
        };
        let number = request.unwrap_or("0");
        let plain = [owner, name, revision, number]
            .iter()
            .all(|part| is_plain(part));
        if !plain || !(folder.is_empty() || is_inside(folder)) {
            return Err(HubError::Name(text.into()));
        }
        Ok(Some(Self {
            id: format!("{owner}/{name}"),
            revision: match request {
                Some(number) => format!("refs/pr/{number}"),
                None => revision.into(),
            },
            folder: folder.into(),
        }))
    }

    /// Its folder in the cache.
    pub(crate) fn cache_folder(&self) -> String {
        format!("models--{}", self.id.replace('/', "--"))
    }

    /// A file's name below [`Self::folder`], if it lies there.
    pub(crate) fn below<'a>(&self, file: &'a str) -> Option<&'a str> {
        if self.folder.is_empty() {
            return Some(file);
        }
        file.strip_prefix(self.folder.as_str())?.strip_prefix('/')
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        write!(out, "hf://{}", self.id)?;
        if self.revision != "main" {
            write!(out, "@{}", self.revision)?;
        }
        if !self.folder.is_empty() {
            write!(out, "/{}", self.folder)?;
        }
        Ok(())
    }
}

/// A part of a name that means nothing to a file system or a server.
fn is_plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !part.is_empty() && part.chars().all(allowed) && !part.chars().all(|c| c == '.')
}

/// A relative path that stays inside.
pub(crate) fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components().peekable();
    parts.peek().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !path.contains(['\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for text in [
            "hf://lmsys/vicuna-7b-v1.5",
            "hf://a/b@v2",
            "hf://a/b/unet",
            "hf://a/b@main2/x/y",
            "hf://a/b@refs/pr/1",
            "hf://a/b@refs/pr/1/unet",
        ] {
            let name = Repository::parse(text).unwrap().unwrap();
            assert_eq!(name.to_string(), text);
        }
        let name = Repository::parse("hf://a/b@r/unet/").unwrap().unwrap();
        assert_eq!((name.id.as_str(), name.revision.as_str()), ("a/b", "r"));
        let request = Repository::parse("hf://a/b@refs/pr/1/unet")
            .unwrap()
            .unwrap();
        assert_eq!(
            (request.revision.as_str(), request.folder.as_str()),
            ("refs/pr/1", "unet")
        );
        assert_eq!(name.below("unet/config.json"), Some("config.json"));
        assert_eq!(name.below("unetx/config.json"), None);
        assert_eq!(name.cache_folder(), "models--a--b");
        assert_eq!(Repository::parse("weights/x").unwrap(), None);
    }

    #[test]
    fn names_cannot_leave_the_cache() {
        for text in [
            "hf://",
            "hf://a",
            "hf://a/",
            "hf://../b",
            "hf://a/..",
            "hf://a/b/../../c",
            "hf://a/b@../x",
            "hf://a/b@refs/pr/..",
            "hf://a b/c",
            "hf://a/b//etc",
        ] {
            let error = Repository::parse(text).unwrap_err().to_string();
            assert!(error.contains("hf://owner/name"), "{text}: {error}");
        }
        assert!(!is_inside("../x") && !is_inside("/x") && !is_inside("a\\..\\b"));
    }
}
