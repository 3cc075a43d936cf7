//! Zero-shot classification: pictures in folders of their classes, or in shards with labels, and what is said of a label.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::candidates::{CandidateText, Candidates};
use super::image_folder::{ImageFolder, read_label_list, spoken};
use super::shards::shards_of;
use super::{Item, Picture};
use crate::DataError;

/// What is said of a label: sentences with `{}` in the label's place, whose embeddings are averaged (Radford et al. 2021,
/// §3.1.4). A short list of plain ones.
const TEMPLATES: [&str; 7] = [
    "a photo of a {}.",
    "a photo of the {}.",
    "a close photo of a {}.",
    "a blurred photo of a {}.",
    "a bright photo of a {}.",
    "a photo of one {} among other things.",
    "a picture of a {}.",
];

/// How a folder of labelled pictures is read.
#[derive(Clone, Debug, Default)]
pub struct LabelOptions {
    /// A file of labels, see [`ImageFolder::read`]; without it the folders' names, or the labels in the shards.
    pub labels: Option<PathBuf>,
    /// A file of templates, one a line with `{}` in the label's place; without it a short list.
    pub templates: Option<PathBuf>,
}

/// Reads a folder of class folders, or of WebDataset shards (`*.tar`) whose records have a `label`.
///
/// # Errors
/// `Io`; `Malformed` naming a template without its place, a label list that does not fit, or a record; `Empty`.
pub fn read_labelled(folder: &Path, options: &LabelOptions) -> Result<Vec<Item>, DataError> {
    let templates = templates(options.templates.as_deref())?;
    let (labels, items) = match shards_of(folder, Some("label"))? {
        Some(shards) => {
            let mut items = Vec::new();
            for index in 0..shards.len() {
                let (id, label) = shards.caption(index)?;
                let picture = Picture::Shard {
                    shards: shards.clone(),
                    index,
                    id: id.clone(),
                };
                items.push((id, picture, spoken(&label)));
            }
            let labels = match &options.labels {
                None => items.iter().map(|(_, _, label)| label.clone()).collect(),
                Some(file) => {
                    let known: BTreeSet<String> = read_label_list(file)?.into_iter().collect();
                    if let Some((id, _, label)) =
                        items.iter().find(|(_, _, label)| !known.contains(label))
                    {
                        let expected = format!("the label {label:?} of {id}");
                        return Err(DataError::malformed(
                            file.display().to_string(),
                            "labels",
                            expected,
                            "not in the list",
                        ));
                    }
                    known
                }
            };
            (labels.into_iter().collect::<Vec<_>>(), items)
        }
        None => {
            let found = ImageFolder::read(folder, options.labels.as_deref())?;
            let items = found.pictures.into_iter().map(|picture| {
                let label = found.labels[picture.label].clone();
                (picture.name, Picture::File(picture.path), label)
            });
            (found.labels.clone(), items.collect())
        }
    };
    if labels.len() < 2 {
        let found = labels.len().to_string();
        return Err(DataError::malformed(
            folder.display().to_string(),
            "labels",
            "two or more, between which to choose",
            found,
        ));
    }
    let texts = labels.into_iter().map(|label| CandidateText {
        wordings: templates
            .iter()
            .map(|template| template.replace("{}", &label))
            .collect(),
        name: label,
    });
    let candidates = Arc::new(Candidates::Texts(texts.collect()));
    let items = items.into_iter().map(|(id, picture, label)| Item {
        answers: vec![label],
        cluster: id.clone(),
        candidates: Some(candidates.clone()),
        ..Item::new(id, "pictures", picture)
    });
    Ok(items.collect())
}

fn templates(file: Option<&Path>) -> Result<Vec<String>, DataError> {
    let Some(file) = file else {
        return Ok(TEMPLATES.map(str::to_owned).to_vec());
    };
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|e| DataError::io(file, e))?;
    let lines = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .enumerate();
    let mut templates = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        if !line.contains("{}") {
            let place = format!("line {}", number + 1);
            return Err(DataError::malformed(
                name,
                place,
                "a sentence with {} in the label's place",
                line,
            ));
        }
        templates.push(line.to_owned());
    }
    if templates.is_empty() {
        return Err(DataError::Empty {
            what: name,
            hint: "it should hold a sentence a line, with {} in the label's place".into(),
        });
    }
    Ok(templates)
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::folder;
    use super::*;

    fn texts(items: &[Item]) -> Vec<CandidateText> {
        match items[0].candidates.as_deref() {
            Some(Candidates::Texts(texts)) => texts.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn folders_are_classes_and_labels_have_sentences() {
        let folder = folder(&["sea_lion/1.jpg", "cat/1.jpg", "cat/2.jpg"]);
        let items = read_labelled(folder.path(), &LabelOptions::default()).unwrap();
        assert_eq!(
            (items.len(), items[2].answers.clone()),
            (3, vec!["sea lion".to_owned()])
        );
        assert_eq!(
            (items[2].id.as_str(), items[2].cluster.as_str()),
            ("sea_lion/1.jpg", "sea_lion/1.jpg")
        );
        let texts = texts(&items);
        assert_eq!((texts.len(), texts[1].wordings.len()), (2, TEMPLATES.len()));
        assert_eq!(texts[1].wordings[0], "a photo of a sea lion.");
    }

    #[test]
    fn lists_of_labels_and_templates_are_files() {
        let folder = folder(&["sea_lion/1.jpg", "cat/1.jpg"]);
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let options = LabelOptions {
            labels: file("labels.txt", "cat\ngolden retriever\nsea lion\n"),
            templates: file("templates.txt", "# plain\n\n{} here\n"),
        };
        let items = read_labelled(folder.path(), &options).unwrap();
        let found = texts(&items);
        assert_eq!(found.len(), 3);
        assert_eq!(found[1].wordings, ["golden retriever here"]);
        let error = |options: LabelOptions| {
            read_labelled(folder.path(), &options)
                .unwrap_err()
                .to_string()
        };
        let few = LabelOptions {
            labels: file("few.txt", "cat\nshark\n"),
            ..LabelOptions::default()
        };
        assert!(error(few).contains("sea_lion"));
        let bad = LabelOptions {
            templates: file("bad.txt", "a {}\nno place\n"),
            ..LabelOptions::default()
        };
        assert!(error(bad).contains("line 2"));
        let none = LabelOptions {
            templates: file("none.txt", "\n"),
            ..LabelOptions::default()
        };
        assert!(error(none).contains("sentence a line"));
    }
}
