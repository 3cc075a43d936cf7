//! Where everything stands in a batch of interleaved sequences (DEEM §2.1, "Sequence layout").
//!
//! Text tokens with, per image, one `<soi>` followed by a run of `<image>` placeholders. All index
//! arithmetic on such sequences happens here, on the host, so that the networks only gather. A layout is
//! made once, of what a collator knows ([`Layout::of_parts`]) or of tokens alone ([`Layout::read`]), and
//! grows with every token that is decoded ([`Layout::push`]); what is asked of some positions costs no more
//! than these.

mod error;
mod parts;
mod row;
#[cfg(test)]
mod tests;
mod tokens;

use std::ops::Range;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

pub use self::error::LayoutError;
pub use self::parts::LayoutParts;
use self::row::{Reading, Row};
pub use self::tokens::StructureTokens;

/// One image of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSpan {
    /// Row of the batch.
    pub row: usize,
    /// Position of its `<soi>`.
    pub soi: usize,
    /// Position of the nearest bos before it (0 if there is none).
    pub document: usize,
    /// Index (in batch order) of the nearest earlier image of the same document.
    pub previous: Option<usize>,
}

/// Structure of a batch of sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows.
    pub batch: usize,
    /// Positions per row.
    pub seq: usize,
    /// Images in batch order: by row, then by position.
    pub images: Vec<ImageSpan>,
    padded: bool,
    rows: Vec<Row>,
    reading: Reading,
}

impl Layout {
    /// As [`Self::read`], for tokens that this program has laid out.
    ///
    /// # Panics
    /// Where [`Self::read`] fails.
    pub fn new(tokens: &[i64], batch: usize, special: StructureTokens, queries: usize) -> Self {
        Self::read(tokens, batch, special, queries).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads the structure of `tokens` (`[batch · seq]`, row-major).
    ///
    /// # Errors
    /// If `tokens` is not `batch` rows, or an `<soi>` is followed by a run of placeholders other than
    /// `queries` long (an `<soi>` at the very end of a row may stand alone: an image to be generated).
    pub fn read(
        tokens: &[i64],
        batch: usize,
        special: StructureTokens,
        queries: usize,
    ) -> Result<Self, LayoutError> {
        if batch == 0 || !tokens.len().is_multiple_of(batch) {
            return Err(LayoutError::Rows {
                tokens: tokens.len(),
                batch,
            });
        }
        let seq = tokens.len() / batch;
        let mut layout = Self {
            batch,
            seq,
            images: Vec::new(),
            padded: false,
            rows: vec![Row::default(); batch],
            reading: Reading { special, queries },
        };
        for row in 0..batch {
            for token in &tokens[row * seq..][..seq] {
                layout.extend_row(row, *token)?;
            }
            layout.rows[row].finish(row, queries)?;
        }
        Ok(layout)
    }

    /// Appends one token to each row; costs nothing of what came before.
    ///
    /// An image counts from its last placeholder on. In between, [`Self::read`] would not accept the row.
    ///
    /// # Errors
    /// `Rows` if there is not one token for each row, `Placeholders` where an image's run of placeholders is
    /// cut or too long; the layout is then no longer of use.
    pub fn push(&mut self, column: &[i64]) -> Result<(), LayoutError> {
        if column.len() != self.batch {
            return Err(LayoutError::Rows {
                tokens: column.len(),
                batch: self.batch,
            });
        }
        for (row, token) in column.iter().enumerate() {
            self.extend_row(row, *token)?;
        }
        self.seq += 1;
        Ok(())
    }

    /// Whether a token may follow in a row, see [`Self::push`].
    pub fn accepts(&self, row: usize, token: i64) -> bool {
        self.rows[row].accepts(token, &self.reading)
    }

    fn extend_row(&mut self, row: usize, token: i64) -> Result<(), LayoutError> {
        self.padded |= token == self.reading.special.pad;
        if let Some(soi) = self.rows[row].push(token, row, &self.reading)? {
            self.insert(row, soi);
        }
        Ok(())
    }

    /// Adds an image after the others of its row.
    fn insert(&mut self, row: usize, soi: usize) {
        let at = self.images.partition_point(|image| image.row <= row);
        let document = self.rows[row].documents[soi];
        let previous = at.checked_sub(1).filter(|previous| {
            let image = &self.images[*previous];
            image.row == row && image.document == document
        });
        for image in &mut self.images[at..] {
            image.previous = image.previous.map(|previous| previous + 1);
        }
        let image = ImageSpan {
            row,
            soi,
            document,
            previous,
        };
        self.images.insert(at, image);
    }

    /// Some of the rows, in a given order, possibly repeated; and the index of each of their images among
    /// the images of this layout.
    pub fn select(&self, rows: &[usize]) -> (Self, Vec<usize>) {
        let (mut images, mut origins) = (Vec::new(), Vec::new());
        for (row, origin) in rows.iter().enumerate() {
            let own = self.row_images(*origin);
            for index in own.clone() {
                let image = self.images[index];
                let previous = image
                    .previous
                    .map(|p| p - own.start + images.len() - (index - own.start));
                images.push(ImageSpan {
                    row,
                    previous,
                    ..image
                });
                origins.push(index);
            }
        }
        let selected = Self {
            batch: rows.len(),
            images,
            rows: rows.iter().map(|row| self.rows[*row].clone()).collect(),
            ..*self
        };
        (selected, origins)
    }

    /// Indices of a row's images.
    fn row_images(&self, row: usize) -> Range<usize> {
        let start = self.images.partition_point(|image| image.row < row);
        let end = self.images.partition_point(|image| image.row <= row);
        start..end
    }

    /// All tokens, `[batch · seq]`.
    pub fn token_ids(&self) -> Vec<i64> {
        self.tokens_at(0..self.seq)
    }

    /// The tokens at some positions of every row, `[batch · columns]`.
    pub fn tokens_at(&self, columns: Range<usize>) -> Vec<i64> {
        self.columns(columns, |row| &row.tokens)
    }

    fn columns<T: Copy>(&self, columns: Range<usize>, values: impl Fn(&Row) -> &[T]) -> Vec<T> {
        let rows = self.rows.iter();
        rows.flat_map(|row| &values(row)[columns.clone()])
            .copied()
            .collect()
    }

    /// `[batch, seq]`, true where there is a token.
    pub fn valid(&self, device: &Device) -> Tensor<2, Bool> {
        let valid = self.columns(0..self.seq, |row| &row.valid);
        Tensor::from_data(TensorData::new(valid, [self.batch, self.seq]), device)
    }

    /// Whether any position is padding.
    pub fn is_padded(&self) -> bool {
        self.padded
    }

    /// All rotary positions, see [`Self::positions_at`].
    pub fn positions(&self) -> Vec<i64> {
        self.positions_at(0..self.seq)
    }

    /// `[batch · columns]`, rotary positions: tokens counted from 0, padding not counted.
    pub fn positions_at(&self, columns: Range<usize>) -> Vec<i64> {
        self.columns(columns, |row| &row.rotary)
    }

    /// Rows to gather from `[token embeddings (batch · columns); visual tokens (images · queries)]`
    /// for some positions of every row; `None` if none of them is a placeholder.
    pub fn embedding_rows(&self, columns: Range<usize>) -> Option<Vec<usize>> {
        let (count, queries) = (columns.len(), self.reading.queries);
        let text = self.batch * count;
        let mut rows: Vec<usize> = (0..text).collect();
        let mut any = false;
        for (index, image) in self.images.iter().enumerate() {
            let first = image.soi + 1;
            let wanted = first.max(columns.start)..(first + queries).min(columns.end);
            for position in wanted {
                any = true;
                let row = image.row * count + position - columns.start;
                rows[row] = text + index * queries + position - first;
            }
        }
        any.then_some(rows)
    }

    /// `[batch · columns]`, 1 at every `<soi>` and 0 elsewhere.
    pub fn soi_mask(&self, columns: Range<usize>) -> Vec<f32> {
        let soi = self.reading.special.soi;
        let tokens = self.tokens_at(columns).into_iter();
        tokens.map(|token| f32::from(token == soi)).collect()
    }

    /// Largest number of images in a row.
    pub fn images_per_row(&self) -> usize {
        let counts = (0..self.batch).map(|row| self.row_images(row).len());
        counts.max().unwrap_or(0)
    }

    /// The nearest image that the last position of the first row sees.
    pub fn last_visible(&self) -> Option<usize> {
        let document = *self.rows.first()?.documents.last()?;
        let own = &self.images[self.row_images(0)];
        own.iter().rposition(|image| image.soi >= document)
    }

    /// `[batch, images_per_row]`: batch index of each row's images, padded with 0.
    pub fn image_slots(&self) -> Vec<usize> {
        let width = self.images_per_row();
        let mut slots = vec![0; self.batch * width];
        for row in 0..self.batch {
            for (slot, index) in self.row_images(row).enumerate() {
                slots[row * width + slot] = index;
            }
        }
        slots
    }

    /// `[batch, columns, images_per_row]`: how far back each image lies as seen from each position. The
    /// nearest previous image has 1; 0 is invisible, because it starts later, before the position's
    /// bos, or does not exist.
    pub fn relative(&self, columns: Range<usize>) -> Vec<i64> {
        let (width, count) = (self.images_per_row(), columns.len());
        let mut relative = vec![0; self.batch * count * width];
        for (row, line) in self.rows.iter().enumerate() {
            let images = &self.images[self.row_images(row)];
            for position in columns.clone() {
                let index = row * count + position - columns.start;
                let mut back = 0;
                for (slot, image) in images.iter().enumerate().rev() {
                    if image.soi <= position && image.soi >= line.documents[position] {
                        back += 1;
                        relative[index * width + slot] = back;
                    }
                }
            }
        }
        relative
    }

    /// Contexts of images to be generated: for each `(row, soi)`, the rows of the flattened hidden
    /// states from the nearest bos to the `<soi>` inclusive, *reversed in time*, padded to the
    /// longest; and which entries are real. Both are `[targets, longest]`.
    pub fn contexts(&self, targets: &[(usize, usize)]) -> (Vec<usize>, Vec<bool>, usize) {
        let spans: Vec<_> = targets
            .iter()
            .map(|&(row, soi)| {
                let start = self.rows[row].documents[soi];
                (row * self.seq + soi, soi - start + 1)
            })
            .collect();
        let longest = spans.iter().map(|(_, len)| *len).max().unwrap_or(0);
        let mut rows = Vec::with_capacity(spans.len() * longest);
        let mut real = Vec::with_capacity(spans.len() * longest);
        for (end, len) in spans {
            for back in 0..longest {
                rows.push(end.saturating_sub(back.min(len - 1)));
                real.push(back < len);
            }
        }
        (rows, real, longest)
    }

    /// An integer tensor on a device.
    pub fn int<const D: usize>(
        values: Vec<i64>,
        shape: [usize; D],
        device: &Device,
    ) -> Tensor<D, Int> {
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}
