//! What a user of deem adds in a crate of their own: a kind of training data and a benchmark.

mod class_folders;
mod shades;

pub use class_folders::CLASS_FOLDERS;
pub use shades::Shades;
