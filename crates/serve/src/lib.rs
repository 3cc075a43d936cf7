//! Models over HTTP. Requests become jobs; jobs go to the thread that owns the model; what it tells comes back as events.
//!
//! ```text
//! client ─► http (routes, keys, limits) ─► api (OpenAI's shapes → Job) ─► Handle ─► schedule (the model's threads)
//!    ▲                                                                       │
//!    └───────────── JSON or server-sent events ◄── api ◄── Event ◄───────────┘
//! ```
#![warn(missing_docs)]

mod api;
mod app;
mod error;
mod handle;
mod http;
mod job;
mod keys;
mod limit;
mod metrics;
mod observe;
mod options;
mod page;
mod picture;
mod schedule;

pub use app::Served;
pub use deem::{AnswerOptions, Likely, TokenSaid};
pub use error::ServeError;
pub use handle::{Events, Handle, Refused, Submitted};
pub use http::serve;
pub use job::{
    AnswerJob, Choice, DrawJob, EndReason, Event, Job, ReadJob, RestoreJob, ScoreJob, Usage,
};
pub use metrics::Metrics;
pub use options::Options;
pub use schedule::Schedule;
