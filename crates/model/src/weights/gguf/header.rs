//! The head of a GGUF file: metadata fields, then the description of every tensor.
//!
//! Nothing that the file says is believed before it was held against the file's length, and no count of
//! it is ever the size of an allocation: fields stay where they are, as ranges of bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Encoding;

/// With what every file begins.
pub(in crate::weights) const MAGIC: &[u8] = b"GGUF";
/// Where the numbers of tensors may begin, unless the file says otherwise.
const ALIGNMENT: u64 = 32;
/// Most dimensions a tensor can have.
const MAX_DIMENSIONS: u32 = 4;

/// Type of a metadata value, by its number in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    U64,
    I64,
    F64,
}

impl Kind {
    const ALL: [(u32, Self, &'static str); 12] = [
        (0, Self::U8, "u8"),
        (1, Self::I8, "i8"),
        (2, Self::U16, "u16"),
        (3, Self::I16, "i16"),
        (4, Self::U32, "u32"),
        (5, Self::I32, "i32"),
        (6, Self::F32, "f32"),
        (7, Self::Bool, "bool"),
        (8, Self::Text, "string"),
        (10, Self::U64, "u64"),
        (11, Self::I64, "i64"),
        (12, Self::F64, "f64"),
    ];
    const ARRAY: u32 = 9;

    fn of(id: u32) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(own, ..)| *own == id);
        found
            .map(|(_, kind, _)| *kind)
            .ok_or_else(|| format!("its value has the unknown type {id}"))
    }

    pub(super) fn name(self) -> &'static str {
        let own = Self::ALL.iter().find(|(_, kind, _)| *kind == self);
        own.map_or("", |(.., name)| name)
    }

    /// Bytes of a value; a text has its length in front.
    pub(super) fn width(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text => None,
        }
    }
}

/// A metadata value: one, or an array of them.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) kind: Kind,
    /// Length of the array, if it is one.
    pub(super) array: Option<usize>,
    /// Where the values lie in the file.
    pub(super) bytes: Range<usize>,
}

/// Description of a tensor.
#[derive(Clone, Debug)]
pub(in crate::weights) struct Described {
    pub(in crate::weights) name: String,
    /// Rows first, as PyTorch counts; files count the other way round.
    pub(in crate::weights) shape: Vec<usize>,
    pub(in crate::weights) encoding: &'static Encoding,
    /// Where its numbers lie in the file.
    pub(in crate::weights) bytes: Range<usize>,
}

/// Everything before the numbers.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) fields: BTreeMap<String, Field>,
    pub(super) tensors: Vec<Described>,
}

impl Header {
    /// Reads the head of a file, or says which rule it breaks.
    pub(super) fn read(file: &[u8]) -> Result<Self, String> {
        let mut cursor = Cursor { file, at: 0 };
        if cursor.take(4, "its first word")? != MAGIC {
            return Err("it does not begin with GGUF".into());
        }
        match cursor.u32("its version")? {
            2 | 3 => {}
            other if matches!(other.swap_bytes(), 1..=3) => {
                return Err("its numbers are big-endian; convert it on this machine".into());
            }
            other => return Err(format!("version {other}, expected 2 or 3")),
        }
        let tensors = cursor.u64("its number of tensors")?;
        let fields = cursor.u64("its number of fields")?;
        let mut header = Self {
            fields: BTreeMap::new(),
            tensors: Vec::new(),
        };
        for index in 0..fields {
            let name = cursor.name(&format!("field {index} of {fields}"))?;
            let field = cursor
                .field()
                .map_err(|rule| format!("field {name}: {rule}"))?;
            if header.fields.insert(name.clone(), field).is_some() {
                return Err(format!("field {name} is there twice"));
            }
        }
        let alignment = header.alignment(file)?;
        let mut offsets = Vec::new();
        for index in 0..tensors {
            let name = cursor.name(&format!("tensor {index} of {tensors}"))?;
            let (tensor, offset) = cursor
                .tensor(&name)
                .map_err(|rule| format!("tensor {name}: {rule}"))?;
            header.tensors.push(tensor);
            offsets.push(offset);
        }
        header.place(&offsets, cursor.at, alignment, file.len())?;
        Ok(header)
    }

    fn alignment(&self, file: &[u8]) -> Result<u64, String> {
        let Some(field) = self.fields.get("general.alignment") else {
            return Ok(ALIGNMENT);
        };
        let bytes = file[field.bytes.clone()].first_chunk();
        match (field.kind, field.array, bytes) {
            (Kind::U32, None, Some(bytes)) => {
                let found = u64::from(u32::from_le_bytes(*bytes));
                let fits = found.is_power_of_two();
                fits.then_some(found)
                    .ok_or_else(|| format!("general.alignment is {found}, expected a power of two"))
            }
            _ => Err("general.alignment: expected one u32".into()),
        }
    }

    /// Finds where each tensor lies: `offsets` count from the first aligned place after the head.
    fn place(
        &mut self,
        offsets: &[u64],
        head: usize,
        alignment: u64,
        length: usize,
    ) -> Result<(), String> {
        let start = (head as u64).checked_next_multiple_of(alignment);
        for (tensor, offset) in self.tensors.iter_mut().zip(offsets) {
            let name = &tensor.name;
            if !offset.is_multiple_of(alignment) {
                return Err(format!(
                    "tensor {name}: offset {offset} is not a multiple of {alignment}"
                ));
            }
            let size = tensor.bytes.len();
            let begin = start.and_then(|start| start.checked_add(*offset));
            let begin = begin.and_then(|begin| usize::try_from(begin).ok());
            let end = begin.and_then(|begin| begin.checked_add(size));
            let (Some(begin), Some(end)) = (begin, end.filter(|end| *end <= length)) else {
                return Err(format!(
                    "tensor {name}: its {size} bytes at offset {offset} reach beyond the end of the \
                     file of {length}; it was cut off"
                ));
            };
            tensor.bytes = begin..end;
        }
        let mut sorted: Vec<&Described> = self.tensors.iter().collect();
        sorted.sort_by_key(|tensor| (tensor.bytes.start, tensor.bytes.end));
        for pair in sorted.windows(2) {
            if pair[0].bytes.end > pair[1].bytes.start {
                return Err(format!(
                    "tensors {} and {} overlap",
                    pair[0].name, pair[1].name
                ));
            }
        }
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        match sorted.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(format!("tensor {} is there twice", pair[0].name)),
            None => Ok(()),
        }
    }
}

/// Reads a file from front to back, never beyond its end.
pub(super) struct Cursor<'a> {
    pub(super) file: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.file.get(self.at..end));
        let taken = taken.ok_or_else(|| format!("it ends within {what}; it was cut off"))?;
        self.at += length;
        Ok(taken)
    }

    fn u32(&mut self, what: &str) -> Result<u32, String> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    fn u64(&mut self, what: &str) -> Result<u64, String> {
        let bytes = self.take(8, what)?;
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    /// A text's bytes, behind its length.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a [u8], String> {
        let length = self.u64(what)?;
        let length = usize::try_from(length).map_err(|e| format!("{what}: {e}"))?;
        self.take(length, what)
    }

    fn name(&mut self, what: &str) -> Result<String, String> {
        let bytes = self.text(&format!("the name of {what}"))?;
        let name = str::from_utf8(bytes).map_err(|_| format!("the name of {what} is not UTF-8"))?;
        Ok(name.to_owned())
    }

    fn field(&mut self) -> Result<Field, String> {
        let id = self.u32("its type")?;
        if id != Kind::ARRAY {
            return self.values(Kind::of(id)?, None);
        }
        let kind = match self.u32("the type of its elements")? {
            Kind::ARRAY => return Err("it is an array of arrays, which no reader needs".into()),
            id => Kind::of(id)?,
        };
        let count = self.u64("its length")?;
        let count = usize::try_from(count).map_err(|e| e.to_string())?;
        self.values(kind, Some(count))
    }

    /// Passes over values.
    fn values(&mut self, kind: Kind, array: Option<usize>) -> Result<Field, String> {
        let start = self.at;
        let count = array.unwrap_or(1);
        let what = format!("its {count} values ({})", kind.name());
        match kind.width() {
            Some(width) => {
                let bytes = count.checked_mul(width);
                let bytes = bytes.ok_or_else(|| format!("{what} are more than can be"))?;
                self.take(bytes, &what)?;
            }
            None => {
                for _ in 0..count {
                    self.text(&what)?;
                }
            }
        }
        Ok(Field {
            kind,
            array,
            bytes: start..self.at,
        })
    }

    /// A tensor whose bytes are not placed yet, and its offset.
    fn tensor(&mut self, name: &str) -> Result<(Described, u64), String> {
        let dimensions = self.u32("its number of dimensions")?;
        if dimensions > MAX_DIMENSIONS {
            return Err(format!(
                "{dimensions} dimensions, expected at most {MAX_DIMENSIONS}"
            ));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let side = self.u64("its dimensions")?;
            shape.insert(0, usize::try_from(side).map_err(|e| e.to_string())?);
        }
        let encoding = Encoding::of(self.u32("its type")?)?;
        let offset = self.u64("its offset")?;
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(encoding.values) {
            return Err(format!(
                "rows of {row} numbers are no whole blocks of {} ({})",
                encoding.values, encoding.name
            ));
        }
        let mut numbers = Some(1_usize);
        for side in &shape {
            numbers = numbers.and_then(|numbers| numbers.checked_mul(*side));
        }
        let size = numbers.and_then(|numbers| encoding.size(numbers));
        let size = size.ok_or_else(|| format!("shape {shape:?} is larger than can be"))?;
        let tensor = Described {
            name: name.to_owned(),
            shape,
            encoding,
            bytes: 0..size,
        };
        Ok((tensor, offset))
    }
}
