//! Files of published models, by name: a path on this machine, or `hf://owner/name` in the cache that
//! all Hugging Face programs share, filled from a hub or one of its mirrors.
#![warn(missing_docs)]

mod download;
mod error;
mod hub;
mod name;

pub use download::{Remote, sha256};
pub use error::HubError;
pub use hub::{Hub, Progress, Wanted};
pub use name::Repository;
