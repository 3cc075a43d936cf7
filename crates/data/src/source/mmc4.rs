//! MMC4 documents: sentences with pictures between them (DEEM, data of stage 1).
//!
//! Of a document's pictures those that are similar enough to their sentence are kept, at most six; documents without
//! pictures are left out, and half of those with one. Each picture stands before or after its sentence, drawn anew each
//! epoch.

use std::io::ErrorKind;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::records::{Records, Within};
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use super::{OneOrMore, Source};
use crate::DataError;
use crate::dice::Dice;
use crate::sample::{Sample, SampleImage, Segment};
use crate::storage::Pictures;

pub(super) const KIND: SourceKind = SourceKind {
    name: "mmc4",
    about: "documents of MMC4 with pictures between their sentences, in unpacked shards of JSON Lines; pictures that are not \
            in the folder are passed over",
    fields: &[
        Field {
            name: "shards",
            about: "the shards, a pattern as \"docs_shard_{0..9}_v3.jsonl\" or a list of them",
        },
        Field {
            name: "images",
            about: "folder that image_name starts from",
        },
        Field {
            name: "rules",
            about: "{ min_similarity = 0.24, max_images = 6, keep_single = 0.5, image_first = 0.5, count_leading_text = false }: \
                    which pictures and documents are kept; the paper's rules",
        },
    ],
    build: open,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    shards: OneOrMore,
    images: String,
    #[serde(default)]
    rules: DocumentRules,
}

/// The option `rules`; the defaults are the paper's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DocumentRules {
    /// Pictures less similar to their sentence are left out.
    min_similarity: f32,
    /// Most similar pictures of a document that are kept.
    max_images: usize,
    /// Share of the documents with one picture that are kept, in `[0, 1]`.
    keep_single: f32,
    /// Share of the pictures that stand before their sentence, in `[0, 1]`.
    image_first: f32,
    /// Whether text that no picture precedes counts in the text loss.
    count_leading_text: bool,
}

impl Default for DocumentRules {
    fn default() -> Self {
        Self {
            min_similarity: 0.24,
            max_images: 6,
            keep_single: 0.5,
            image_first: 0.5,
            count_leading_text: false,
        }
    }
}

#[derive(Deserialize)]
struct Document {
    text_list: Vec<String>,
    image_info: Vec<Info>,
}

#[derive(Deserialize)]
struct Info {
    image_name: String,
    matched_text_index: usize,
    matched_sim: f32,
}

struct Documents {
    shards: Vec<Records<Document>>,
    /// Documents up to and with each shard.
    ends: Vec<u64>,
    pictures: Pictures,
    rules: DocumentRules,
    seed: u64,
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    let rules = options.rules.checked()?;
    let expected = "{\"text_list\": […], \"image_info\": [{\"image_name\": …, \"matched_text_index\": …, \"matched_sim\": …}]}";
    let pictures = context.pictures("images", &options.images)?;
    let shards = context
        .blobs("shards", options.shards.all())?
        .into_iter()
        .map(|blob| Records::open(blob, Within::File, expected))
        .collect::<Result<Vec<_>, _>>()?;
    let ends = shards.iter().scan(0, |sum, shard| {
        *sum += shard.len();
        Some(*sum)
    });
    Ok(Arc::new(Documents {
        ends: ends.collect(),
        shards,
        pictures,
        rules,
        seed: context.seed,
    }))
}

impl DocumentRules {
    fn checked(self) -> Result<Self, DataError> {
        for (field, share) in [
            ("keep_single", self.keep_single),
            ("image_first", self.image_first),
        ] {
            if !(0.0..=1.0).contains(&share) {
                let reason = format!("expected a share from 0 to 1, found {share}");
                return Err(DataError::config(format!("data.rules.{field}"), reason));
            }
        }
        if self.max_images == 0 {
            let reason = "expected at least 1, found 0";
            return Err(DataError::config("data.rules.max_images", reason));
        }
        Ok(self)
    }

    /// Numbers of the pictures that are kept, in the order of their sentences; those that are alike in that keep the
    /// file's order.
    fn kept(&self, infos: &[Info]) -> Vec<usize> {
        let mut kept: Vec<usize> = (0..infos.len())
            .filter(|i| infos[*i].matched_sim >= self.min_similarity)
            .collect();
        kept.sort_by(|a, b| infos[*b].matched_sim.total_cmp(&infos[*a].matched_sim));
        kept.truncate(self.max_images);
        kept.sort_by_key(|i| (infos[*i].matched_text_index, *i));
        kept
    }

    /// The document's order: `kept` are the sentences of the pictures, ascending.
    fn segments(&self, sentences: &[String], kept: &[usize], dice: &mut Dice) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut shown = 0;
        for (number, sentence) in sentences.iter().enumerate() {
            let first = shown;
            while kept.get(shown) == Some(&number) {
                shown += 1;
            }
            let (before, after): (Vec<usize>, Vec<usize>) =
                (first..shown).partition(|_| dice.chance(self.image_first));
            let image = |index| Segment::Image {
                index,
                counted: true,
            };
            segments.extend(before.into_iter().map(image));
            let preceded = segments
                .iter()
                .any(|segment| matches!(segment, Segment::Image { .. }));
            if !sentence.trim().is_empty() {
                segments.push(Segment::Text {
                    text: format!(" {}", sentence.trim()),
                    counted: self.count_leading_text || preceded,
                });
            }
            segments.extend(after.into_iter().map(image));
        }
        segments.push(Segment::Eos { counted: true });
        segments
    }
}

impl Documents {
    /// Pictures of a document that are there, with the sentences they belong to.
    fn pictures(&self, document: &Document) -> Result<(Vec<SampleImage>, Vec<usize>), DataError> {
        let (mut images, mut sentences) = (Vec::new(), Vec::new());
        for index in self.rules.kept(&document.image_info) {
            let info = &document.image_info[index];
            match self.pictures.read(&info.image_name) {
                Ok(image) => {
                    images.push(SampleImage {
                        id: info.image_name.clone(),
                        image,
                        mask: None,
                    });
                    sentences.push(info.matched_text_index);
                }
                // Most downloads of MMC4 are incomplete.
                Err(DataError::Io { cause, .. }) if cause.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok((images, sentences))
    }
}

impl Source for Documents {
    fn len(&self) -> Option<u64> {
        self.ends.last().copied()
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let number = index % self.ends.last().copied().unwrap_or(1);
        let shard = self.ends.partition_point(|end| *end <= number);
        let own = number - shard.checked_sub(1).map_or(0, |before| self.ends[before]);
        let records = &self.shards[shard];
        let document = records.get(own)?;
        let id = records.name(own);
        let dropped = |rule| DataError::Dropped {
            name: id.clone(),
            rule,
        };
        let sentences = document.text_list.len();
        if let Some(info) = document
            .image_info
            .iter()
            .find(|info| info.matched_text_index >= sentences)
        {
            let found = format!("{} of {sentences}", info.matched_text_index);
            return Err(records.malformed(own, "matched_text_index of a sentence", found));
        }
        let mut dice = Dice::new(self.seed, KIND.name, index);
        let single = !dice.chance(self.rules.keep_single);
        if self.rules.kept(&document.image_info).is_empty() {
            return Err(dropped("no similar picture"));
        }
        let (images, matched) = self.pictures(&document)?;
        match images.len() {
            0 => return Err(dropped("no picture in the folder")),
            1 if single => return Err(dropped("one of the documents with one picture")),
            _ => {}
        }
        Ok(Sample {
            segments: self
                .rules
                .segments(&document.text_list, &matched, &mut dice),
            provenance: images.iter().map(|image| image.id.clone()).collect(),
            id,
            images,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infos(of: &[(usize, f32)]) -> Vec<Info> {
        of.iter()
            .map(|(sentence, similarity)| Info {
                image_name: String::new(),
                matched_text_index: *sentence,
                matched_sim: *similarity,
            })
            .collect()
    }

    #[test]
    fn the_most_similar_pictures_are_kept_in_reading_order() {
        let rules = DocumentRules::default();
        assert_eq!(
            rules.kept(&infos(&[(1, 0.24), (0, 0.2399), (0, 0.3)])),
            [2, 0]
        );
        let many = infos(&[
            (6, 0.30),
            (5, 0.31),
            (4, 0.25),
            (3, 0.33),
            (2, 0.34),
            (1, 0.35),
            (0, 0.36),
            (0, 0.24),
        ]);
        assert_eq!(rules.kept(&many), [6, 5, 4, 3, 1, 0]);
        assert_eq!(rules.kept(&infos(&[(0, f32::NAN)])), Vec::<usize>::new());
    }

    fn written(rules: DocumentRules, kept: &[usize], index: u64) -> String {
        let sentences = ["One.".to_owned(), " ".into(), "Two.".into()];
        let mut dice = Dice::new(1, "t", index);
        let segments = rules.segments(&sentences, kept, &mut dice);
        segments
            .iter()
            .map(|segment| match segment {
                Segment::Text {
                    text,
                    counted: true,
                } => format!("[{text}]"),
                Segment::Text { text, .. } => text.clone(),
                Segment::Image { index, .. } => format!("<{index}>"),
                _ => "|".into(),
            })
            .collect()
    }

    #[test]
    fn pictures_stand_before_or_after_their_sentences() {
        let rules = |image_first| DocumentRules {
            image_first,
            ..DocumentRules::default()
        };
        assert_eq!(written(rules(1.0), &[0, 2], 0), "<0>[ One.]<1>[ Two.]|");
        assert_eq!(written(rules(0.0), &[0, 2], 0), " One.<0>[ Two.]<1>|");
        assert_eq!(written(rules(0.0), &[2, 2], 0), " One. Two.<0><1>|");
        let mut seen: Vec<String> = (0..64).map(|i| written(rules(0.5), &[0, 2], i)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4, "{seen:?}");
    }
}
