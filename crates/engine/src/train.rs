//! The training loop and its parts; what is learned is a [`Task`]'s business.

mod batch_file;
mod checkpoint;
mod config;
mod cost;
mod cut;
mod exchange;
mod frozen;
mod identity;
mod log;
mod lora;
mod optimizer;
pub mod parameters;
mod piece;
mod prefetch;
mod replay;
mod run;
mod saving;
mod schedule;
mod shares;
mod store;
mod task;
mod tensorboard;
mod trainer;

pub use batch_file::{BatchFile, HostBatch, flags, floats, integers};
pub use checkpoint::{Checkpoint, Contents, Saved, State};
pub use config::TrainConfig;
pub use cut::Cut;
pub use frozen::{FrozenShards, block_of};
pub use identity::{
    Difference, MAY_DIFFER, RunIdentity, WEIGHTS_FROM, tokenizer_checksum, weights_checksum,
};
pub use log::{MetricsLog, read_metrics};
pub use lora::{Adapters, LoraConfig};
pub use optimizer::{AdamW, AdamWConfig, GradientSet};
pub use parameters::{ParameterGroup, ParameterInfo};
pub use piece::{Piece, Plan};
pub use replay::{Replayed, replay};
pub use run::{Run, finished};
pub use schedule::Schedule;
pub use shares::{Counts, Shares};
pub use store::RunStore;
pub use task::{Loss, Observer, Silent, StepReport, Task};
pub use trainer::{Trained, train};
