use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::Encoding;
use super::header::{Cursor, Described, Field, Header, Kind};
use crate::published::is_lfs_pointer;
use crate::weights::WeightsError;
use crate::weights::mapped::{mapped, release};

/// A memory-mapped GGUF file of any architecture, validated on opening.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    map: Mmap,
    header: Header,
}

/// One tensor of such a file.
#[derive(Clone, Copy, Debug)]
pub struct GgufTensor<'a>(&'a Described);

impl<'a> GgufTensor<'a> {
    /// Its name, as `blk.0.attn_q.weight`.
    pub fn name(self) -> &'a str {
        &self.0.name
    }

    /// Dimensions, rows first.
    pub fn shape(self) -> &'a [usize] {
        &self.0.shape
    }

    /// How its numbers are packed.
    pub fn encoding(self) -> &'static Encoding {
        self.0.encoding
    }
}

impl GgufFile {
    /// Opens a file and validates all of its head; no tensor is read.
    ///
    /// # Errors
    /// `Io` if it cannot be opened, `Gguf` naming the rule that it breaks.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let Some(map) = mapped(path, 1)? else {
            return Err(wrong(path, "it is empty".into()));
        };
        if is_lfs_pointer(&map) {
            return Err(WeightsError::Pointer { path: path.into() });
        }
        Self::of(path, map)
    }

    /// As [`Self::open`], of a file that is mapped already.
    pub(in crate::weights) fn of(path: &Path, map: Mmap) -> Result<Self, WeightsError> {
        let header = Header::read(&map).map_err(|rule| wrong(path, rule))?;
        Ok(Self {
            path: path.into(),
            map,
            header,
        })
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors, in the file's order.
    pub fn tensors(&self) -> impl Iterator<Item = GgufTensor<'_>> {
        self.header.tensors.iter().map(GgufTensor)
    }

    /// A tensor's description, if it is there.
    pub fn tensor(&self, name: &str) -> Option<GgufTensor<'_>> {
        self.tensors().find(|tensor| tensor.0.name == name)
    }

    /// A tensor's numbers in row-major order, unpacked; `None` if it is absent. Its pages of the file are
    /// given back afterwards.
    pub fn f32(&self, name: &str) -> Option<Vec<f32>> {
        let GgufTensor(tensor) = self.tensor(name)?;
        let numbers = tensor.encoding.unpack(&self.map[tensor.bytes.clone()]);
        release(&self.map, tensor.bytes.clone());
        Some(numbers)
    }

    /// The file's memory, once its description is no longer needed.
    pub(in crate::weights) fn into_map(self) -> Mmap {
        self.map
    }

    pub(super) fn described(&self) -> &[Described] {
        &self.header.tensors
    }

    /// A metadata field that holds one text.
    ///
    /// # Errors
    /// `Gguf` if it holds something else.
    pub fn text(&self, key: &str) -> Result<Option<&str>, WeightsError> {
        let Some(field) = self.field(key, "one string", |kind| kind == Kind::Text, false)? else {
            return Ok(None);
        };
        Ok(self.texts_of(key, field)?.first().copied())
    }

    /// A metadata field that holds a list of texts.
    ///
    /// # Errors
    /// `Gguf` if it holds something else.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, WeightsError> {
        let field = self.field(key, "an array of strings", |kind| kind == Kind::Text, true)?;
        field.map(|field| self.texts_of(key, field)).transpose()
    }

    /// A metadata field that holds one whole number of at least 0.
    ///
    /// # Errors
    /// `Gguf` if it holds something else.
    pub fn count(&self, key: &str) -> Result<Option<usize>, WeightsError> {
        let what = "one whole number of at least 0";
        let Some(field) = self.field(key, what, is_integer, false)? else {
            return Ok(None);
        };
        let number = self.integers_of(field)[0];
        let number = usize::try_from(number);
        number
            .map(Some)
            .map_err(|_| self.unexpected(key, what, "a number out of range"))
    }

    /// A metadata field that holds a list of whole numbers.
    ///
    /// # Errors
    /// `Gguf` if it holds something else.
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i128>>, WeightsError> {
        let field = self.field(key, "an array of whole numbers", is_integer, true)?;
        Ok(field.map(|field| self.integers_of(field)))
    }

    /// A metadata field that holds one number. A single-precision one becomes the number that people
    /// would write for it: 1e-5, not 9.99999974e-6.
    ///
    /// # Errors
    /// `Gguf` if it holds something else.
    pub fn number(&self, key: &str) -> Result<Option<f64>, WeightsError> {
        let is_number = |kind| is_integer(kind) || matches!(kind, Kind::F32 | Kind::F64);
        let Some(field) = self.field(key, "one number", is_number, false)? else {
            return Ok(None);
        };
        let bytes = &self.map[field.bytes.clone()];
        Ok(Some(match field.kind {
            Kind::F32 => {
                let number = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
                number.to_string().parse().expect("a number's own digits")
            }
            Kind::F64 => f64::from_le_bytes(bytes.try_into().expect("eight bytes")),
            _ => self.integers_of(field)[0] as f64,
        }))
    }

    /// What is wrong with this file, as an error.
    pub fn wrong(&self, rule: String) -> WeightsError {
        wrong(&self.path, rule)
    }

    fn unexpected(&self, key: &str, expected: &str, found: &str) -> WeightsError {
        self.wrong(format!("field {key}: expected {expected}, found {found}"))
    }

    /// The field of this name, if it is there, and of the right kind.
    fn field(
        &self,
        key: &str,
        expected: &str,
        fits: impl Fn(Kind) -> bool,
        array: bool,
    ) -> Result<Option<&Field>, WeightsError> {
        match self.header.fields.get(key) {
            None => Ok(None),
            Some(field) if fits(field.kind) && field.array.is_some() == array => Ok(Some(field)),
            Some(field) => {
                let kind = field.kind.name();
                let found = match field.array {
                    Some(length) => format!("an array of {length} × {kind}"),
                    None => format!("one {kind}"),
                };
                Err(self.unexpected(key, expected, &found))
            }
        }
    }

    fn texts_of(&self, key: &str, field: &Field) -> Result<Vec<&str>, WeightsError> {
        let mut cursor = Cursor {
            file: &self.map[..field.bytes.end],
            at: field.bytes.start,
        };
        let mut texts = Vec::new();
        while cursor.at < field.bytes.end {
            let text = cursor.text(key).map_err(|rule| self.wrong(rule))?;
            let text = str::from_utf8(text);
            texts.push(text.map_err(|_| {
                self.unexpected(
                    key,
                    "UTF-8",
                    &format!("other bytes in value {}", texts.len()),
                )
            })?);
        }
        Ok(texts)
    }

    fn integers_of(&self, field: &Field) -> Vec<i128> {
        let signed = matches!(field.kind, Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64);
        let width = field.kind.width().unwrap_or(1);
        let values = self.map[field.bytes.clone()].chunks_exact(width);
        values
            .map(|bytes| {
                let negative = signed && bytes.last().is_some_and(|last| last & 0x80 != 0);
                let mut wide = [if negative { 0xff } else { 0 }; 16];
                wide[..width].copy_from_slice(bytes);
                i128::from_le_bytes(wide)
            })
            .collect()
    }
}

fn is_integer(kind: Kind) -> bool {
    !matches!(kind, Kind::F32 | Kind::F64 | Kind::Bool | Kind::Text)
}

fn wrong(path: &Path, rule: String) -> WeightsError {
    WeightsError::Gguf {
        path: path.into(),
        rule,
    }
}
