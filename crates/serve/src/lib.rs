//! Models over HTTP. Requests become jobs; jobs go to the thread that owns the model; what it tells comes back as events.
//!
//! ```text
//! client ─► http (routes, keys, limits) ─► api (OpenAI's shapes → Job) ─► Handle ─► schedule (the model's threads)
//!    ▲                                                                       │
//!    └───────────── JSON or server-sent events ◄── api ◄── Event ◄───────────┘
//! ```
#![warn(missing_docs)]

mod handle;
mod job;
mod metrics;
mod schedule;

pub use handle::{Events, Handle, Refused, Submitted};
pub use job::{
    AnswerJob, Choice, DrawJob, EndReason, Event, Job, ReadJob, RestoreJob, ScoreJob, Scored, Usage,
};
pub use metrics::Metrics;
pub use schedule::Schedule;
