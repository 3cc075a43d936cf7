//! The training loop and its parts; what is learned is a [`Task`]'s business.

mod checkpoint;
mod log;
mod optimizer;
pub mod parameters;
mod schedule;
mod tensorboard;
mod trainer;

pub use checkpoint::{Checkpoint, Position};
pub use log::{MetricsLog, read_metrics};
pub use optimizer::{AdamW, AdamWConfig, GradientSet};
pub use parameters::{ParameterGroup, ParameterInfo};
pub use schedule::Schedule;
pub use trainer::{Loss, Observer, Silent, StepReport, Task, TrainConfig, Trained, train};
