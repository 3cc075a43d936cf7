//! Reads the corpus from its WebDataset shards: `<codepoint>.<style>.webp|png` beside `.json`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use serde::Deserialize;

use super::{Concept, Corpus, Drawing, Style, Subset};
use crate::DataError;

/// The shards that are compiled into the program.
const BUILTIN: [(Style, &[u8]); 8] = [
    (
        Style::Noto,
        include_bytes!("../../../../../assets/corpus/noto.tar"),
    ),
    (
        Style::Twemoji,
        include_bytes!("../../../../../assets/corpus/twemoji.tar"),
    ),
    (
        Style::Fluent3d,
        include_bytes!("../../../../../assets/corpus/fluent-3d.tar"),
    ),
    (
        Style::FluentFlat,
        include_bytes!("../../../../../assets/corpus/fluent-flat.tar"),
    ),
    (
        Style::FluentHighContrast,
        include_bytes!("../../../../../assets/corpus/fluent-high-contrast.tar"),
    ),
    (
        Style::NotoBlob,
        include_bytes!("../../../../../assets/corpus/noto-blob.tar"),
    ),
    (
        Style::Emojione,
        include_bytes!("../../../../../assets/corpus/emojione.tar"),
    ),
    (
        Style::Fxemoji,
        include_bytes!("../../../../../assets/corpus/fxemoji.tar"),
    ),
];

/// Largest record accepted; a drawing of 256x256 pixels is far below.
const MAX_RECORD: u64 = 4 << 20;

#[derive(Deserialize)]
struct Record {
    concept: String,
    label: String,
    category: String,
    plural: String,
    kind: String,
    family: String,
    subset: Subset,
    orientable: bool,
    tags: Vec<String>,
    group: String,
    subgroup: String,
    style: Style,
}

#[derive(Default)]
struct Pending {
    json: Option<Vec<u8>>,
    picture: Option<Vec<u8>>,
}

impl Corpus {
    /// The corpus that is compiled into the program in the styles that have every concept: 160 concepts, or its core
    /// subset.
    ///
    /// # Errors
    /// As [`Self::in_styles`].
    pub fn builtin(subset: Subset) -> Result<Self, DataError> {
        Self::in_styles(subset, &Style::COMPLETE)
    }

    /// The corpus that is compiled into the program, drawings of these styles only; they stand in the order of the
    /// shards, whatever that of `styles`.
    ///
    /// # Errors
    /// `Unknown` for a style that is not compiled in; `Malformed` or `Image` if the shards were damaged before the
    /// build.
    pub fn in_styles(subset: Subset, styles: &[Style]) -> Result<Self, DataError> {
        let is_builtin = |style: &Style| BUILTIN.iter().any(|(builtin, _)| builtin == style);
        if let Some(other) = styles.iter().find(|style| !is_builtin(style)) {
            return Err(DataError::Unknown {
                what: "style",
                name: other.name().into(),
                available: BUILTIN.len(),
            });
        }
        let mut builder = Builder::default();
        for (style, bytes) in BUILTIN.iter().filter(|(style, _)| styles.contains(style)) {
            builder.shard(&format!("{}.tar", style.name()), Cursor::new(*bytes))?;
        }
        Ok(builder.finish()?.subset(subset))
    }

    /// The corpus in the `*.tar` shards of a folder, in the order of their names.
    ///
    /// # Errors
    /// `Io` for unreadable files, `Empty` without shards, `Malformed` or `Image` for broken records.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|e| DataError::io(folder, e))? {
            let path = entry.map_err(|e| DataError::io(folder, e))?.path();
            if path.extension().is_some_and(|e| e == "tar") {
                paths.push(path);
            }
        }
        paths.sort();
        if paths.is_empty() {
            return Err(DataError::Empty {
                what: format!("corpus folder {}", folder.display()),
                hint: "it should hold *.tar shards (`deem data fetch emoji` makes them)".into(),
            });
        }
        let mut builder = Builder::default();
        for path in &paths {
            let file = File::open(path).map_err(|e| DataError::io(path, e))?;
            builder.shard(&path.display().to_string(), BufReader::new(file))?;
        }
        builder.finish()
    }
}

#[derive(Default)]
struct Builder {
    concepts: Vec<Concept>,
    known: HashMap<String, usize>,
    drawings: Vec<Drawing>,
}

impl Builder {
    fn shard(&mut self, name: &str, reader: impl Read) -> Result<(), DataError> {
        let mut pending: BTreeMap<String, Pending> = BTreeMap::new();
        let mut order = Vec::new();
        let mut archive = tar::Archive::new(reader);
        let broken =
            |e: std::io::Error| DataError::malformed(name, "archive", "a tar file", e.to_string());
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = entry.path().map_err(broken)?.display().to_string();
            if entry.size() > MAX_RECORD {
                return Err(DataError::malformed(
                    name,
                    path,
                    "at most 4 MiB",
                    format!("{} bytes", entry.size()),
                ));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(broken)?;
            let Some((key, extension)) = path.rsplit_once('.') else {
                return Err(DataError::malformed(
                    name,
                    path,
                    "<codepoint>.<style>.<extension>",
                    "no extension",
                ));
            };
            let slot = pending.entry(key.to_owned()).or_insert_with(|| {
                order.push(key.to_owned());
                Pending::default()
            });
            match extension {
                "json" => slot.json = Some(bytes),
                "webp" | "png" => slot.picture = Some(bytes),
                _ => {
                    return Err(DataError::malformed(
                        name,
                        path.clone(),
                        ".json, .webp or .png",
                        extension,
                    ));
                }
            }
        }
        for key in order {
            let pair = pending.remove(&key).unwrap_or_default();
            let (Some(json), Some(picture)) = (pair.json, pair.picture) else {
                return Err(DataError::malformed(
                    name,
                    key,
                    "a picture and a .json of the same name",
                    "only one of them",
                ));
            };
            self.record(name, &key, &json, &picture)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        shard: &str,
        key: &str,
        json: &[u8],
        picture: &[u8],
    ) -> Result<(), DataError> {
        let record: Record = serde_json::from_slice(json).map_err(|e| {
            DataError::malformed(
                shard,
                format!("{key}.json"),
                "a corpus record",
                e.to_string(),
            )
        })?;
        let expected = format!("{}.{}", record.concept, record.style.name());
        if expected != key {
            return Err(DataError::malformed(
                shard,
                format!("{key}.json"),
                key,
                expected,
            ));
        }
        let image = image::load_from_memory(picture)
            .map_err(|e| DataError::Image {
                name: format!("{shard}:{key}"),
                reason: e.to_string(),
            })?
            .to_rgba8();
        let concept = match self.known.get(&record.concept) {
            Some(index) => *index,
            None => {
                self.known
                    .insert(record.concept.clone(), self.concepts.len());
                self.concepts.push(Concept {
                    id: record.concept,
                    noun: record.category,
                    plural: record.plural,
                    label: record.label,
                    kind: record.kind,
                    family: record.family,
                    subset: record.subset,
                    orientable: record.orientable,
                    tags: record.tags,
                    group: record.group,
                    subgroup: record.subgroup,
                });
                self.concepts.len() - 1
            }
        };
        self.drawings.push(Drawing {
            id: key.to_owned(),
            concept,
            style: record.style,
            image,
        });
        Ok(())
    }

    fn finish(self) -> Result<Corpus, DataError> {
        Corpus::new(self.concepts, self.drawings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, data) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(data.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *data).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn error_of(files: &[(&str, &[u8])]) -> String {
        Builder::default()
            .shard("x.tar", Cursor::new(tar_of(files)))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn builtin_has_every_concept_in_every_style() {
        let corpus = Corpus::builtin(Subset::Extended).unwrap();
        assert_eq!(corpus.concepts().len(), 160);
        assert_eq!(corpus.drawings().len(), 800);
        for concept in 0..160 {
            let styles: Vec<Style> = corpus
                .drawings_of(concept)
                .iter()
                .map(|d| corpus.drawings()[*d].style)
                .collect();
            assert_eq!(styles, Style::COMPLETE);
        }
        let core = Corpus::builtin(Subset::Core).unwrap();
        assert_eq!(core.concepts().len(), 64);
        assert!(core.concepts().iter().all(|c| c.orientable));
        assert_eq!(
            core.drawings()[core.drawing("1f408.noto").unwrap()]
                .image
                .dimensions(),
            (64, 64)
        );
        assert_eq!(
            core.concepts()[core.concept_of_noun("cat").unwrap()].plural,
            "cats"
        );
    }

    #[test]
    fn further_styles_have_a_part_of_the_concepts_and_change_no_other_drawing() {
        let complete = Corpus::builtin(Subset::Extended).unwrap();
        let all: Vec<Style> = BUILTIN.iter().map(|(style, _)| *style).collect();
        let corpus = Corpus::in_styles(Subset::Extended, &all).unwrap();
        assert_eq!(corpus.concepts(), complete.concepts());
        for (index, drawing) in complete.drawings().iter().enumerate() {
            assert_eq!(corpus.drawings()[index].id, drawing.id);
        }
        for style in &all[5..] {
            let of_style = corpus.drawings().iter().filter(|d| d.style == *style);
            let drawn = of_style.inspect(|d| assert_eq!(d.image.dimensions(), (64, 64)));
            let drawn = drawn.count();
            assert!((100..160).contains(&drawn), "{style:?}: {drawn}");
        }
        let missing = Corpus::in_styles(Subset::Core, &[Style::OpenmojiBlack]).unwrap_err();
        assert!(missing.to_string().contains("openmoji-black"), "{missing}");
    }

    #[test]
    fn broken_shards_name_file_and_record() {
        assert!(error_of(&[("1f408.noto.json", b"{}")]).contains("only one of them"));
        let found = error_of(&[("1f408.noto.json", b"{}"), ("1f408.noto.webp", b"")]);
        assert!(
            found.contains("x.tar, 1f408.noto.json") && found.contains("missing field"),
            "{found}"
        );
        assert!(error_of(&[("readme", b"")]).contains("no extension"));
        let found = Builder::default()
            .shard("x.tar", Cursor::new(vec![7u8; 1024]))
            .unwrap_err()
            .to_string();
        assert!(found.starts_with("x.tar, archive"), "{found}");
    }
}
