//! A table in FineVision's layout: `images` of `{bytes, path}`, `texts` of `{user, assistant}`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::turns::turns;
use super::{Writer, png};
use crate::DataError;
use crate::sample::Sample;

const FILE: &str = "data.parquet";
/// Rows of a row group.
const ROWS: usize = 100;
const SCHEMA: &str = "message schema {
    REQUIRED GROUP images (LIST) { REPEATED GROUP list { REQUIRED GROUP element {
        REQUIRED BYTE_ARRAY bytes; REQUIRED BYTE_ARRAY path (STRING); } } }
    REQUIRED GROUP texts (LIST) { REPEATED GROUP list { REQUIRED GROUP element {
        REQUIRED BYTE_ARRAY user (STRING); REQUIRED BYTE_ARRAY assistant (STRING); } } }
}";
const COLUMNS: usize = 4;

pub(super) struct Table {
    path: PathBuf,
    writer: SerializedFileWriter<File>,
    /// Lists of the rows of the next group, column by column.
    rows: [Vec<Vec<ByteArray>>; COLUMNS],
}

impl Table {
    pub fn new(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(FILE);
        let file = File::create(&path).map_err(|e| DataError::io(&path, e))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let writer = parse_message_type(SCHEMA)
            .and_then(|schema| SerializedFileWriter::new(file, Arc::new(schema), properties.into()))
            .map_err(|error| failed(&path, error))?;
        Ok(Self {
            path,
            writer,
            rows: Default::default(),
        })
    }

    fn group(&mut self) -> Result<(), ParquetError> {
        if self.rows[0].is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for lists in &mut self.rows {
            let Some(mut column) = group.next_column()? else {
                break;
            };
            let (mut defined, mut repeated) = (Vec::new(), Vec::new());
            for list in lists.iter() {
                // An empty list is one place in which nothing is.
                defined.extend((0..list.len().max(1)).map(|_| i16::from(!list.is_empty())));
                repeated.extend((0..list.len().max(1)).map(|place| i16::from(place > 0)));
            }
            let values: Vec<ByteArray> = lists.drain(..).flatten().collect();
            column.typed::<ByteArrayType>().write_batch(
                &values,
                Some(&defined),
                Some(&repeated),
            )?;
            column.close()?;
        }
        group.close()?;
        Ok(())
    }
}

fn failed(path: &Path, error: ParquetError) -> DataError {
    DataError::io(path, std::io::Error::other(error))
}

impl Writer for Table {
    fn add(&mut self, number: u64, sample: &Sample) -> Result<(), DataError> {
        let (turns, shown) = turns(sample)?;
        let mut row: [Vec<ByteArray>; COLUMNS] = Default::default();
        for (place, index) in shown.into_iter().enumerate() {
            let name = format!("{number:06}-{place}.png");
            row[0].push(png(&sample.images[index].image, &name)?.into());
            row[1].push(name.as_str().into());
        }
        for turn in turns {
            row[2].push(turn.question.as_str().into());
            row[3].push(turn.answer.as_str().into());
        }
        for (lists, list) in self.rows.iter_mut().zip(row) {
            lists.push(list);
        }
        if self.rows[0].len() == ROWS {
            self.group().map_err(|error| failed(&self.path, error))?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<String, DataError> {
        let path = self.path.clone();
        self.group()
            .and_then(|()| self.writer.close())
            .map_err(|error| failed(&path, error))?;
        Ok(format!(r#"kind = "parquet", files = "{FILE}""#))
    }
}
