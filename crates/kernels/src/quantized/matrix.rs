use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::BlockFormat;

/// Memory that holds a matrix, as a mapped file.
pub type Memory = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A matrix in blocks, in a piece of memory that it shares. Copies share it, too.
#[derive(Clone)]
pub struct PackedMatrix {
    format: BlockFormat,
    rows: usize,
    columns: usize,
    memory: Memory,
    bytes: Range<usize>,
    /// Row `i` is stored as row `order[i]`.
    order: Option<Arc<[u32]>>,
}

/// Why bytes are no packed matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackedError {
    /// Rows are no whole blocks.
    Columns {
        /// How they are packed.
        format: BlockFormat,
        /// Numbers in a row.
        columns: usize,
    },
    /// Another number of bytes.
    Bytes {
        /// By shape and format.
        expected: usize,
        /// In the memory.
        found: usize,
    },
    /// Not every row once.
    Order {
        /// Rows of the matrix.
        rows: usize,
    },
}

impl fmt::Display for PackedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Columns { format, columns } => write!(
                f,
                "rows of {columns} numbers are no whole blocks of {} ({})",
                format.values(),
                format.name()
            ),
            Self::Bytes { expected, found } => {
                write!(f, "expected {expected} bytes, found {found}")
            }
            Self::Order { rows } => {
                write!(f, "the order of its {rows} rows does not name each once")
            }
        }
    }
}

impl std::error::Error for PackedError {}

impl fmt::Debug for PackedMatrix {
    /// Format and shape: `Q4_1 576x1536`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}x{}", self.format.name(), self.rows, self.columns)
    }
}

impl PackedMatrix {
    /// A matrix `[rows, columns]` in a part of some memory.
    ///
    /// # Errors
    /// `Columns` if rows are no whole blocks, `Bytes` if the part has another size or is not in the memory.
    pub fn new(
        format: BlockFormat,
        [rows, columns]: [usize; 2],
        memory: Memory,
        bytes: Range<usize>,
    ) -> Result<Self, PackedError> {
        if !columns.is_multiple_of(format.values()) {
            return Err(PackedError::Columns { format, columns });
        }
        let row = columns / format.values() * format.bytes();
        let expected = rows.saturating_mul(row);
        let found = (*memory).as_ref().get(bytes.clone()).map_or(0, <[u8]>::len);
        if found != expected {
            return Err(PackedError::Bytes { expected, found });
        }
        Ok(Self {
            format,
            rows,
            columns,
            memory,
            bytes,
            order: None,
        })
    }

    /// The matrix whose row `i` is this one's row `order[i]`.
    ///
    /// # Errors
    /// `Order` unless that names each row once.
    pub fn reordered(mut self, order: &[u32]) -> Result<Self, PackedError> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        let each = sorted.iter().copied().eq(0..self.rows as u32);
        if !each {
            return Err(PackedError::Order { rows: self.rows });
        }
        let order = order.iter().map(|row| self.stored(*row as usize) as u32);
        self.order = Some(order.collect());
        Ok(self)
    }

    /// How its numbers are packed.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Bytes of all blocks.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all its numbers are numbers.
    pub fn is_finite(&self) -> bool {
        self.format.is_finite(self.blocks())
    }

    /// All numbers, row by row.
    pub fn unpack(&self) -> Vec<f32> {
        self.unpack_rows(0..self.rows)
    }

    /// Numbers of some rows, one row after the other.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn unpack_rows(&self, rows: impl IntoIterator<Item = usize>) -> Vec<f32> {
        let numbers = rows
            .into_iter()
            .flat_map(|row| self.format.unpack(self.row(row)));
        numbers.collect()
    }

    /// The blocks of a row.
    pub(super) fn row(&self, row: usize) -> &[u8] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let bytes = self.columns / self.format.values() * self.format.bytes();
        &self.blocks()[self.stored(row) * bytes..][..bytes]
    }

    fn stored(&self, row: usize) -> usize {
        self.order.as_ref().map_or(row, |order| order[row] as usize)
    }

    fn blocks(&self) -> &[u8] {
        &(*self.memory).as_ref()[self.bytes.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let of = |shape, bytes: usize| {
            let memory: Memory = Arc::new(vec![0; 100]);
            PackedMatrix::new(BlockFormat::Q8_0, shape, memory, 0..bytes).map(drop)
        };
        assert_eq!(of([2, 32], 68), Ok(()));
        for (error, words) in [
            (of([1, 33], 34), "33 numbers"),
            (of([2, 32], 34), "expected 68 bytes, found 34"),
            (of([2, 32], 101), "found 0"),
        ] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn rows_in_another_order() {
        // Three rows of one block; codes 0, 1, 2 times 1.
        let blocks = (0..3).flat_map(|row| {
            let one = half::f16::ONE.to_le_bytes();
            one.into_iter().chain([row; 32])
        });
        let memory: Memory = Arc::new(blocks.collect::<Vec<u8>>());
        let matrix = PackedMatrix::new(BlockFormat::Q8_0, [3, 32], memory, 0..102).unwrap();
        let firsts = |matrix: &PackedMatrix| {
            let numbers = matrix.unpack();
            [numbers[0], numbers[32], numbers[64]]
        };
        assert_eq!(firsts(&matrix), [0.0, 1.0, 2.0]);
        let turned = matrix.clone().reordered(&[1, 2, 0]).unwrap();
        assert_eq!(firsts(&turned), [1.0, 2.0, 0.0]);
        let again = turned.reordered(&[1, 2, 0]).unwrap();
        assert_eq!(firsts(&again), [2.0, 0.0, 1.0]);
        for wrong in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3]] {
            assert!(matrix.clone().reordered(wrong).is_err());
        }
    }
}
