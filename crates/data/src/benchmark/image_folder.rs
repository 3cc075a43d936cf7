//! Pictures in folders named after what they show, as ImageNet and its relatives are distributed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{layout, names};
use crate::DataError;
use crate::image::is_picture;

/// Pictures and what they show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFolder {
    /// What pictures may show, in order of the folders' names.
    pub labels: Vec<String>,
    /// The pictures, folder by folder.
    pub pictures: Vec<LabelledPicture>,
}

/// A picture in a folder of its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledPicture {
    /// Where it lies.
    pub path: PathBuf,
    /// The same from the folder of all classes on, with `/`: `n01443537/1.jpg`.
    pub name: String,
    /// What it shows, in [`ImageFolder::labels`].
    pub label: usize,
}

/// Words for folders, in one of the forms in which they are passed around.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    /// `{"n01443537": "goldfish"}`, or `{"1": ["n01443537", "goldfish"]}` (`imagenet_class_index.json`).
    Object(BTreeMap<String, Word>),
    /// `["tench", "goldfish"]`: of the folders `0`, `1`, …
    List(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Pair([String; 2]),
}

impl ImageFolder {
    /// Lists a folder of class folders. Without `labels` a folder's name is what its pictures show; with it, what the file
    /// says: JSON as `{"n01443537": "goldfish"}`, `{"1": ["n01443537", "goldfish"]}` or `["tench", "goldfish"]` (of folders
    /// `0`, `1`, …), lines of a folder's name, white space and words, or lines of a label each. `_` is a space in all of them.
    ///
    /// Labels without a folder count, too: they are what a picture may be mistaken for.
    ///
    /// # Errors
    /// `Io`; `Malformed` naming a folder without label, folders whose names are numbers of classes if nothing says what they
    /// stand for, or what is wrong with the file; `Empty`.
    pub fn read(folder: &Path, labels: Option<&Path>) -> Result<Self, DataError> {
        let mut classes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for class in names(folder)? {
            if folder.join(&class).is_dir() {
                let files = names(&folder.join(&class))?;
                let files: Vec<String> = files.into_iter().filter(|n| is_picture(n)).collect();
                if !files.is_empty() {
                    classes.insert(class, files); // what holds documents or masks is no class
                }
            }
        }
        let words: BTreeMap<String, String> = match labels {
            Some(file) => read_labels(file, &classes)?,
            None => {
                if let Some(number) = classes.keys().find(|name| is_class_number(name)) {
                    let expected = "words in the folders' names, or a file that says what they stand for \
                                    (--labels, as imagenet_class_index.json or ImageNet-R's README.txt)";
                    let found = format!("the number of a class, {number}");
                    let folder = folder.display().to_string();
                    return Err(DataError::malformed(folder, "folders", expected, found));
                }
                let names = classes.keys();
                names.map(|class| (class.clone(), spoken(class))).collect()
            }
        };
        let mut texts: Vec<String> = words.values().cloned().collect();
        texts.sort();
        texts.dedup();
        let mut pictures = Vec::new();
        for (class, files) in &classes {
            let Some(word) = words.get(class) else {
                let file = labels.unwrap_or(folder).display().to_string();
                let expected = format!("a label for the folder {class}");
                return Err(DataError::malformed(file, "labels", expected, "none"));
            };
            let label = texts
                .iter()
                .position(|text| text == word)
                .unwrap_or_default();
            pictures.extend(files.iter().map(|file| LabelledPicture {
                path: folder.join(class).join(file),
                name: format!("{class}/{file}"),
                label,
            }));
        }
        let found = names(folder)?;
        if pictures.is_empty() && !found.is_empty() {
            let expected =
                "folders of pictures, one for each class, named after what its pictures show";
            return Err(layout(folder, expected, &found));
        }
        if pictures.is_empty() {
            return Err(DataError::Empty {
                what: folder.display().to_string(),
                hint: "it should hold a folder of pictures for each class".into(),
            });
        }
        if texts.len() < 2 {
            return Err(DataError::malformed(
                folder.display().to_string(),
                "labels",
                "two or more, between which to choose",
                texts.len().to_string(),
            ));
        }
        Ok(Self {
            labels: texts,
            pictures,
        })
    }
}

/// A name as it is said: `great_white_shark` is "great white shark".
pub(super) fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

/// Whether a folder's name stands for a class without saying which: `n01443537` of WordNet.
fn is_synset(name: &str) -> bool {
    let digits = name.strip_prefix('n').unwrap_or_default();
    digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The same of ImageNetV2's folders, which are named `0` to `999`. Single digits may be what a picture shows.
fn is_class_number(name: &str) -> bool {
    is_synset(name) || (name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The labels of a file, of whatever they are.
///
/// # Errors
/// As [`ImageFolder::read`].
pub(super) fn read_label_list(file: &Path) -> Result<Vec<String>, DataError> {
    Ok(read_labels(file, &BTreeMap::new())?.into_values().collect())
}

/// Words of folders; `classes` are those that hold pictures.
fn read_labels(
    file: &Path,
    classes: &BTreeMap<String, Vec<String>>,
) -> Result<BTreeMap<String, String>, DataError> {
    let written = read_written(file, classes)?.into_iter();
    Ok(written
        .map(|(folder, label)| (folder, spoken(&label)))
        .collect())
}

/// The same as the file has them.
fn read_written(
    file: &Path,
    classes: &BTreeMap<String, Vec<String>>,
) -> Result<BTreeMap<String, String>, DataError> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| DataError::io(file, e))?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with(['{', '[']) {
        let is_pair = |line: &&str| {
            let pair = line.trim().split_once(char::is_whitespace);
            pair.is_some_and(|(folder, _)| classes.contains_key(folder))
        };
        let is_label = |line: &&str| {
            let label = spoken(line.trim());
            classes.keys().any(|class| spoken(class) == label)
        };
        let pairs = text.lines().filter(is_pair).count();
        if pairs > 0 && pairs >= text.lines().filter(is_label).count() {
            return lines(&name, text);
        }
        let labels = text
            .lines()
            .map(str::trim)
            .filter(|label| !label.is_empty());
        return Ok(labels
            .map(|label| {
                let folder = classes.keys().find(|class| spoken(class) == spoken(label));
                (
                    folder.cloned().unwrap_or_else(|| label.to_owned()),
                    label.to_owned(),
                )
            })
            .collect());
    }
    let words: Words = serde_json::from_str(text).map_err(|e| {
        let place = format!("line {}, column {}", e.line(), e.column());
        let expected = "an object of folder to label, or a list of labels";
        DataError::malformed(&name, place, expected, e.to_string())
    })?;
    Ok(match words {
        Words::Object(words) => words
            .into_iter()
            .map(|(key, word)| match word {
                Word::Text(text) => (key, text),
                Word::Pair(pair) => pair.into(),
            })
            .collect(),
        Words::List(words) => words
            .into_iter()
            .enumerate()
            .map(|(at, w)| (at.to_string(), w))
            .collect(),
    })
}

/// Lines of a folder's name and its label. Where the names are WordNet's, other lines are prose: ImageNet-R's README begins
/// with some.
fn lines(name: &str, text: &str) -> Result<BTreeMap<String, String>, DataError> {
    let starts_synset = |line: &str| line.split_whitespace().next().is_some_and(is_synset);
    let prose = text.lines().any(starts_synset);
    let mut words = BTreeMap::new();
    let lines = text.lines().enumerate();
    for (number, line) in
        lines.filter(|(_, line)| !line.trim().is_empty() && (!prose || starts_synset(line)))
    {
        let place = format!("line {}", number + 1);
        let Some((folder, label)) = line.trim().split_once(char::is_whitespace) else {
            return Err(DataError::malformed(
                name,
                place,
                "a folder and its label",
                line,
            ));
        };
        if words
            .insert(folder.to_owned(), label.trim().to_owned())
            .is_some()
        {
            return Err(DataError::malformed(
                name,
                place,
                "each folder once",
                folder,
            ));
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::folder;
    use super::*;

    fn read(folder: &Path, labels: &str) -> Result<ImageFolder, DataError> {
        let file = folder.join("labels");
        std::fs::write(&file, labels).unwrap();
        ImageFolder::read(folder, Some(&file))
    }

    #[test]
    fn pictures_without_folders_are_told() {
        let folder = folder(&["1.png", "2.png"]);
        let error = ImageFolder::read(folder.path(), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("one for each class"), "{error}");
        assert!(error.contains("found 1.png, 2.png"), "{error}");
    }

    #[test]
    fn folders_name_what_they_hold() {
        let folder = folder(&[
            "sea_lion/2.JPG",
            "sea_lion/1.png",
            "cat/1.jpg",
            "cat/notes.txt",
            "README.md",
            "docs/a.md",
        ]);
        let found = ImageFolder::read(folder.path(), None).unwrap();
        assert_eq!(found.labels, ["cat", "sea lion"]);
        let names: Vec<&str> = found.pictures.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["cat/1.jpg", "sea_lion/1.png", "sea_lion/2.JPG"]);
        assert_eq!(found.pictures[1].label, 1);
    }

    #[test]
    fn labels_come_in_many_forms() {
        let numbered = folder(&["0/1.jpg", "1/1.jpg"]);
        let found = read(numbered.path(), r#"["tench", "goldfish", "shark"]"#).unwrap();
        assert_eq!(found.labels, ["goldfish", "shark", "tench"]);
        assert_eq!(found.labels[found.pictures[0].label], "tench");
        let synsets = folder(&["n01/1.jpg", "n02/1.jpg"]);
        for labels in [
            r#"{"n01": "tench", "n02": "great white shark"}"#,
            r#"{"0": ["n01", "tench"], "1": ["n02", "great_white_shark"]}"#,
            r#"{"n01": "tench", "n02": "great_white_shark"}"#,
            "n01 tench\nn02\tgreat white shark\n",
            "n01 tench\nn02 great_white_shark\n",
        ] {
            let found = read(synsets.path(), labels).unwrap();
            assert_eq!(found.labels, ["great white shark", "tench"], "{labels}");
            assert_eq!(found.pictures[1].label, 0);
        }
    }

    #[test]
    fn numbers_of_classes_are_no_words() {
        for names in [
            ["n01443537/1.jpg", "n01484850/1.jpg"],
            ["7/1.jpg", "12/1.jpg"],
        ] {
            let error = ImageFolder::read(folder(&names).path(), None).unwrap_err();
            assert!(error.to_string().contains("--labels"), "{error}");
        }
        let digits = folder(&["7/1.jpg", "8/1.jpg"]);
        assert_eq!(
            ImageFolder::read(digits.path(), None).unwrap().labels,
            ["7", "8"]
        );
    }

    #[test]
    fn prose_above_the_labels_of_synsets_is_left_out() {
        let synsets = folder(&["n01443537/1.jpg", "n01484850/1.jpg"]);
        let readme = "ImageNet-R: 200 classes.\n\nClass names:\nn01443537 goldfish\nn01484850 great_white_shark\n";
        let found = read(synsets.path(), readme).unwrap();
        assert_eq!(found.labels, ["goldfish", "great white shark"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let synsets = folder(&["n01/1.jpg", "n02/1.jpg"]);
        let error = |labels: &str| read(synsets.path(), labels).unwrap_err().to_string();
        assert!(error(r#"{"n01": "tench"}"#).contains("the folder n02"));
        assert!(error("n01 a\nn01 b").contains("line 2"));
        assert!(error("n01 a\nn02").contains("line 2"));
        assert!(error("n01").contains("the folder n02"));
        assert!(error("{").contains("line 1"));
        assert!(ImageFolder::read(folder(&["a.jpg"]).path(), None).is_err());
        let one = ImageFolder::read(folder(&["cat/a.jpg"]).path(), None).unwrap_err();
        assert!(one.to_string().contains("two or more"), "{one}");
    }
}
