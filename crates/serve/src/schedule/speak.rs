//! The lane that speaks: every answer says its next token in one pass over the model.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};

use deem::{Answering, Chorus, End, Error, ImageOptions, Model, Said, Sampling};
use image::RgbImage;

use super::Schedule;
use super::draw::Order;
use super::look::{Looked, PictureKey};
use super::prefix::Prefixes;
use crate::{Choice, EndReason, Event, Job, Metrics, Submitted, Usage};

/// What the lane hears.
pub(super) enum Message {
    /// A conversation, and its pictures as the encoder understood them; or a text that is to be continued.
    Answer(Submitted, Vec<Looked>),
    /// The picture that an answer wanted, and the answer again.
    Drawn(Request, Result<Box<(Answering, RgbImage)>, Error>),
    /// An answer that waited for a picture is not wanted any more.
    Gone,
    /// Nothing comes any more but pictures.
    Closing,
}

impl Message {
    /// A text that is to be continued.
    pub(super) fn text(submitted: Submitted) -> Self {
        Self::Answer(submitted, Vec::new())
    }
}

/// What the answers of a job share.
struct Shared {
    submitted: Submitted,
    pictures: Vec<PictureKey>,
    count: Mutex<Count>,
}

/// What a job has cost, and how many of its answers are not over.
#[derive(Debug)]
struct Count {
    usage: Usage,
    left: usize,
}

/// One answer of a job, on behalf of its client.
#[derive(Clone)]
pub(super) struct Request {
    shared: Arc<Shared>,
    choice: usize,
    /// Pictures drawn in it.
    drawn: u64,
}

impl Request {
    /// Whether nobody waits for it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.shared.submitted.events.is_closed()
    }

    fn tell(&self, event: Event) {
        // Who has gone is noticed before the next step.
        let _ = self.shared.submitted.events.send(event);
    }

    fn how(&self) -> Option<&Choice> {
        match &self.shared.submitted.job {
            Job::Answer(job) => Some(&job.choice),
            Job::Read(job) => Some(&job.choice),
            Job::Draw(_) | Job::Restore(_) | Job::Score(_) => None,
        }
    }

    /// How the next picture within it is drawn, if any may be.
    fn drawing(&self) -> Option<ImageOptions> {
        let Job::Answer(job) = &self.shared.submitted.job else {
            return None;
        };
        let drawing = job.drawing?;
        let other = self.choice as u64 + (self.drawn << 8);
        Some(ImageOptions {
            seed: drawing.seed.wrapping_add(other),
            ..drawing
        })
    }

    /// Ends it, and with the last one its job.
    fn end(&self, reason: EndReason, tokens: usize) {
        let choice = self.choice;
        self.tell(Event::End { choice, reason });
        let count = self.shared.count.lock();
        let mut count = count.unwrap_or_else(PoisonError::into_inner);
        count.usage.completion += tokens;
        count.left -= 1;
        if count.left == 0 {
            self.tell(Event::Done(count.usage));
        }
    }
}

/// An answer in the running batch.
struct Slot {
    request: Request,
    answering: Answering,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its prompt is being read.
    Prompt,
    /// A picture that was drawn in it is being read.
    Picture,
    /// It says a token at every step.
    Speaking,
}

pub(super) struct Speaker {
    model: Model,
    metrics: Metrics,
    schedule: Schedule,
    arriving: Receiver<Message>,
    /// Given to the painter, which sends drawn pictures back.
    itself: Sender<Message>,
    waiting: VecDeque<Message>,
    slots: Vec<Slot>,
    /// Answers that wait for a picture.
    absent: usize,
    closing: bool,
    prefixes: Prefixes,
    chorus: Chorus,
}

impl Speaker {
    pub(super) fn new(
        schedule: Schedule,
        model: &Model,
        metrics: &Metrics,
    ) -> (Sender<Message>, Self) {
        let (sender, arriving) = channel();
        let speaker = Self {
            model: model.clone(),
            metrics: metrics.clone(),
            schedule,
            arriving,
            itself: sender.clone(),
            waiting: VecDeque::new(),
            slots: Vec::new(),
            absent: 0,
            closing: false,
            prefixes: Prefixes::new(schedule.prefixes, model),
            chorus: Chorus::default(),
        };
        (sender, speaker)
    }

    /// Speaks until nothing can come any more.
    pub(super) fn run(mut self, painter: &Sender<Order>) {
        while self.listen() {
            self.slots.retain(|slot| !slot.request.is_gone());
            self.admit();
            self.read(painter);
            self.say(painter);
        }
    }

    /// Takes what has arrived, and waits for it if nothing else is to be done; false if nothing is left to do.
    fn listen(&mut self) -> bool {
        loop {
            let idle = self.slots.is_empty() && self.waiting.is_empty();
            if idle && self.closing && self.absent == 0 {
                self.metrics.batch(0);
                return false;
            }
            let message = if idle {
                self.metrics.batch(0);
                self.arriving.recv().map_err(|_| TryRecvError::Disconnected)
            } else {
                self.arriving.try_recv()
            };
            match message {
                Ok(Message::Closing) | Err(TryRecvError::Disconnected) => self.closing = true,
                Ok(Message::Gone) => self.absent -= 1,
                Ok(Message::Drawn(request, drawn)) => self.return_with(request, drawn),
                Ok(message) => self.waiting.push_back(message),
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    /// Lets those that wait into the batch while there is room.
    fn admit(&mut self) {
        while self.slots.len() < self.schedule.batch {
            match self.waiting.pop_front() {
                Some(Message::Answer(submitted, looked)) => {
                    if !submitted.events.is_closed() {
                        self.begin(submitted, looked);
                    }
                }
                Some(_) => {}
                None => break,
            }
        }
        self.metrics.queued(self.waiting.len());
    }

    fn begin(&mut self, submitted: Submitted, looked: Vec<Looked>) {
        let (pictures, encoded): (Vec<_>, Vec<_>) =
            looked.into_iter().map(|one| (one.key, one.encoded)).unzip();
        let made = match &submitted.job {
            Job::Answer(job) => {
                self.model
                    .answering(&job.dialogue, encoded, job.choice.options.clone())
            }
            Job::Read(job) => self.model.continuing(&job.text, job.choice.options.clone()),
            Job::Draw(_) | Job::Restore(_) | Job::Score(_) => return,
        };
        let mut answering = match made {
            Ok(answering) => answering,
            Err(error) => {
                let _ = submitted.events.send(Event::Failed(error));
                return;
            }
        };
        let cached = self.prefixes.find(&mut answering, &pictures);
        let prompt = answering.prompt_tokens();
        self.metrics.prompt_tokens(prompt, cached);
        if cached > 0 {
            self.metrics.cache_hit("prefix");
        }
        let usage = Usage {
            prompt,
            cached,
            completion: 0,
        };
        let request = Request {
            shared: Arc::new(Shared {
                submitted,
                pictures,
                count: Mutex::new(Count { usage, left: 1 }),
            }),
            choice: 0,
            drawn: 0,
        };
        self.slots.push(Slot {
            request,
            answering,
            state: State::Prompt,
        });
    }

    /// Reads a piece of the first prompt that is not read.
    fn read(&mut self, painter: &Sender<Order>) {
        let reading = |slot: &Slot| slot.state != State::Speaking;
        let Some(at) = self.slots.iter().position(reading) else {
            return;
        };
        let slot = &mut self.slots[at];
        if !slot.answering.read(&self.model, self.schedule.piece) {
            return;
        }
        let mut slot = self.slots.remove(at);
        let mut begun = Vec::new();
        if slot.state == State::Prompt {
            let waited = slot.request.shared.submitted.arrived.elapsed();
            self.metrics.first_token(waited);
            self.prefixes
                .keep(&slot.answering, &slot.request.shared.pictures);
            begun = self.others(&slot);
        }
        slot.state = State::Speaking;
        begun.insert(0, slot);
        for mut slot in begun {
            let said = slot.answering.begin(&self.model);
            self.heard(slot, said, painter);
        }
    }

    /// The further answers of a job whose prompt was read for the first one.
    fn others(&self, slot: &Slot) -> Vec<Slot> {
        let Some(how) = slot.request.how() else {
            return Vec::new();
        };
        if let Ok(mut count) = slot.request.shared.count.lock() {
            count.left = how.n.max(1);
        }
        let other = |choice: usize| Slot {
            request: Request {
                choice,
                ..slot.request.clone()
            },
            answering: slot.answering.again(sampling(how, choice)),
            state: State::Speaking,
        };
        (1..how.n).map(other).collect()
    }

    /// Lets everyone who speaks say the next token.
    fn say(&mut self, painter: &Sender<Order>) {
        let speaking = |slot: &&mut Slot| slot.state == State::Speaking;
        let speakers = self.slots.iter_mut().filter(speaking);
        let mut speakers: Vec<&mut Answering> = speakers.map(|slot| &mut slot.answering).collect();
        if speakers.is_empty() {
            return;
        }
        self.metrics.batch(speakers.len());
        let said = self.chorus.step(&self.model, &mut speakers);
        let mut said = said.into_iter();
        for slot in std::mem::take(&mut self.slots) {
            if slot.state == State::Speaking {
                if let Some(said) = said.next() {
                    self.heard(slot, said, painter);
                }
            } else {
                self.slots.push(slot);
            }
        }
    }

    /// Tells what an answer said, and keeps it in the batch unless it is over.
    fn heard(&mut self, slot: Slot, said: Result<Said, Error>, painter: &Sender<Order>) {
        let Slot {
            request, answering, ..
        } = &slot;
        let choice = request.choice;
        let said = match said {
            Ok(said) => said,
            Err(error) => return request.tell(Event::Failed(error)),
        };
        self.metrics.tokens(1);
        if !said.text.is_empty() || !said.tokens.is_empty() {
            request.tell(Event::Text {
                choice,
                text: said.text,
                tokens: said.tokens,
            });
        }
        let reason = match said.end {
            None => return self.slots.push(slot),
            Some(End::Stop) => EndReason::Stop,
            Some(End::Length) => EndReason::Length,
            Some(End::Picture) => match request.drawing() {
                None => EndReason::Stop,
                Some(_) if !answering.has_room(&self.model) => EndReason::Length,
                Some(options) => return self.send_away(slot, options, painter),
            },
        };
        if request.drawn == 0 {
            self.prefixes.keep(answering, &request.shared.pictures);
        }
        request.end(reason, answering.tokens());
    }

    /// Lets the painter draw what an answer wants; meanwhile others have its place.
    fn send_away(&mut self, slot: Slot, options: ImageOptions, painter: &Sender<Order>) {
        self.absent += 1;
        let order = Order::Within {
            request: slot.request,
            answering: Box::new(slot.answering),
            options,
            back: self.itself.clone(),
        };
        if painter.send(order).is_err() {
            self.absent -= 1;
        }
    }

    fn return_with(
        &mut self,
        mut request: Request,
        drawn: Result<Box<(Answering, RgbImage)>, Error>,
    ) {
        self.absent -= 1;
        match drawn {
            Err(error) => request.tell(Event::Failed(error)),
            Ok(drawn) => {
                let (answering, picture) = *drawn;
                let choice = request.choice;
                request.tell(Event::Picture { choice, picture });
                request.drawn += 1;
                self.slots.push(Slot {
                    request,
                    answering,
                    state: State::Picture,
                });
            }
        }
    }
}

/// How the tokens of one of several answers are chosen.
fn sampling(choice: &Choice, which: usize) -> Sampling {
    match choice.options.sampling {
        Sampling::Greedy => Sampling::Greedy,
        Sampling::Nucleus {
            temperature,
            top_p,
            seed,
        } => Sampling::Nucleus {
            temperature,
            top_p,
            seed: seed.wrapping_add(which as u64),
        },
    }
}
