use super::error::LayoutError;
use super::row::{Reading, Row};
use super::tokens::StructureTokens;
use super::{ImageSpan, Layout};

/// A batch whose structure is known to whoever laid it out, see [`Layout::of_parts`].
#[derive(Clone, Copy, Debug)]
pub struct LayoutParts<'a> {
    /// Rows.
    pub batch: usize,
    /// `[batch · seq]`, row-major.
    pub tokens: &'a [i64],
    /// `[batch · seq]`, false for padding.
    pub valid: &'a [bool],
    /// `(row, position)` of every bos, in order.
    pub documents: &'a [(usize, usize)],
    /// `(row, position of <soi>)` of every image, in order.
    pub images: &'a [(usize, usize)],
}

impl Layout {
    /// The layout of a batch whose structure is known: nothing is searched for, only images are checked to
    /// be where they are said to be.
    ///
    /// # Errors
    /// `Rows` if lengths do not fit, `Image` if there is no image of `queries` placeholders at a place, or
    /// places are out of order.
    pub fn of_parts(
        parts: &LayoutParts,
        special: StructureTokens,
        queries: usize,
    ) -> Result<Self, LayoutError> {
        let LayoutParts {
            batch,
            tokens,
            valid,
            documents,
            images,
        } = *parts;
        if batch == 0 || !tokens.len().is_multiple_of(batch) || valid.len() != tokens.len() {
            return Err(LayoutError::Rows {
                tokens: tokens.len(),
                batch,
            });
        }
        let seq = tokens.len() / batch;
        let mut layout = Self {
            batch,
            seq,
            images: Vec::with_capacity(images.len()),
            padded: valid.iter().any(|valid| !valid),
            rows: Vec::with_capacity(batch),
            reading: Reading { special, queries },
        };
        let mut documents = documents.iter().copied().peekable();
        for row in 0..batch {
            let mut line = Row::default();
            let mut document = 0;
            for position in 0..seq {
                if documents.next_if_eq(&(row, position)).is_some() {
                    document = position;
                }
                let index = row * seq + position;
                line.append(tokens[index], document, valid[index]);
            }
            if tokens[row * seq..].get(seq - 1) == Some(&special.soi) {
                line.ends_with(seq - 1, 0);
            }
            layout.rows.push(line);
        }
        if let Some((row, position)) = documents.next() {
            return Err(LayoutError::Document { row, position });
        }
        for &(row, soi) in images {
            layout.place(row, soi)?;
        }
        Ok(layout)
    }

    /// Adds an image after all others.
    fn place(&mut self, row: usize, soi: usize) -> Result<(), LayoutError> {
        let Reading { special, queries } = self.reading;
        let ordered = self
            .images
            .last()
            .is_none_or(|last| (last.row, last.soi + queries) < (row, soi));
        let line = self.rows.get(row).map_or(&[][..], |line| &line.tokens);
        let end = soi + 1 + queries;
        let run = line.get(soi..end).unwrap_or_default();
        let there = run.first() == Some(&special.soi)
            && run.iter().skip(1).all(|token| *token == special.image)
            && line.get(end) != Some(&special.image);
        if !there || !ordered {
            return Err(LayoutError::Image {
                row,
                position: soi,
                expected: queries,
            });
        }
        let document = self.rows[row].documents[soi];
        let previous = self.images.len().checked_sub(1).filter(|previous| {
            let image = &self.images[*previous];
            image.row == row && image.document == document
        });
        self.images.push(ImageSpan {
            row,
            soi,
            document,
            previous,
        });
        if end == self.seq {
            self.rows[row].ends_with(soi, queries);
        }
        Ok(())
    }
}
