//! The threads that own a model, and how work finds its way among them.
//!
//! ```text
//!              ┌─► look  (encodes pictures, scores answers) ─┐
//! Handle ─► sort                                             ├─► speak (one token of every answer at a time)
//!              └─► draw  (draws, restores) ◄─────────────────┘        │  an answer that wants a picture
//!                     └──────────────────────── the picture ─────────►│
//! ```
//!
//! Answers join and leave the running batch at every token. Prompts are read in pieces between the tokens of the others.
//! Whose client has gone is dropped before the next step.

mod draw;
mod kept;
mod look;
mod prefix;
mod speak;

use std::thread::{self, JoinHandle};

use deem::Model;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{Job, Metrics, Submitted};

/// How much is done at once, and how much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Answers that grow side by side at most.
    pub batch: usize,
    /// Tokens of a prompt that are read between two tokens of the others.
    pub piece: usize,
    /// Bytes of encoded pictures that are kept.
    pub pictures: usize,
    /// Bytes of keys and values of prompts that are kept for those who begin in the same way.
    pub prefixes: usize,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            batch: 16,
            piece: 128,
            pictures: 256 << 20,
            prefixes: 256 << 20,
        }
    }
}

impl Schedule {
    /// Starts the threads of a model. They end when every [`Handle`](crate::Handle) is gone and what was taken is done.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(
        self,
        model: &Model,
        mut arriving: UnboundedReceiver<Submitted>,
        metrics: &Metrics,
    ) -> std::io::Result<Vec<JoinHandle<()>>> {
        let (to_speak, speak) = speak::Speaker::new(self, model, metrics);
        let (to_draw, draw) = draw::Painter::new(model, metrics);
        let (to_look, look) = look::Looker::new(self.pictures, model, metrics, to_speak.clone());
        let painter = to_draw.clone();
        let sort = move || {
            while let Some(submitted) = arriving.blocking_recv() {
                // A lane ends after those that send to it.
                let _ = match &submitted.job {
                    Job::Answer(_) | Job::Score(_) => to_look.send(submitted).is_ok(),
                    Job::Read(_) => to_speak.send(speak::Message::text(submitted)).is_ok(),
                    Job::Draw(_) | Job::Restore(_) => {
                        to_draw.send(draw::Order::Job(submitted)).is_ok()
                    }
                };
            }
        };
        let lane = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let name = format!("{name} {}", model.name());
            thread::Builder::new().name(name).spawn(move || {
                deem::share_processors();
                work();
            })
        };
        Ok(vec![
            lane("sort", Box::new(sort))?,
            lane("look", Box::new(move || look.run()))?,
            lane("draw", Box::new(move || draw.run()))?,
            lane("speak", Box::new(move || speak.run(&painter)))?,
        ])
    }
}
