//! Where data lies: on this machine, or in an object store (`s3://`, `gs://`, `az://`) or behind a web server
//! (`http://`, `https://`), read in pieces, with retries, ahead of time, and through a bounded cache on disk. And where a run's
//! checkpoints may be put: [`Bucket`].

mod blob;
mod bucket;
mod cache;
mod location;
mod pictures;
mod remote;
mod tls;

pub use blob::{Blob, Reader};
pub use bucket::Bucket;
pub use location::Location;
pub use pictures::Pictures;
pub use tls::choose_tls_provider;
