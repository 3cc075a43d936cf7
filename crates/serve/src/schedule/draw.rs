//! The lane that draws: pictures of texts, restorations, and pictures within answers.

use std::sync::mpsc::{Receiver, Sender, channel};

use deem::{Answering, Error, ImageOptions, Model, Watch};
use image::RgbImage;

use super::speak::{Message, Request};
use crate::{Event, Job, Metrics, Submitted, Usage};

/// What is to be drawn.
pub(super) enum Order {
    /// For a client.
    Job(Submitted),
    /// Within an answer, which waits here meanwhile.
    Within {
        request: Request,
        answering: Box<Answering>,
        options: ImageOptions,
        back: Sender<Message>,
    },
}

pub(super) struct Painter {
    model: Model,
    metrics: Metrics,
    arriving: Receiver<Order>,
}

impl Painter {
    pub(super) fn new(model: &Model, metrics: &Metrics) -> (Sender<Order>, Self) {
        let (sender, arriving) = channel();
        let painter = Self {
            model: model.clone(),
            metrics: metrics.clone(),
            arriving,
        };
        (sender, painter)
    }

    pub(super) fn run(self) {
        while let Ok(order) = self.arriving.recv() {
            match order {
                Order::Job(submitted) if submitted.events.is_closed() => {}
                Order::Job(submitted) => {
                    let told = match self.job(&submitted) {
                        Ok(usage) => Event::Done(usage),
                        Err(error) => Event::Failed(error),
                    };
                    let _ = submitted.events.send(told);
                }
                Order::Within {
                    request,
                    answering,
                    options,
                    back,
                } => {
                    let told = if request.is_gone() {
                        Message::Gone
                    } else {
                        let waits = &mut |_, _| !request.is_gone();
                        match self.within(*answering, &options, waits) {
                            Err(_) if request.is_gone() => Message::Gone,
                            drawn => Message::Drawn(request, drawn.map(Box::new)),
                        }
                    };
                    let _ = back.send(told);
                }
            }
        }
    }

    fn job(&self, submitted: &Submitted) -> Result<Usage, Error> {
        let tell = |choice, picture: RgbImage| {
            self.metrics.drawn();
            let _ = submitted.events.send(Event::Picture { choice, picture });
        };
        // Nobody draws for a client that has left.
        let mut waits = |_, _| !submitted.events.is_closed();
        let mut usage = Usage::default();
        match &submitted.job {
            Job::Draw(job) => {
                usage.prompt = self.model.drawing_prompt(&job.text)?.len();
                for choice in 0..job.n {
                    if submitted.events.is_closed() {
                        break;
                    }
                    let options = ImageOptions {
                        seed: job.options.seed.wrapping_add(choice as u64),
                        ..job.options
                    };
                    let picture = self.model.draw_watched(&job.text, &options, &mut waits);
                    tell(choice, picture?);
                }
            }
            Job::Restore(job) => {
                tell(
                    0,
                    self.model.restore_watched(
                        &job.picture,
                        job.strength,
                        &job.options,
                        &mut waits,
                    )?,
                );
            }
            Job::Answer(_) | Job::Read(_) | Job::Score(_) => {}
        }
        Ok(usage)
    }

    /// The picture that an answer wants to draw, and the answer, which has been shown it.
    fn within(
        &self,
        mut answering: Answering,
        options: &ImageOptions,
        watch: Watch,
    ) -> Result<(Answering, RgbImage), Error> {
        let picture = answering.draw(&self.model, options, watch)?;
        self.metrics.drawn();
        answering.show(&self.model, &picture)?;
        Ok((answering, picture))
    }
}
