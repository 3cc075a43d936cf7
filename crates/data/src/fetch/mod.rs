//! Gets emoji art that is not shipped, with the user's own package client, as corpus shards.

mod art;
mod emoji;
mod npm;

pub use emoji::{FetchOptions, FetchReport, fetch_emoji};
