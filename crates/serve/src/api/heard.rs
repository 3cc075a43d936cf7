//! What the jobs of a request tell, in one line of events; and all of it together.

use std::future::poll_fn;
use std::task::Poll;

use image::RgbImage;

use crate::error::ApiError;
use crate::{EndReason, Event, Events, TokenSaid, Usage};

/// The events of several jobs. Dropped, it cancels those that are not done.
#[derive(Debug)]
pub(crate) struct Heard {
    /// `None`: done.
    jobs: Vec<Option<Events>>,
    /// Where to listen first, so that no job drowns the others.
    first: usize,
}

impl Heard {
    pub fn new(jobs: Vec<Events>) -> Self {
        Self {
            jobs: jobs.into_iter().map(Some).collect(),
            first: 0,
        }
    }

    /// The next event and the job that it is of; `None` when all are done.
    ///
    /// # Errors
    /// If a job failed; the others are of no use then.
    pub async fn next(&mut self) -> Option<Result<(usize, Event), ApiError>> {
        let count = self.jobs.len();
        let heard = poll_fn(|context| {
            let mut open = false;
            for offset in 0..count {
                let job = (self.first + offset) % count;
                let Some(events) = &mut self.jobs[job] else {
                    continue;
                };
                open = true;
                if let Poll::Ready(event) = events.poll_recv(context) {
                    self.first = job + 1;
                    return Poll::Ready(Some((job, event)));
                }
            }
            if open {
                Poll::Pending
            } else {
                Poll::Ready(None)
            }
        });
        let (job, event) = heard.await?;
        Some(match event {
            Some(Event::Failed(error)) => Err(error.into()),
            None => Err(ApiError::internal(&"a model's thread ended")),
            Some(event) => {
                if matches!(event, Event::Done(_)) {
                    self.jobs[job] = None;
                }
                Ok((job, event))
            }
        })
    }
}

/// A part of an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Picture(RgbImage),
}

/// One of the answers of a request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub parts: Vec<Part>,
    pub tokens: Vec<TokenSaid>,
    pub reason: Option<EndReason>,
}

impl Answer {
    /// Its words.
    pub fn text(&self) -> String {
        let words = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Picture(_) => None,
        });
        words.collect()
    }

    fn say(&mut self, text: String) {
        match self.parts.last_mut() {
            Some(Part::Text(said)) => said.push_str(&text),
            _ => self.parts.push(Part::Text(text)),
        }
    }
}

/// Everything that the jobs of a request told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The answers or pictures; those of the first job first.
    pub answers: Vec<Answer>,
    pub scores: Vec<crate::Likely>,
    pub usage: Usage,
}

impl Told {
    /// Listens to the end.
    ///
    /// - `jobs`, `n`: number of jobs, and of answers of each
    ///
    /// # Errors
    /// If a job fails.
    pub async fn all(mut heard: Heard, jobs: usize, n: usize) -> Result<Self, ApiError> {
        let mut told = Self {
            answers: (0..jobs * n).map(|_| Answer::default()).collect(),
            ..Self::default()
        };
        while let Some(heard) = heard.next().await {
            let (job, event) = heard?;
            told.add(job * n, event);
        }
        Ok(told)
    }

    fn add(&mut self, first: usize, event: Event) {
        match event {
            Event::Text {
                choice,
                text,
                tokens,
            } => {
                let answer = &mut self.answers[first + choice];
                answer.say(text);
                answer.tokens.extend(tokens);
            }
            Event::Picture { choice, picture } => {
                self.answers[first + choice]
                    .parts
                    .push(Part::Picture(picture));
            }
            Event::End { choice, reason } => self.answers[first + choice].reason = Some(reason),
            Event::Scores(scores) => self.scores = scores,
            Event::Done(usage) => self.usage = sum(self.usage, usage),
            Event::Failed(_) => {} // `Heard` makes an error of it
        }
    }
}

/// Tokens of two jobs together.
pub(crate) fn sum(a: Usage, b: Usage) -> Usage {
    Usage {
        prompt: a.prompt + b.prompt,
        cached: a.cached + b.cached,
        completion: a.completion + b.completion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;

    fn text(choice: usize, text: &str) -> Event {
        Event::Text {
            choice,
            text: text.into(),
            tokens: vec![],
        }
    }

    const USED: Usage = Usage {
        prompt: 3,
        cached: 1,
        completion: 2,
    };

    #[tokio::test]
    async fn jobs_are_told_apart() {
        let (a, from_a) = unbounded_channel();
        let (b, from_b) = unbounded_channel();
        for event in [
            text(1, "a1"),
            text(0, "a0"),
            text(1, "+"),
            Event::Done(USED),
        ] {
            a.send(event).unwrap();
        }
        let end = Event::End {
            choice: 0,
            reason: EndReason::Length,
        };
        for event in [text(0, "b0"), end, Event::Done(USED)] {
            b.send(event).unwrap();
        }
        let told = Told::all(Heard::new(vec![from_a, from_b]), 2, 2)
            .await
            .unwrap();
        let texts: Vec<String> = told.answers.iter().map(Answer::text).collect();
        assert_eq!(texts, ["a0", "a1+", "b0", ""]);
        assert_eq!(told.answers[2].reason, Some(EndReason::Length));
        assert_eq!(told.usage, sum(USED, USED));
        assert_eq!(told.usage.prompt, 6);
    }

    #[tokio::test]
    async fn a_thread_that_ends_is_an_error() {
        let (job, events) = unbounded_channel();
        job.send(text(0, "a")).unwrap();
        drop(job);
        let error = Told::all(Heard::new(vec![events]), 1, 1).await.unwrap_err();
        assert_eq!(error.status, 500);
    }

    #[tokio::test]
    async fn who_stops_listening_cancels() {
        let (job, events) = unbounded_channel::<Event>();
        drop(Heard::new(vec![events]));
        assert!(job.is_closed());
    }
}
