//! A path on this machine, or the address of something elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

/// Schemes of addresses.
const SCHEMES: [&str; 8] = ["s3", "s3a", "gs", "az", "abfs", "abfss", "http", "https"];

/// Where a file or folder lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// On this machine.
    Local(PathBuf),
    /// In an object store or behind a web server.
    Remote(Url),
}

impl Location {
    /// Reads `s3://bucket/key`, `gs://…`, `az://…`, `http://…`, `https://…`, or else a path, which starts from `root`.
    ///
    /// # Errors
    /// What is wrong with an address.
    pub fn parse(text: &str, root: &Path) -> Result<Self, String> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match scheme {
            Some(scheme) if SCHEMES.contains(&scheme) => Url::parse(text)
                .map(Self::Remote)
                .map_err(|error| format!("{text:?}: {error}")),
            Some(scheme) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => Err(format!(
                "{text:?}: expected a path or an address with one of {}://",
                SCHEMES.join("://, ")
            )),
            _ => Ok(Self::Local(root.join(text))),
        }
    }

    /// What lies below this folder under a name of `/`-separated parts.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Remote(url) => {
                let mut url = url.clone();
                if let Ok(mut parts) = url.path_segments_mut() {
                    parts.pop_if_empty().extend(name.split('/'));
                }
                Self::Remote(url)
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(out),
            Self::Remote(url) => {
                // Keys and passwords have no place in messages.
                let mut url = url.clone();
                let _ = url.set_password(None);
                url.set_query(None);
                url.fmt(out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_addresses_are_told_apart() {
        let parse = |text: &str| Location::parse(text, Path::new("/runs"));
        assert_eq!(
            parse("a/b.tar"),
            Ok(Location::Local("/runs/a/b.tar".into()))
        );
        assert_eq!(parse("/a/b.tar"), Ok(Location::Local("/a/b.tar".into())));
        let folder = parse("s3://bucket/images/").unwrap();
        assert_eq!(
            folder.join("a b/1.jpg").to_string(),
            "s3://bucket/images/a%20b/1.jpg"
        );
        let folder = parse("https://me:secret@host/x?key=1").unwrap();
        assert_eq!(folder.to_string(), "https://me@host/x");
        assert!(parse("ftp://host/x").unwrap_err().contains("s3://"));
        assert!(parse("http://").is_err());
    }
}
