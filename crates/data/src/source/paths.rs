//! Paths and addresses in a run's file: `${NAME}` stands for a variable of the environment, and relative paths start
//! from the folder of the run's file.

use std::path::{Path, PathBuf};

use super::{SourceContext, braces};
use crate::DataError;
use crate::storage::{Blob, Location, Pictures};

impl SourceContext {
    /// The path that an option names, with its variables replaced; `field` is the option's name.
    ///
    /// # Errors
    /// `Config` for a variable that is not set or not closed.
    pub fn path(&self, field: &str, text: &str) -> Result<PathBuf, DataError> {
        Ok(self.root.join(self.expand(field, text)?))
    }

    /// A text with its variables replaced; `field` is the option's name.
    ///
    /// # Errors
    /// As [`Self::path`].
    pub fn expand(&self, field: &str, text: &str) -> Result<String, DataError> {
        expand(field, text, environment)
    }

    /// As [`Self::path`], of a file that is there.
    ///
    /// # Errors
    /// As [`Self::path`]; `Config` naming the path if it is not a file.
    pub fn file(&self, field: &str, text: &str) -> Result<PathBuf, DataError> {
        existing(field, self.path(field, text)?, "a file", Path::is_file)
    }

    /// As [`Self::path`], of a folder that is there.
    ///
    /// # Errors
    /// As [`Self::path`]; `Config` naming the path if it is not a folder.
    pub fn folder(&self, field: &str, text: &str) -> Result<PathBuf, DataError> {
        existing(field, self.path(field, text)?, "a folder", Path::is_dir)
    }

    /// The file that an option names by path or address, which is there.
    ///
    /// # Errors
    /// As [`Self::file`]; `Io` naming an address that cannot be reached.
    pub fn blob(&self, field: &str, text: &str) -> Result<Blob, DataError> {
        self.blob_at(field, &self.location(field, &self.expand(field, text)?)?)
    }

    /// The folder of pictures that an option names by path or address; a path is there.
    ///
    /// # Errors
    /// As [`Self::folder`].
    pub fn pictures(&self, field: &str, text: &str) -> Result<Pictures, DataError> {
        let location = self.location(field, &self.expand(field, text)?)?;
        if let Location::Local(path) = &location {
            existing(field, path.clone(), "a folder", Path::is_dir)?;
        }
        Ok(Pictures::below(location, self.limits))
    }

    /// The files that an option names by patterns, as `train-{0000..0127}.tar`, in order; at least one.
    ///
    /// # Errors
    /// As [`Self::blob`]; `Config` for a pattern that cannot be meant.
    pub fn blobs(&self, field: &str, patterns: &[String]) -> Result<Vec<Blob>, DataError> {
        let wrong = |reason: String| DataError::config(format!("data.{field}"), reason);
        let mut blobs = Vec::new();
        for pattern in patterns {
            let names = braces::expand(&self.expand(field, pattern)?)
                .map_err(|reason| wrong(format!("{pattern:?}: {reason}")))?;
            for name in names {
                blobs.push(self.blob_at(field, &self.location(field, &name)?)?);
            }
        }
        if blobs.is_empty() {
            return Err(wrong("expected a file, found an empty list".into()));
        }
        Ok(blobs)
    }

    fn location(&self, field: &str, expanded: &str) -> Result<Location, DataError> {
        Location::parse(expanded, &self.root)
            .map_err(|reason| DataError::config(format!("data.{field}"), reason))
    }

    fn blob_at(&self, field: &str, location: &Location) -> Result<Blob, DataError> {
        if let Location::Local(path) = location {
            existing(field, path.clone(), "a file", Path::is_file)?;
        }
        Blob::at(location)
    }
}

fn existing(
    field: &str,
    path: PathBuf,
    expected: &str,
    is: impl Fn(&Path) -> bool,
) -> Result<PathBuf, DataError> {
    if is(&path) {
        return Ok(path);
    }
    let found = match path.metadata() {
        Ok(other) if other.is_dir() => "a folder".to_owned(),
        Ok(_) => "something else".to_owned(),
        Err(error) => error.to_string(),
    };
    let reason = format!(
        "{}: expected {expected}, found: {found}; relative paths start from the folder of the run's file",
        path.display()
    );
    Err(DataError::config(format!("data.{field}"), reason))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Replaces each `${NAME}` by what `lookup` has for it.
fn expand(
    field: &str,
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, DataError> {
    let wrong = |reason: String| DataError::config(format!("data.{field}"), reason);
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let (name, after) = rest[start + 2..]
            .split_once('}')
            .ok_or_else(|| wrong(format!("{text:?}: a \"${{\" without its \"}}\"")))?;
        let value = lookup(name).ok_or_else(|| {
            let remedy = format!("set it (`export {name}=…`) or write the path out");
            wrong(format!(
                "{text:?}: the variable {name} is not set; {remedy}"
            ))
        })?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_missing_ones_named() {
        let lookup = |name: &str| (name == "DATA").then(|| "/data/{x}".to_owned());
        let expand = |text: &str| expand("file", text, lookup).map_err(|e| e.to_string());
        assert_eq!(
            expand("${DATA}/a/${DATA}b"),
            Ok("/data/{x}/a//data/{x}b".into())
        );
        assert_eq!(expand("$DATA/{0..2}"), Ok("$DATA/{0..2}".into()));
        let error = expand("${DATEN}/a").unwrap_err();
        assert!(
            error.contains("data.file") && error.contains("export DATEN"),
            "{error}"
        );
        assert!(expand("${DATA").unwrap_err().contains("without"));
    }
}
