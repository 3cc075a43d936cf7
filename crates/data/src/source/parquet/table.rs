//! A Parquet file: its columns, and the cells of a row.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Type};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use super::chunks::Chunks;
use crate::DataError;
use crate::storage::Blob;

/// Longest footer that is read.
const MAX_FOOTER: u64 = 256 << 20;
/// The file's last bytes: the footer's length and a mark.
const TAIL: u64 = 8;

/// A column of bytes or texts, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column(usize);

/// A file.
pub(super) struct Table {
    chunks: Arc<Chunks>,
    metadata: ParquetMetaData,
    /// Rows up to and with each row group.
    ends: Vec<u64>,
}

/// Runs the library's reader, which panics at some damaged files.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        let told = "damaged data that the Parquet reader gave up at";
        Err(ParquetError::General(told.into()))
    })
}

impl Table {
    /// Reads the footer.
    ///
    /// # Errors
    /// `Io`; `Malformed` naming the file.
    pub fn open(blob: Blob) -> Result<Self, DataError> {
        let chunks = Chunks::open(blob)?;
        let wrong = |expected: &str, found: String| {
            let file = chunks.blob().path().display().to_string();
            DataError::malformed(file, "footer", expected, found)
        };
        let size = chunks.blob().size()?;
        let tail = chunks.blob().read(size.saturating_sub(TAIL), TAIL)?;
        let [a, b, c, d, b'P', b'A', b'R', b'1'] = tail[..] else {
            let found = "something else at its end (is it cut off?)";
            return Err(wrong("a Parquet file", found.into()));
        };
        let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
        if footer > MAX_FOOTER || footer + TAIL > size {
            return Err(wrong(
                "a footer inside the file of at most 256 MiB",
                format!("{footer} bytes of {size}"),
            ));
        }
        let metadata = guarded(|| {
            ParquetMetaDataReader::new()
                .with_offset_index_policy(PageIndexPolicy::Optional)
                .parse_and_finish(&chunks)
        });
        let metadata = metadata.map_err(|error| wrong("a Parquet file", error.to_string()))?;
        let mut ends = Vec::new();
        let mut rows = 0u64;
        for group in metadata.row_groups() {
            for column in group.columns() {
                let start = column
                    .dictionary_page_offset()
                    .unwrap_or(column.data_page_offset());
                let end = start.checked_add(column.compressed_size());
                let inside = start >= 0
                    && column.compressed_size() >= 0
                    && end.is_some_and(|end| end as u64 <= size);
                if !inside {
                    let found = format!("{} bytes at byte {start}", column.compressed_size());
                    return Err(wrong("columns inside the file", found));
                }
            }
            let own = u64::try_from(group.num_rows()).ok();
            let sum = own.and_then(|own| rows.checked_add(own));
            rows = sum.ok_or_else(|| wrong("a number of rows", group.num_rows().to_string()))?;
            ends.push(rows);
        }
        Ok(Self {
            chunks: Arc::new(chunks),
            metadata,
            ends,
        })
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The column of a field of a structure, or of structures in a list.
    pub fn column(&self, name: &str, field: &str) -> Option<Column> {
        self.find(|parts| {
            parts.len() > 1
                && parts.first().is_some_and(|first| first == name)
                && parts.last().is_some_and(|last| last == field)
        })
    }

    /// The column of a name that has no fields, perhaps a list.
    pub fn plain(&self, name: &str) -> Option<Column> {
        let inside = ["list", "element", "item", "array"];
        self.find(|parts| match parts {
            [first, rest @ ..] => {
                first == name && rest.iter().all(|p| inside.contains(&p.as_str()))
            }
            [] => false,
        })
    }

    fn find(&self, is: impl Fn(&[String]) -> bool) -> Option<Column> {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        let found = columns.iter().position(|column| {
            column.physical_type() == Type::BYTE_ARRAY
                && column.max_rep_level() <= 1
                && is(column.path().parts())
        });
        found.map(Column)
    }

    fn descriptor(&self, column: Column) -> ColumnDescPtr {
        self.metadata
            .file_metadata()
            .schema_descr()
            .column(column.0)
    }

    /// Whether a row has several cells of it.
    pub fn is_list(&self, column: Column) -> bool {
        self.descriptor(column).max_rep_level() > 0
    }

    /// An error of a file without a column.
    pub fn lacks(&self, expected: &str) -> DataError {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        let names: Vec<String> = columns
            .iter()
            .map(|column| column.path().string())
            .collect();
        let file = self.chunks.blob().path().display().to_string();
        DataError::malformed(file, "columns", expected, names.join(", "))
    }

    /// An error of a row.
    pub fn malformed(&self, row: u64, expected: &str, found: impl Into<String>) -> DataError {
        let file = self.chunks.blob().path().display().to_string();
        DataError::malformed(file, format!("row {}", row + 1), expected, found)
    }

    /// The cells of a row in a column: one, or those of a list; `None` where nothing is stored.
    ///
    /// # Errors
    /// `Malformed` naming file, row and column.
    pub fn read(&self, row: u64, column: Column) -> Result<Vec<Option<Bytes>>, DataError> {
        let name = self.descriptor(column).path().string();
        guarded(|| self.cells(row, column))
            .map_err(|error| self.malformed(row, &format!("column {name}"), error.to_string()))
    }

    fn cells(&self, row: u64, column: Column) -> Result<Vec<Option<Bytes>>, ParquetError> {
        let group = self.ends.partition_point(|end| *end <= row);
        let before = group.checked_sub(1).map_or(0, |before| self.ends[before]);
        let rows = self.metadata.row_group(group);
        let chunk = rows.column(column.0);
        if let Compression::GZIP(_) = chunk.compression() {
            // Its unpacker takes no limit.
            let told = "packed by gzip; expected snappy, zstd, or nothing";
            return Err(ParquetError::General(told.into()));
        }
        let index = self.metadata.page_index_for_row_group(group);
        let pages = SerializedPageReader::new(
            self.chunks.clone(),
            chunk,
            usize::try_from(rows.num_rows())?,
            index.page_locations(column.0).cloned(),
        )?;
        let descriptor = self.descriptor(column);
        let mut reader =
            ColumnReaderImpl::<ByteArrayType>::new(descriptor.clone(), Box::new(pages));
        let skip = usize::try_from(row - before)?;
        if reader.skip_records(skip)? != skip {
            return Err(ParquetError::General(
                "fewer rows than the footer says".into(),
            ));
        }
        let (mut defined, mut repeated) = (Vec::new(), Vec::new());
        let mut values: Vec<ByteArray> = Vec::new();
        let (records, _, _) =
            reader.read_records(1, Some(&mut defined), Some(&mut repeated), &mut values)?;
        if records != 1 {
            return Err(ParquetError::General(
                "fewer rows than the footer says".into(),
            ));
        }
        let full = descriptor.max_def_level();
        if full == 0 {
            defined = vec![0; values.len()];
        }
        let least = descriptor.repeated_ancestor_def_level();
        let mut values = values.into_iter();
        let mut cells = Vec::new();
        for level in defined {
            if level == full {
                cells.push(
                    values
                        .next()
                        .map(|value| Bytes::copy_from_slice(value.data())),
                );
            } else if level >= least {
                cells.push(None);
            }
        }
        Ok(cells)
    }

    /// The texts of a row in a column; nothing stored is an empty text.
    ///
    /// # Errors
    /// As [`Self::read`]; `Malformed` for what is no UTF-8.
    pub fn texts(&self, row: u64, column: Column) -> Result<Vec<String>, DataError> {
        let cells = self.read(row, column)?.into_iter();
        cells
            .map(|cell| {
                String::from_utf8(cell.unwrap_or_default().into())
                    .map_err(|error| self.malformed(row, "text in UTF-8", error.to_string()))
            })
            .collect()
    }

    /// The text of a row in a column.
    ///
    /// # Errors
    /// As [`Self::texts`]; `Malformed` for more or less than one.
    pub fn text(&self, row: u64, column: Column) -> Result<String, DataError> {
        let texts = self.texts(row, column)?;
        let count = texts.len();
        match <[String; 1]>::try_from(texts) {
            Ok([text]) => Ok(text),
            Err(_) => Err(self.malformed(row, "one text", count.to_string())),
        }
    }
}
