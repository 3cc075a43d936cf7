//! All freely licensed emoji styles with all concepts that every style has, as shards that
//! [`Corpus::open`](crate::world::corpus::Corpus::open) reads.

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::path::PathBuf;

use image::{ImageFormat, RgbaImage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::art::{Art, key, package};
use super::npm;
use crate::DataError;
use crate::world::corpus::{Concept, Corpus, Style, Subset};

const LABELS: &str = "emojibase-data@17.0.0";
const STYLES: [Style; 7] = [
    Style::Noto,
    Style::Twemoji,
    Style::Fluent3d,
    Style::FluentFlat,
    Style::FluentHighContrast,
    Style::OpenmojiColor,
    Style::OpenmojiBlack,
];
/// Emojibase's groups that show things: not components, not flags.
const GROUPS: [(u64, &str); 8] = [
    (0, "Smileys & Emotion"),
    (1, "People & Body"),
    (3, "Animals & Nature"),
    (4, "Food & Drink"),
    (5, "Travel & Places"),
    (6, "Activities"),
    (7, "Objects"),
    (8, "Symbols"),
];

/// What to fetch, and where to.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Folder of the shards.
    pub output: PathBuf,
    /// Folder that keeps the packages (about 170 MB), so that a second run fetches nothing.
    pub packages: PathBuf,
    /// The package client, usually `npm`.
    pub npm: PathBuf,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchReport {
    /// Concepts, each drawn in every style.
    pub concepts: usize,
    /// The shards written, with their sizes in bytes.
    pub shards: Vec<(PathBuf, u64)>,
}

#[derive(Deserialize)]
struct Label {
    hexcode: String,
    label: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    group: Option<u64>,
    #[serde(default)]
    subgroup: Option<u64>,
}

/// Fetches the packages and writes one shard per style. `progress` is told each step in words.
///
/// # Errors
/// `Program` if the package client fails; `Malformed` or `Image` for a damaged package; `Io`.
pub fn fetch_emoji(
    options: &FetchOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<FetchReport, DataError> {
    let mut get = |spec: &str| {
        progress(&format!("fetching {spec}"));
        npm::fetch(&options.npm, spec, &options.packages)
    };
    let labels = get(LABELS)?;
    let tarballs: Vec<PathBuf> = STYLES
        .iter()
        .map(|s| get(package(*s).0))
        .collect::<Result<_, _>>()?;
    let mut arts = Vec::new();
    for (style, tarball) in STYLES.iter().zip(&tarballs) {
        progress(&format!("reading {}", style.name()));
        arts.push(Art::open(*style, tarball)?);
    }
    let files = npm::files(&labels, |n| n == "en/data.json")?;
    let bytes = files
        .get("en/data.json")
        .map(Vec::as_slice)
        .unwrap_or_default();
    let labels: Vec<Label> = serde_json::from_slice(bytes).map_err(|e| {
        DataError::malformed(LABELS, "en/data.json", "emojibase's list", e.to_string())
    })?;
    let concepts = concepts(labels)?;
    // Only concepts that every style can draw.
    let mut drawn: Vec<(Concept, Vec<RgbaImage>)> = Vec::new();
    for concept in concepts {
        let images: Option<Vec<_>> = arts.iter().map(|a| a.drawing(&concept.id)).collect();
        if let Some(images) = images {
            drawn.push((concept, images.into_iter().collect::<Result<_, _>>()?));
        }
    }
    std::fs::create_dir_all(&options.output).map_err(|e| DataError::io(&options.output, e))?;
    let mut shards = Vec::new();
    for (index, style) in STYLES.iter().enumerate() {
        progress(&format!("writing {}.tar", style.name()));
        let path = options.output.join(format!("{}.tar", style.name()));
        let records: Vec<(&Concept, &RgbaImage)> =
            drawn.iter().map(|(c, i)| (c, &i[index])).collect();
        let bytes = shard(*style, &records).map_err(|e| DataError::io(&path, e))?;
        std::fs::write(&path, &bytes).map_err(|e| DataError::io(&path, e))?;
        shards.push((path, bytes.len() as u64));
    }
    Ok(FetchReport {
        concepts: drawn.len(),
        shards,
    })
}

/// Concepts with a noun of one or two plain words; the built-in ones as they are built in.
fn concepts(labels: Vec<Label>) -> Result<Vec<Concept>, DataError> {
    let builtin = Corpus::builtin(Subset::Extended)?;
    let known: HashMap<&str, &Concept> = builtin
        .concepts()
        .iter()
        .map(|c| (c.id.as_str(), c))
        .collect();
    let mut nouns: HashSet<String> = builtin.concepts().iter().map(|c| c.noun.clone()).collect();
    let mut concepts = Vec::new();
    for label in labels {
        let id = key(&label.hexcode);
        if let Some(concept) = known.get(id.as_str()) {
            concepts.push((*concept).clone());
            continue;
        }
        let group = GROUPS
            .iter()
            .find(|(number, _)| Some(*number) == label.group);
        let noun = label.label.to_lowercase();
        let words: Vec<&str> = noun.split(' ').collect();
        let plain = words
            .iter()
            .all(|w| !w.is_empty() && w.chars().all(|c| c.is_ascii_lowercase()));
        // Joined sequences are variants of other emoji (professions, genders, families).
        let (Some((_, group)), true, false) =
            (group, plain && words.len() <= 2, id.contains("200d"))
        else {
            continue;
        };
        if !nouns.insert(noun.clone()) {
            continue;
        }
        concepts.push(Concept {
            id,
            plural: plural(&noun),
            family: family(&words),
            label: label.label.clone(),
            kind: "other".into(),
            subset: Subset::Extended,
            orientable: false,
            tags: label.tags,
            group: (*group).to_owned(),
            subgroup: label.subgroup.map_or_else(String::new, |s| s.to_string()),
            noun,
        });
    }
    Ok(concepts)
}

/// Near-duplicates share their last word: "red heart" and "blue heart"; of faces, the first.
fn family(words: &[&str]) -> String {
    match words {
        [first, "face"] => (*first).to_owned(),
        [.., last] => (*last).to_owned(),
        [] => String::new(),
    }
}

fn plural(noun: &str) -> String {
    if noun.ends_with(['s', 'x', 'z']) || noun.ends_with("ch") || noun.ends_with("sh") {
        format!("{noun}es")
    } else if let Some(stem) = noun
        .strip_suffix('y')
        .filter(|s| !s.ends_with(['a', 'e', 'o', 'u']))
    {
        format!("{stem}ies")
    } else {
        format!("{noun}s")
    }
}

fn record(style: Style, concept: &Concept) -> Value {
    json!({
        "concept": concept.id, "label": concept.label, "category": concept.noun, "plural": concept.plural,
        "kind": concept.kind, "family": concept.family, "subset": concept.subset,
        "orientable": concept.orientable, "tags": concept.tags, "group": concept.group,
        "subgroup": concept.subgroup, "style": style.name(), "licence": package(style).1,
        "source": package(style).0,
    })
}

fn shard(style: Style, records: &[(&Concept, &RgbaImage)]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (concept, image) in records {
        let name = format!("{}.{}", concept.id, style.name());
        let mut picture = Cursor::new(Vec::new());
        image
            .write_to(&mut picture, ImageFormat::WebP)
            .map_err(std::io::Error::other)?;
        let json = record(style, concept).to_string();
        for (extension, data) in [
            ("json", json.as_bytes()),
            ("webp", picture.get_ref().as_slice()),
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("{name}.{extension}"), data)?;
        }
    }
    archive.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(hexcode: &str, label: &str, group: u64) -> Label {
        Label {
            hexcode: hexcode.into(),
            label: label.into(),
            tags: vec![],
            group: Some(group),
            subgroup: None,
        }
    }

    #[test]
    fn nouns_plurals_and_families() {
        let found = concepts(vec![
            label("1F408", "cat", 3),
            label("2764", "red heart", 0),
            label("1F499", "blue heart", 0),
            label("1F98A", "fox", 3),
            label("1F1E6", "flag: Chad", 9),
            label("1F9D1-200D-1F33E", "farmer", 1),
            label("1F552", "three o’clock", 5),
            label("1F9A1", "badger", 3),
        ])
        .unwrap();
        let nouns: Vec<&str> = found.iter().map(|c| c.noun.as_str()).collect();
        assert_eq!(nouns, ["cat", "red heart", "blue heart", "fox", "badger"]);
        assert_eq!(found[0].plural, "cats");
        assert!(found[0].orientable, "the built-in record is kept");
        assert_eq!(
            (found[1].family.as_str(), found[2].family.as_str()),
            ("heart", "heart")
        );
        assert_eq!(
            (plural("cherry"), plural("box"), plural("monkey")),
            ("cherries".into(), "boxes".into(), "monkeys".into())
        );
    }

    #[test]
    fn shards_are_read_back() {
        let concept = concepts(vec![label("1F9A1", "badger", 3)])
            .unwrap()
            .remove(0);
        let image = RgbaImage::from_pixel(64, 64, image::Rgba([1, 2, 3, 200]));
        let folder = tempfile::tempdir().unwrap();
        let bytes = shard(Style::OpenmojiBlack, &[(&concept, &image)]).unwrap();
        std::fs::write(folder.path().join("openmoji-black.tar"), bytes).unwrap();
        let corpus = Corpus::open(folder.path()).unwrap();
        assert_eq!(corpus.concepts(), [concept]);
        assert_eq!(corpus.drawings()[0].style, Style::OpenmojiBlack);
        assert_eq!(corpus.drawings()[0].image, image);
    }
}
