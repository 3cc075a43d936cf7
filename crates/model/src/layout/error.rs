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
        /// Length of the run, as far as it was read.
        found: usize,
    },
    /// No image where one is said to be.
    #[error(
        "row {row}: expected an image (<soi> and {expected} placeholders, after the images before it) at {position}"
    )]
    Image {
        /// Row of the batch.
        row: usize,
        /// Position of the `<soi>`.
        position: usize,
        /// Visual tokens per image.
        expected: usize,
    },
    /// The start of a document outside the batch, or out of order.
    #[error("row {row}: a document cannot start at {position}, after those before it")]
    Document {
        /// Row of the batch.
        row: usize,
        /// Position of its bos.
        position: usize,
    },
}
