//! What a benchmark is.

use std::path::Path;

use deem_data::DataError;
use deem_data::Segment;
use deem_data::benchmark::Item;
use deem_data::image::ImageLimits;
use deem_metrics::answer::ParseMode;
use deem_metrics::figures::Family;
use deem_metrics::statistics::Scored;
use serde::{Deserialize, Serialize};

use super::records::Record;
use crate::EngineError;
use crate::generate::{Sampling, TextOptions};

/// A benchmark: how its questions are read, asked, answered and scored.
///
/// A benchmark of one's own implements this, joins a registry by [`super::BenchmarkRegistry::with`], and is then asked,
/// resumed, scored, compared and shown like those that come with deem:
///
/// ```
/// use std::path::Path;
/// use deem_data::benchmark::{Item, read_pope};
/// use deem_data::image::ImageLimits;
/// use deem_data::text::question_prompt;
/// use deem_data::DataError;
/// use deem_engine::EngineError;
/// use deem_engine::evaluate::{
///     AnswerForm, Answered, Answering, Benchmark, BenchmarkRegistry, Question,
/// };
/// use deem_metrics::answer::ParseMode;
/// use deem_metrics::figures::{Family, Figure, Part};
/// use deem_metrics::statistics::accuracy;
///
/// struct Ships;
///
/// impl Benchmark for Ships {
///     fn name(&self) -> &str { "ships" }
///     fn title(&self) -> &str { "Ships" }
///     fn layout(&self) -> &str { "POPE's files" }
///     fn read(&self, folder: &Path, _limits: ImageLimits) -> Result<Vec<Item>, DataError> {
///         read_pope(folder)
///     }
///     fn answering(&self) -> Answering { Answering::words(4) }
///     fn ask(&self, item: &Item) -> Question {
///         let text = format!("{} Answer with yes or no.", item.question);
///         Question { segments: question_prompt(0, &text), text, form: AnswerForm::YesNo }
///     }
///     fn family(&self, answers: &[Answered], mode: ParseMode) -> Result<Family, EngineError> {
///         let scored = answers.iter().map(|a| a.scored("", mode)).collect::<Result<Vec<_>, _>>()?;
///         let mut family = Family::new(self.name(), self.title());
///         family.parts = vec![Part::new("all", [Figure::percent("accuracy", accuracy(&scored)?)])];
///         Ok(family)
///     }
/// }
///
/// let registry = BenchmarkRegistry::standard().with(Ships);
/// assert_eq!(registry.get("ships")?.title(), "Ships");
/// # Ok::<(), EngineError>(())
/// ```
pub trait Benchmark: Send + Sync {
    /// Key in results, in lower case with underscores, as `robust_vqa`; on the command line `-` and `_` are the same.
    fn name(&self) -> &str;

    /// As people write it.
    fn title(&self) -> &str;

    /// What a folder of it holds, in one line.
    fn layout(&self) -> &str;

    /// Its questions, part by part, from a folder in its published layout.
    ///
    /// # Errors
    /// A folder of another layout or a record that breaks it, by name.
    fn read(&self, folder: &Path, limits: ImageLimits) -> Result<Vec<Item>, DataError>;

    /// Questions, from `first` on, that are worth something only together; they are neighbours among the items.
    fn together(&self, first: &Item) -> usize {
        let _ = first;
        1
    }

    /// What of a model is asked.
    fn asked(&self) -> Asked {
        Asked::Model
    }

    /// How answers are had.
    fn answering(&self) -> Answering;

    /// How an item is put to a model.
    fn ask(&self, item: &Item) -> Question;

    /// The figures of the answers of one or more seeds (each with the same questions), the whole first. What they rest
    /// on is counted by the caller.
    ///
    /// # Errors
    /// `Metrics` for answers that no figure can be computed from.
    fn family(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Family, EngineError>;

    /// What each question (or pair) is worth, for a paired comparison with another run; empty if there is none.
    ///
    /// # Errors
    /// As [`Self::family`].
    fn worth(&self, answers: &[Answered<'_>], mode: ParseMode) -> Result<Vec<Worth>, EngineError> {
        let _ = (answers, mode);
        Ok(Vec::new())
    }
}

/// What of a model a benchmark asks, and so who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole: pictures and text in, text out ([`super::Runner`]).
    Model,
    /// An encoder of pictures and texts, without a language model ([`super::EncoderExaminer`]).
    Encoder,
    /// What it draws of a text ([`super::DrawingExaminer`]).
    Drawing,
}

/// How answers are had.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answering {
    /// The model writes, in this way.
    pub written: Option<TextOptions>,
    /// Of the options of a choice the one counts that is likelier as a whole answer.
    pub likelihood: bool,
}

impl Answering {
    /// Written greedily, with so many tokens at most.
    pub fn words(max_new_tokens: usize) -> Self {
        Self::written(max_new_tokens, 1)
    }

    /// Written with beam search.
    pub fn written(max_new_tokens: usize, beams: usize) -> Self {
        Self {
            written: Some(TextOptions {
                max_new_tokens,
                min_new_tokens: 1,
                beams,
                sampling: Sampling::Greedy,
            }),
            likelihood: false,
        }
    }

    /// By the likelihood of the options alone.
    pub fn likelihood() -> Self {
        Self {
            written: None,
            likelihood: true,
        }
    }

    /// The same, and by the likelihood of the options too.
    #[must_use]
    pub fn and_likelihood(self) -> Self {
        Self {
            likelihood: true,
            ..self
        }
    }
}

/// What form an answer has, and so how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// Yes or no.
    YesNo,
    /// One of the item's options, by letter or by words.
    Choice,
    /// Words that must equal a right answer.
    Text,
    /// Words that several people answered, too, worth as much as there are who agree (VQA).
    Annotators,
    /// A picture, worth what whoever drew it noted.
    Picture,
    /// One of the candidates that a part shares, by name; right if a right one comes first.
    Candidate,
}

/// An item as it is put to a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The whole prompt; picture 0 is the item's.
    pub segments: Vec<Segment>,
    /// What is asked, as people read it: question, options, instruction.
    pub text: String,
    /// How the answer is read.
    pub form: AnswerForm,
}

/// A record with the seed of the run that made it.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The seed.
    pub seed: u64,
    /// What was asked and answered.
    pub record: &'a Record,
}

impl Answered<'_> {
    /// What the answer is worth in [0, 1], for statistics (see [`super::value`]); `stratum` names a part that weighs as much as the others.
    ///
    /// # Errors
    /// As [`super::verdict`].
    pub fn scored(&self, stratum: &str, mode: ParseMode) -> Result<Scored, EngineError> {
        let Record { cluster, id, .. } = self.record;
        let value = super::value(self.record, mode)?;
        Ok(Scored {
            stratum: stratum.to_owned(),
            ..Scored::new(self.seed, cluster.clone(), id.clone(), value)
        })
    }
}

/// What a question is worth, and the part of the benchmark whose difference it enters.
#[derive(Clone, Debug, PartialEq)]
pub struct Worth {
    /// The score.
    pub scored: Scored,
    /// Name of the part.
    pub part: String,
}

impl From<Scored> for Worth {
    /// The part is the stratum.
    fn from(scored: Scored) -> Self {
        Self {
            part: scored.stratum.clone(),
            scored,
        }
    }
}
