//! Where everything stands in a batch of interleaved sequences (spec: sequence layout).
//!
//! Text tokens with, per image, one `<soi>` followed by a run of `<image>` placeholders. All index
//! arithmetic on such sequences happens here, on the host, so that the networks only gather.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// Ids of the tokens that carry structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialTokens {
    /// Start of a document.
    pub bos: i64,
    /// End of a text.
    pub eos: i64,
    /// Padding.
    pub pad: i64,
    /// Start of an image.
    pub soi: i64,
    /// Placeholder for one visual token.
    pub image: i64,
}

impl SpecialTokens {
    /// The Vicuna vocabulary with DEEM's additions.
    pub const VICUNA: Self = Self {
        bos: 1,
        eos: 2,
        pad: 31999,
        soi: 32000,
        image: 32001,
    };
}

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
#[derive(Clone, Debug)]
pub struct Layout {
    /// Rows.
    pub batch: usize,
    /// Positions per row.
    pub seq: usize,
    /// Images in batch order: by row, then by position.
    pub images: Vec<ImageSpan>,
    /// `[batch · seq]`, position of the nearest bos at or before each position.
    documents: Vec<usize>,
    /// `[batch · seq]`, false for padding.
    valid: Vec<bool>,
    tokens: Vec<i64>,
    special: SpecialTokens,
    queries: usize,
}

/// What can be wrong with a batch of interleaved sequences.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Not a whole number of tokens in each row.
    #[error("{tokens} tokens are no {batch} rows of one length")]
    Rows {
        /// Number of tokens.
        tokens: usize,
        /// Number of rows.
        batch: usize,
    },
    /// An image whose placeholders are cut or too many.
    #[error("row {row}: expected {expected} placeholders after <soi> at {position}, found {found}")]
    Placeholders {
        /// Row of the batch.
        row: usize,
        /// Position of the `<soi>`.
        position: usize,
        /// Visual tokens per image.
        expected: usize,
        /// Length of the run.
        found: usize,
    },
}

impl Layout {
    /// As [`Self::read`], for tokens that this program has laid out.
    ///
    /// # Panics
    /// Where [`Self::read`] fails.
    pub fn new(tokens: &[i64], batch: usize, special: SpecialTokens, queries: usize) -> Self {
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
        special: SpecialTokens,
        queries: usize,
    ) -> Result<Self, LayoutError> {
        if batch == 0 || !tokens.len().is_multiple_of(batch) {
            return Err(LayoutError::Rows {
                tokens: tokens.len(),
                batch,
            });
        }
        let seq = tokens.len() / batch;
        let mut images: Vec<ImageSpan> = Vec::new();
        let mut documents = vec![0; tokens.len()];
        for row in 0..batch {
            let line = &tokens[row * seq..][..seq];
            let (mut document, mut previous) = (0, None);
            for (position, token) in line.iter().enumerate() {
                if *token == special.bos {
                    (document, previous) = (position, None);
                }
                documents[row * seq + position] = document;
                if *token != special.soi {
                    continue;
                }
                let run = line[position + 1..]
                    .iter()
                    .take_while(|t| **t == special.image)
                    .count();
                if run == 0 && position + 1 == seq {
                    continue;
                }
                if run != queries {
                    return Err(LayoutError::Placeholders {
                        row,
                        position,
                        expected: queries,
                        found: run,
                    });
                }
                images.push(ImageSpan {
                    row,
                    soi: position,
                    document,
                    previous,
                });
                previous = Some(images.len() - 1);
            }
        }
        Ok(Self {
            batch,
            seq,
            images,
            documents,
            valid: tokens.iter().map(|t| *t != special.pad).collect(),
            tokens: tokens.to_vec(),
            special,
            queries,
        })
    }

    /// `[batch · seq]`, the tokens themselves.
    pub fn token_ids(&self) -> &[i64] {
        &self.tokens
    }

    /// Some positions of every row, out of values with `width` entries per position.
    pub fn columns<T: Copy>(&self, values: &[T], width: usize, columns: Range<usize>) -> Vec<T> {
        (0..self.batch)
            .flat_map(|row| {
                let start = (row * self.seq + columns.start) * width;
                &values[start..start + columns.len() * width]
            })
            .copied()
            .collect()
    }

    /// `[batch, seq]`, true where there is a token.
    pub fn valid(&self, device: &Device) -> Tensor<2, burn::tensor::Bool> {
        Tensor::from_data(
            TensorData::new(self.valid.clone(), [self.batch, self.seq]),
            device,
        )
    }

    /// Whether any position is padding.
    pub fn is_padded(&self) -> bool {
        self.valid.iter().any(|v| !v)
    }

    /// `[batch, seq]`, rotary positions: tokens counted from 0, padding not counted.
    pub fn positions(&self) -> Vec<i64> {
        let mut positions = Vec::with_capacity(self.valid.len());
        for row in self.valid.chunks(self.seq) {
            let mut next = 0;
            for valid in row {
                positions.push(next);
                next += i64::from(*valid);
            }
        }
        positions
    }

    /// Rows to gather from `[token embeddings (batch · columns); visual tokens (images · queries)]`
    /// for some positions of every row; `None` if none of them is a placeholder.
    pub fn embedding_rows(&self, columns: Range<usize>) -> Option<Vec<usize>> {
        let text = self.batch * columns.len();
        let mut rows: Vec<usize> = (0..text).collect();
        let mut any = false;
        for (index, image) in self.images.iter().enumerate() {
            for query in 0..self.queries {
                let position = image.soi + 1 + query;
                if columns.contains(&position) {
                    any = true;
                    let row = image.row * columns.len() + position - columns.start;
                    rows[row] = text + index * self.queries + query;
                }
            }
        }
        any.then_some(rows)
    }

    /// `[batch · seq]`, 1 at every `<soi>` and 0 elsewhere.
    pub fn soi_mask(&self) -> Vec<f32> {
        let soi = self.special.soi;
        self.tokens.iter().map(|t| f32::from(*t == soi)).collect()
    }

    /// Largest number of images in a row.
    pub fn images_per_row(&self) -> usize {
        let mut counts = vec![0; self.batch];
        for image in &self.images {
            counts[image.row] += 1;
        }
        counts.into_iter().max().unwrap_or(0)
    }

    /// The nearest image that the last position of the first row sees.
    pub fn last_visible(&self) -> Option<usize> {
        let document = self.documents[self.seq - 1];
        self.images
            .iter()
            .rposition(|image| image.row == 0 && image.soi >= document)
    }

    /// `[batch, images_per_row]`: batch index of each row's images, padded with 0.
    pub fn image_slots(&self) -> Vec<usize> {
        let width = self.images_per_row();
        let mut slots = vec![0; self.batch * width];
        let mut filled = vec![0; self.batch];
        for (index, image) in self.images.iter().enumerate() {
            slots[image.row * width + filled[image.row]] = index;
            filled[image.row] += 1;
        }
        slots
    }

    /// `[batch, seq, images_per_row]`: how far back each image lies as seen from each position. The
    /// nearest previous image has 1; 0 is invisible, because it starts later, before the position's
    /// bos, or does not exist.
    pub fn relative(&self) -> Vec<i64> {
        let width = self.images_per_row();
        let mut relative = vec![0; self.batch * self.seq * width];
        let mut rows: Vec<Vec<&ImageSpan>> = vec![Vec::new(); self.batch];
        for image in &self.images {
            rows[image.row].push(image);
        }
        for (row, images) in rows.iter().enumerate() {
            for position in 0..self.seq {
                let index = row * self.seq + position;
                let mut back = 0;
                for (slot, image) in images.iter().enumerate().rev() {
                    if image.soi <= position && image.soi >= self.documents[index] {
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
                let start = self.documents[row * self.seq + soi];
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

    /// An integer tensor `[batch, columns]` on a device.
    pub fn int<const D: usize>(
        values: Vec<i64>,
        shape: [usize; D],
        device: &Device,
    ) -> Tensor<D, Int> {
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: SpecialTokens = SpecialTokens {
        bos: 1,
        eos: 2,
        pad: 0,
        soi: 8,
        image: 9,
    };

    /// bos, image, text, image, bos, image | pad pad, bos text image …
    fn layout() -> Layout {
        let tokens = [
            1, 8, 9, 9, 5, 8, 9, 9, 1, 8, 9, 9, //
            0, 0, 1, 5, 8, 9, 9, 6, 6, 6, 6, 8,
        ];
        Layout::new(&tokens, 2, T, 2)
    }

    #[test]
    fn images_know_their_document_and_predecessor() {
        let layout = layout();
        let spans: Vec<_> = layout
            .images
            .iter()
            .map(|i| (i.row, i.soi, i.document, i.previous))
            .collect();
        assert_eq!(
            spans,
            [
                (0, 1, 0, None),
                (0, 5, 0, Some(0)),
                (0, 9, 8, None),
                (1, 4, 2, None)
            ]
        );
    }

    #[test]
    fn placeholders_point_at_visual_tokens() {
        let rows = layout().embedding_rows(0..12).unwrap();
        assert_eq!(&rows[..8], [0, 1, 24, 25, 4, 5, 26, 27]);
        assert_eq!(&rows[16..20], [16, 30, 31, 19]);
        let tail = layout().embedding_rows(10..12).unwrap();
        assert_eq!(tail, [8, 9, 2, 3]);
        assert!(layout().embedding_rows(8..9).is_none());
    }

    #[test]
    fn tokens_see_earlier_images_of_their_document_only() {
        let layout = layout();
        let relative = layout.relative();
        let at = |row: usize, position: usize| &relative[(row * 12 + position) * 3..][..3];
        assert_eq!(layout.images_per_row(), 3);
        assert_eq!(at(0, 0), [0, 0, 0]);
        assert_eq!(at(0, 4), [1, 0, 0]);
        assert_eq!(at(0, 7), [2, 1, 0]);
        assert_eq!(at(0, 8), [0, 0, 0]);
        assert_eq!(at(0, 11), [0, 0, 1]);
        assert_eq!(at(1, 11), [1, 0, 0]);
        assert_eq!(layout.image_slots(), [0, 1, 2, 3, 0, 0]);
    }

    #[test]
    fn contexts_run_backwards_to_the_bos() {
        let (rows, real, longest) = layout().contexts(&[(0, 5), (0, 9), (1, 4)]);
        assert_eq!(longest, 6);
        assert_eq!(&rows[..6], [5, 4, 3, 2, 1, 0]);
        assert_eq!(&rows[6..9], [9, 8, 8]);
        assert_eq!(&real[6..12], [true, true, false, false, false, false]);
        assert_eq!(&rows[12..15], [16, 15, 14]);
    }

    #[test]
    fn left_padding_is_not_counted_in_positions() {
        let layout = layout();
        assert_eq!(&layout.positions()[12..16], [0, 0, 0, 1]);
        assert!(layout.is_padded());
    }

    #[test]
    #[should_panic(expected = "placeholders after <soi>")]
    fn a_cut_placeholder_run_is_a_programmer_error() {
        Layout::new(&[1, 8, 9, 5], 1, T, 2);
    }
}
