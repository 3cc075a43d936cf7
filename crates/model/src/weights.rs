//! Weights in and out of modules: safetensors and GGUF files, keys, dtypes, fresh initialisation.
//!
//! A module's parameter path *is* its key (`layers.0.self_attn.q_proj.weight`); where a published
//! checkpoint says it differently, a [`Rename`] says how.

mod depot;
mod error;
mod file;
pub mod gguf;
mod index;
pub mod init;
mod load;
mod mapped;
mod official;
mod place;
mod save;
mod shapes;
mod stream;
pub mod torch;

pub use depot::{Depot, keep_in};
pub use error::WeightsError;
pub use file::{Checksum, WeightsFile, sha256};
pub use index::{check_shards, find, indexed, pickles, shards, weight_files};
pub(crate) use load::set;
pub use load::{LoadOptions, Rename, check, load, narrow, widen};
pub use official::{is_official, to_deem};
pub use place::{Place, check_placed, load_placed, write_placed};
pub use safetensors::Dtype;
pub use save::{StateTensor, lazy_state, lazy_trained_state, save, state, write};
pub use shapes::shapes;
pub use stream::{LazyTensor, read_tensors, write_stream};
