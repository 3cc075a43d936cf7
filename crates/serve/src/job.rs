//! What is asked of a model, and what it tells meanwhile.

use deem::{AnswerOptions, Dialogue, Likely, Picture, TokenSaid};
use image::RgbImage;

/// A piece of work for a model.
#[derive(Clone, Debug)]
pub enum Job {
    /// Answer the last turn of a conversation.
    Answer(AnswerJob),
    /// Continue a text as it stands.
    Read(ReadJob),
    /// Draw pictures of a text.
    Draw(DrawJob),
    /// Draw what the encoder understood of a picture.
    Restore(RestoreJob),
    /// Say how probable given answers are.
    Score(ScoreJob),
}

/// How text is continued.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// How an answer is chosen. Answer `k` of several is drawn with the seed plus `k`.
    pub options: AnswerOptions,
    /// Number of independent answers.
    pub n: usize,
}

/// A conversation to be answered.
#[derive(Clone, Debug)]
pub struct AnswerJob {
    /// The conversation; its last turn has no answer.
    pub dialogue: Dialogue,
    /// How.
    pub choice: Choice,
    /// Steps of test-time adaptation to the last turn's picture; 0 is none.
    pub adapt: usize,
    /// How pictures within the answer are drawn; absent: an answer ends where the model wants to draw.
    pub drawing: Option<deem::ImageOptions>,
}

/// A text to be continued.
#[derive(Clone, Debug)]
pub struct ReadJob {
    /// The text.
    pub text: String,
    /// How.
    pub choice: Choice,
}

/// Pictures to be drawn.
#[derive(Clone, Debug)]
pub struct DrawJob {
    /// Of what.
    pub text: String,
    /// How many; picture `k` starts from the seed plus `k`.
    pub n: usize,
    /// How.
    pub options: deem::ImageOptions,
}

/// A picture to be restored.
#[derive(Clone, Debug)]
pub struct RestoreJob {
    /// The picture; a region limits what the encoder sees.
    pub picture: Picture,
    /// Share of noise from which the restoration begins, in (0, 1].
    pub strength: f64,
    /// How.
    pub options: deem::ImageOptions,
}

/// Answers to be compared.
#[derive(Clone, Debug)]
pub struct ScoreJob {
    /// The conversation; its last turn has no answer.
    pub dialogue: Dialogue,
    /// Possible answers to it.
    pub answers: Vec<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The model ended it, or a stop text came.
    Stop,
    /// It reached its greatest length.
    Length,
}

/// Tokens of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, visual tokens included.
    pub prompt: usize,
    /// Of these, tokens that were found in the cache.
    pub cached: usize,
    /// Tokens of all answers.
    pub completion: usize,
}

/// What happens to a job. After `Done` or `Failed` nothing follows.
#[derive(Debug)]
pub enum Event {
    /// Text that an answer goes on with, never empty, and the tokens that it is made of if they were asked for.
    Text {
        /// Which of the `n` answers.
        choice: usize,
        /// What follows.
        text: String,
        /// Its tokens.
        tokens: Vec<TokenSaid>,
    },
    /// A picture: drawn within an answer, or what was asked for.
    Picture {
        /// Which of the `n` answers or pictures.
        choice: usize,
        /// The picture.
        picture: RgbImage,
    },
    /// An answer is complete.
    End {
        /// Which.
        choice: usize,
        /// Why.
        reason: EndReason,
    },
    /// How probable the given answers are, in their order.
    Scores(Vec<Likely>),
    /// The job is done.
    Done(Usage),
    /// It cannot be done.
    Failed(deem::Error),
}
