//! Records of a JSON file by number: the elements of one array, or one value a line (JSON Lines). Memory holds
//! where each record lies, sixteen bytes each; the file itself is read as records are asked for.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::DataError;

/// Longest record that is read.
const MAX_RECORD: u64 = 16 << 20;
/// Records looked at before a file is taken for one of this layout.
const FIRST: u64 = 16;

/// The records of a file, each a `T`.
pub(super) struct Records<T> {
    path: PathBuf,
    places: Vec<Place>,
    expected: &'static str,
    record: PhantomData<fn() -> T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    offset: u64,
    /// `u32::MAX` for more than that.
    len: u32,
    line: u32,
}

impl<T: DeserializeOwned> Records<T> {
    /// Finds the records of a file; `expected` says in errors what one looks like.
    ///
    /// # Errors
    /// `Io`; `Empty`; `Malformed` if the array does not end, or if none of the first records is a `T`.
    pub fn open(path: &Path, expected: &'static str) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|e| DataError::io(path, e))?;
        let mut scan = Scan::default();
        scan.read(BufReader::with_capacity(1 << 18, file))
            .map_err(|e| DataError::io(path, e))?;
        let places = scan.finish().map_err(|(line, expected, found)| {
            DataError::malformed(
                path.display().to_string(),
                format!("line {line}"),
                expected,
                found,
            )
        })?;
        let records = Self {
            path: path.to_owned(),
            places,
            expected,
            record: PhantomData,
        };
        if records.len() == 0 {
            return Err(DataError::Empty {
                what: path.display().to_string(),
                hint: format!("expected records as {expected}"),
            });
        }
        let mut first = (0..records.len().min(FIRST)).map(|index| records.get(index));
        if let Some(Err(error)) = first.next()
            && first.all(|record| record.is_err())
        {
            return Err(error);
        }
        Ok(records)
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// Record number `index`, modulo their number.
    ///
    /// # Errors
    /// `Io`; `Malformed` naming file and line.
    pub fn get(&self, index: u64) -> Result<T, DataError> {
        let place = self.places[(index % self.len()) as usize];
        let wrong = |found: String| self.malformed(index, self.expected, found);
        if u64::from(place.len) > MAX_RECORD {
            return Err(self.malformed(
                index,
                &format!("at most {MAX_RECORD} bytes"),
                "a longer record".into(),
            ));
        }
        let io = |e| DataError::io(&self.path, e);
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(place.offset)).map_err(io)?;
        let mut bytes = Vec::new();
        file.take(u64::from(place.len))
            .read_to_end(&mut bytes)
            .map_err(io)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            let text = error.to_string();
            wrong(match text.split_once(" at line ") {
                Some((reason, _)) => format!("{reason} (byte {} of the record)", error.column()),
                None => text,
            })
        })
    }

    /// An error of record `index`.
    pub fn malformed(&self, index: u64, expected: &str, found: String) -> DataError {
        let number = index % self.len();
        let place = self.places[number as usize];
        DataError::malformed(
            self.path.display().to_string(),
            format!("record {}, line {}", number + 1, place.line),
            expected,
            found,
        )
    }

    /// A name of record `index`: that of the file, and its number from 1 on.
    pub fn name(&self, index: u64) -> String {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{file}#{}", index % self.len() + 1)
    }
}

/// Where records start and end, found in one pass over the bytes.
#[derive(Default)]
struct Scan {
    places: Vec<Place>,
    state: State,
    /// Offset and line of the record that is being read, and one past its last byte that is no space.
    start: (u64, u64),
    end: u64,
    depth: u64,
    in_string: bool,
    escaped: bool,
    offset: u64,
    line: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    BetweenLines,
    Line,
    BetweenElements,
    /// In an array, after a comma: a value must follow.
    Wanted,
    Element,
    Done,
    /// Something stands behind the array's end.
    Trailing(u64),
}

impl Scan {
    fn read(&mut self, mut reader: impl BufRead) -> std::io::Result<()> {
        loop {
            let bytes = reader.fill_buf()?;
            let count = bytes.len();
            if count == 0 {
                return Ok(());
            }
            let skip = if self.offset == 0 && bytes.starts_with(b"\xef\xbb\xbf") {
                3
            } else {
                0
            };
            self.offset += skip as u64;
            for byte in &bytes[skip..] {
                self.byte(*byte);
                self.offset += 1;
                self.line += u64::from(*byte == b'\n');
            }
            reader.consume(count);
        }
    }

    fn byte(&mut self, byte: u8) {
        let space = byte.is_ascii_whitespace();
        match self.state {
            State::Start if space => {}
            State::Start if byte == b'[' => self.state = State::BetweenElements,
            State::Start | State::BetweenLines => {
                if !space {
                    self.begin(State::Line);
                }
            }
            State::Line if byte == b'\n' => self.close(State::BetweenLines),
            State::Line => {
                if !space {
                    self.end = self.offset + 1;
                }
            }
            State::BetweenElements | State::Wanted if space => {}
            State::BetweenElements if byte == b']' => self.state = State::Done,
            State::BetweenElements | State::Wanted => {
                self.begin(State::Element);
                self.element(byte);
            }
            State::Element => self.element(byte),
            State::Done => {
                if !space {
                    self.state = State::Trailing(self.line + 1);
                }
            }
            State::Trailing(_) => {}
        }
    }

    fn element(&mut self, byte: u8) {
        if self.in_string {
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
            }
        } else {
            match byte {
                b',' if self.depth == 0 => return self.close(State::Wanted),
                b']' if self.depth == 0 => return self.close(State::Done),
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        if !byte.is_ascii_whitespace() {
            self.end = self.offset + 1;
        }
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.start = (self.offset, self.line + 1);
        self.end = self.offset + 1;
    }

    fn close(&mut self, state: State) {
        self.state = state;
        let (offset, line) = self.start;
        let len = self.end.min(self.offset).saturating_sub(offset);
        self.places.push(Place {
            offset,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            line: u32::try_from(line).unwrap_or(u32::MAX),
        });
    }

    /// The records; else line, what was expected there, and what was found.
    fn finish(mut self) -> Result<Vec<Place>, (u64, &'static str, &'static str)> {
        match self.state {
            State::Line => self.close(State::BetweenLines),
            State::BetweenElements | State::Wanted | State::Element => {
                let expected = "a list that ends with \"]\" (is the file cut off?)";
                return Err((self.line + 1, expected, "the end of the file"));
            }
            State::Trailing(line) => {
                return Err((line, "nothing after the list's \"]\"", "more"));
            }
            State::Start | State::BetweenLines | State::Done => {}
        }
        Ok(self.places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn open(text: &str) -> Result<(tempfile::TempDir, Records<Value>), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        std::fs::write(&path, text).unwrap();
        let records = Records::open(&path, "anything").map_err(|e| e.to_string())?;
        Ok((folder, records))
    }

    fn refused(text: &str) -> String {
        open(text).err().unwrap()
    }

    fn values(text: &str) -> Vec<Value> {
        let (_folder, records) = open(text).unwrap();
        (0..records.len())
            .map(|i| records.get(i).unwrap())
            .collect()
    }

    #[test]
    fn arrays_and_lines_are_told_apart() {
        let expected = [json!({"a": [1, "],}\\\""]}), json!(2), json!("x")];
        assert_eq!(
            values("\u{feff} [ {\"a\": [1, \"],}\\\\\\\"\"]}\n , 2,\"x\" ] \n"),
            expected
        );
        assert_eq!(
            values("\n{\"a\": [1, \"],}\\\\\\\"\"]} \r\n\n 2\n\"x\""),
            expected
        );
    }

    #[test]
    fn damage_is_named_by_line() {
        let (_folder, records) = open("{}\n\n{\"a\": }\n").unwrap();
        let error = records.get(1).unwrap_err().to_string();
        assert!(
            error.contains("r.json") && error.contains("record 2, line 3"),
            "{error}"
        );
        assert!(refused("[{}, {\n").contains("cut off"));
        assert!(refused("[{}] x").contains("after the list"));
        assert!(refused(" [ ] ").contains("empty"));
        assert!(refused("").contains("empty"));
        let (_folder, records) = open("[{},]").unwrap();
        let error = records.get(1).unwrap_err().to_string();
        assert!(error.contains("record 2, line 1"), "{error}");
        assert!(refused("no json").contains("record 1, line 1"));
    }

    #[test]
    fn a_record_of_any_length_takes_bounded_memory() {
        let mut text = String::from("{}\n\"");
        text.extend(std::iter::repeat_n('x', MAX_RECORD as usize));
        text.push_str("\"\n{}\n");
        let (_folder, records) = open(&text).unwrap();
        assert!(records.get(2).is_ok());
        let error = records.get(1).unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("longer"),
            "{error}"
        );
    }
}
