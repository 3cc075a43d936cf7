use serde::{Deserialize, Serialize};

/// One value for all blocks, or a list with one for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerBlock<T> {
    /// One for each block, in the order of the way down.
    Each(Vec<T>),
    /// The same for all blocks.
    All(T),
}

impl<T> PerBlock<T> {
    /// The value of a block; the last one if the list is too short.
    ///
    /// # Panics
    /// If the list is empty.
    pub fn at(&self, block: usize) -> &T {
        self.get(block).expect("a list with one entry per block")
    }

    pub(super) fn get(&self, block: usize) -> Option<&T> {
        let values = self.values();
        values.get(block).or(values.last())
    }

    pub(super) fn values(&self) -> &[T] {
        match self {
            Self::All(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        }
    }

    pub(super) fn fits(&self, blocks: usize) -> bool {
        match self {
            Self::All(_) => true,
            Self::Each(values) => values.len() == blocks,
        }
    }
}
