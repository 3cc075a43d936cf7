//! The built-in corpus: emoji concepts drawn in several styles, and their split into training,
//! validation and test drawings.

mod concept;
mod pack;
mod split;

pub use concept::{Concept, Corpus, Drawing, DrawingIndex, Style, Subset};
pub use split::{Part, Role, Split};
