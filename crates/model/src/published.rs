//! Configurations as other programs publish them: which class they mean, and what of it is computed here.
//!
//! Public libraries share field names between classes that compute different things. A file is therefore read
//! as the class it names, with that class's defaults; a field that changes what the class computes is supported,
//! at its neutral value, or refused by name.

mod classes;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Fields of a JSON file.
pub type Fields = Map<String, Value>;

/// A configuration that is published as a JSON file.
pub trait Published: Sized {
    /// The configuration that a file describes.
    ///
    /// # Errors
    /// Everything in it that cannot be computed, each naming its field.
    fn published(fields: Fields) -> Result<Self, Vec<String>>;
}

/// What a file begins with that stands for another one in a repository (Git Large File Storage).
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Whether these bytes are those of a file that stands for another one (Git Large File Storage).
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(LFS_POINTER)
}

/// What to do about a file that stands for another one.
pub const LFS_REMEDY: &str = "a Git LFS pointer, not the file itself: run `git lfs pull` in its repository, or \
                              download the file again";

/// The fields of a JSON file. Python also writes `NaN`, `Infinity` and `-Infinity`, which are no JSON: they
/// become texts, which no number is read from.
///
/// # Errors
/// What is wrong with it, and where.
pub fn fields(text: &str) -> Result<Fields, String> {
    if is_lfs_pointer(text.as_bytes()) {
        return Err(LFS_REMEDY.into());
    }
    serde_json::from_str(&quoted(text)).map_err(|error| format!("not a JSON object: {error}"))
}

/// A text in which what Python writes for numbers that are none stands in quotes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', 'N', 'I', '-']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('"') {
            let length = string_length(rest);
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let word = ["NaN", "-Infinity", "Infinity"]
            .into_iter()
            .find(|word| rest.starts_with(word));
        let length = word.map_or(1, str::len);
        match word {
            Some(word) => out.push_str(&format!("\"{word}\"")),
            None => out.push_str(&rest[..1]),
        }
        rest = &rest[length..];
    }
    out + rest
}

/// Bytes of the string that a text begins with, its quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Reads fields as a class that has defaults for all of them.
///
/// # Errors
/// Every field with a value that the class does not know.
pub(crate) fn read<T: DeserializeOwned>(fields: Fields) -> Result<T, Vec<String>> {
    let misfits = misfits::<T>(&fields);
    if !misfits.is_empty() {
        return Err(misfits);
    }
    T::deserialize(Value::Object(fields)).map_err(|error| vec![error.to_string()])
}

/// What is wrong with single fields.
fn misfits<T: DeserializeOwned>(fields: &Fields) -> Vec<String> {
    let problem = |fields: Fields| T::deserialize(Value::Object(fields)).err();
    if problem(Map::new()).is_some() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (field, value) in fields {
        // Each name in a list is a choice of its own.
        let parts = match value {
            Value::Array(names) if names.iter().all(Value::is_string) => {
                let alone = names.iter().map(|name| Value::Array(vec![name.clone()]));
                alone.collect()
            }
            other => vec![other.clone()],
        };
        let alone = parts.into_iter().map(|part| (field.clone(), part));
        let found = alone.filter_map(|pair| problem(Map::from_iter([pair])));
        problems.extend(found.map(|error| format!("{field}: {error}")));
    }
    problems.dedup();
    problems
}

/// A complaint unless a field that names the class is absent, or names one of these.
pub(crate) fn is_class(fields: &Fields, field: &str, classes: &[&str]) -> Option<String> {
    let found = fields.get(field).filter(|found| !found.is_null())?;
    let known = found.as_str().is_some_and(|name| classes.contains(&name));
    (!known).then(|| {
        format!(
            "{field}: {found} computes something else; expected {}",
            classes.join(", ")
        )
    })
}

/// Complaints about fields that are there and neither null nor at the only value that is computed here.
pub(crate) fn only(fields: &Fields, neutral: &[(&str, Value)]) -> Vec<String> {
    let other = |(field, neutral): &(&str, Value)| {
        let found = fields.get(*field).filter(|found| !found.is_null())?;
        let same = match (found.as_f64(), neutral.as_f64()) {
            (Some(found), Some(neutral)) => found == neutral,
            _ => found == neutral,
        };
        (!same).then(|| format!("{field}: {found} is not supported, only {neutral}"))
    };
    neutral.iter().filter_map(other).collect()
}

/// The configuration, unless there are complaints.
pub(crate) fn unless<T>(
    mut problems: Vec<String>,
    read: Result<T, Vec<String>>,
) -> Result<T, Vec<String>> {
    match read {
        Ok(read) if problems.is_empty() => Ok(read),
        Ok(_) => Err(problems),
        Err(others) => {
            problems.extend(others);
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_are_no_obstacle_where_nobody_reads_them() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, -1], "c": "Infinity \" NaN", "NaN": 1, "d": -0.5}"#;
        let found = Value::Object(fields(text).unwrap());
        let expected = serde_json::json!({
            "a": "NaN", "b": ["-Infinity", "Infinity", -1], "c": "Infinity \" NaN", "NaN": 1, "d": -0.5,
        });
        assert_eq!(found, expected);
        assert!(fields("[NaN]").is_err());
        assert!(fields("{\"a\": Nothing}").is_err());
        assert!(fields("{\"a").is_err());
    }

    #[test]
    fn pointers_are_named() {
        let text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
        assert!(fields(text).unwrap_err().contains("git lfs pull"));
    }

    #[test]
    fn other_values_are_named() {
        let found = fields(r#"{"a": 2, "b": null, "c": 1, "kind": "x"}"#).unwrap();
        let neutral = [
            ("a", Value::from(1)),
            ("b", Value::from(1)),
            ("c", Value::from(1.0)),
        ];
        assert_eq!(only(&found, &neutral), ["a: 2 is not supported, only 1"]);
        assert_eq!(is_class(&found, "kind", &["x", "y"]), None);
        assert_eq!(is_class(&found, "other", &["x"]), None);
        let other = is_class(&found, "kind", &["y"]).unwrap();
        assert!(other.contains("kind") && other.contains('y'), "{other}");
    }
}
