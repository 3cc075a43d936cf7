//! Records of a JSON file by number: the elements of an array, one value a line (JSON Lines), or the members of an
//! object. Memory holds where each record lies, sixteen bytes each; the file itself is read as records are asked for.

mod scan;

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

use self::scan::{Place, Scan};
use crate::DataError;
use crate::storage::Blob;

/// Longest record that is read.
const MAX_RECORD: u64 = 16 << 20;
/// Records looked at before a file is taken for one of this layout.
const FIRST: u64 = 16;

/// Where the records of a file stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Within {
    /// In an array that is the whole file, or one a line.
    #[default]
    File,
    /// In the array under this name of an object that is the whole file.
    List(&'static str),
    /// They are the members of an object that is the whole file; each is a [`Named`].
    Members,
}

/// The records of a file, each a `T`.
pub(super) struct Records<T> {
    blob: Blob,
    within: Within,
    places: Vec<Place>,
    expected: &'static str,
    record: PhantomData<fn() -> T>,
}

/// A member of an object: its name and its value.
#[derive(Debug, PartialEq)]
pub(super) struct Named<T>(pub String, pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members: BTreeMap<String, T> = BTreeMap::deserialize(deserializer)?;
        let first = members.into_iter().next();
        let (name, value) = first.ok_or_else(|| D::Error::custom("no member"))?;
        Ok(Self(name, value))
    }
}

impl<T: DeserializeOwned> Records<T> {
    /// Finds the records of a file; `expected` says in errors what one looks like.
    ///
    /// # Errors
    /// `Io`; `Empty`; `Malformed` if the list does not end, or if none of the first records is a `T`.
    pub fn open(blob: Blob, within: Within, expected: &'static str) -> Result<Self, DataError> {
        let mut scan = Scan::of(within);
        scan.read(BufReader::with_capacity(1 << 18, blob.open()?))
            .map_err(|e| DataError::io(blob.path(), e))?;
        let name = blob.path().display().to_string();
        let places = scan.finish().map_err(|(line, expected, found)| {
            DataError::malformed(&name, format!("line {line}"), expected, found)
        })?;
        let records = Self {
            blob,
            within,
            places,
            expected,
            record: PhantomData,
        };
        if records.len() == 0 {
            return Err(DataError::Empty {
                what: name,
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
        self.fits(index, place)?;
        let bytes = self.blob.read(place.offset, u64::from(place.len))?;
        self.parse(index, &bytes)
    }

    /// Shows all records to `see`, in order, in one pass over the file.
    ///
    /// # Errors
    /// `Io`; `Malformed` naming file and line; what `see` says.
    pub fn each(
        &self,
        mut see: impl FnMut(u64, T) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let mut reader = BufReader::with_capacity(1 << 18, self.blob.open()?);
        let mut at = 0;
        let mut bytes = Vec::new();
        for (index, place) in self.places.iter().enumerate() {
            self.fits(index as u64, *place)?;
            bytes.clear();
            reader
                .seek_relative((place.offset - at) as i64)
                .and_then(|()| {
                    let mut record = reader.by_ref().take(u64::from(place.len));
                    record.read_to_end(&mut bytes)
                })
                .map_err(|e| DataError::io(self.blob.path(), e))?;
            at = place.offset + bytes.len() as u64;
            see(index as u64, self.parse(index as u64, &bytes)?)?;
        }
        Ok(())
    }

    fn fits(&self, index: u64, place: Place) -> Result<(), DataError> {
        if u64::from(place.len) <= MAX_RECORD {
            return Ok(());
        }
        let expected = format!("at most {MAX_RECORD} bytes");
        Err(self.malformed(index, &expected, "a longer record".into()))
    }

    fn parse(&self, index: u64, bytes: &[u8]) -> Result<T, DataError> {
        let parsed = match self.within {
            Within::Members => serde_json::from_slice(&[b"{", bytes, b"}"].concat()),
            Within::File | Within::List(_) => serde_json::from_slice(bytes),
        };
        parsed.map_err(|error| {
            let text = error.to_string();
            let found = match text.split_once(" at line ") {
                Some((reason, _)) => format!("{reason} (byte {} of the record)", error.column()),
                None => text,
            };
            self.malformed(index, self.expected, found)
        })
    }

    /// An error of record `index`.
    pub fn malformed(&self, index: u64, expected: &str, found: String) -> DataError {
        let number = index % self.len();
        let place = self.places[number as usize];
        DataError::malformed(
            self.blob.path().display().to_string(),
            format!("record {}, line {}", number + 1, place.line),
            expected,
            found,
        )
    }

    /// A name of record `index`: that of the file, and its number from 1 on.
    pub fn name(&self, index: u64) -> String {
        format!("{}#{}", self.blob.name(), index % self.len() + 1)
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
        let records = Records::open(Blob::local(&path), Within::File, "anything")
            .map_err(|e| e.to_string())?;
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

    fn within(text: &str, within: Within) -> Result<Vec<Value>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        std::fs::write(&path, text).unwrap();
        let records = Records::<Value>::open(Blob::local(&path), within, "anything")
            .map_err(|e| e.to_string())?;
        let mut seen = Vec::new();
        records
            .each(|index, value| {
                assert_eq!(records.get(index).unwrap(), value);
                seen.push(value);
                Ok(())
            })
            .map_err(|e| e.to_string())?;
        Ok(seen)
    }

    #[test]
    fn lists_and_values_in_objects() {
        let text = r#" {"info": {"a": ["}", {"list": [9]}]}, "n": 3, "list" : [1, {"x": [2, "]"]} , 3],
            "more": [4]}"#;
        let list = |name, text: &str| within(text, Within::List(name));
        assert_eq!(
            list("list", text).unwrap(),
            [json!(1), json!({"x": [2, "]"]}), json!(3)]
        );
        assert_eq!(list("more", text).unwrap(), [json!(4)]);
        assert!(
            list("lost", text)
                .unwrap_err()
                .contains("a list of that name")
        );
        assert!(list("n", text).unwrap_err().contains("a list of that name"));
        let cut = &text[..text.find(" , 3]").unwrap()];
        assert!(list("list", cut).unwrap_err().contains("cut off"));
        assert!(list("list", "[1]").unwrap_err().contains("an object"));
        let members = within(
            r#"{"q1": {"a": "}"}, "q\"2": {"a": 2}, "q3" : 7 }"#,
            Within::Members,
        );
        let expected = [
            json!({"q1": {"a": "}"}}),
            json!({"q\"2": {"a": 2}}),
            json!({"q3": 7}),
        ];
        assert_eq!(members.unwrap(), expected);
        let named: Named<u8> = serde_json::from_str(r#"{"q3": 7}"#).unwrap();
        assert_eq!(named, Named("q3".into(), 7));
        assert!(
            within(r#"{"q1": {"a": 1}"#, Within::Members)
                .unwrap_err()
                .contains("cut off")
        );
        assert!(within("{}", Within::Members).unwrap_err().contains("empty"));
    }
}
