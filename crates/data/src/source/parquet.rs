//! Tables in Parquet with pictures in them, as data sets are published on Hugging Face: `images` or `image` of `{bytes,
//! path}`, beside `texts` of `{user, assistant}` (FineVision, the Cauldron), `conversations` of `{from, value}` (LLaVA's
//! mirrors), a question and its answer, or a caption.
//!
//! Opening reads the footers; afterwards a row is had by its row group and, where the file has an index of pages, its
//! page.

mod chunks;
mod table;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Map, Value};

use self::table::{Column, Table};
use super::instruction;
use super::llava::{self, Speaker, Turn};
use super::registry::{Field, SourceContext, SourceKind, parse_options};
use super::rules::{self, CaptionRules};
use super::wording::Wording;
use super::{OneOrMore, Source};
use crate::DataError;
use crate::dice::Dice;
use crate::image::{ImageLimits, decode_image};
use crate::sample::{Sample, SampleImage};
use crate::storage::Blob;

/// Files whose footers are kept in memory.
const RECENT: usize = 64;

pub(super) const KIND: SourceKind = SourceKind {
    name: "parquet",
    about: "Hugging Face tables with pictures in them: FineVision, the Cauldron, LLaVA mirrors, pictures with captions",
    fields: &[
        Field {
            name: "files",
            about: "the files, a pattern as \"data/train-{00000..00009}-of-00010.parquet\" or a list of them",
        },
        Field {
            name: "image",
            about: "column of the pictures; default: images, else image",
        },
        Field {
            name: "question",
            about: "column of questions; with `answer`, instead of conversations",
        },
        Field {
            name: "answer",
            about: "column of answers",
        },
        Field {
            name: "caption",
            about: "column of captions, or words over columns as \"a photo of {label}\"; default: texts or conversations, \
                    else the column caption",
        },
        Field {
            name: "pictures_only",
            about: "whether words are left alone, so that pictures need none; default: false",
        },
        rules::FIELD,
    ],
    build: open,
};

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    files: OneOrMore,
    image: Option<String>,
    question: Option<String>,
    answer: Option<String>,
    caption: Option<String>,
    #[serde(default)]
    pictures_only: bool,
    #[serde(default)]
    rules: CaptionRules,
}

struct Tables {
    files: Vec<Blob>,
    /// Rows up to and with each file.
    ends: Vec<u64>,
    recent: Mutex<VecDeque<(usize, Arc<Opened>)>>,
    options: Options,
    wording: Wording,
    seed: u64,
    limits: ImageLimits,
}

/// A file, and which of its columns say what.
struct Opened {
    table: Table,
    /// Encoded pictures; none in sets of text.
    images: Option<Column>,
    content: Content,
}

enum Content {
    /// What the user and the assistant say, by turns.
    Turns {
        user: Column,
        assistant: Column,
    },
    /// Who says what.
    Speakers {
        from: Column,
        value: Column,
    },
    Question {
        question: Column,
        answer: Column,
    },
    /// Pictures alone.
    Nothing,
    /// Fields of a caption, by name.
    Caption(Vec<(String, Column)>),
}

fn open(
    options: &Map<String, Value>,
    context: &SourceContext,
) -> Result<Arc<dyn Source>, DataError> {
    let options: Options = parse_options(options)?;
    options.rules.checked()?;
    if options.question.is_some() != options.answer.is_some() {
        let reason = "expected `question` and `answer` together, found one of them";
        return Err(DataError::config("data.question", reason));
    }
    let wording = Wording::parse(options.caption.as_deref())
        .map_err(|reason| DataError::config("data.caption", reason))?;
    let files = context.blobs("files", options.files.all())?;
    let mut tables = Tables {
        ends: Vec::with_capacity(files.len()),
        files,
        recent: Mutex::default(),
        wording,
        options,
        seed: context.seed,
        limits: context.limits,
    };
    let mut rows = 0u64;
    for number in 0..tables.files.len() {
        rows = rows.saturating_add(tables.file(number)?.table.rows());
        tables.ends.push(rows);
    }
    if rows == 0 {
        return Err(DataError::Empty {
            what: tables.files[0].path().display().to_string(),
            hint: "it and the other files have no rows".into(),
        });
    }
    Ok(Arc::new(tables))
}

impl Tables {
    /// A file, from those read last or anew.
    fn file(&self, number: usize) -> Result<Arc<Opened>, DataError> {
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let found = recent().iter().find(|(own, _)| *own == number).cloned();
        if let Some((_, opened)) = found {
            return Ok(opened);
        }
        let opened = Arc::new(self.open(&self.files[number])?);
        let mut recent = recent();
        recent.push_front((number, opened.clone()));
        recent.truncate(RECENT);
        Ok(opened)
    }

    fn open(&self, blob: &Blob) -> Result<Opened, DataError> {
        let table = Table::open(blob.clone())?;
        let images = match &self.options.image {
            Some(name) => {
                let found = table.column(name, "bytes").or_else(|| table.plain(name));
                Some(found.ok_or_else(|| table.lacks(&format!("a column {name:?} of pictures")))?)
            }
            None => table
                .column("images", "bytes")
                .or_else(|| table.column("image", "bytes"))
                .or_else(|| table.plain("image")),
        };
        if self.options.pictures_only && images.is_none() {
            return Err(table
                .lacks("a column images or image of pictures (or `image`, that names another)"));
        }
        let content = match self.options.pictures_only {
            true => Content::Nothing,
            false => self.content(&table)?,
        };
        Ok(Opened {
            table,
            images,
            content,
        })
    }

    fn content(&self, table: &Table) -> Result<Content, DataError> {
        let named = |name: &str| {
            table
                .plain(name)
                .ok_or_else(|| table.lacks(&format!("a column {name:?} of texts")))
        };
        if let (Some(question), Some(answer)) = (&self.options.question, &self.options.answer) {
            return Ok(Content::Question {
                question: named(question)?,
                answer: named(answer)?,
            });
        }
        let both = |name: &str, first: &str, second: &str| {
            table.column(name, first).zip(table.column(name, second))
        };
        if self.options.caption.is_none() {
            if let Some((user, assistant)) = both("texts", "user", "assistant") {
                return Ok(Content::Turns { user, assistant });
            }
            if let Some((from, value)) = both("conversations", "from", "value") {
                return Ok(Content::Speakers { from, value });
            }
            if table.plain("caption").is_none() {
                return Err(table.lacks(
                    "texts of {user, assistant}, conversations of {from, value}, or a column caption (or `caption`, or \
                     `question` and `answer`, that name others)",
                ));
            }
        }
        let fields = self.wording.fields().into_iter();
        let fields = fields.map(|name| Ok((name.to_owned(), named(name)?)));
        Ok(Content::Caption(fields.collect::<Result<_, DataError>>()?))
    }

    fn images(&self, opened: &Opened, row: u64, id: &str) -> Result<Vec<SampleImage>, DataError> {
        let Some(column) = opened.images else {
            return Ok(Vec::new());
        };
        let cells = opened.table.read(row, column)?;
        let mut images = Vec::new();
        for (number, cell) in cells.into_iter().enumerate() {
            let name = format!("{id}/{number}");
            // A row without a picture, and not a picture that is missing from a list.
            let Some(bytes) = cell else {
                if opened.table.is_list(column) {
                    let expected = "pictures in the file itself";
                    return Err(opened
                        .table
                        .malformed(row, expected, "a name without bytes"));
                }
                continue;
            };
            self.limits.admit_bytes(&name, bytes.len() as u64)?;
            images.push(SampleImage {
                image: decode_image(&bytes, &name, self.limits)?,
                id: name,
                mask: None,
            });
        }
        Ok(images)
    }
}

impl Source for Tables {
    fn len(&self) -> Option<u64> {
        self.ends.last().copied()
    }

    fn get(&self, index: u64) -> Result<Sample, DataError> {
        let at = index % self.ends.last().copied().unwrap_or(1);
        let number = self.ends.partition_point(|end| *end <= at);
        let row = at - number.checked_sub(1).map_or(0, |before| self.ends[before]);
        let opened = self.file(number)?;
        let table = &opened.table;
        let id = format!("{}#{}", self.files[number].name(), row + 1);
        match &opened.content {
            Content::Turns { user, assistant } => {
                let (asked, answered) = (table.texts(row, *user)?, table.texts(row, *assistant)?);
                let turn = |from, value| Turn { from, value };
                let pairs = asked.into_iter().zip(answered);
                let turns = pairs.flat_map(|(asked, answered)| {
                    [turn(Speaker::Human, asked), turn(Speaker::Gpt, answered)]
                });
                self.conversation(&opened, row, id, &turns.collect::<Vec<_>>())
            }
            Content::Speakers { from, value } => {
                let mut turns = Vec::new();
                for (from, value) in table
                    .texts(row, *from)?
                    .iter()
                    .zip(table.texts(row, *value)?)
                {
                    let from = match from.as_str() {
                        "human" | "user" => Speaker::Human,
                        "gpt" | "assistant" => Speaker::Gpt,
                        "system" => continue,
                        other => {
                            let found = format!("{other:?}");
                            return Err(table.malformed(row, "human or gpt", found));
                        }
                    };
                    turns.push(Turn { from, value });
                }
                self.conversation(&opened, row, id, &turns)
            }
            Content::Question { question, answer } => {
                let image = self.one_image(&opened, row, &id)?;
                let (asked, answered) = (table.text(row, *question)?, table.text(row, *answer)?);
                Ok(instruction::question(id, image, &asked, &answered))
            }
            Content::Nothing => {
                let images = self.images(&opened, row, &id)?.into_iter();
                let first = images.take(1).next();
                let image = first.ok_or_else(|| table.malformed(row, "a picture", "none"))?;
                Ok(Sample::of_picture(image))
            }
            Content::Caption(fields) => {
                let mut record = Map::new();
                for (name, column) in fields {
                    let texts = table.texts(row, *column)?;
                    record.insert(name.clone(), texts.into());
                }
                let mut dice = Dice::new(self.seed, KIND.name, index);
                let caption = self.wording.of_record(&Value::Object(record), &mut dice);
                let caption =
                    caption.map_err(|(expected, found)| table.malformed(row, &expected, found))?;
                self.options.rules.admit(&id, &caption)?;
                let image = self.one_image(&opened, row, &id)?;
                let mut sample = self.options.rules.sample(image, &caption, &mut dice)?;
                sample.id = id;
                Ok(sample)
            }
        }
    }
}

impl Tables {
    fn one_image(&self, opened: &Opened, row: u64, id: &str) -> Result<SampleImage, DataError> {
        let images = self.images(opened, row, id)?;
        let count = images.len();
        match <[SampleImage; 1]>::try_from(images) {
            Ok([image]) => Ok(image),
            Err(_) => Err(opened
                .table
                .malformed(row, "one picture", count.to_string())),
        }
    }

    fn conversation(
        &self,
        opened: &Opened,
        row: u64,
        id: String,
        turns: &[Turn],
    ) -> Result<Sample, DataError> {
        let images = self.images(opened, row, &id)?;
        let segments = llava::segments(turns, images.len())
            .map_err(|(expected, found)| opened.table.malformed(row, &expected, found))?;
        Ok(Sample {
            segments,
            provenance: images.iter().map(|image| image.id.clone()).collect(),
            id,
            images,
        })
    }
}
