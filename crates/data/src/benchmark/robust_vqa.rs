//! RobustVQA: one JSON object with the lists `imagenet_a`, `imagenet_r` and `imagenet_v2` (or others, of pictures of one's
//! own); each entry names a picture, its true label and the label that an encoder mistook it for. Pictures lie anywhere below the folder.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{only_json, write_file};
use super::{Item, Picture, PictureFolder};
use crate::DataError;
use crate::text::protocol::{MAIN_OBJECT, fill};

/// The sets: ImageNet-A, ImageNet-R, ImageNetV2.
pub const ROBUST_VQA_SETS: [&str; 3] = ["A", "R", "V"];

const FILE: &str = "robustvqa.json";

/// Keys of the published lists, and the names of their sets.
const LISTS: [(&str, &str); 3] = [
    ("imagenet_a", "A"),
    ("imagenet_r", "R"),
    ("imagenet_v2", "V"),
];

type File = BTreeMap<String, Vec<RobustVqaEntry>>;

/// The set of a list: `A`, `R`, `V`, or, of pictures of one's own, the key itself.
fn set_of(key: &str) -> &str {
    let known = LISTS.iter().find(|(list, _)| *list == key);
    known.map_or(key, |(_, set)| set)
}

/// A picture that a classifier mistook for something else, as an entry of one of the lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RobustVqaEntry {
    /// The picture, from the benchmark's folder on.
    pub file_name: String,
    /// What it shows.
    pub gt_caption: String,
    /// What it was taken for.
    pub error_caption: String,
}

/// Two questions about one picture: with the true label (yes) and with the mistaken one (no). `name` names the
/// picture within its set.
pub(crate) fn questions(
    set: &str,
    picture: &Picture,
    name: &str,
    [truth, mistaken]: [&str; 2],
    provenance: &[String],
) -> [Item; 2] {
    let ask = |label: &str, answer: &str| Item {
        question: fill(MAIN_OBJECT, &[("noun", label)]),
        answers: vec![answer.to_owned()],
        label: Some(label.to_owned()),
        cluster: name.to_owned(),
        provenance: provenance.to_vec(),
        ..Item::new(format!("{set}/{name}/{answer}"), set, picture.clone())
    };
    [ask(truth, "yes"), ask(mistaken, "no")]
}

/// Reads a RobustVQA folder: `robustvqa.json`, or the only JSON file; pictures are read when they are needed.
///
/// # Errors
/// `Io`; `Malformed` naming folder, or file, list and entry; `Empty`.
pub fn read_robust_vqa(folder: &Path) -> Result<Vec<Item>, DataError> {
    let file = only_json(folder, FILE)?;
    let name = file.display().to_string();
    let text = std::fs::read_to_string(&file).map_err(|e| DataError::io(&file, e))?;
    let lists: File = serde_json::from_str(&text).map_err(|e| {
        let place = format!("line {}, column {}", e.line(), e.column());
        let expected = "lists, as imagenet_a, of {file_name, gt_caption, error_caption}";
        DataError::malformed(&name, place, expected, e.to_string())
    })?;
    let pictures = PictureFolder::open(folder)?;
    let mut items = Vec::new();
    for (list, entries) in &lists {
        let set = set_of(list);
        let mut asked: HashMap<&str, usize> = HashMap::new();
        for (number, entry) in entries.iter().enumerate() {
            let place = format!("{list}[{number}]");
            if entry.gt_caption == entry.error_caption {
                return Err(DataError::malformed(
                    &name,
                    place,
                    "two different labels",
                    &entry.gt_caption,
                ));
            }
            let times = asked.entry(&entry.file_name).or_default();
            *times += 1;
            let picture = pictures.of_record(&entry.file_name, &name, &place)?;
            let labels = [entry.gt_caption.as_str(), &entry.error_caption];
            let mut pair = questions(set, &picture, &entry.file_name, labels, &[]);
            if *times > 1 {
                // A picture may be mistaken for several things: its questions are told apart.
                pair.iter_mut()
                    .for_each(|item| item.id.push_str(&format!("/{times}")));
            }
            items.extend(pair);
        }
    }
    if items.is_empty() {
        return Err(DataError::Empty {
            what: name,
            hint: "none of its lists has an entry".into(),
        });
    }
    Ok(items)
}

/// With all lists that the published file has, if it has one of them.
fn with_published_lists(mut lists: File) -> File {
    for (list, _) in LISTS {
        lists.entry(list.to_owned()).or_default();
    }
    lists
}

/// Writes the entries of one set as a file that [`read_robust_vqa`] reads, whole or not at all: `list` is `imagenet_a`,
/// `imagenet_r`, `imagenet_v2` (the others are then there and empty), or a name for pictures of one's own.
///
/// # Errors
/// `Io`.
pub fn write_robust_vqa_entries(
    list: &str,
    entries: &[RobustVqaEntry],
    file: &Path,
) -> Result<(), DataError> {
    let mut lists = File::from([(list.to_owned(), entries.to_vec())]);
    if set_of(list) != list {
        lists = with_published_lists(lists);
    }
    let json = serde_json::to_vec_pretty(&lists).map_err(|e| DataError::io(file, e.into()))?;
    let temporary = file.with_extension("json.part");
    write_file(&temporary, &json)?;
    std::fs::rename(&temporary, file).map_err(|e| DataError::io(file, e))
}

/// Writes RobustVQA items (pairs of questions, as made here or read by [`read_robust_vqa`]) in the layout that it
/// reads; pictures go to `images`.
///
/// # Errors
/// `Io`; `Malformed` if a question lacks its counterpart.
pub fn write_robust_vqa(items: &[Item], folder: &Path) -> Result<(), DataError> {
    let file = folder.join(FILE);
    let mut lists = with_published_lists(File::new());
    let name = file.display().to_string();
    for pair in items.chunks(2) {
        let labels = match pair {
            [yes, no] if yes.cluster == no.cluster => yes.label.clone().zip(no.label.clone()),
            _ => None,
        };
        let Some((gt_caption, error_caption)) = labels else {
            return Err(DataError::malformed(
                &name,
                &pair[0].id,
                "a yes and a no question with labels",
                "one of them",
            ));
        };
        pair[0].picture.write(&folder.join("images"))?;
        let entry = RobustVqaEntry {
            file_name: pair[0].picture.id(),
            gt_caption,
            error_caption,
        };
        let set = pair[0].part.as_str();
        let known = LISTS.iter().find(|(_, name)| *name == set);
        let key = known.map_or(set, |(list, _)| list);
        lists.entry(key.to_owned()).or_default().push(entry);
    }
    let json = serde_json::to_vec_pretty(&lists).map_err(|e| DataError::io(&file, e.into()))?;
    write_file(&file, &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Item>, DataError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("robust.json"), text).unwrap();
        read_robust_vqa(folder.path())
    }

    #[test]
    fn the_published_layout_gives_two_questions_a_picture() {
        let items = read(
            r#"{"imagenet_a": [{"file_name": "n01/1.jpg", "gt_caption": "goldfish", "error_caption": "lemon"}],
                "imagenet_r": [], "imagenet_v2": [{"file_name": "2.jpg", "gt_caption": "cat", "error_caption": "dog"}]}"#,
        )
        .unwrap();
        let asked: Vec<(String, &str)> = items
            .iter()
            .map(|i| (i.question.clone(), i.answers[0].as_str()))
            .collect();
        let prompt = |l: &str| format!("Is {l} the main object in this image?");
        assert_eq!(
            asked,
            [
                (prompt("goldfish"), "yes"),
                (prompt("lemon"), "no"),
                (prompt("cat"), "yes"),
                (prompt("dog"), "no")
            ]
        );
        assert_eq!((items[0].part.as_str(), items[2].part.as_str()), ("A", "V"));
        assert_eq!(items[0].cluster, "n01/1.jpg");
        assert_ne!(items[0].id, items[1].id);
    }

    #[test]
    fn pictures_of_ones_own_are_a_set_by_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let entry = RobustVqaEntry {
            file_name: "cat/1.jpg".into(),
            gt_caption: "cat".into(),
            error_caption: "dog".into(),
        };
        let file = folder.path().join("robustvqa.json");
        for (list, set, lists) in [("sketches", "sketches", 1), ("imagenet_r", "R", 3)] {
            write_robust_vqa_entries(list, std::slice::from_ref(&entry), &file).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let written: File = serde_json::from_str(&text).unwrap();
            assert_eq!(written.len(), lists);
            assert_eq!(read_robust_vqa(folder.path()).unwrap()[0].part, set);
        }
    }

    #[test]
    fn questions_about_a_picture_listed_twice_are_told_apart() {
        let entry = |wrong| {
            format!(r#"{{"file_name": "1", "gt_caption": "x", "error_caption": "{wrong}"}}"#)
        };
        let items = read(&format!(
            r#"{{"imagenet_r": [{}, {}]}}"#,
            entry("y"),
            entry("z")
        ))
        .unwrap();
        let ids: Vec<&str> = items.iter().map(|i| i.id.as_str()).collect();
        assert_eq!(ids, ["R/1/yes", "R/1/no", "R/1/yes/2", "R/1/no/2"]);
        assert_eq!(items[0].cluster, items[3].cluster);
    }

    #[test]
    fn broken_files_are_named() {
        let error = read(r#"{"imagenet_a": [{"file_name": "1.jpg", "gt_caption": "x"}]}"#)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("robust.json") && error.contains("error_caption"),
            "{error}"
        );
        let same =
            r#"{"imagenet_r": [{"file_name": "1.jpg", "gt_caption": "x", "error_caption": "x"}]}"#;
        assert!(
            read(same)
                .unwrap_err()
                .to_string()
                .contains("imagenet_r[0]")
        );
        assert!(read(r#"{"imagenet_b": {}}"#).is_err());
        assert!(matches!(read("{}"), Err(DataError::Empty { .. })));
    }
}
