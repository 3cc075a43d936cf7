//! Public data sets that anyone can download: where they are, and under which licence.

use serde::Deserialize;
use url::Url;

use crate::DataError;

/// The sets that deem knows.
const KNOWN: &str = include_str!("sets.toml");

/// A set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Its name on the command line.
    pub name: String,
    /// What it is.
    pub about: String,
    /// What it may be used for.
    pub licence: String,
    /// What to do with the files.
    #[serde(default)]
    pub next: Option<String>,
    /// Its files.
    pub files: Vec<SetFile>,
}

/// A file of a set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetFile {
    /// Its address.
    pub url: String,
    /// Its name on disk, unless it is the address's last part.
    #[serde(default)]
    name: Option<String>,
    /// Its length in bytes, if that is published.
    #[serde(default)]
    pub size: Option<u64>,
    /// Its SHA-256 in hexadecimal, if that is published.
    #[serde(default)]
    pub sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sets {
    sets: Vec<Set>,
}

/// The sets of a TOML file's text, or those that deem knows.
///
/// # Errors
/// `Malformed` for another text, or a file that would leave its folder.
pub fn sets(own: Option<&str>) -> Result<Vec<Set>, DataError> {
    let parsed: Result<Sets, _> = toml::from_str(own.unwrap_or(KNOWN));
    let wrong = |found: String| DataError::malformed("sets", "TOML", "[[sets]] with files", found);
    let sets = parsed.map_err(|error| wrong(error.to_string()))?.sets;
    for file in sets.iter().flat_map(|set| &set.files) {
        Url::parse(&file.url).map_err(|error| wrong(format!("{:?}: {error}", file.url)))?;
        let name = file.name();
        if name.is_empty() || name == ".." || name == "." || name.contains(['/', '\\']) {
            return Err(wrong(format!("a file of the name {name:?}")));
        }
    }
    Ok(sets)
}

impl SetFile {
    /// Its name on disk.
    pub fn name(&self) -> &str {
        let last = || self.url.rsplit(['/', '?']).next().unwrap_or_default();
        self.name.as_deref().unwrap_or_else(last)
    }

    /// Its address, or that of the same path at a mirror.
    ///
    /// # Errors
    /// `Config` for a mirror that is no address.
    pub fn address(&self, mirror: Option<&str>) -> Result<String, DataError> {
        let Some(mirror) = mirror else {
            return Ok(self.url.clone());
        };
        let parse = |text: &str| {
            Url::parse(text)
                .map_err(|error| DataError::config("mirror", format!("{text:?}: {error}")))
        };
        let (base, own) = (parse(mirror)?, parse(&self.url)?);
        Ok(format!(
            "{}{}",
            base.as_str().trim_end_matches('/'),
            own.path()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_sets_are_whole_and_mirrors_keep_paths() {
        let sets = sets(None).unwrap();
        assert!(
            sets.iter()
                .all(|set| !set.files.is_empty() && !set.licence.is_empty())
        );
        let mut names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), sets.len());
        let coco = sets.iter().find(|set| set.name == "coco-val2017").unwrap();
        assert_eq!(coco.files[0].name(), "val2017.zip");
        assert_eq!(
            coco.files[0].address(Some("https://mirror/x/")).unwrap(),
            "https://mirror/x/zips/val2017.zip"
        );
        assert!(coco.files[0].address(Some("mirror")).is_err());
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let text = "[[sets]]\nname = \"a\"\nabout = \"\"\nlicence = \"\"\nfiles = [{ url = \"http://h/a\", name = \"../a\" }]";
        assert!(
            super::sets(Some(text))
                .unwrap_err()
                .to_string()
                .contains("../a")
        );
    }
}
