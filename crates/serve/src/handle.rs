//! The way to a model's threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::{Event, Job};

/// A job on its way, with the way back. A client that goes away drops its [`Events`]; `events.is_closed()` tells.
#[derive(Debug)]
pub struct Submitted {
    /// What is to be done.
    pub job: Job,
    /// Hears what happens.
    pub events: mpsc::UnboundedSender<Event>,
    /// When it came.
    pub arrived: Instant,
    /// Its place in the queue.
    _place: Place,
}

/// What happens to a job, as it happens.
pub type Events = mpsc::UnboundedReceiver<Event>;

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many wait as may.
    #[error("{0} requests are being answered or wait already; try again later")]
    Full(usize),
    /// The server is about to end.
    #[error("the server is shutting down")]
    Closing,
}

/// Takes jobs for a model, not more than `limit` at a time. Copies lead to the same model.
#[derive(Clone, Debug)]
pub struct Handle {
    jobs: mpsc::UnboundedSender<Submitted>,
    present: Arc<AtomicUsize>,
    limit: usize,
}

/// One of the jobs that a handle has taken and that are not over.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Handle {
    /// A handle, and where its jobs arrive.
    pub fn new(limit: usize) -> (Self, mpsc::UnboundedReceiver<Submitted>) {
        let (jobs, arriving) = mpsc::unbounded_channel();
        let present = Arc::new(AtomicUsize::new(0));
        (
            Self {
                jobs,
                present,
                limit,
            },
            arriving,
        )
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// `Full` or `Closing`.
    pub fn submit(&self, job: Job) -> Result<Events, Refused> {
        let taken = self
            .present
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < self.limit).then_some(n + 1)
            });
        taken.map_err(|_| Refused::Full(self.limit))?;
        let place = Place(self.present.clone());
        let (events, heard) = mpsc::unbounded_channel();
        let submitted = Submitted {
            job,
            events,
            arrived: Instant::now(),
            _place: place,
        };
        self.jobs.send(submitted).map_err(|_| Refused::Closing)?;
        Ok(heard)
    }

    /// Jobs that are being worked on or wait.
    pub fn present(&self) -> usize {
        self.present.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DrawJob;

    #[test]
    fn a_place_is_free_when_the_job_is_over() {
        let draw = || {
            Job::Draw(DrawJob {
                text: "a".into(),
                n: 1,
                options: deem::ImageOptions::default(),
            })
        };
        let (handle, mut arriving) = Handle::new(1);
        let _events = handle.submit(draw()).unwrap();
        assert_eq!(handle.submit(draw()).unwrap_err(), Refused::Full(1));
        drop(arriving.try_recv().unwrap());
        assert_eq!(handle.present(), 0);
        drop(arriving);
        assert_eq!(handle.submit(draw()).unwrap_err(), Refused::Closing);
    }
}
